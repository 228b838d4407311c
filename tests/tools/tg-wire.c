/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The eavesdropper: records time, direction and size of every packet on a link
 * with the kernel's timestamps, and says what they give away. Also works on
 * recordings: --read summarises one, --compare compares two.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/punctual.h"
#include "common/tool.h"
#include "common/wire_packet.h"
#include "common/wire_stats.h"

#define PROGRAM "tg-wire"

enum {
	SNAP = 128,		/* IPv6 with extension headers, UDP, the front of a message */
	BATCH = 64,
	BUFFER_BYTES = 64 << 20,
	CONTROL_BYTES = CMSG_SPACE(sizeof(struct timespec)) + 64,
};

struct options {
	struct wire_filter filter;
	const char *netns, *interface, *csv, *csv_all, *headers, *ready, *read;
	const char *compare[2];
	double duration_s, period_us;
};

struct capture {
	const struct options *o;
	int fd, signals;
	uint32_t mtu;
	int64_t start_ns;	/* CLOCK_REALTIME of the first record */
	int64_t opened_ns, closed_ns; /* CLOCK_MONOTONIC */
	FILE *headers;
	struct wire_log log;
	uint64_t kinds[WIRE_KINDS];
	uint64_t undirected;	/* tunnel packets that are neither from nor to the edge */
	uint64_t malformed, oversize, drops;
	struct punctual_result machine;
};

struct batch {
	struct mmsghdr messages[BATCH];
	struct iovec vectors[BATCH];
	struct sockaddr_ll from[BATCH];
	uint8_t packets[BATCH][SNAP];
	uint8_t control[BATCH][CONTROL_BYTES] __attribute__((aligned(sizeof(long))));
};

/* ---- one packet ---- */

static void dump_headers(struct capture *c, const struct wire_headers *h, enum wire_kind kind, int direction,
			 int64_t time_ns)
{
	char src[INET6_ADDRSTRLEN] = "-", dst[INET6_ADDRSTRLEN] = "-";

	if (h->family) {
		inet_ntop(h->family, h->src, src, sizeof(src));
		inet_ntop(h->family, h->dst, dst, sizeof(dst));
	}
	fprintf(c->headers, "%lld,%d,%d,%s,%s,%d,%u,%u,%u,%u,%u,%d,%d,%u,%u,%u,%u,%u,%u,%u,%u,%u,%u,%llu\n",
		(long long)(time_ns - c->start_ns) / 1000, direction, kind, src, dst,
		h->family == AF_INET    ? 4
		: h->family == AF_INET6 ? 6
					: 0,
		h->ip_bytes, h->header_bytes, h->dscp, h->ecn, h->ttl, h->df, h->mf, h->fragment_offset,
		h->id, h->flow_label, h->protocol, h->sport, h->dport, h->udp_bytes, h->udp_checksum,
		h->message[0], h->receiver, (unsigned long long)h->counter);
}

static int take_packet(struct capture *c, uint16_t ether_type, const uint8_t *packet, size_t size,
		       int64_t time_ns, struct tg_error *e)
{
	struct wire_record record = { .time_ns = time_ns };
	struct wire_headers h;
	enum wire_kind kind;

	if (!c->start_ns)
		c->start_ns = time_ns;
	if (!wire_parse(ether_type, packet, size, &h)) {
		c->malformed++;
		return 0;
	}
	kind = wire_classify(&c->o->filter, &h);
	record.direction = (int8_t)wire_direction(&c->o->filter, &h);
	record.bytes = h.ip_bytes;
	record.kind = (uint8_t)kind;
	c->kinds[kind]++;
	/* a super-packet: the link will cut it, so this is not what an eavesdropper sees */
	if (h.ip_bytes > c->mtu)
		c->oversize++;
	if (c->headers)
		dump_headers(c, &h, kind, record.direction, time_ns);
	if (kind > WIRE_OTHER)
		return 0;
	if (!record.direction) {
		c->undirected++;
		return 0;
	}
	return wire_log_append(&c->log, &record, e);
}

/* The kernel's timestamp of a received packet, or 0. */
static int64_t message_time_ns(struct msghdr *m)
{
	for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
		struct timespec t;

		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_TIMESTAMPNS)
			continue;
		memcpy(&t, CMSG_DATA(h), sizeof(t));
		return t.tv_sec * TOOL_NS_PER_S + t.tv_nsec;
	}
	return 0;
}

/* ---- the socket ---- */

static int bind_interface(struct capture *c, struct tg_error *e)
{
	struct sockaddr_ll link = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	struct ifreq request = { 0 };

	if (strlen(c->o->interface) >= IFNAMSIZ)
		return tg_error(e, -EINVAL, "--interface: '%.40s' is too long for a name", c->o->interface);
	memcpy(request.ifr_name, c->o->interface, strlen(c->o->interface));
	if (ioctl(c->fd, SIOCGIFMTU, &request))
		return tg_error(e, -errno, "%s: %s", c->o->interface, strerror(errno));
	c->mtu = (uint32_t)request.ifr_mtu;
	if (ioctl(c->fd, SIOCGIFINDEX, &request))
		return tg_error(e, -errno, "%s: %s", c->o->interface, strerror(errno));
	link.sll_ifindex = request.ifr_ifindex;
	if (bind(c->fd, (const struct sockaddr *)&link, sizeof(link)))
		return tg_error(e, -errno, "bind to %s: %s", c->o->interface, strerror(errno));
	return 0;
}

static int open_socket(struct capture *c, struct tg_error *e)
{
	int one = 1, bytes = BUFFER_BYTES;

	/* protocol 0: nothing arrives before bind(), when buffer and timestamps are in place */
	c->fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0)
		return tg_error(e, -errno, "packet socket: %s", strerror(errno));
	if (setsockopt(c->fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) ||
	    setsockopt(c->fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof(one)))
		return tg_error(e, -errno, "packet socket: %s", strerror(errno));
	return bind_interface(c, e);
}

static int open_signals(struct capture *c, struct tg_error *e)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	if (sigprocmask(SIG_BLOCK, &set, NULL))
		return tg_error(e, -errno, "sigprocmask: %s", strerror(errno));
	c->signals = signalfd(-1, &set, SFD_CLOEXEC);
	return c->signals < 0 ? tg_error(e, -errno, "signalfd: %s", strerror(errno)) : 0;
}

/* Lets a waiting script know that from now on nothing is missed. */
static int announce(const char *path, struct tg_error *e)
{
	int fd;

	if (!path)
		return 0;
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0)
		return tg_error(e, -errno, "cannot create %s: %s", path, strerror(errno));
	close(fd);
	return 0;
}

static int open_headers(struct capture *c, struct tg_error *e)
{
	if (!c->o->headers)
		return 0;
	c->headers = fopen(c->o->headers, "we");
	if (!c->headers)
		return tg_error(e, -errno, "cannot create %s: %s", c->o->headers, strerror(errno));
	fputs(WIRE_CSV_HEADERS "\n", c->headers);
	return 0;
}

/* ---- the loop ---- */

static void prepare_batch(struct batch *b)
{
	for (int i = 0; i < BATCH; i++) {
		b->vectors[i] = (struct iovec){ b->packets[i], SNAP };
		b->messages[i].msg_hdr = (struct msghdr){
			.msg_name = &b->from[i],
			.msg_namelen = sizeof(b->from[i]),
			.msg_iov = &b->vectors[i],
			.msg_iovlen = 1,
			.msg_control = b->control[i],
			.msg_controllen = CONTROL_BYTES,
		};
	}
}

/* Takes all packets that wait. */
static int drain(struct capture *c, struct batch *b, struct tg_error *e)
{
	int n, ret = 0;

	do {
		prepare_batch(b);
		n = recvmmsg(c->fd, b->messages, BATCH, MSG_DONTWAIT, NULL);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return tg_error(e, -errno, "recvmmsg: %s", strerror(errno));
		for (int i = 0; i < n && !ret; i++) {
			int64_t time_ns = message_time_ns(&b->messages[i].msg_hdr);

			if (!time_ns)
				ret = tg_error(e, -ENODATA, "a packet without the kernel's timestamp");
			else
				ret = take_packet(c, ntohs(b->from[i].sll_protocol), b->packets[i],
						  b->messages[i].msg_len, time_ns, e);
		}
	} while (n == BATCH && !ret);
	return ret;
}

/* Milliseconds until the capture's end; -1 = open end, 0 = over. */
static int remaining_ms(const struct capture *c)
{
	double left_s;

	if (c->o->duration_s <= 0)
		return -1;
	left_s = c->o->duration_s - (double)(tool_now_ns(CLOCK_MONOTONIC) - c->opened_ns) / 1e9;
	return left_s <= 0 ? 0 : (int)(left_s * 1000) + 1;
}

static int record_packets(struct capture *c, struct tg_error *e)
{
	struct batch *b = calloc(1, sizeof(*b));
	struct pollfd fds[2] = { { .fd = c->fd, .events = POLLIN }, { .fd = c->signals, .events = POLLIN } };
	int ret = 0, left_ms;

	if (!b)
		return tg_error(e, -ENOMEM, "out of memory");
	while (!ret && (left_ms = remaining_ms(c)) != 0) {
		if (poll(fds, 2, left_ms) < 0 && errno != EINTR) {
			ret = tg_error(e, -errno, "poll: %s", strerror(errno));
		} else if (fds[0].revents & POLLERR) {
			/* the link went away or down; reading the error clears it, what follows may still
			 * count */
			int err = 0;
			socklen_t len = sizeof(err);

			getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len);
			ret = tg_error(e, -err, "%s: %s", c->o->interface, strerror(err));
		} else {
			ret = drain(c, b, e);
		}
		if (fds[1].revents)
			break;
	}
	if (!ret)
		ret = drain(c, b, e);
	free(b);
	return ret;
}

static int read_drops(struct capture *c, struct tg_error *e)
{
	struct tpacket_stats stats;
	socklen_t len = sizeof(stats);

	if (getsockopt(c->fd, SOL_PACKET, PACKET_STATISTICS, &stats, &len))
		return tg_error(e, -errno, "packet statistics: %s", strerror(errno));
	c->drops = stats.tp_drops;
	return 0;
}

/* ---- results ---- */

static int print_capture(struct capture *c, struct tg_error *e)
{
	json_t *o;
	int ret = wire_summary(&c->log, (int64_t)(c->o->period_us * 1000), &o, e);

	if (ret)
		return ret;
	json_object_set_new(o, "clear_packets", json_integer((json_int_t)c->kinds[WIRE_CLEAR]));
	json_object_set_new(o, "control_packets", json_integer((json_int_t)c->kinds[WIRE_CONTROL]));
	json_object_set_new(o, "fragments", json_integer((json_int_t)c->kinds[WIRE_FRAGMENT]));
	json_object_set_new(o, "link_packets", json_integer((json_int_t)c->kinds[WIRE_LINK]));
	json_object_set_new(o, "undirected", json_integer((json_int_t)c->undirected));
	json_object_set_new(o, "malformed", json_integer((json_int_t)c->malformed));
	json_object_set_new(o, "oversize", json_integer((json_int_t)c->oversize));
	json_object_set_new(o, "drops", json_integer((json_int_t)c->drops));
	json_object_set_new(o, "start_us", json_integer((json_int_t)c->start_ns / 1000));
	if (c->machine.wakes)
		json_object_set_new(o, "machine",
				    json_pack("{s:I, s:I, s:f}", "wakes", (json_int_t)c->machine.wakes,
					      "late", (json_int_t)c->machine.late, "worst_us",
					      (double)c->machine.worst_ns / 1e3));
	json_object_set_new(o, "duration_s", json_real((double)(c->closed_ns - c->opened_ns) / 1e9));
	return tool_print_json(o, e);
}

static int write_files(struct capture *c, struct tg_error *e)
{
	int ret = 0;

	if (c->headers && (fflush(c->headers) || ferror(c->headers)))
		ret = tg_error(e, -EIO, "cannot write %s", c->o->headers);
	if (!ret && c->o->csv)
		ret = wire_log_write(&c->log, c->o->csv, false, e);
	if (!ret && c->o->csv_all)
		ret = wire_log_write(&c->log, c->o->csv_all, true, e);
	return ret;
}

/* Packets of the two directions are stamped on different CPUs and may swap places by a few microseconds. */
static int by_time(const void *a, const void *b)
{
	const struct wire_record *x = a, *y = b;

	return (x->time_ns > y->time_ns) - (x->time_ns < y->time_ns);
}

static int run_capture(const struct options *o, struct tg_error *e)
{
	struct capture c = { .o = o, .fd = -1, .signals = -1 };
	struct punctual *punctual = NULL;
	int ret;

	ret = open_signals(&c, e);
	if (!ret)
		ret = tool_enter_netns(o->netns, e);
	if (!ret)
		ret = open_headers(&c, e);
	if (!ret)
		ret = open_socket(&c, e);
	if (!ret && o->period_us > 0)
		ret = punctual_start((int64_t)(o->period_us * 1000), &punctual, e);
	c.opened_ns = tool_now_ns(CLOCK_MONOTONIC);
	if (!ret)
		ret = announce(o->ready, e);
	if (!ret)
		ret = record_packets(&c, e);
	c.closed_ns = tool_now_ns(CLOCK_MONOTONIC);
	punctual_stop(punctual, &c.machine);
	if (!ret)
		ret = read_drops(&c, e);
	if (!ret && c.log.count)
		qsort(c.log.records, c.log.count, sizeof(*c.log.records), by_time);
	if (!ret)
		ret = write_files(&c, e);
	if (!ret)
		ret = print_capture(&c, e);
	if (!ret && c.drops)
		ret = tg_error(e, -ENOBUFS, "%llu packets were lost: the recording is not complete",
			       (unsigned long long)c.drops);
	wire_log_free(&c.log);
	if (c.headers)
		fclose(c.headers);
	if (c.fd >= 0)
		close(c.fd);
	if (c.signals >= 0)
		close(c.signals);
	return ret;
}

static int run_read(const struct options *o, struct tg_error *e)
{
	struct wire_log log = { 0 };
	json_t *summary;
	int ret = wire_log_load(&log, o->read, e);

	if (!ret)
		ret = wire_summary(&log, (int64_t)(o->period_us * 1000), &summary, e);
	if (!ret)
		ret = tool_print_json(summary, e);
	wire_log_free(&log);
	return ret;
}

static int run_compare(const struct options *o, struct tg_error *e)
{
	struct wire_log log[2] = { { 0 }, { 0 } };
	bool equal = false;
	json_t *result;
	int ret = 0;

	for (int i = 0; i < 2 && !ret; i++) {
		ret = wire_log_load(&log[i], o->compare[i], e);
		if (!ret && !log[i].count)
			ret = tg_error(e, -ENODATA, "%s: no packet to compare", o->compare[i]);
	}
	if (!ret)
		ret = wire_compare(&log[0], &log[1], (int64_t)(o->period_us * 1000), &equal, &result, e);
	if (!ret)
		ret = tool_print_json(result, e);
	if (!ret && !equal)
		ret = tg_error(e, -EILSEQ, "the sequences differ");
	wire_log_free(&log[0]);
	wire_log_free(&log[1]);
	return ret;
}

/* ---- the command line ---- */

static void usage(FILE *f)
{
	fputs("Usage: " PROGRAM " --interface IF --a ADDR [OPTIONS]\n"
	      "       " PROGRAM " --read FILE.csv [--period US]\n"
	      "       " PROGRAM " --compare A.csv B.csv --period US\n"
	      "Records what an eavesdropper on a link sees of a WireGuard tunnel, and prints a summary as "
	      "JSON.\n\n"
	      "  --interface IF       the link\n"
	      "  --netns PATH         network namespace that it is in (default: where it was started)\n"
	      "  --a ADDR             outer address of the edge (from it is up); may be given several times\n"
	      "  --control ADDR       the Platform's address: TCP with it is counted apart; may be given "
	      "several times\n"
	      "  --port P             UDP port of a tunnel; may be given several times (default: any with "
	      "WireGuard in)\n"
	      "  --duration S         end after S seconds (default: at SIGINT or SIGTERM)\n"
	      "  --period US          fit a grid of this period and report the error; recording, also "
	      "\"machine\": how\n"
	      "                       often a sleeper on each processor woke more than half a period late\n"
	      "  --csv FILE           write " WIRE_CSV_HEADER " of the data packets\n"
	      "  --csv-all FILE       write " WIRE_CSV_ALL_HEADER
	      " of all packets of the tunnel; kind 0 = data,\n"
	      "                       1 = handshake, 2 = keepalive, 3 = other\n"
	      "  --dump-headers FILE  write every field of every packet's outer headers; kind also 4 = ARP "
	      "or\n"
	      "                       neighbour discovery, 5 = later fragment, 6 = outside the tunnel, 7 = "
	      "--control\n"
	      "  --ready FILE         create FILE when recording has begun\n"
	      "  --help\n\n"
	      "Exit status: 0 success (--compare: equal), 1 failed, packets lost or not equal, 2 the call "
	      "was wrong.\n",
	      f);
}

static int add_address(struct wire_address *all, size_t *count, const char *name, const char *text,
		       struct tg_error *e)
{
	int family = strchr(text, ':') ? AF_INET6 : AF_INET;

	if (*count == WIRE_MAX_ADDRESSES)
		return tg_error(e, -EINVAL, "%s: at most %d addresses", name, WIRE_MAX_ADDRESSES);
	if (inet_pton(family, text, all[*count].addr) != 1)
		return tg_error(e, -EINVAL, "%s: '%.60s' is no IPv4 or IPv6 address", name, text);
	all[(*count)++].family = family;
	return 0;
}

static int add_port(struct wire_filter *filter, const char *text, struct tg_error *e)
{
	uint64_t port;
	int ret;

	if (filter->port_count == WIRE_MAX_PORTS)
		return tg_error(e, -EINVAL, "--port: at most %d ports", WIRE_MAX_PORTS);
	ret = tool_parse_whole(text, "--port", 1, 65535, &port, e);
	if (!ret)
		filter->ports[filter->port_count++] = (uint16_t)port;
	return ret;
}

static int check_options(const struct options *o, int argc, struct tg_error *e)
{
	if (o->compare[0] ? optind + 1 != argc : optind != argc)
		return tg_error(e, -EINVAL, "wrong number of arguments; see --help");
	if (!!o->compare[0] + !!o->read + !!o->interface != 1)
		return tg_error(e, -EINVAL, "one of --interface, --read and --compare is needed; see --help");
	if (o->compare[0] && o->period_us <= 0)
		return tg_error(e, -EINVAL, "--compare needs --period");
	if (o->interface && !o->filter.edge_count)
		return tg_error(e, -EINVAL, "--interface needs --a");
	return 0;
}

/* Returns 0, 1 for --help, or -EINVAL. */
static int parse_options(struct options *o, int argc, char **argv, struct tg_error *e)
{
	static const struct option options[] = {
		{ "interface", required_argument, NULL, 'i' },
		{ "netns", required_argument, NULL, 'n' },
		{ "a", required_argument, NULL, 'a' },
		{ "control", required_argument, NULL, 'K' },
		{ "port", required_argument, NULL, 'p' },
		{ "duration", required_argument, NULL, 'd' },
		{ "period", required_argument, NULL, 'P' },
		{ "csv", required_argument, NULL, 'c' },
		{ "csv-all", required_argument, NULL, 'C' },
		{ "dump-headers", required_argument, NULL, 'H' },
		{ "ready", required_argument, NULL, 'R' },
		{ "read", required_argument, NULL, 'r' },
		{ "compare", required_argument, NULL, 'x' },
		{ "summary", no_argument, NULL, 's' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int c, ret = 0;

	opterr = 0;
	while (!ret && (c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'i':
			o->interface = optarg;
			break;
		case 'n':
			o->netns = optarg;
			break;
		case 'a':
			ret = add_address(o->filter.edge, &o->filter.edge_count, "--a", optarg, e);
			break;
		case 'K':
			ret = add_address(o->filter.control, &o->filter.control_count, "--control", optarg,
					  e);
			break;
		case 'p':
			ret = add_port(&o->filter, optarg, e);
			break;
		case 'd':
			ret = tool_parse_real(optarg, "--duration", 0.01, 86400, &o->duration_s, e);
			break;
		case 'P':
			ret = tool_parse_real(optarg, "--period", 1, 1e6, &o->period_us, e);
			break;
		case 'c':
			o->csv = optarg;
			break;
		case 'C':
			o->csv_all = optarg;
			break;
		case 'H':
			o->headers = optarg;
			break;
		case 'R':
			o->ready = optarg;
			break;
		case 'r':
			o->read = optarg;
			break;
		case 'x':
			o->compare[0] = optarg;
			break;
		case 's':
			break;
		case 'h':
			return 1;
		default:
			return tg_error(e, -EINVAL, "bad option '%s'; see --help", argv[optind - 1]);
		}
	}
	if (!ret)
		ret = check_options(o, argc, e);
	if (!ret && o->compare[0])
		o->compare[1] = argv[optind];
	return ret;
}

int main(int argc, char **argv)
{
	struct options o = { 0 };
	struct tg_error e = { "" };
	int ret = tool_begin(PROGRAM, parse_options(&o, argc, argv, &e), usage, &e);

	if (ret >= 0)
		return ret;
	if (o.compare[0])
		ret = run_compare(&o, &e);
	else if (o.read)
		ret = run_read(&o, &e);
	else
		ret = run_capture(&o, &e);
	return ret ? tool_fail(PROGRAM, TOOL_FAILED, &e) : EXIT_SUCCESS;
}
