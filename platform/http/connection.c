/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent_ssl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "http/parts.h"

/* Seconds: for the handshake and the first byte; between requests; from a request's first byte to its last.
 */
enum { FIRST_SECONDS = 10, IDLE_SECONDS = 180, REQUEST_SECONDS = 20 };

static int connection_index = -1;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void connection_free(void *parent, void *data, CRYPTO_EX_DATA *ad, int index, long argl, void *argp)
{
	struct connection *connection = data;

	(void)parent;
	(void)ad;
	(void)index;
	(void)argl;
	(void)argp;
	if (!connection)
		return;
	event_free(connection->deadline);
	atomic_fetch_sub(&connection->worker->server->connections, 1);
	metrics_count(connection->worker->server->config.metrics, METRICS_CONNECTIONS_CLOSED);
	free(connection);
}

static void make_index(void)
{
	connection_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, connection_free);
}

struct connection *connection_of(SSL *tls)
{
	return SSL_get_ex_data(tls, connection_index);
}

static void set_deadline(struct connection *connection, int seconds)
{
	struct timeval after = { .tv_sec = seconds };

	event_add(connection->deadline, &after);
}

/* The client has as long to take it as it had for its request. */
static void replace_answer(struct connection *connection)
{
	int status = answer_instead(bufferevent_get_output(connection->bev));

	metrics_request(connection->worker->server->config.metrics, METRICS_ROUTES, status, 0);
	set_deadline(connection, REQUEST_SECONDS);
}

static bool address_of(int fd, char ret_address[static SERVER_ADDRESS_SIZE])
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);

	return !getpeername(fd, (struct sockaddr *)&peer, &len) &&
	       !getnameinfo((struct sockaddr *)&peer, len, ret_address, SERVER_ADDRESS_SIZE, NULL, 0,
			    NI_NUMERICHOST);
}

/* Are there too many, or is this one too fast? */
static bool is_welcome(const struct connection *connection)
{
	struct server *server = connection->worker->server;
	char address[SERVER_ADDRESS_SIZE];

	return atomic_load(&server->connections) <= server->config.connections &&
	       address_of(bufferevent_getfd(connection->bev), address) &&
	       address_allowed(&server->config, address, limiter_clock_ms());
}

/* Before anything is read from a client: one that says nothing counts like one that does. */
static void on_accepted(struct connection *connection)
{
	if (is_welcome(connection)) {
		set_deadline(connection, FIRST_SECONDS);
		return;
	}
	metrics_count(connection->worker->server->config.metrics, METRICS_CONNECTIONS_REFUSED);
	shutdown(bufferevent_getfd(connection->bev), SHUT_RDWR);
}

/* evhttp learns of it as of any client that went away. */
static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct connection *connection = arg;

	(void)fd;
	if (what & EV_READ) {
		on_accepted(connection);
		return;
	}
	if (what & EV_WRITE) {
		replace_answer(connection);
		return;
	}
	metrics_count(connection->worker->server->config.metrics, METRICS_TIMEOUTS);
	shutdown(bufferevent_getfd(connection->bev), SHUT_RDWR);
}

static void on_input(struct evbuffer *buffer, const struct evbuffer_cb_info *info, void *arg)
{
	struct connection *connection = arg;

	(void)buffer;
	if (!info->n_added || connection->state != CONNECTION_WAITING)
		return;
	connection->state = CONNECTION_READING;
	set_deadline(connection, REQUEST_SECONDS);
}

/*
 * evhttp writes. When it was not us who said what, it may be an error of its own. That is in the buffer as a
 * whole when this callback's caller returns to the event loop, and the loop runs what is active before it
 * looks at sockets again, so that nothing has left by then.
 */
static void on_output(struct evbuffer *buffer, const struct evbuffer_cb_info *info, void *arg)
{
	struct connection *connection = arg;

	if (!info->n_added || connection->answering || !foreign_answer(buffer))
		return;
	connection->answering = true;
	event_active(connection->deadline, EV_WRITE, 0);
}

void connection_answer(struct connection *connection)
{
	connection->answering = true;
}

void connection_busy(struct connection *connection)
{
	connection->state = CONNECTION_BUSY;
	event_del(connection->deadline);
}

void connection_idle(struct connection *connection)
{
	connection->state = CONNECTION_WAITING;
	connection->answering = false;
	set_deadline(connection, IDLE_SECONDS);
}

/* Alerts that end a handshake, sent or received. */
static void on_tls_state(const SSL *tls, int where, int value)
{
	const struct connection *connection = SSL_get_ex_data(tls, connection_index);

	if (connection && (where & SSL_CB_ALERT) && (value >> 8) == SSL3_AL_FATAL &&
	    !SSL_is_init_finished(tls))
		metrics_count(connection->worker->server->config.metrics, METRICS_HANDSHAKES_FAILED);
}

static struct connection *attach(struct worker *worker, SSL *tls)
{
	struct connection *connection = calloc(1, sizeof(*connection));

	if (!connection)
		return NULL;
	connection->worker = worker;
	connection->deadline = evtimer_new(worker->base, on_deadline, connection);
	if (!connection->deadline || !SSL_set_ex_data(tls, connection_index, connection)) {
		if (connection->deadline)
			event_free(connection->deadline);
		free(connection);
		return NULL;
	}
	atomic_fetch_add(&worker->server->connections, 1);
	metrics_count(worker->server->config.metrics, METRICS_CONNECTIONS);
	return connection;
}

static SSL *new_tls(struct worker *worker, struct connection **ret_connection)
{
	struct server *server = worker->server;
	struct connection *connection;
	SSL *tls;

	pthread_mutex_lock(&server->tls_lock);
	tls = SSL_new(server->config.tls);
	pthread_mutex_unlock(&server->tls_lock);
	connection = tls ? attach(worker, tls) : NULL;
	if (!connection) {
		SSL_free(tls);
		return NULL;
	}
	SSL_set_info_callback(tls, on_tls_state);
	*ret_connection = connection;
	return tls;
}

struct bufferevent *connection_new(struct event_base *base, void *arg)
{
	struct connection *connection;
	struct bufferevent *bev;
	SSL *tls;

	pthread_once(&once, make_index);
	tls = new_tls(arg, &connection);
	/* evhttp goes on without TLS then, and dispatch() refuses what comes that way */
	if (!tls)
		return NULL;
	bev = bufferevent_openssl_socket_new(base, -1, tls, BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);
	if (!bev) {
		SSL_free(tls);
		return NULL;
	}
	connection->bev = bev;
	bufferevent_openssl_set_allow_dirty_shutdown(bev, 1);
	/* while an answer is written evhttp takes nothing out, and would let the next requests pile up */
	bufferevent_setwatermark(bev, EV_READ, 0, INPUT_MAX);
	evbuffer_add_cb(bufferevent_get_input(bev), on_input, connection);
	evbuffer_add_cb(bufferevent_get_output(bev), on_output, connection);
	/* evhttp gives it its descriptor when this returns, before the loop runs what is active */
	event_active(connection->deadline, EV_READ, 0);
	return bev;
}
