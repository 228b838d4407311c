/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Both ends of the queue benchmark.
 *
 * load: sends UDP packets in this network namespace and receives them in
 * another, with a bounded number under way, so that the rate is what the queue
 * in between can do and a packet that is missing at the end was lost.
 * accept: the plainest queue program that there is, one packet and one verdict
 * at a time, as the reference.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <libnetfilter_queue/libnetfilter_queue.h>

enum { EXIT_USAGE = 2, BATCH = 32, UNDER_WAY = 512, PAYLOAD = 200, PORT = 7000, DRAIN_MS = 500 };

static int fail(const char *what)
{
	fprintf(stderr, "nfqueue: %s: %s\n", what, strerror(errno));
	return EXIT_FAILURE;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* ---- load ---- */

/* Everything for one sendmmsg(): each packet may have a source address of its own. */
struct batch {
	struct mmsghdr messages[BATCH];
	struct iovec vector;
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(struct in_pktinfo))];
	} control[BATCH];
	char payload[PAYLOAD];
};

static void init_batch(struct batch *b)
{
	b->vector.iov_base = b->payload;
	b->vector.iov_len = sizeof(b->payload);
	for (size_t i = 0; i < BATCH; i++) {
		struct msghdr *m = &b->messages[i].msg_hdr;
		struct cmsghdr *c = &b->control[i].header;

		m->msg_iov = &b->vector;
		m->msg_iovlen = 1;
		m->msg_control = c;
		m->msg_controllen = sizeof(b->control[i]);
		c->cmsg_level = IPPROTO_IP;
		c->cmsg_type = IP_PKTINFO;
		c->cmsg_len = CMSG_LEN(sizeof(struct in_pktinfo));
	}
}

/* Source addresses count up from `source`, over `sources` of them. */
static void set_sources(struct batch *b, uint32_t source, uint32_t sources, uint64_t first)
{
	for (size_t i = 0; i < BATCH; i++) {
		uint32_t address = htonl(source + (uint32_t)((first + i) % sources));

		memcpy(CMSG_DATA(&b->control[i].header) + offsetof(struct in_pktinfo, ipi_spec_dst), &address,
		       sizeof(address));
	}
}

static int open_receiver(const char *netns, struct in_addr at)
{
	const struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr = at };
	int here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), there = open(netns, O_RDONLY | O_CLOEXEC),
	    fd;
	int size = 16 << 20;

	if (here < 0 || there < 0 || setns(there, CLONE_NEWNET))
		return -1;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (setns(here, CLONE_NEWNET) || fd < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) ||
	    bind(fd, (const struct sockaddr *)&address, sizeof(address)))
		return -1;
	close(here);
	close(there);
	return fd;
}

static uint64_t receive(int fd)
{
	static struct mmsghdr messages[BATCH];
	static struct iovec vectors[BATCH];
	static char buffers[BATCH][PAYLOAD];
	uint64_t count = 0;
	int n;

	for (size_t i = 0; i < BATCH; i++) {
		vectors[i].iov_base = buffers[i];
		vectors[i].iov_len = PAYLOAD;
		messages[i].msg_hdr.msg_iov = &vectors[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	while ((n = recvmmsg(fd, messages, BATCH, MSG_DONTWAIT, NULL)) > 0)
		count += (uint64_t)n;
	return count;
}

/* Waits up to `ms` for packets; returns how many came. */
static uint64_t receive_within(int fd, int ms)
{
	struct pollfd ready = { .fd = fd, .events = POLLIN };

	return poll(&ready, 1, ms) > 0 ? receive(fd) : 0;
}

/* load NETNS ADDRESS SOURCE SOURCES MILLISECONDS: prints "RATE SENT LOST". */
static int run_load(char **argv)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	uint64_t sent = 0, received = 0, start, end, n;
	uint32_t sources = (uint32_t)strtoul(argv[3], NULL, 10);
	static struct batch batch;
	struct in_addr source;
	int out, in;

	if (inet_pton(AF_INET, argv[1], &to.sin_addr) != 1 || inet_pton(AF_INET, argv[2], &source) != 1 ||
	    !sources)
		return EXIT_USAGE;
	in = open_receiver(argv[0], to.sin_addr);
	out = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (in < 0 || out < 0 || connect(out, (const struct sockaddr *)&to, sizeof(to)))
		return fail("sockets");
	init_batch(&batch);
	start = now_ns();
	end = start + strtoull(argv[4], NULL, 10) * 1000000u;
	while (now_ns() < end) {
		if (sent - received + BATCH <= UNDER_WAY) {
			int done;

			set_sources(&batch, ntohl(source.s_addr), sources, sent);
			done = sendmmsg(out, batch.messages, BATCH, 0);
			if (done < 0)
				return fail("send");
			sent += (uint64_t)done;
			received += receive(in);
		} else {
			n = receive_within(in, DRAIN_MS);
			/* what has not come by now was lost: it must not block the window for ever */
			if (!n)
				break;
			received += n;
		}
	}
	end = now_ns();
	n = received;
	while (received < sent && (n = receive_within(in, DRAIN_MS)))
		received += n;
	printf("%.0f %llu %llu\n", (double)received * 1e9 / (double)(end - start), (unsigned long long)sent,
	       (unsigned long long)(sent - received));
	return fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* ---- accept ---- */

struct queue {
	struct mnl_socket *socket;
	uint16_t number;
};

static int accept_one(const struct nlmsghdr *nlh, void *data)
{
	struct nlattr *attr[NFQA_MAX + 1] = { NULL };
	_Alignas(struct nlmsghdr) char buffer[256];
	const struct queue *q = data;
	const struct nfqnl_msg_packet_hdr *header;
	struct nlmsghdr *verdict;

	if (nfq_nlmsg_parse(nlh, attr) < 0 || !attr[NFQA_PACKET_HDR])
		return MNL_CB_ERROR;
	header = mnl_attr_get_payload(attr[NFQA_PACKET_HDR]);
	verdict = nfq_nlmsg_put(buffer, NFQNL_MSG_VERDICT, q->number);
	nfq_nlmsg_verdict_put(verdict, (int)ntohl(header->packet_id), NF_ACCEPT);
	return mnl_socket_sendto(q->socket, verdict, verdict->nlmsg_len) < 0 ? MNL_CB_ERROR : MNL_CB_OK;
}

/* accept QUEUE: until it is killed. Prints "ready". */
static int run_accept(char **argv)
{
	_Alignas(struct nlmsghdr) static char buffer[0xffff + 4096];
	struct queue q = { mnl_socket_open(NETLINK_NETFILTER), (uint16_t)strtoul(argv[0], NULL, 10) };
	struct nlmsghdr *nlh;
	int size = 8 << 20;

	if (!q.socket || mnl_socket_bind(q.socket, 0, MNL_SOCKET_AUTOPID) ||
	    setsockopt(mnl_socket_get_fd(q.socket), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)))
		return fail("socket");
	nlh = nfq_nlmsg_put(buffer, NFQNL_MSG_CONFIG, q.number);
	nfq_nlmsg_cfg_put_cmd(nlh, AF_UNSPEC, NFQNL_CFG_CMD_BIND);
	if (mnl_socket_sendto(q.socket, nlh, nlh->nlmsg_len) < 0)
		return fail("bind");
	nlh = nfq_nlmsg_put(buffer, NFQNL_MSG_CONFIG, q.number);
	nfq_nlmsg_cfg_put_params(nlh, NFQNL_COPY_PACKET, 0xffff);
	mnl_attr_put_u32(nlh, NFQA_CFG_FLAGS, htonl(NFQA_CFG_F_GSO));
	mnl_attr_put_u32(nlh, NFQA_CFG_MASK, htonl(NFQA_CFG_F_GSO));
	mnl_attr_put_u32(nlh, NFQA_CFG_QUEUE_MAXLEN, htonl(4096));
	if (mnl_socket_sendto(q.socket, nlh, nlh->nlmsg_len) < 0)
		return fail("configuration");
	puts("ready");
	if (fflush(stdout))
		return fail("write");
	for (;;) {
		ssize_t n = mnl_socket_recvfrom(q.socket, buffer, sizeof(buffer));

		if (n < 0 && errno == ENOBUFS)
			continue;
		if (n < 0 ||
		    mnl_cb_run(buffer, (size_t)n, 0, mnl_socket_get_portid(q.socket), accept_one, &q) < 0)
			return fail("packets");
	}
}

int main(int argc, char **argv)
{
	int status = EXIT_USAGE;

	if (argc == 7 && !strcmp(argv[1], "load"))
		status = run_load(argv + 2);
	else if (argc == 3 && !strcmp(argv[1], "accept"))
		status = run_accept(argv + 2);
	if (status == EXIT_USAGE)
		fprintf(stderr, "Usage: nfqueue load NETNS ADDRESS SOURCE SOURCES MILLISECONDS\n"
				"       nfqueue accept QUEUE\n");
	return status;
}
