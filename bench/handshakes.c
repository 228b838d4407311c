/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * handshakes MILLISECONDS CA CERTIFICATE KEY PORT:PID...: mutual TLS 1.3 handshakes, one after the other in a
 * thread for each PORT:PID, with the server at that port. A handshake counts when the server has taken the
 * client's certificate and has answered the end of the connection; openssl s_time counts it as soon as the
 * client is done, which is before that, and in whole seconds. Prints handshakes per second, and per second of
 * the servers' processor time.
 */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/enrol_client.h"
#include "common/tool.h"

#define PROGRAM "handshakes"
enum { MAX_THREADS = 64 };

struct client {
	pthread_t thread;
	SSL_CTX *ctx;
	uint16_t port;
	pid_t pid;
	int64_t end_ns;
	_Atomic unsigned *count;
};

static void fail(const char *what)
{
	struct tg_error e;

	ERR_print_errors_fp(stderr);
	tg_error(&e, 0, "%s", what);
	exit(tool_fail(PROGRAM, TOOL_FAILED, &e));
}

/* By a reset, so that no port has to wait; the server has said its last word. */
static void drop(SSL *tls, int fd)
{
	SSL_free(tls);
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){ .l_onoff = 1 }, sizeof(struct linger));
	close(fd);
}

static void shake_hands(const struct client *client)
{
	int fd = enrol_connect(client->port), nid;
	char none[1];
	SSL *tls = fd < 0 ? NULL : enrol_tls(client->ctx, fd, NULL, NULL);

	if (!tls || SSL_connect(tls) != 1)
		fail("no connection");
	if (SSL_version(tls) != TLS1_3_VERSION || SSL_get_signature_nid(tls, &nid) != 1)
		fail("the server did not ask for a certificate by TLS 1.3");
	if (SSL_shutdown(tls) < 0 || SSL_get_error(tls, SSL_read(tls, none, 1)) != SSL_ERROR_ZERO_RETURN)
		fail("the server did not take the certificate");
	drop(tls, fd);
}

static void *run(void *arg)
{
	const struct client *client = arg;

	while (tool_now_ns(CLOCK_MONOTONIC) < client->end_ns) {
		shake_hands(client);
		atomic_fetch_add(client->count, 1);
	}
	return NULL;
}

/* Of all servers, each once. */
static int64_t processor_ns(const struct client *clients, unsigned count)
{
	int64_t sum = 0;

	for (unsigned i = 0; i < count; i++) {
		bool known = false;
		clockid_t clock;

		for (unsigned k = 0; k < i; k++)
			known = known || clients[k].pid == clients[i].pid;
		if (!known && clock_getcpuclockid(clients[i].pid, &clock))
			fail("a server is gone");
		if (!known)
			sum += tool_now_ns(clock);
	}
	return sum;
}

static SSL_CTX *context(char **files)
{
	SSL_CTX *ctx = enrol_context(files[0]);

	if (!ctx || SSL_CTX_use_certificate_file(ctx, files[1], SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_use_PrivateKey_file(ctx, files[2], SSL_FILETYPE_PEM) != 1)
		fail("certificates");
	/* the Platform ends a connection without a last message; a refusal is one, and an error here */
	SSL_CTX_set_options(ctx, SSL_OP_IGNORE_UNEXPECTED_EOF);
	return ctx;
}

static void measure(struct client *clients, unsigned count, int64_t limit_ns)
{
	_Atomic unsigned done = 0;
	int64_t begin, spent;

	for (unsigned i = 0; i < count; i++)
		shake_hands(&clients[i]); /* both sides fetch their algorithms once */
	spent = processor_ns(clients, count);
	begin = tool_now_ns(CLOCK_MONOTONIC);
	for (unsigned i = 0; i < count; i++) {
		clients[i].count = &done;
		clients[i].end_ns = begin + limit_ns;
		if (pthread_create(&clients[i].thread, NULL, run, &clients[i]))
			fail("no thread");
	}
	for (unsigned i = 0; i < count; i++)
		pthread_join(clients[i].thread, NULL);
	begin = tool_now_ns(CLOCK_MONOTONIC) - begin;
	spent = processor_ns(clients, count) - spent;
	printf("%.1f %.1f\n", done * 1e9 / (double)begin, done * 1e9 / (double)spent);
}

int main(int argc, char **argv)
{
	struct client clients[MAX_THREADS] = { 0 };
	unsigned count = argc > 5 ? (unsigned)argc - 5 : 0;
	SSL_CTX *ctx;

	if (!count || count > MAX_THREADS || atof(argv[1]) <= 0) {
		fprintf(stderr, "Usage: %s MILLISECONDS CA CERTIFICATE KEY PORT:PID...\n", argv[0]);
		return TOOL_USAGE;
	}
	signal(SIGPIPE, SIG_IGN);
	ctx = context(argv + 2);
	for (unsigned i = 0; i < count; i++) {
		clients[i].ctx = ctx;
		if (sscanf(argv[5 + i], "%hu:%d", &clients[i].port, &clients[i].pid) != 2)
			fail("expected PORT:PID");
	}
	measure(clients, count, (int64_t)(atof(argv[1]) * 1e6));
	SSL_CTX_free(ctx);
	return EXIT_SUCCESS;
}
