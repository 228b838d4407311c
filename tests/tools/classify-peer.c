/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The far ends that the classifier's tests need: clients that cut a ClientHello
 * as they are told, a server that takes anything, a reader of the agent's
 * counters.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { EXIT_USAGE = 2, HELLO_MAX = 512, SINK_OPEN = 512, TIMEOUT_S = 5 };

struct hello {
	uint8_t data[HELLO_MAX];
	size_t len;
};

static int fail(const char *what)
{
	fprintf(stderr, "classify-peer: %s: %s\n", what, strerror(errno));
	return EXIT_FAILURE;
}

static void put(struct hello *h, const void *data, size_t len)
{
	memcpy(h->data + h->len, data, len);
	h->len += len;
}

static void put16(struct hello *h, size_t value)
{
	put(h, (uint8_t[]){ (uint8_t)(value >> 8), (uint8_t)value }, 2);
}

static void set16(struct hello *h, size_t at, size_t value)
{
	h->data[at] = (uint8_t)(value >> 8);
	h->data[at + 1] = (uint8_t)value;
}

/* TLS 1.2 with what any server takes: RSA key exchange, two signature algorithms, and the name last. */
static void build_hello(struct hello *h, const char *name)
{
	size_t len = strlen(name), block;

	h->len = 0;
	put(h,
	    "\x16\x03\x01\0\0\x01\0\0\0\x03\x03"
	    "TensorGuard classifier test, 32 b",
	    11 + 32);
	put(h, "\0\0\x06\x00\x9c\x00\x2f\x00\xff\x01\0", 11);
	block = h->len;
	put16(h, 0);
	put(h, "\x00\x0d\x00\x08\x00\x06\x04\x01\x08\x04\x04\x03", 12);
	put16(h, 0);
	put16(h, len + 5);
	put16(h, len + 3);
	put(h, "", 1);
	put16(h, len);
	put(h, name, len);
	set16(h, block, h->len - block - 2);
	set16(h, 7, h->len - 9);
	set16(h, 3, h->len - 5);
}

static bool read_address(const char *text, const char *port, struct sockaddr_in *ret_address)
{
	char *end;
	unsigned long number = strtoul(port, &end, 10);

	*ret_address = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)number) };
	return !*end && end != port && number <= 65535 &&
	       inet_pton(AF_INET, text, &ret_address->sin_addr) == 1;
}

static int open_client(const struct sockaddr_in *to, uint16_t local_port)
{
	const struct sockaddr_in from = { .sin_family = AF_INET, .sin_port = htons(local_port) };
	const struct timeval limit = { .tv_sec = TIMEOUT_S };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	if (fd < 0)
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) ||
	    bind(fd, (const struct sockaddr *)&from, sizeof(from)) ||
	    connect(fd, (const struct sockaddr *)to, sizeof(*to))) {
		close(fd);
		return -1;
	}
	return fd;
}

/* hello ADDRESS PORT NAME LOCAL-PORT PIECE: sends a hello PIECE bytes at a time; succeeds if a handshake
 * answers. */
static int run_hello(char **argv)
{
	struct sockaddr_in to;
	struct hello hello;
	size_t piece = strtoul(argv[4], NULL, 10);
	uint8_t answer = 0;
	int fd;

	if (!read_address(argv[0], argv[1], &to) || !piece || strlen(argv[2]) > 253)
		return EXIT_USAGE;
	build_hello(&hello, argv[2]);
	fd = open_client(&to, (uint16_t)atoi(argv[3]));
	if (fd < 0)
		return fail("connect");
	for (size_t at = 0; at < hello.len; at += piece)
		if (send(fd, hello.data + at, hello.len - at < piece ? hello.len - at : piece, MSG_NOSIGNAL) <
		    0)
			return fail("send");
	if (recv(fd, &answer, 1, 0) != 1)
		return fail("no answer to the hello");
	close(fd);
	if (answer == 22)
		return EXIT_SUCCESS;
	fprintf(stderr, "classify-peer: the answer to the hello is a record of type %u\n", answer);
	return EXIT_FAILURE;
}

/* One connection, its hello in two pieces; reset at the end, so that no port stays in TIME_WAIT. */
static bool one_flow(const struct sockaddr_in *to, const struct hello *hello)
{
	const struct linger reset = { .l_onoff = 1 };
	int fd = open_client(to, 0);
	bool sent;

	if (fd < 0)
		return false;
	sent = send(fd, hello->data, 40, MSG_NOSIGNAL) == 40 &&
	       send(fd, hello->data + 40, hello->len - 40, MSG_NOSIGNAL) == (ssize_t)hello->len - 40;
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(fd);
	return sent;
}

/* flows ADDRESS PORT NAME COUNT: that many connections, one after another. */
static int run_flows(char **argv)
{
	unsigned long count = strtoul(argv[3], NULL, 10);
	struct sockaddr_in to;
	struct hello hello;

	if (!read_address(argv[0], argv[1], &to) || !count || strlen(argv[2]) > 253)
		return EXIT_USAGE;
	build_hello(&hello, argv[2]);
	for (unsigned long i = 0; i < count; i++)
		if (!one_flow(&to, &hello))
			return fail("flow");
	return EXIT_SUCCESS;
}

/* sink ADDRESS PORT: accepts connections and reads nothing; the oldest make room. Prints "ready". */
static int run_sink(char **argv)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1, open_fds[SINK_OPEN];
	struct sockaddr_in at;

	if (!read_address(argv[0], argv[1], &at))
		return EXIT_USAGE;
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    bind(fd, (const struct sockaddr *)&at, sizeof(at)) || listen(fd, 1024))
		return fail("listen");
	puts("ready");
	if (fflush(stdout))
		return fail("write");
	for (size_t i = 0;; i = (i + 1) % SINK_OPEN) {
		static bool full;
		int client = accept(fd, NULL, NULL);

		if (client < 0)
			return fail("accept");
		if (full)
			close(open_fds[i]);
		open_fds[i] = client;
		full = full || i == SINK_OPEN - 1;
	}
}

/* ask SOCKET REQUEST: prints the agent's answer. */
static int run_ask(char **argv)
{
	const struct timeval limit = { .tv_sec = TIMEOUT_S };
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	char text[65536];
	ssize_t n;

	if (strlen(argv[0]) >= sizeof(address.sun_path))
		return EXIT_USAGE;
	strcpy(address.sun_path, argv[0]);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) ||
	    connect(fd, (const struct sockaddr *)&address, sizeof(address)) ||
	    send(fd, argv[1], strlen(argv[1]), MSG_NOSIGNAL) < 0)
		return fail(argv[0]);
	n = recv(fd, text, sizeof(text), 0);
	if (n <= 0)
		return fail("no answer");
	return fwrite(text, 1, (size_t)n, stdout) == (size_t)n && putchar('\n') != EOF && !fflush(stdout)
		       ? EXIT_SUCCESS
		       : fail("write");
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int args;
		int (*run)(char **argv);
	} commands[] = {
		{ "hello", 5, run_hello },
		{ "flows", 4, run_flows },
		{ "sink", 2, run_sink },
		{ "ask", 2, run_ask },
	};
	int status = EXIT_USAGE;

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (argc == commands[i].args + 2 && !strcmp(argv[1], commands[i].name))
			status = commands[i].run(argv + 2);
	if (status == EXIT_USAGE)
		fprintf(stderr, "Usage: classify-peer hello ADDRESS PORT NAME LOCAL-PORT PIECE\n"
				"       classify-peer flows ADDRESS PORT NAME COUNT\n"
				"       classify-peer sink ADDRESS PORT\n"
				"       classify-peer ask SOCKET REQUEST\n");
	return status;
}
