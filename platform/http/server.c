/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <event2/event.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/parts.h"

enum {
	BACKLOG = 1024,
	STALL_SECONDS =
		200, /* longer than any deadline of connection.c: this one is for answers nobody reads */
	STOP_SECONDS = 5,
};

/* "HOST:PORT", "[HOST]:PORT", numbers only. */
static int parse_listen(const char *text, struct addrinfo **ret_address, struct tg_error *e)
{
	struct addrinfo hints = { .ai_family = AF_UNSPEC,
				  .ai_socktype = SOCK_STREAM,
				  .ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV };
	const char *colon = strrchr(text, ':');
	char host[64];
	size_t len = colon ? (size_t)(colon - text) : 0;
	bool bracket = len >= 2 && text[0] == '[' && text[len - 1] == ']';

	if (!len || len >= sizeof(host) || (!bracket && memchr(text, ':', len)))
		return tg_error(e, -EINVAL, "--listen: '%.60s', expected ADDRESS:PORT or [ADDRESS]:PORT",
				text);
	memcpy(host, text + bracket, len - 2u * bracket);
	host[len - 2u * bracket] = '\0';
	if (getaddrinfo(host, colon + 1, &hints, ret_address))
		return tg_error(e, -EINVAL, "--listen: '%.60s' is not a numeric address and port", text);
	return 0;
}

static int open_socket(const struct addrinfo *address, uint16_t port)
{
	struct sockaddr_storage at;
	int fd, on = 1, off = 0, ret;

	memcpy(&at, address->ai_addr, address->ai_addrlen);
	if (port)	/* the port that the first worker got */
		((struct sockaddr_in *)(void *)&at)->sin_port = htons(port);
	fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (address->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (!setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) &&
	    !setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) &&
	    !bind(fd, (struct sockaddr *)&at, address->ai_addrlen) && !listen(fd, BACKLOG))
		return fd;
	ret = -errno;
	close(fd);
	return ret;
}

static uint16_t port_of(int fd)
{
	struct sockaddr_storage at;
	socklen_t len = sizeof(at);

	if (getsockname(fd, (struct sockaddr *)&at, &len))
		return 0;
	return ntohs(((struct sockaddr_in *)(void *)&at)->sin_port); /* at the same place in both families */
}

static void run_calls(struct worker *worker)
{
	struct request_call *calls;

	pthread_mutex_lock(&worker->lock);
	calls = worker->calls;
	worker->calls = NULL;
	worker->calls_end = &worker->calls;
	pthread_mutex_unlock(&worker->lock);
	while (calls) {
		struct request_call *call = calls;

		calls = call->next;	/* run() may free the call */
		call->run(call);
	}
}

static void end_when_done(struct worker *worker)
{
	struct timeval soon = { .tv_usec = 50000 };

	/* answers that were just given need the loop to get out */
	if (!worker->held)
		event_base_loopexit(worker->base, &soon);
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
	struct timeval limit = { .tv_sec = STOP_SECONDS };
	struct worker *worker = arg;
	uint64_t count;
	bool stop;

	(void)what;
	if (read(fd, &count, sizeof(count)) < 0)
		return;
	run_calls(worker);
	pthread_mutex_lock(&worker->lock);
	stop = worker->stop;
	pthread_mutex_unlock(&worker->lock);
	if (stop) {
		event_base_loopexit(worker->base, &limit);
		end_when_done(worker);
	}
}

static void wake(struct worker *worker)
{
	uint64_t one = 1;

	/* the counter cannot overflow, and nothing else makes this fail */
	while (write(worker->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

void request_call(struct request *held, struct request_call *call)
{
	struct worker *worker = held->worker;

	call->next = NULL;
	pthread_mutex_lock(&worker->lock);
	*worker->calls_end = call;
	worker->calls_end = &call->next;
	pthread_mutex_unlock(&worker->lock);
	wake(worker);
}

static void *worker_thread(void *arg)
{
	struct worker *worker = arg;

	event_base_dispatch(worker->base);
	return NULL;
}

static void set_up_http(struct worker *worker)
{
	evhttp_set_bevcb(worker->http, connection_new, worker);
	evhttp_set_gencb(worker->http, dispatch, worker);
	evhttp_set_max_headers_size(worker->http, HEADERS_MAX);
	evhttp_set_max_body_size(worker->http, BODY_MAX);
	evhttp_set_timeout(worker->http, STALL_SECONDS);
	evhttp_set_default_content_type(worker->http, NULL);
	/* a body that is too large is read and dropped, so that its client sees the answer and no reset */
	evhttp_set_flags(worker->http, EVHTTP_SERVER_LINGERING_CLOSE);
	/* the others are answered too, with 405 */
	evhttp_set_allowed_methods(worker->http, EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_HEAD |
							 EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE |
							 EVHTTP_REQ_OPTIONS | EVHTTP_REQ_PATCH);
}

static int listen_on(struct worker *worker, const struct addrinfo *address, struct tg_error *e)
{
	int fd = open_socket(address, worker->server->port);

	if (fd < 0)
		return tg_error(e, fd, "cannot listen on %s: %s", worker->server->config.listen,
				strerror(-fd));
	worker->server->port = port_of(fd);
	if (evhttp_accept_socket(worker->http, fd)) {
		close(fd);
		return tg_error(e, -ENOMEM, "out of memory");
	}
	return 0;
}

static int worker_start(struct worker *worker, const struct addrinfo *address, struct tg_error *e)
{
	int ret;

	worker->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	worker->base = event_base_new();
	worker->http = worker->base ? evhttp_new(worker->base) : NULL;
	if (worker->http && worker->wake_fd >= 0)
		worker->wake =
			event_new(worker->base, worker->wake_fd, EV_READ | EV_PERSIST, on_wake, worker);
	if (!worker->wake || event_add(worker->wake, NULL))
		return tg_error(e, -ENOMEM, "cannot start a worker");
	set_up_http(worker);
	ret = store_open(worker->server->config.store_url, &worker->store, e);
	if (!ret)
		ret = listen_on(worker, address, e);
	if (ret)
		return ret;
	ret = -pthread_create(&worker->thread, NULL, worker_thread, worker);
	if (ret)
		return tg_error(e, ret, "cannot start a worker: %s", strerror(-ret));
	worker->running = true;
	return 0;
}

static void worker_stop(struct worker *worker)
{
	pthread_mutex_lock(&worker->lock);
	worker->stop = true;
	pthread_mutex_unlock(&worker->lock);
	wake(worker);
}

static void worker_free(struct worker *worker)
{
	/* what was still held is answered into the void */
	run_calls(worker);
	if (worker->http)
		evhttp_free(worker->http);
	if (worker->wake)
		event_free(worker->wake);
	if (worker->base)
		event_base_free(worker->base);
	if (worker->wake_fd >= 0)
		close(worker->wake_fd);
	store_close(worker->store);
	pthread_mutex_destroy(&worker->lock);
}

int server_start(const struct server_config *config, struct server **ret_server, struct tg_error *e)
{
	struct server *server = calloc(1, sizeof(*server));
	struct addrinfo *address = NULL;
	int ret;

	if (server)
		server->workers = calloc(config->workers, sizeof(*server->workers));
	if (!server || !server->workers) {
		free(server);
		return tg_error(e, -ENOMEM, "out of memory");
	}
	server->config = *config;
	pthread_mutex_init(&server->tls_lock, NULL);
	SSL_CTX_up_ref(config->tls);
	ret = parse_listen(config->listen, &address, e);
	for (unsigned i = 0; i < config->workers && !ret; i++) {
		struct worker *worker = &server->workers[server->worker_count++];

		worker->server = server;
		worker->wake_fd = -1;
		worker->calls_end = &worker->calls;
		pthread_mutex_init(&worker->lock, NULL);
		ret = worker_start(worker, address, e);
	}
	if (address)
		freeaddrinfo(address);
	if (ret)
		server_free(server);
	else
		*ret_server = server;
	return ret;
}

void server_set_tls(struct server *server, SSL_CTX *tls)
{
	SSL_CTX *old;

	SSL_CTX_up_ref(tls);
	pthread_mutex_lock(&server->tls_lock);
	old = server->config.tls;
	server->config.tls = tls;
	pthread_mutex_unlock(&server->tls_lock);
	SSL_CTX_free(old);	/* connections that are open keep theirs */
}

void server_stop(struct server *server)
{
	for (unsigned i = 0; i < server->worker_count; i++)
		if (server->workers[i].running)
			worker_stop(&server->workers[i]);
	for (unsigned i = 0; i < server->worker_count; i++) {
		if (server->workers[i].running)
			pthread_join(server->workers[i].thread, NULL);
		server->workers[i].running = false;
	}
}

void server_free(struct server *server)
{
	if (!server)
		return;
	server_stop(server);
	for (unsigned i = 0; i < server->worker_count; i++)
		worker_free(&server->workers[i]);
	SSL_CTX_free(server->config.tls);
	pthread_mutex_destroy(&server->tls_lock);
	free(server->workers);
	free(server);
}

uint16_t server_port(const struct server *server)
{
	return server->port;
}
