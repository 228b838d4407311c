/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of http/ share, and nobody else uses. */
#ifndef PLATFORM_HTTP_PARTS_H
#define PLATFORM_HTTP_PARTS_H

#include <event2/bufferevent.h>
#include <event2/event.h>
#include <pthread.h>
#include <stdatomic.h>

#include "http/server.h"

enum {
	HEADERS_MAX = 8192,
	BODY_MAX = 1024 * 1024 + 4096,	/* routes have limits of their own */
	/* What evhttp waits for as a whole, and a little: what a connection may have unread with us. */
	INPUT_MAX = HEADERS_MAX + BODY_MAX + 16384,
};

struct server {
	struct server_config config;
	struct worker *workers;
	unsigned worker_count;
	uint16_t port;
	_Atomic unsigned connections;
	pthread_mutex_t tls_lock;	/* of config.tls */
};

struct worker {
	struct server *server;
	pthread_t thread;
	bool running;
	struct event_base *base;
	struct evhttp *http;
	struct store *store;
	struct event *wake;
	int wake_fd;
	pthread_mutex_t lock;	/* of what follows */
	struct request_call *calls, **calls_end;
	bool stop;
	unsigned held;	/* the worker's own */
};

/* A connection's deadlines. It lives as long as its SSL object. */
struct connection {
	struct worker *worker;
	struct bufferevent *bev;
	struct event *deadline;
	enum { CONNECTION_WAITING, CONNECTION_READING, CONNECTION_BUSY } state;
	bool answering;	/* what is written is an answer of ours, not of evhttp */
};

/* For evhttp_set_bevcb(). */
struct bufferevent *connection_new(struct event_base *base, void *worker);
struct connection *connection_of(SSL *tls);
/* A request is whole: no deadline until it is answered. */
void connection_busy(struct connection *connection);
/* Its answer is about to be written. */
void connection_answer(struct connection *connection);
/* The next one may come. */
void connection_idle(struct connection *connection);

/*
 * evhttp answers by itself what it takes for no request (400, 413, 417, 501), in HTML, and closes the
 * connection then. The status of such an answer at the beginning of `output`, or 0 for anything else.
 */
int foreign_answer(struct evbuffer *output);
/* When it is there as a whole, and none of it has left: puts ours in its place. Returns the status. */
int answer_instead(struct evbuffer *output);

/* For SSL_CTX_set_verify(): an agent's certificate that has ended or not begun is let in, for grace_reason()
 * to judge. */
int grace_verify(int good, X509_STORE_CTX *ctx);
/*
 * Why an agent, request->agent, may not renew a certificate that has ended: "certificate-expired",
 * "certificate-superseded", "grace-ended", or NULL: it may. A negative errno: the store does not answer.
 */
int grace_reason(struct request *request, const char **ret_reason);

/* For evhttp_set_gencb(): checks limits, route and client, and calls the handler. */
void dispatch(struct evhttp_request *http, void *worker);

/* An IPv4 address that came to an IPv6 socket, as what it is. */
const char *plain_address(const char *address);
/* Whether one thing more may come from there: IPv4 by the address, IPv6 by its /64, and wider by its /48. */
bool address_allowed(const struct server_config *config, const char *address, int64_t now_ms);

#endif
