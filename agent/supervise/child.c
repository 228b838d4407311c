/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <event2/event.h>

#include "supervise/channel.h"
#include "supervise/child.h"
#include "supervise/events.h"

struct child {
	struct event_base *base;
	struct event *on_term;
	struct channel *channel;
	struct child_ops ops;
	struct message_ping ping;
	uint64_t asks;	/* so many times it asked for a program to run */
	bool asking;	/* and was not told of the end of the last one */
	int failure;
};

static bool is_socket(int fd, int domain, int type)
{
	int is_domain, is_type;
	socklen_t len = sizeof(int);

	return !getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &is_domain, &len) &&
	       !getsockopt(fd, SOL_SOCKET, SO_TYPE, &is_type, &len) && is_domain == domain && is_type == type;
}

/* What the terminal and the service manager mean for the supervisor reaches the whole group. */
static void ignore_signals(void)
{
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
}

int child_enter(const struct child_kind *kind, struct tg_error *e)
{
	char name[16];
	int ret;

	if (!is_socket(CHILD_CHANNEL_FD, AF_UNIX, SOCK_SEQPACKET) ||
	    (kind->socket && !is_socket(CHILD_SOCKET_FD, AF_UNIX, SOCK_SEQPACKET)))
		return tg_error(e, -EBADRQC, "--child is for the program itself: call it without");
	snprintf(name, sizeof(name), "tg-%s", kind->name);
	prctl(PR_SET_NAME, name, 0, 0, 0);
	ignore_signals();
	/* the signal at the supervisor's end comes last: becoming another user would cancel it */
	ret = sandbox_enter(kind->sandbox, kind->socket ? CHILD_SOCKET_FD + 1 : CHILD_CHANNEL_FD + 1, e);
	/* if the supervisor is gone already, the channel says so */
	if (!ret && prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0))
		ret = tg_error(e, -errno, "cannot bind itself to the supervisor: %s", strerror(errno));
	return ret;
}

static void fail(struct child *c, int error)
{
	c->failure = error;
	event_base_loopbreak(c->base);
}

static void answer(struct child *c, const struct message *message)
{
	int ret = channel_send(c->channel, message);

	/* a supervisor that does not read is no reason to wait: it counts what is missing */
	if (ret && ret != -EAGAIN)
		fail(c, ret);
}

static void take_done(struct child *c, const struct message_done *done)
{
	if (!c->asking || done->number != c->asks) {
		fail(c, -EPROTO);
		return;
	}
	c->asking = false;
	if (c->ops.done)
		c->ops.done(c->ops.ctx, done);
}

int child_ask(struct child *c, enum message_type type)
{
	struct message m = message_of(type);
	int ret;

	if (c->asking)
		return -EALREADY;
	m.ask.number = c->asks + 1;
	ret = channel_send(c->channel, &m);
	if (ret)
		return ret;
	c->asks++;
	c->asking = true;
	return 0;
}

int child_send_stats(struct child *c, const struct message_stats *stats)
{
	struct message m = message_of(MESSAGE_STATS);

	m.stats = *stats;
	return channel_send(c->channel, &m);
}

static void on_message(void *ctx, const struct message *m)
{
	struct child *c = ctx;
	struct message reply;

	if (m->type == MESSAGE_DONE) {
		take_done(c, &m->done);
		return;
	}
	if (m->type == MESSAGE_EVENT && c->ops.event) {
		c->ops.event(c->ops.ctx, &m->event);
		return;
	}
	if (m->type == MESSAGE_STATS && c->ops.stats) {
		c->ops.stats(c->ops.ctx, &m->stats);
		return;
	}
	if (m->type == MESSAGE_PING) {
		c->ping = m->ping;
		reply = message_of(MESSAGE_PONG);
		reply.pong.number = m->ping.number;
	} else if (m->type == MESSAGE_RELOAD && c->ops.reload) {
		reply = message_of(MESSAGE_RELOADED);
		reply.reloaded.result = c->ops.reload(c->ops.ctx);
	} else {
		fail(c, -EPROTO);
		return;
	}
	answer(c, &reply);
}

static void on_end(void *ctx, int error)
{
	fail(ctx, error ? error : -EPIPE);
}

static void on_term(evutil_socket_t number, short what, void *ctx)
{
	const struct child *c = ctx;

	(void)number;
	(void)what;
	event_base_loopbreak(c->base);
}

int child_join(const struct child_ops *ops, struct child **ret_child, struct tg_error *e)
{
	static const struct channel_ops channel_ops = { on_message, on_end };
	struct child *c = calloc(1, sizeof(*c));

	if (!c)
		return tg_error(e, -ENOMEM, "out of memory");
	c->ops = *ops;
	c->base = event_base_new();
	c->on_term = c->base ? evsignal_new(c->base, SIGTERM, on_term, c) : NULL;
	if (!c->on_term || event_add(c->on_term, NULL) ||
	    channel_open(CHILD_CHANNEL_FD, FROM_SUPERVISOR, c->base, &channel_ops, c, &c->channel)) {
		child_leave(c);
		return tg_error(e, -ENOMEM, "cannot start the event loop");
	}
	*ret_child = c;
	return 0;
}

struct event_base *child_base(const struct child *c)
{
	return c->base;
}

void child_leave(struct child *c)
{
	if (!c)
		return;
	if (c->channel)
		channel_close(c->channel);
	if (c->on_term)
		event_free(c->on_term);
	if (c->base)
		event_base_free(c->base);
	free(c);
}

int child_serve(struct child *c, struct tg_error *e)
{
	child_ready(c);
	if (event_base_dispatch(c->base) < 0)
		return tg_error(e, -EIO, "stopped: the event loop failed");
	return c->failure ? tg_error(e, c->failure, "stopped: the supervisor is gone or says nonsense") : 0;
}

void child_ready(struct child *c)
{
	struct message m = message_of(MESSAGE_READY);

	answer(c, &m);
}

int child_report(struct child *c, unsigned code, uint32_t count, const char *subject, uint64_t a, uint64_t b)
{
	struct message m = message_of(MESSAGE_EVENT);
	int ret;

	m.event = event_of(code, count, subject, a, b);
	ret = channel_send(c->channel, &m);
	if (ret && ret != -EAGAIN)
		fail(c, ret);
	return ret;
}

void child_recorded(struct child *c, uint16_t number)
{
	struct message m = message_of(MESSAGE_RECORDED);

	m.recorded.number = number;
	answer(c, &m);
}

int child_failure(const struct child *c)
{
	return c->failure;
}

const struct message_ping *child_ping(const struct child *c)
{
	return &c->ping;
}
