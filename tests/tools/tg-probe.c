/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Numbered datagrams from one namespace to another: which of them arrive, how
 * late, and whether every byte is right. Both ends are threads of this process
 * and share a clock.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/quantile.h"
#include "common/tool.h"

#define PROGRAM "tg-probe"

enum {
	MIN_BYTES = 4, /* the number */
	MAX_BYTES = 8192,
	MAX_COUNT = 10000000,
	MAX_FLOWS = 20000,
	RECEIVE_BUFFER = 32 << 20,
};

struct probe {
	struct tool_ends ends;
	uint64_t count, flows, min_bytes, max_bytes, tos;
	double interval_us, seconds, linger_s;
	const char *until; /* a file; NULL = none */
	int64_t *sent_ns, *arrived_ns; /* by number; 0 = not */
	uint64_t sent, refused, received, duplicated, reordered, corrupt;
	sem_t listening;
	atomic_int server_error;
	atomic_llong stop_ns;  /* when the receiver gives up; 0 = while datagrams are being sent */
	struct tg_error error; /* the receiver's */
};

/* ---- datagrams ---- */

/* The sizes are taken in turn, so that each occurs. */
static size_t size_of(const struct probe *p, uint32_t number)
{
	return p->min_bytes + number % (p->max_bytes - p->min_bytes + 1);
}

static void fill(uint8_t *buf, size_t size, uint32_t number)
{
	uint64_t state = number;
	uint32_t head = htonl(number);

	memcpy(buf, &head, sizeof(head));
	for (size_t i = sizeof(head); i < size; i += 8) {
		uint64_t random = tool_random(&state);

		memcpy(buf + i, &random, size - i < 8 ? size - i : 8);
	}
}

static void count_datagram(struct probe *p, const uint8_t *buf, size_t size, int64_t now, uint32_t *next)
{
	uint8_t expected[MAX_BYTES];
	uint32_t number;

	memcpy(&number, buf, size < sizeof(number) ? size : sizeof(number));
	number = ntohl(number);
	if (size < MIN_BYTES || number >= p->count || size != size_of(p, number)) {
		p->corrupt++;
		return;
	}
	fill(expected, size, number);
	if (memcmp(buf, expected, size)) {
		p->corrupt++;
	} else if (p->arrived_ns[number]) {
		p->duplicated++;
	} else {
		p->arrived_ns[number] = now;
		p->received++;
		p->reordered += number < *next;
		if (number >= *next)
			*next = number + 1;
	}
}

/* ---- the two ends ---- */

static int open_receiver(struct probe *p, int *ret_fd)
{
	int fd, size = RECEIVE_BUFFER, ret = tool_enter_netns(p->ends.server_netns, &p->error);

	if (ret)
		return ret;
	fd = socket(p->ends.address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return tg_error(&p->error, -errno, "cannot make a socket: %s", strerror(errno));
	/* a flood must not be lost in our own buffer */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) ||
	    bind(fd, (const struct sockaddr *)&p->ends.address, p->ends.address_len)) {
		ret = tg_error(&p->error, -errno, "cannot listen: %s", strerror(errno));
		close(fd);
		return ret;
	}
	*ret_fd = fd;
	return 0;
}

static int receive_all(struct probe *p, int fd)
{
	uint8_t buf[MAX_BYTES + 1];
	uint32_t next = 0;

	while (p->received < p->count) {
		struct pollfd poller = { .fd = fd, .events = POLLIN };
		int64_t now = tool_now_ns(CLOCK_MONOTONIC), stop = atomic_load(&p->stop_ns);
		ssize_t n;

		if (stop && now >= stop)
			break;
		if (poll(&poller, 1, 20) <= 0)
			continue;
		n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return tg_error(&p->error, -errno, "cannot receive: %s", strerror(errno));
		if (n >= 0)
			count_datagram(p, buf, (size_t)n, tool_now_ns(CLOCK_MONOTONIC), &next);
	}
	return 0;
}

static void *receiver(void *arg)
{
	struct probe *p = arg;
	int fd = -1, ret = open_receiver(p, &fd);

	atomic_store(&p->server_error, ret);
	sem_post(&p->listening);
	if (ret)
		return NULL;
	atomic_store(&p->server_error, receive_all(p, fd));
	close(fd);
	return NULL;
}

static int set_tos(const struct probe *p, int fd)
{
	int tos = (int)p->tos;

	if (p->ends.address.ss_family == AF_INET)
		return setsockopt(fd, IPPROTO_IP, IP_TOS, &tos, sizeof(tos));
	return setsockopt(fd, IPPROTO_IPV6, IPV6_TCLASS, &tos, sizeof(tos));
}

static int open_flows(const struct probe *p, int *fds, struct tg_error *e)
{
	struct rlimit limit = { .rlim_cur = p->flows + 64, .rlim_max = p->flows + 64 };
	struct rlimit now;

	if (!getrlimit(RLIMIT_NOFILE, &now) && now.rlim_cur < limit.rlim_cur &&
	    setrlimit(RLIMIT_NOFILE, &limit))
		return tg_error(e, -errno, "cannot have %llu files open: %s",
				(unsigned long long)limit.rlim_cur, strerror(errno));
	for (uint64_t i = 0; i < p->flows; i++) {
		fds[i] = socket(p->ends.address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		if (fds[i] < 0)
			return tg_error(e, -errno, "cannot make socket %llu: %s", (unsigned long long)i,
					strerror(errno));
		if (p->tos && set_tos(p, fds[i]))
			return tg_error(e, -errno, "cannot set the traffic class: %s", strerror(errno));
	}
	return 0;
}

/* What routing refuses (a blackhole) is a result, not a failure. */
static int send_one(struct probe *p, int fd, uint32_t number, struct tg_error *e)
{
	uint8_t buf[MAX_BYTES];
	size_t size = size_of(p, number);

	fill(buf, size, number);
	p->sent_ns[number] = tool_now_ns(CLOCK_MONOTONIC);
	if (sendto(fd, buf, size, 0, (const struct sockaddr *)&p->ends.address, p->ends.address_len) >= 0) {
		p->sent++;
		return 0;
	}
	if (errno != EINVAL && errno != ENETUNREACH && errno != EHOSTUNREACH && errno != EACCES &&
	    errno != EPERM)
		return tg_error(e, -errno, "cannot send datagram %u: %s", number, strerror(errno));
	p->refused++;
	return 0;
}

static int send_all(struct probe *p, const int *fds, struct tg_error *e)
{
	int64_t begun_ns = tool_now_ns(CLOCK_MONOTONIC), due_ns = begun_ns;
	int64_t limit_ns = (int64_t)(p->seconds * TOOL_NS_PER_S);
	int ret = 0;

	for (uint32_t i = 0; i < p->count && !ret; i++) {
		if (limit_ns && tool_now_ns(CLOCK_MONOTONIC) - begun_ns >= limit_ns)
			break;
		if (p->until && !access(p->until, F_OK))
			break;
		struct timespec due = tool_timespec(due_ns);

		if (p->interval_us > 0)
			clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
		ret = send_one(p, fds[i % p->flows], i, e);
		/* After a stall it goes on from there: catching up would be a burst, and those get lost. */
		due_ns = p->sent_ns[i] + (int64_t)(p->interval_us * 1000);
	}
	return ret;
}

static int sender(struct probe *p, struct tg_error *e)
{
	int *fds = malloc(p->flows * sizeof(*fds)), ret;

	if (!fds)
		return tg_error(e, -ENOMEM, "out of memory");
	for (uint64_t i = 0; i < p->flows; i++)
		fds[i] = -1;
	ret = tool_enter_netns(p->ends.client_netns, e);
	if (!ret)
		ret = open_flows(p, fds, e);
	if (!ret)
		ret = send_all(p, fds, e);
	for (uint64_t i = 0; i < p->flows; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	free(fds);
	return ret;
}

static int run(struct probe *p, struct tg_error *e)
{
	pthread_t thread;
	int ret = pthread_create(&thread, NULL, receiver, p);

	if (ret)
		return tg_error(e, -ret, "cannot start a thread: %s", strerror(ret));
	sem_wait(&p->listening);
	if (!atomic_load(&p->server_error))
		ret = sender(p, e);
	atomic_store(&p->stop_ns, tool_now_ns(CLOCK_MONOTONIC) + (int64_t)(p->linger_s * TOOL_NS_PER_S));
	pthread_join(thread, NULL);
	if (!ret && atomic_load(&p->server_error)) {
		ret = atomic_load(&p->server_error);
		*e = p->error;
	}
	return ret;
}

/* ---- result ---- */

static json_t *delays(const struct probe *p)
{
	int64_t *values = malloc((p->received + 1) * sizeof(*values));
	size_t n = 0;
	json_t *o;

	if (!values)
		return NULL;
	for (uint64_t i = 0; i < p->count; i++)
		if (p->arrived_ns[i])
			values[n++] = p->arrived_ns[i] - p->sent_ns[i];
	quantile_sort(values, n);
	o = json_pack("{s:f, s:f, s:f}", "p50", (double)quantile(values, n, 50) / 1e3, "p99",
		      (double)quantile(values, n, 99) / 1e3, "max", (double)quantile(values, n, 100) / 1e3);
	free(values);
	return o;
}

static json_t *result(const struct probe *p)
{
	json_t *first = json_null();

	for (uint64_t i = p->sent + p->refused; i-- > 0;)
		if (!p->arrived_ns[i])
			first = json_integer((json_int_t)i);
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "sent", (json_int_t)p->sent,
			 "refused", (json_int_t)p->refused, "received", (json_int_t)p->received, "lost",
			 (json_int_t)(p->sent + p->refused - p->received), "duplicated",
			 (json_int_t)p->duplicated, "reordered", (json_int_t)p->reordered, "corrupt",
			 (json_int_t)p->corrupt, "first_lost", first, "delay_us", delays(p));
}

static int probe_run(struct probe *p, struct tg_error *e)
{
	int ret = 0;

	p->sent_ns = calloc(p->count, sizeof(*p->sent_ns));
	p->arrived_ns = calloc(p->count, sizeof(*p->arrived_ns));
	if (!p->sent_ns || !p->arrived_ns)
		ret = tg_error(e, -ENOMEM, "out of memory");
	if (!ret)
		ret = run(p, e);
	if (!ret)
		ret = tool_print_json(result(p), e);
	if (!ret && (p->received != p->sent + p->refused || p->corrupt || p->duplicated))
		ret = tg_error(e, -EIO,
			       "%llu of %llu datagrams arrived once, %llu twice, %llu were not right",
			       (unsigned long long)p->received, (unsigned long long)(p->sent + p->refused),
			       (unsigned long long)p->duplicated, (unsigned long long)p->corrupt);
	free(p->sent_ns);
	free(p->arrived_ns);
	return ret;
}

/* ---- the command line ---- */

static void usage(FILE *f)
{
	fputs("Usage: " PROGRAM " --address A --port P [OPTIONS]\n"
	      "Sends numbered UDP datagrams to an address, receives them there, and prints what happened as "
	      "JSON.\n\n"
	      "  --client-netns PATH  network namespace of the sender (default: where it was started)\n"
	      "  --server-netns PATH  network namespace of the receiver\n"
	      "  --count N            datagrams (default 1000)\n"
	      "  --interval US        microseconds from one to the next; 0 (default): without a pause\n"
	      "  --seconds S          fewer than --count if that would take longer; 0 (default): all\n"
	      "  --until FILE         fewer than --count once this file exists\n"
	      "  --sizes MIN-MAX      bytes of payload, each size in turn (default 64-64, from 4 to 8192)\n"
	      "  --flows N            source ports, used in turn (default 1)\n"
	      "  --tos N              DSCP and ECN of the datagrams: the value of that byte (default 0)\n"
	      "  --linger S           seconds to wait for the last ones (default 1)\n"
	      "  --help\n\n"
	      "`refused` counts datagrams that routing did not let out. Exit status: 0 every datagram "
	      "arrived "
	      "once\nand unchanged, 1 not so, 2 the call was wrong.\n",
	      f);
}

static int parse_sizes(struct probe *p, char *text, struct tg_error *e)
{
	char *dash = strchr(text, '-');
	int ret;

	if (!dash)
		return tg_error(e, -EINVAL, "--sizes: '%.40s', expected MIN-MAX", text);
	*dash = 0;
	ret = tool_parse_whole(text, "--sizes", MIN_BYTES, MAX_BYTES, &p->min_bytes, e);
	return ret ? ret : tool_parse_whole(dash + 1, "--sizes", p->min_bytes, MAX_BYTES, &p->max_bytes, e);
}

/* Returns 0, 1 for --help, or -EINVAL. */
static int parse_options(struct probe *p, int argc, char **argv, struct tg_error *e)
{
	static const struct option options[] = {
		TOOL_ENDS_OPTIONS,
		{ "count", required_argument, NULL, 'n' },
		{ "interval", required_argument, NULL, 'i' },
		{ "seconds", required_argument, NULL, 's' },
		{ "until", required_argument, NULL, 'u' },
		{ "sizes", required_argument, NULL, 'z' },
		{ "flows", required_argument, NULL, 'f' },
		{ "linger", required_argument, NULL, 'l' },
		{ "tos", required_argument, NULL, 't' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int c, ret = 0;

	opterr = 0;
	while (!ret && (c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'n':
			ret = tool_parse_whole(optarg, "--count", 1, MAX_COUNT, &p->count, e);
			break;
		case 'i':
			ret = tool_parse_real(optarg, "--interval", 0, 1e7, &p->interval_us, e);
			break;
		case 's':
			ret = tool_parse_real(optarg, "--seconds", 0, 3600, &p->seconds, e);
			break;
		case 'u':
			p->until = optarg;
			break;
		case 'z':
			ret = parse_sizes(p, optarg, e);
			break;
		case 'f':
			ret = tool_parse_whole(optarg, "--flows", 1, MAX_FLOWS, &p->flows, e);
			break;
		case 'l':
			ret = tool_parse_real(optarg, "--linger", 0, 3600, &p->linger_s, e);
			break;
		case 't':
			ret = tool_parse_whole(optarg, "--tos", 0, 255, &p->tos, e);
			break;
		case 'h':
			return 1;
		case '?':
			return tg_error(e, -EINVAL, "bad option '%s'; see --help", argv[optind - 1]);
		default:
			ret = tool_ends_option(&p->ends, c, optarg, e);
		}
	}
	if (!ret && (!tool_ends_complete(&p->ends) || optind != argc))
		ret = tg_error(e, -EINVAL, "--address and --port are needed, and nothing else; see --help");
	return ret;
}

int main(int argc, char **argv)
{
	struct probe p = { .count = 1000, .flows = 1, .min_bytes = 64, .max_bytes = 64, .linger_s = 1 };
	struct tg_error e = { "" };
	int ret = tool_begin(PROGRAM, parse_options(&p, argc, argv, &e), usage, &e);

	if (ret >= 0)
		return ret;
	sem_init(&p.listening, 0, 0);
	ret = probe_run(&p, &e);
	sem_destroy(&p.listening);
	return ret ? tool_fail(PROGRAM, TOOL_FAILED, &e) : EXIT_SUCCESS;
}
