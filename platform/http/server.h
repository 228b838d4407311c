/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * HTTP/1.1 over TLS 1.3: one thread per worker, each with a listening socket of its own on the same address
 * (SO_REUSEPORT), an event loop, and a connection to the store for reading. Handlers run in the worker's
 * thread and must not wait; what has to wait is held and answered later.
 *
 * A client certificate is asked for and may be missing; a route says what it needs. Who a client is, and that
 * it has not been revoked, agent or operator, is looked up for each request, not for each connection.
 */
#ifndef PLATFORM_HTTP_SERVER_H
#define PLATFORM_HTTP_SERVER_H

#include <event2/http.h>
#include <jansson.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "http/limit.h"
#include "http/metrics.h"
#include "store/store.h"
#include "tensorguard/certificate.h"
#include "tensorguard/error.h"

enum { SERVER_ADDRESS_SIZE = 48, SERVER_ARGUMENT_SIZE = 65 };

struct worker;
struct server;

struct request {
	struct worker *worker;
	struct evhttp_request *http;
	const struct route *route;
	void *context;			/* the server's */
	struct store *store;		/* for reading only */
	SSL *tls;			/* until the handler returns */
	char address[SERVER_ADDRESS_SIZE];
	bool has_client;
	struct tg_client client;	/* valid with has_client */
	struct store_agent agent;	/* valid with a client that is an agent */
	char argument[SERVER_ARGUMENT_SIZE];	/* what stands for {id}, {hash} or {...} in the path */
	int64_t begin_us;
};

/* _LATE: an agent, and be it with a certificate that has ended, within its fleet's grace. */
enum route_client { ROUTE_ANYBODY, ROUTE_AGENT, ROUTE_AGENT_LATE, ROUTE_OPERATOR };

struct route {
	enum evhttp_cmd_type method;	/* EVHTTP_REQ_GET, _HEAD or _POST */
	/* "/v1/agents/{id}", "/v1/blobs/{hash}": one part of it may be an id, or a SHA-256 in lower-case
	 * digits. "/tile/{...}": its end may be anything, for which the handler answers. */
	const char *path;
	enum route_client client;
	size_t body_max;
	void (*handle)(struct request *request);
};

struct server_config {
	const char *listen;		/* "[::]:8443", "192.0.2.1:8443"; port 0: any */
	unsigned workers;
	unsigned connections;		/* at most, all workers together */
	const char *store_url;
	SSL_CTX *tls;			/* of server_tls_new() */
	const struct route *routes;	/* ended by path NULL */
	void *context;
	struct metrics *metrics;
	struct limiter *by_address, *by_agent;
	struct limiter *by_site;	/* an IPv6 network of 48 bits */
	struct limiter *by_certificate; /* of an agent */
	/* Called for a client that a route refuses; `reason` is a constant. May be NULL. */
	void (*refused)(struct request *request, const char *reason);
};

/* The certificate and its chain, the key, and the CA of client certificates. TLS 1.3 only, no resumption. */
int server_tls_new(X509 *cert, STACK_OF(X509) * chain, EVP_PKEY *key, X509 *client_ca, SSL_CTX **ret_tls,
		   struct tg_error *e);

/*
 * Listens and answers, until server_stop(), which lets held requests end first. `config` is copied. Who calls
 * request_call() must have ended before server_free(), which answers what is still held.
 */
int server_start(const struct server_config *config, struct server **ret_server, struct tg_error *e);
void server_stop(struct server *server);
/* For connections that begin from now on; those that are open go on as they are. Any thread. */
void server_set_tls(struct server *server, SSL_CTX *tls);
void server_free(struct server *server);
/* The port that it listens on. */
uint16_t server_port(const struct server *server);

/* The body, in one piece; valid as long as the request. */
const char *request_body(struct request *request, size_t *ret_len);
/* Keying material of this TLS connection by RFC 9266, within the handler. */
int request_exporter(const struct request *request, uint8_t *ret_data, size_t len, struct tg_error *e);

/* Keeps a request beyond its handler: a copy, to be given to one of the request_...() below. NULL: no memory.
 */
struct request *request_hold(const struct request *request);
/* From any thread: calls `run` in the worker's thread. */
struct request_call {
	void (*run)(struct request_call *call);
	struct request_call *next;	/* the worker's */
};
void request_call(struct request *held, struct request_call *call);
/* After answering a held request. */
void request_release(struct request *held);

/* Answers: each request exactly once. `object` is stolen. */
void request_json(struct request *request, int status, json_t *object);
/* {"error": message, "reason": reason} */
void request_fail(struct request *request, int status, const char *reason, const char *message);
void request_send(struct request *request, int status, const char *type, struct evbuffer *body);

#endif
