/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent_ssl.h>
#include <event2/http.h>
#include <event2/http_struct.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "http/parts.h"
#include "tensorguard/crypto.h"

/* Longer ones are no addresses of ours. */
enum { PATH_MAX_LEN = 256 };

static int64_t clock_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000ll + now.tv_nsec / 1000;
}

static bool is_hash(const char *text)
{
	return strlen(text) == 64 && strspn(text, "0123456789abcdef") == 64;
}

/*
 * Whether `path` is the route's; what stands for its {id} or {hash}, or for its end
 * {...}, goes to `argument`.
 */
static bool path_matches(const char *pattern, const char *path, char argument[static SERVER_ARGUMENT_SIZE])
{
	const char *hole = strchr(pattern, '{'), *rest;
	size_t before, len;

	if (!hole)
		return !strcmp(pattern, path);
	before = (size_t)(hole - pattern);
	if (strncmp(pattern, path, before))
		return false;
	if (!strcmp(hole, "{...}")) {
		if (strlen(path + before) >= SERVER_ARGUMENT_SIZE)
			return false;
		strcpy(argument, path + before);
		return true;
	}
	rest = strchr(hole, '}') + 1;
	len = strcspn(path + before, "/");
	if (len >= SERVER_ARGUMENT_SIZE || strcmp(rest, path + before + len))
		return false;
	memcpy(argument, path + before, len);
	argument[len] = '\0';
	return strncmp(hole, "{hash}", 6) ? tg_id_valid(argument) : is_hash(argument);
}

/* *ret_known: the path is right, the method may not be. */
static const struct route *find_route(const struct route *routes, enum evhttp_cmd_type method,
				      const char *path, char argument[static SERVER_ARGUMENT_SIZE],
				      bool *ret_known)
{
	*ret_known = false;
	for (; routes->path; routes++) {
		if (!path_matches(routes->path, path, argument))
			continue;
		*ret_known = true;
		if (routes->method == method)
			return routes;
	}
	return NULL;
}

static void count_answer(const struct request *request, int status)
{
	const struct server_config *config = &request->worker->server->config;
	size_t index = request->route ? (size_t)(request->route - config->routes) : METRICS_ROUTES;

	metrics_request(config->metrics, index, status, (uint64_t)(clock_us() - request->begin_us));
}

static void on_answered(struct evhttp_request *http, void *arg)
{
	struct bufferevent *bev = evhttp_connection_get_bufferevent(evhttp_request_get_connection(http));
	SSL *tls = bev ? bufferevent_openssl_get_ssl(bev) : NULL;

	(void)arg;
	if (tls)
		connection_idle(connection_of(tls));
}

/* What goes out from now on is ours. */
static void mark_answer(struct request *request)
{
	struct evhttp_connection *evcon = evhttp_request_get_connection(request->http);
	struct bufferevent *bev = evcon ? evhttp_connection_get_bufferevent(evcon) : NULL;
	SSL *tls = bev ? bufferevent_openssl_get_ssl(bev) : NULL;

	if (tls)
		connection_answer(connection_of(tls));
}

void request_send(struct request *request, int status, const char *type, struct evbuffer *body)
{
	struct evkeyvalq *headers = evhttp_request_get_output_headers(request->http);

	evhttp_add_header(headers, "Content-Type", type);
	evhttp_add_header(headers, "Cache-Control", "no-store");
	if (status == 429 || status == 503)
		evhttp_add_header(headers, "Retry-After", "10");
	evhttp_request_set_on_complete_cb(request->http, on_answered, NULL);
	count_answer(request, status);
	mark_answer(request);
	evhttp_send_reply(request->http, status, NULL, body);
}

void request_json(struct request *request, int status, json_t *object)
{
	struct evbuffer *body = evbuffer_new();
	char *text = json_dumps(object, JSON_COMPACT | JSON_PRESERVE_ORDER);

	json_decref(object);
	if (body && text)
		evbuffer_add_printf(body, "%s\n", text);
	request_send(request, body && text ? status : 500, "application/json", body);
	free(text);
	if (body)
		evbuffer_free(body);
}

void request_fail(struct request *request, int status, const char *reason, const char *message)
{
	request_json(request, status, json_pack("{s:s, s:s}", "error", message, "reason", reason));
}

const char *request_body(struct request *request, size_t *ret_len)
{
	struct evbuffer *body = evhttp_request_get_input_buffer(request->http);

	*ret_len = evbuffer_get_length(body);
	return *ret_len ? (const char *)evbuffer_pullup(body, -1) : "";
}

int request_exporter(const struct request *request, uint8_t *ret_data, size_t len, struct tg_error *e)
{
	static const char label[] = "EXPORTER-Channel-Binding";

	/* RFC 9266: no context, which for TLS 1.3 is the same as an empty one */
	if (SSL_export_keying_material(request->tls, ret_data, len, label, sizeof(label) - 1, NULL, 0, 0) !=
	    1)
		return tg_openssl_error(e, -EIO, "TLS exporter");
	return 0;
}

struct request *request_hold(const struct request *request)
{
	struct request *held = malloc(sizeof(*held));

	if (!held)
		return NULL;
	*held = *request;
	held->tls = NULL;
	held->worker->held++;
	return held;
}

void request_release(struct request *held)
{
	held->worker->held--;
	free(held);
}

static void refuse(struct request *request, int status, const char *reason, const char *message)
{
	const struct server_config *config = &request->worker->server->config;

	metrics_refusal(config->metrics, reason);
	if (config->refused)
		config->refused(request, reason);
	request_fail(request, status, reason, message);
}

/* Who the certificate names. TLS has verified its chain; that was when the connection began. */
static int read_client(struct request *request)
{
	const X509 *cert = SSL_get0_peer_certificate(request->tls);
	time_t now = time(NULL);
	int64_t end;

	if (!cert)
		return 0;
	if (tg_certificate_client(cert, &request->client, NULL) || tg_certificate_end(cert, &end, NULL))
		return -EINVAL;
	request->has_client = true;
	return end <= now || X509_cmp_time(X509_get0_notBefore(cert), &now) > 0 ? -EKEYEXPIRED : 0;
}

/* Whether the store still wants this agent. True when the request goes on. */
static bool agent_welcome(struct request *request)
{
	struct tg_error e;
	int ret = store_agent_get(request->store, request->client.id, &request->agent, &e);

	if (ret == -ENOENT)
		refuse(request, 403, "agent-unknown", "this agent is not known");
	else if (ret)
		request_fail(request, 503, "store", "the store does not answer");
	else if (request->agent.revoked)
		refuse(request, 403, "agent-revoked", "this agent has been revoked");
	else if (strcmp(request->agent.fleet, request->client.fleet))
		refuse(request, 403, "agent-of-another-fleet", "this agent has another fleet now");
	else
		return true;
	return false;
}

/* Whether this very certificate was issued here and not taken back. True when the request goes on. */
static bool operator_welcome(struct request *request)
{
	char serial[TG_SERIAL_TEXT_LEN];
	struct store_operator operator= { 0 };
	struct tg_error e;
	int ret = tg_certificate_serial(SSL_get0_peer_certificate(request->tls), serial, &e);

	if (!ret)
		ret = store_operator_get(request->store, serial, &operator, & e);
	if (ret == -ENOENT)
		refuse(request, 403, "operator-unknown", "this operator's certificate is not known");
	else if (ret)
		request_fail(request, 503, "store", "the store does not answer");
	else if (operator.revoked)
		refuse(request, 403, "operator-revoked", "this operator's certificate has been revoked");
	else
		return true;
	return false;
}

/* True when the request goes on. */
static bool grace_allows(struct request *request)
{
	const char *reason;

	if (grace_reason(request, &reason))
		request_fail(request, 503, "store", "the store does not answer");
	else if (reason)
		refuse(request, strcmp(reason, "certificate-expired") ? 403 : 401, reason,
		       "the client certificate has expired, and this device may not renew it any more");
	else
		return true;
	return false;
}

/* `ret`: of read_client(). True when the client may use the route; else the request has been answered. */
static bool client_allowed(struct request *request, int ret)
{
	enum route_client wanted = request->route->client;
	bool late = ret == -EKEYEXPIRED && request->route->client == ROUTE_AGENT_LATE;

	if (wanted == ROUTE_ANYBODY)
		return true;
	if (late)
		ret = 0;
	if (ret == -EKEYEXPIRED)
		refuse(request, 401, "certificate-expired",
		       "the client certificate has expired, or has not begun");
	else if (ret)
		refuse(request, 401, "certificate-without-name", "the client certificate names nobody");
	else if (!request->has_client)
		refuse(request, 401, "certificate-missing", "a client certificate is needed");
	else if ((wanted != ROUTE_OPERATOR) != (request->client.kind == TG_CLIENT_AGENT))
		refuse(request, 403, "certificate-of-another-kind",
		       wanted == ROUTE_OPERATOR ? "this is for operators" : "this is for agents");
	else
		return wanted == ROUTE_OPERATOR ? operator_welcome(request)
						: agent_welcome(request) && (!late || grace_allows(request));
	return false;
}

/*
 * Each certificate by itself, so that who has the key of an older one leaves the device its requests; and the
 * agent as a whole, as it may renew as often as it likes.
 */
static bool agent_within_limits(const struct request *request)
{
	const struct server_config *config = &request->worker->server->config;
	const char *id = request->client.id;
	char serial[TG_SERIAL_TEXT_LEN];
	int64_t now = limiter_clock_ms();

	return !tg_certificate_serial(SSL_get0_peer_certificate(request->tls), serial, NULL) &&
	       limiter_take(config->by_certificate, serial, strlen(serial), now) &&
	       limiter_take(config->by_agent, id, strlen(id), now);
}

/*
 * Agents are limited each by itself, welcome or not: many may share an address. But not by a certificate that
 * has ended (`current` false), or whoever has an old key of a device could use up its requests.
 */
static bool within_limits(struct request *request, bool current)
{
	const struct server_config *config = &request->worker->server->config;
	bool allowed;

	if (current && request->has_client && request->client.kind == TG_CLIENT_AGENT)
		allowed = agent_within_limits(request);
	else
		allowed = address_allowed(config, request->address, limiter_clock_ms());
	if (!allowed) {
		metrics_refusal(config->metrics, "rate");
		request_fail(request, 429, "rate", "too many requests, try again later");
	}
	return allowed;
}

static void serve(struct request *request, const char *path)
{
	const struct route *routes = request->worker->server->config.routes;
	bool known;
	int ret;

	request->route = find_route(routes, evhttp_request_get_command(request->http), path,
				    request->argument, &known);
	if (!request->route) {
		if (within_limits(request, false))
			request_fail(request, known ? 405 : 404, known ? "method" : "path",
				     known ? "this path has other methods" : "no such path");
		return;
	}
	ret = request->route->client == ROUTE_ANYBODY ? 0 : read_client(request);
	/* the limit first: a refusal costs a look into the store and an audit record */
	if (!within_limits(request, !ret) || !client_allowed(request, ret))
		return;
	if (evbuffer_get_length(evhttp_request_get_input_buffer(request->http)) > request->route->body_max) {
		request_fail(request, 413, "size", "the body is too large for this path");
		return;
	}
	request->route->handle(request);
}

static const char *plain_path(struct evhttp_request *http)
{
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(http);
	const char *path = uri ? evhttp_uri_get_path(uri) : NULL;

	if (!path || evhttp_uri_get_query(uri) || evhttp_uri_get_fragment(uri) || strlen(path) > PATH_MAX_LEN)
		return NULL;
	return path;
}

void dispatch(struct evhttp_request *http, void *arg)
{
	struct evhttp_connection *evcon = evhttp_request_get_connection(http);
	struct worker *worker = arg;
	struct request request = { .worker = worker,
				   .http = http,
				   .context = worker->server->config.context,
				   .store = worker->store,
				   .begin_us = clock_us() };
	const char *path = plain_path(http);
	char *address;
	uint16_t port;

	request.tls = bufferevent_openssl_get_ssl(evhttp_connection_get_bufferevent(evcon));
	if (!request.tls) {
		/* without memory for TLS evhttp took the connection as it is: nothing is said on it */
		shutdown(bufferevent_getfd(evhttp_connection_get_bufferevent(evcon)), SHUT_RDWR);
		evhttp_send_reply(http, 500, NULL, NULL);
		return;
	}
	connection_busy(connection_of(request.tls));
	evhttp_connection_get_peer(evcon, &address, &port);
	snprintf(request.address, sizeof(request.address), "%s", plain_address(address));
	if (http->major != 1) {
		/* "HTTP/0.9" and less would be echoed */
		http->major = 1;
		http->minor = 0;
		request_fail(&request, 400, "http", "this is no HTTP/1.1 request");
	} else if (path) {
		serve(&request, path);
	} else {
		request_fail(&request, 400, "path", "the path is not understood");
	}
}
