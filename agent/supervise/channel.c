/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "supervise/channel.h"

/* More than the kernel holds of one sender's. */
enum { DRAIN_MAX = 1024 };

struct channel {
	int fd;
	enum message_sender peer;
	struct event *event;
	const struct channel_ops *ops;
	void *ctx;
};

static void end(struct channel *c, int error)
{
	event_del(c->event);
	c->ops->end(c->ctx, error);
}

/* 1: a message; 0: there will be none any more; -EAGAIN: there is none now; else what is wrong. */
static int receive(const struct channel *c, struct message *ret_message)
{
	/* one byte more than a message has, to see when there is more */
	uint8_t data[sizeof(struct message) + 1];
	ssize_t n;
	int ret;

	/* a peer that ended with unread messages resets the connection, which is said before its own last
	 * ones */
	do {
		n = recv(c->fd, data, sizeof(data), MSG_DONTWAIT);
	} while (n < 0 && (errno == EINTR || errno == ECONNRESET));
	if (n <= 0)
		return n ? -errno : 0;
	ret = message_parse(data, (size_t)n, c->peer, ret_message);
	return ret ? ret : 1;
}

/* One message per wake-up: the callback may close the channel, and others' events get their turn. */
static void ready(evutil_socket_t fd, short what, void *ctx)
{
	struct channel *c = ctx;
	struct message message;
	int ret = receive(c, &message);

	(void)fd;
	(void)what;
	if (ret > 0)
		c->ops->message(c->ctx, &message);
	else if (ret != -EAGAIN)
		end(c, ret);
}

void channel_drain(struct channel *c)
{
	struct message message;

	for (int i = 0; c && i < DRAIN_MAX && receive(c, &message) > 0; i++)
		c->ops->message(c->ctx, &message);
}

int channel_open(int fd, enum message_sender peer, struct event_base *base, const struct channel_ops *ops,
		 void *ctx, struct channel **ret_channel)
{
	struct channel *c = calloc(1, sizeof(*c));

	if (!c) {
		close(fd);
		return -ENOMEM;
	}
	*c = (struct channel){ .fd = fd, .peer = peer, .ops = ops, .ctx = ctx };
	c->event = event_new(base, fd, EV_READ | EV_PERSIST, ready, c);
	if (!c->event || event_add(c->event, NULL)) {
		channel_close(c);
		return -ENOMEM;
	}
	*ret_channel = c;
	return 0;
}

void channel_close(struct channel *c)
{
	if (!c)
		return;
	if (c->event)
		event_free(c->event);
	close(c->fd);
	free(c);
}

int channel_send(struct channel *c, const struct message *message)
{
	ssize_t n = send(c->fd, message, sizeof(*message), MSG_DONTWAIT | MSG_NOSIGNAL);

	return n < 0 ? -errno : 0;
}
