/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "control.h"
#include "roles.h"

enum { MAX_CLIENTS = 8, REQUEST_MAX = 64 };

struct client {
	struct control *control;
	struct event *event;	/* NULL = unused */
	int fd;
};

struct control {
	struct control_parts parts;
	struct event_base *base;
	struct event *on_listen;
	int fd;
	struct client clients[MAX_CLIENTS];
};

static void end_client(struct client *client)
{
	event_free(client->event);
	close(client->fd);
	client->event = NULL;
}

/* The names of those children. */
static json_t *names_of(uint32_t senders)
{
	json_t *names = json_array();

	for (const struct child_kind *kind = roles; kind->name; kind++)
		if (senders & kind->sender)
			json_array_append_new(names, json_string(kind->name));
	return names;
}

/* What the supervisor says of us, beside what we know ourselves. */
static json_t *all_stats(const struct control *c)
{
	const struct message_ping *ping = child_ping(c->parts.child);
	json_t *stats = guard_stats(c->parts.guard);

	if (!stats)
		return NULL;
	json_object_set_new(stats, "pace", pace_stats(c->parts.pace));
	json_object_set_new(stats, "healing", heal_stats(c->parts.heal));
	json_object_set_new(stats, "process",
			    json_pack("{s:I, s:I, s:I, s:o}", "restarts", (json_int_t)ping->restarts,
				      "faults", (json_int_t)ping->faults, "hangs", (json_int_t)ping->hangs,
				      "looping", names_of(ping->looping)));
	return stats;
}

static json_t *answer(const struct control *c, const char *request, size_t len)
{
	if (len == strlen("stats") && !memcmp(request, "stats", len))
		return all_stats(c);
	return json_pack("{s:s}", "error", "unknown request; 'stats' is the only one");
}

static void client_ready(evutil_socket_t fd, short what, void *ctx)
{
	struct client *client = ctx;
	char request[REQUEST_MAX];
	ssize_t n = (what & EV_READ) ? recv(fd, request, sizeof(request), 0) : 0;
	json_t *object = n > 0 ? answer(client->control, request, (size_t)n) : NULL;
	char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;

	/* A client that does not take its answer loses it: we never wait for anyone. */
	if (text && send(fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		n = -1;
	free(text);
	json_decref(object);
	end_client(client);
}

static void listen_ready(evutil_socket_t fd, short what, void *ctx)
{
	const struct timeval limit = { .tv_sec = 2 };
	struct control *c = ctx;
	struct client *client = NULL;
	int new_fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)what;
	if (new_fd < 0)
		return;
	for (size_t i = 0; i < MAX_CLIENTS && !client; i++)
		if (!c->clients[i].event)
			client = &c->clients[i];
	if (!client) {
		close(new_fd);
		return;
	}
	*client = (struct client){ .control = c, .fd = new_fd };
	client->event = event_new(c->base, new_fd, EV_READ, client_ready, client);
	if (!client->event)
		close(new_fd);
	else if (event_add(client->event, &limit))
		end_client(client);
}

int control_new(int fd, const struct control_parts *parts, struct event_base *base,
		struct control **ret_control, struct tg_error *e)
{
	struct control *c = calloc(1, sizeof(*c));

	if (!c) {
		close(fd);
		return tg_error(e, -ENOMEM, "out of memory");
	}
	*c = (struct control){ .parts = *parts, .base = base, .fd = fd };
	c->on_listen = event_new(base, fd, EV_READ | EV_PERSIST, listen_ready, c);
	if (!c->on_listen || event_add(c->on_listen, NULL)) {
		control_free(c);
		return tg_error(e, -ENOMEM, "out of memory");
	}
	*ret_control = c;
	return 0;
}

void control_free(struct control *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < MAX_CLIENTS; i++)
		if (c->clients[i].event)
			end_client(&c->clients[i]);
	if (c->on_listen)
		event_free(c->on_listen);
	close(c->fd);
	free(c);
}
