/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <event2/event.h>

#include "control.h"

enum { MAX_CLIENTS = 8, REQUEST_MAX = 64 };

struct client {
	struct control *control;
	struct event *event;	/* NULL = unused */
	int fd;
};

struct control {
	const struct guard *guard;
	struct event_base *base;
	struct event *on_listen;
	int fd;
	struct sockaddr_un address;
	struct client clients[MAX_CLIENTS];
};

static void end_client(struct client *client)
{
	event_free(client->event);
	close(client->fd);
	client->event = NULL;
}

static json_t *answer(const struct control *c, const char *request, size_t len)
{
	if (len == strlen("stats") && !memcmp(request, "stats", len))
		return guard_stats(c->guard);
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

static bool is_served(const struct control *c)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	bool served = fd >= 0 && !connect(fd, (const struct sockaddr *)&c->address, sizeof(c->address));

	if (fd >= 0)
		close(fd);
	return served;
}

static int bind_socket(struct control *c)
{
	mode_t mask;
	int ret;

	c->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0)
		return -errno;
	if (unlink(c->address.sun_path) && errno != ENOENT)
		return -errno;
	/* the mode must be right from the first moment on */
	mask = umask(0177);
	ret = bind(c->fd, (const struct sockaddr *)&c->address, sizeof(c->address)) ? -errno : 0;
	umask(mask);
	if (!ret && listen(c->fd, MAX_CLIENTS))
		ret = -errno;
	return ret;
}

static int start(struct control *c, struct tg_error *e)
{
	int ret;

	if (is_served(c))
		return tg_error(e, -EBUSY, "another agent is running: it serves %s", c->address.sun_path);
	ret = bind_socket(c);
	if (ret)
		return tg_error(e, ret, "cannot make %s: %s", c->address.sun_path, strerror(-ret));
	c->on_listen = event_new(c->base, c->fd, EV_READ | EV_PERSIST, listen_ready, c);
	if (!c->on_listen || event_add(c->on_listen, NULL))
		return tg_error(e, -ENOMEM, "out of memory");
	return 0;
}

int control_new(const char *run_dir, const struct guard *guard, struct event_base *base,
		struct control **ret_control, struct tg_error *e)
{
	static const char name[] = "/agent.sock";
	struct control *c;
	int ret;

	if (strlen(run_dir) + sizeof(name) > sizeof(c->address.sun_path))
		return tg_error(e, -ENAMETOOLONG, "--run-dir: the name is too long for a socket in it");
	if (mkdir(run_dir, 0755) && errno != EEXIST)
		return tg_error(e, -errno, "cannot make %s: %s", run_dir, strerror(errno));
	c = calloc(1, sizeof(*c));
	if (!c)
		return tg_error(e, -ENOMEM, "out of memory");
	c->guard = guard;
	c->base = base;
	c->fd = -1;
	c->address.sun_family = AF_UNIX;
	stpcpy(stpcpy(c->address.sun_path, run_dir), name);
	ret = start(c, e);
	if (ret) {
		/* the socket of the agent that runs is not ours to remove */
		if (ret == -EBUSY)
			c->address.sun_path[0] = '\0';
		control_free(c);
		return ret;
	}
	*ret_control = c;
	return 0;
}

/* The folder goes with its last file: `tg-load down` left it to us if it came first. */
static void remove_socket(struct control *c)
{
	unlink(c->address.sun_path);
	*strrchr(c->address.sun_path, '/') = '\0';
	rmdir(c->address.sun_path);
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
	if (c->fd >= 0)
		close(c->fd);
	if (c->address.sun_path[0])
		remove_socket(c);
	free(c);
}
