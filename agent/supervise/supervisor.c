/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/clock.h"
#include "common/ended.h"
#include "supervise/backoff.h"
#include "supervise/channel.h"
#include "supervise/events.h"
#include "supervise/listen.h"
#include "supervise/loops.h"
#include "supervise/notify.h"
#include "supervise/spawn.h"
#include "supervise/supervisor.h"

enum {
	MAX_CHILDREN = 4,
	PING_S = 2,
	MISSED_MAX = 5,	  /* pings in a row without an answer, or without a channel */
	START_MAX = 30,	  /* pings' time until it is ready */
	END_S = 5,	  /* from TERM to KILL */
	SIGNAL_COUNT = 4,
	LOOK_PINGS = 15, /* pings' time between two runs of a one-shot whose asker does not run */
	CALM_PINGS = 60, /* the same where it runs, which cannot see everything */
};

struct supervisor;

struct supervised {
	struct supervisor *supervisor;
	const struct child_kind *kind;
	pid_t pid;		 /* 0 = it does not run */
	struct channel *channel; /* NULL = it does not run, or said what it must not say */
	struct sockaddr_un address; /* of its socket, if its kind has one */
	struct event *on_restart;
	struct backoff backoff;
	uint64_t ready_since;	 /* 0 = not ready */
	unsigned waited, missed; /* pings: until it is ready; without an answer, in a row */
	uint64_t sent, answered; /* numbers of pings */
	uint64_t restarts, faults, hangs;
	bool reloads;		 /* it was told to, and has not answered */
	/* numbers of its request for a one-shot: open, and of the run under way; 0 = none */
	uint64_t asked, served;
};

struct supervisor {
	const struct supervisor_conf *conf;
	struct event_base *base;
	struct event *signals[SIGNAL_COUNT];
	struct event *on_ping, *on_watchdog, *on_late;
	struct supervised children[MAX_CHILDREN];
	size_t count;
	struct message stats;	/* the guard's last ones; type 0: none yet */
	struct oneshots *oneshots;
	unsigned pings;
	uint32_t loops;		/* what was told of who ends again and again */
	struct events events;	/* for the audit trail */
	struct message_event telling; /* the one that was told and is not on the disk; number 0: none is */
	uint16_t told;		/* number of the last one */
	bool started;  /* all but the dispensable ones were ready once */
	bool stopping;
	int status;    /* of a child that failed before that */
	int failure;
};

__attribute__((format(printf, 2, 3))) static void say(const struct supervisor *s, const char *format, ...)
{
	char line[512];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	s->conf->log(line);
}

/* ---- the audit trail ---- */

/* To whoever keeps it, one at a time; what it has not recorded when it ends is told to the next one. */
static void tell(struct supervisor *s)
{
	struct message m = message_of(MESSAGE_EVENT);

	for (size_t i = 0; i < s->count && !s->telling.number; i++) {
		const struct supervised *c = &s->children[i];

		if (!c->kind->keeps_trail || !c->pid || !c->ready_since || !c->channel ||
		    !events_next(&s->events, monotonic_ns(), &m.event))
			continue;
		s->told = s->told == UINT16_MAX ? 1 : (uint16_t)(s->told + 1);
		m.event.number = s->told;
		if (!channel_send(c->channel, &m))
			s->telling = m.event;
	}
}

static int recorded(struct supervisor *s, uint16_t number)
{
	if (!s->telling.number || number != s->telling.number)
		return -EPROTO;
	events_sent(&s->events, &s->telling, monotonic_ns());
	s->telling.number = 0;
	tell(s);
	return 0;
}

static void note(struct supervisor *s, const struct message_event *event)
{
	events_add(&s->events, event, monotonic_ns());
	tell(s);
}

/* One of the supervisor's own. */
static void note_own(struct supervisor *s, unsigned code, const char *subject, uint64_t a, uint64_t b)
{
	const struct message_event event = event_of(code, 1, subject, a, b);

	note(s, &event);
}

/* Why a process was killed, in the audit trail. */
enum { KILLED_NONSENSE = 1, KILLED_HUNG, KILLED_NOT_READY };

/* ---- reload and readiness ---- */

static bool all_ready(const struct supervisor *s)
{
	for (size_t i = 0; i < s->count; i++)
		if (!s->children[i].kind->dispensable &&
		    (!s->children[i].ready_since || s->children[i].reloads))
			return false;
	return true;
}

static void reload(struct supervisor *s)
{
	const struct message m = message_of(MESSAGE_RELOAD);

	notify("RELOADING=1");
	/* one that does not run, or is just starting, reads the new policy anyway */
	for (size_t i = 0; i < s->count; i++)
		if (s->children[i].kind->takes_reload && s->children[i].ready_since && s->children[i].channel)
			s->children[i].reloads = !channel_send(s->children[i].channel, &m);
	if (all_ready(s))
		notify("READY=1");
}

/* A loop ends when the child has been ready for long enough, not when it is started once more. */
static uint32_t looping(const struct supervisor *s)
{
	uint32_t bits = 0;

	for (size_t i = 0; i < s->count; i++) {
		const struct supervised *c = &s->children[i];

		if (backoff_is_loop(&c->backoff) &&
		    !(c->ready_since && monotonic_ns() - c->ready_since >= BACKOFF_CALM_NS))
			bits |= c->kind->sender;
	}
	return bits;
}

static bool stats_sender_runs(const struct supervisor *s)
{
	for (size_t i = 0; i < s->count; i++)
		if (message_sender_of(MESSAGE_STATS) & s->children[i].kind->sender)
			return s->children[i].ready_since != 0;
	return false;
}

/* What the guard reported last goes to whoever tells the Platform; one that does not read misses it. */
static void pass_stats(const struct supervisor *s, const struct supervised *c)
{
	struct message m = s->stats.type ? s->stats : message_of(MESSAGE_STATS);

	if (!c->kind->takes_stats || !c->ready_since || !c->channel)
		return;
	m.stats.looping = (uint8_t)looping(s);
	if (!stats_sender_runs(s))
		m.stats.troubles |= MESSAGE_ABSENT;
	m.stats.restarts = 0;
	for (size_t i = 0; i < s->count; i++)
		m.stats.restarts += s->children[i].restarts;
	channel_send(c->channel, &m);
}

static void pass_to_all(const struct supervisor *s)
{
	for (size_t i = 0; i < s->count; i++)
		pass_stats(s, &s->children[i]);
}

static void take_stats(struct supervisor *s, const struct message *m)
{
	s->stats = *m;
	pass_to_all(s);
}

/* Who ends again and again: for the Platform at once, and for who looks at this machine. */
static void tell_loops(struct supervisor *s)
{
	uint32_t now = looping(s);

	if (now == s->loops)
		return;
	s->loops = now;
	pass_to_all(s);
	loops_note(s->conf->run_dir, s->conf->kinds, now);
}

static void become_ready(struct supervised *c)
{
	struct supervisor *s = c->supervisor;

	c->ready_since = monotonic_ns();
	pass_stats(s, c);
	tell(s);
	if (c->kind->dispensable || !all_ready(s))
		return;
	if (!s->started)
		note_own(s, TG_AUDIT_AGENT_STARTED, "", 0, 0);
	s->started = true;
	notify("READY=1");
}

/* ---- what children say ---- */

/* Whatever it is that it does, it is not the child that we started. */
static void condemn(struct supervised *c, const char *why)
{
	c->faults++;
	say(c->supervisor, "%s %s: it is killed", c->kind->name, why);
	note_own(c->supervisor, TG_AUDIT_PROCESS_KILLED, c->kind->name, KILLED_NONSENSE, c->restarts);
	/* before it sees that its channel is closed */
	kill(c->pid, SIGKILL);
	channel_close(c->channel);
	c->channel = NULL;
}

/* ---- one-shots ---- */

/* Who may ask for it. */
static struct supervised *asker(struct supervisor *s, const struct oneshot_kind *kind)
{
	for (size_t i = 0; i < s->count; i++)
		if (message_sender_of(kind->asked_by) == s->children[i].kind->sender)
			return &s->children[i];
	return NULL;
}

static void oneshot_begins(void *ctx, size_t kind)
{
	struct supervisor *s = ctx;
	struct supervised *c = asker(s, &s->conf->oneshots[kind]);

	if (c)
		c->served = c->asked;
}

static void oneshot_ends(void *ctx, size_t kind, int result, uint64_t took_ns)
{
	struct supervisor *s = ctx;
	struct supervised *c = asker(s, &s->conf->oneshots[kind]);
	struct message m = message_of(MESSAGE_DONE);

	say(s, "%s ended after %.3f s: %s%d", s->conf->oneshots[kind].name, (double)took_ns / 1e9,
	    result < 0 ? "error " : "status ", result < 0 ? -result : result);
	if (!c || !c->served || !c->channel)
		return;
	m.done = (struct message_done){ .number = c->served, .took_ns = took_ns, .result = result };
	c->asked = c->served = 0;
	/* one that does not read has forgotten its question when it is started again */
	if (channel_send(c->channel, &m))
		say(s, "%s does not hear that %s has ended", c->kind->name, s->conf->oneshots[kind].name);
}

/* 0, -ENOENT: there is none for that message; -EALREADY: its last request is open. */
static int ask_oneshot(struct supervised *c, const struct message *m)
{
	struct supervisor *s = c->supervisor;

	for (size_t i = 0; s->conf->oneshots[i].name; i++) {
		if (s->conf->oneshots[i].asked_by != m->type)
			continue;
		if (c->asked)
			return -EALREADY;
		c->asked = m->ask.number;
		oneshots_ask(s->oneshots, i);
		return 0;
	}
	return -ENOENT;
}

/* What would ask does not run, or may not see what is wrong: somebody has to look. */
static void look_for(struct supervisor *s)
{
	for (size_t i = 0; s->conf->oneshots[i].name; i++) {
		const struct supervised *c = asker(s, &s->conf->oneshots[i]);

		if (s->conf->oneshots[i].looks && c && (!c->ready_since || s->pings % CALM_PINGS == 0))
			oneshots_ask(s->oneshots, i);
	}
}

/* Of one that has ended: only what it has done still counts. */
static void last_word(struct supervised *c, const struct message *m)
{
	if (m->type == MESSAGE_EVENT)
		note(c->supervisor, &m->event);
	else if (m->type == MESSAGE_RECORDED && c->kind->keeps_trail)
		recorded(c->supervisor, m->recorded.number);
}

static void on_message(void *ctx, const struct message *m)
{
	struct supervised *c = ctx;

	if (!c->pid) {
		last_word(c, m);
	} else if (m->type == MESSAGE_READY && !c->ready_since) {
		become_ready(c);
	} else if (m->type == MESSAGE_PONG && m->pong.number > c->answered && m->pong.number <= c->sent) {
		c->answered = m->pong.number;
		c->missed = 0;
	} else if (m->type == MESSAGE_RELOADED && c->reloads) {
		c->reloads = false;
		if (all_ready(c->supervisor))
			notify("READY=1");
	} else if (m->type == MESSAGE_STATS && c->ready_since) {
		take_stats(c->supervisor, m);
	} else if (m->type == MESSAGE_EVENT) {
		note(c->supervisor, &m->event);
	} else if (m->type == MESSAGE_RECORDED && c->kind->keeps_trail) {
		if (recorded(c->supervisor, m->recorded.number))
			condemn(c, "answers what it was not asked");
	} else if (!c->ready_since || ask_oneshot(c, m)) {
		condemn(c, "answers what it was not asked");
	}
}

static void on_end(void *ctx, int error)
{
	struct supervised *c = ctx;

	if (error) {
		condemn(c, "sends rubbish");
	} else {
		/* it is about to end: SIGCHLD says how */
		channel_close(c->channel);
		c->channel = NULL;
	}
}

/* ---- starting ---- */

static int open_channel(struct supervised *c, int fd, struct tg_error *e)
{
	static const struct channel_ops ops = { on_message, on_end };

	if (!channel_open(fd, c->kind->sender, c->supervisor->base, &ops, c, &c->channel))
		return 0;
	/* it sees the end of its channel and ends as well; SIGCHLD comes */
	return tg_error(e, -ENOMEM, "out of memory");
}

static int start_child(struct supervised *c, struct tg_error *e)
{
	struct supervisor *s = c->supervisor;
	int channel_fd, socket_fd = -1, ret = 0;

	c->ready_since = c->sent = c->answered = 0;
	c->waited = c->missed = 0;
	c->reloads = false;
	c->asked = c->served = 0;
	if (c->kind->socket)
		ret = listen_open(&c->address, c->kind->socket_mode, &socket_fd, e);
	if (!ret)
		ret = spawn_child(c->kind, s->conf->argv, socket_fd, &c->pid, &channel_fd, e);
	if (socket_fd >= 0)
		close(socket_fd);
	return ret ? ret : open_channel(c, channel_fd, e);
}

static void restart_later(struct supervised *c)
{
	uint64_t wait = backoff_wait(&c->backoff, c->ready_since, monotonic_ns());
	const struct timeval when = { .tv_sec = (time_t)(wait / 1000000000u),
				      .tv_usec = (suseconds_t)(wait % 1000000000u / 1000u) };

	if (backoff_is_loop(&c->backoff))
		say(c->supervisor, "%s: ended %u times in a row; started again in %.2f s", c->kind->name,
		    c->backoff.ends, (double)wait / 1e9);
	event_add(c->on_restart, &when);
}

/* It could not be started; SIGCHLD comes if there is a process all the same. */
static void try_later(struct supervised *c, const struct tg_error *e)
{
	say(c->supervisor, "%s: %s", c->kind->name, e->message);
	if (!c->pid)
		restart_later(c);
}

static void on_restart(evutil_socket_t fd, short what, void *ctx)
{
	struct supervised *c = ctx;
	struct tg_error e = { "" };

	(void)fd;
	(void)what;
	c->restarts++;
	if (start_child(c, &e))
		try_later(c, &e);
}

/* ---- ending ---- */

static bool any_runs(const struct supervisor *s)
{
	for (size_t i = 0; i < s->count; i++)
		if (s->children[i].pid)
			return true;
	return oneshots_run(s->oneshots);
}

static void end_child(struct supervised *c, int signal_number)
{
	event_del(c->on_restart);
	if (c->pid)
		kill(c->pid, signal_number);
}

static void stop(struct supervisor *s)
{
	const struct timeval limit = { .tv_sec = END_S };

	if (s->stopping)
		return;
	s->stopping = true;
	notify("STOPPING=1");
	oneshots_stop(s->oneshots);
	for (size_t i = 0; i < s->count; i++)
		end_child(&s->children[i], SIGTERM);
	if (!any_runs(s) || event_add(s->on_late, &limit))
		event_base_loopbreak(s->base);
}

static void child_ended(struct supervised *c, int status)
{
	struct supervisor *s = c->supervisor;
	char text[96];

	c->pid = 0;
	channel_drain(c->channel);
	channel_close(c->channel);
	c->channel = NULL;
	c->reloads = false;
	if (c->kind->keeps_trail)
		s->telling.number = 0;
	ended_describe(status, text, sizeof(text));
	if (s->stopping) {
		/* reap() says when it was the last one */
	} else if (!s->started && !c->kind->dispensable) {
		/* a wrong policy or a second agent: it has said so, and trying again does not help */
		if (!WIFEXITED(status))
			say(s, "%s %s", c->kind->name, text);
		s->status = WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status) : 1;
		stop(s);
	} else {
		say(s, "%s %s: it is started again", c->kind->name, text);
		note_own(s, TG_AUDIT_PROCESS_ENDED, c->kind->name, (uint64_t)ended_status(status),
			 c->restarts);
		restart_later(c);
	}
	c->ready_since = 0;
}

static void reap(struct supervisor *s)
{
	int status;

	for (size_t i = 0; i < s->count; i++) {
		struct supervised *c = &s->children[i];

		if (c->pid && waitpid(c->pid, &status, WNOHANG) == c->pid)
			child_ended(c, status);
	}
	oneshots_reap(s->oneshots);
	if (s->stopping && !any_runs(s))
		event_base_loopbreak(s->base);
}

static void on_late(evutil_socket_t fd, short what, void *ctx)
{
	struct supervisor *s = ctx;

	(void)fd;
	(void)what;
	for (size_t i = 0; i < s->count; i++)
		end_child(&s->children[i], SIGKILL);
	oneshots_kill(s->oneshots);
}

/* ---- the watchdogs ---- */

static void kill_hanging(struct supervised *c, unsigned why, const char *how)
{
	c->hangs++;
	note_own(c->supervisor, TG_AUDIT_PROCESS_KILLED, c->kind->name, why, c->restarts);
	say(c->supervisor, "%s %s: it is killed", c->kind->name, how);
	kill(c->pid, SIGKILL);
}

/* Counted in pings, not in seconds: a machine that stood still did not give it a chance to answer. */
static void ping(struct supervised *c)
{
	struct message m = message_of(MESSAGE_PING);

	if (!c->channel) {
		if (++c->missed == MISSED_MAX)
			kill_hanging(c, KILLED_HUNG, "has hung up and does not end");
		return;
	}
	if (!c->ready_since) {
		if (++c->waited == START_MAX)
			kill_hanging(c, KILLED_NOT_READY, "does not become ready");
		return;
	}
	if (c->answered < c->sent && ++c->missed == MISSED_MAX) {
		kill_hanging(c, KILLED_HUNG, "does not answer");
		return;
	}
	m.ping = (struct message_ping){ .number = c->sent + 1,
					.restarts = c->restarts,
					.faults = c->faults,
					.hangs = c->hangs,
					.looping = looping(c->supervisor) };
	if (!channel_send(c->channel, &m))
		c->sent++;
}

static void on_ping(evutil_socket_t fd, short what, void *ctx)
{
	struct supervisor *s = ctx;

	(void)fd;
	(void)what;
	for (size_t i = 0; i < s->count && !s->stopping; i++)
		if (s->children[i].pid)
			ping(&s->children[i]);
	tell_loops(s);
	/* what had to be quiet for a while may go on now */
	tell(s);
	if (s->started && !s->stopping && ++s->pings % LOOK_PINGS == 0)
		look_for(s);
}

static void on_watchdog(evutil_socket_t fd, short what, void *ctx)
{
	const struct supervisor *s = ctx;

	(void)fd;
	(void)what;
	/* who ends is not watched any more */
	if (!s->stopping)
		notify("WATCHDOG=1");
}

/* ---- the supervisor ---- */

static void on_signal(evutil_socket_t number, short what, void *ctx)
{
	struct supervisor *s = ctx;

	(void)what;
	if (number == SIGCHLD)
		reap(s);
	else if (number == SIGHUP)
		reload(s);
	else
		stop(s);
}

static int watch_signals(struct supervisor *s)
{
	static const int numbers[SIGNAL_COUNT] = { SIGTERM, SIGINT, SIGHUP, SIGCHLD };

	for (int i = 0; i < SIGNAL_COUNT; i++) {
		s->signals[i] = evsignal_new(s->base, numbers[i], on_signal, s);
		if (!s->signals[i] || event_add(s->signals[i], NULL))
			return -ENOMEM;
	}
	return 0;
}

static int start_timers(struct supervisor *s)
{
	const struct timeval every = { .tv_sec = PING_S };
	uint64_t us = notify_watchdog_us();
	const struct timeval feed = { .tv_sec = (time_t)(us / 1000000u),
				      .tv_usec = (suseconds_t)(us % 1000000u) };

	s->on_ping = event_new(s->base, -1, EV_PERSIST, on_ping, s);
	s->on_watchdog = event_new(s->base, -1, EV_PERSIST, on_watchdog, s);
	s->on_late = event_new(s->base, -1, 0, on_late, s);
	if (!s->on_ping || !s->on_watchdog || !s->on_late || event_add(s->on_ping, &every))
		return -ENOMEM;
	return us && event_add(s->on_watchdog, &feed) ? -ENOMEM : 0;
}

static int add_children(struct supervisor *s)
{
	for (const struct child_kind *kind = s->conf->kinds; kind->name; kind++) {
		struct supervised *c = &s->children[s->count];

		if (s->count == MAX_CHILDREN)
			return -E2BIG;
		c->supervisor = s;
		c->kind = kind;
		c->on_restart = event_new(s->base, -1, 0, on_restart, c);
		if (!c->on_restart)
			return -ENOMEM;
		s->count++;
	}
	return 0;
}

static int prepare(struct supervisor *s, struct tg_error *e)
{
	const struct oneshot_ops ops = { oneshot_begins, oneshot_ends, s->conf->log, s };
	int ret;

	/* a syslog that goes away takes nothing with it but what is said to it */
	signal(SIGPIPE, SIG_IGN);
	s->base = event_base_new();
	if (!s->base)
		return tg_error(e, -ENOMEM, "cannot start the event loop");
	ret = watch_signals(s);
	if (!ret)
		ret = start_timers(s);
	if (!ret)
		ret = add_children(s);
	if (!ret)
		ret = oneshots_new(s->base, s->conf->oneshots, &ops, &s->oneshots);
	return ret ? tg_error(e, ret, "cannot start the event loop: %s", strerror(-ret)) : 0;
}

/* Where children listen: nobody else may serve them there. */
static int find_addresses(struct supervisor *s, struct tg_error *e)
{
	const struct child_kind *kind = s->conf->kinds;
	int ret = 0;

	for (size_t i = 0; !ret && kind[i].name && i < MAX_CHILDREN; i++) {
		if (!kind[i].socket)
			continue;
		ret = listen_address(s->conf->run_dir, kind[i].socket, &s->children[i].address, e);
		if (!ret)
			ret = listen_check(&s->children[i].address, e);
	}
	return ret;
}

static void remove_addresses(const struct supervisor *s)
{
	for (size_t i = 0; i < MAX_CHILDREN; i++)
		if (s->children[i].address.sun_path[0])
			listen_remove(&s->children[i].address);
}

/* What its children need is all that it keeps. */
static int give_up_rights(const struct supervisor_conf *conf, struct tg_error *e)
{
	const struct sandbox *sandboxes[MAX_CHILDREN + ONESHOT_MAX];
	size_t count = 0;

	for (const struct child_kind *kind = conf->kinds; kind->name && count < MAX_CHILDREN; kind++)
		sandboxes[count++] = kind->sandbox;
	for (const struct oneshot_kind *kind = conf->oneshots;
	     kind->name && count < MAX_CHILDREN + ONESHOT_MAX; kind++)
		sandboxes[count++] = kind->sandbox;
	return sandbox_supervise(sandboxes, count, e);
}

/* Nothing that whoever started us left open, and no hole where a later file would be standard error. */
static int close_inherited(struct tg_error *e)
{
	int fd;

	if (close_range(STDERR_FILENO + 1, ~0u, 0))
		return tg_error(e, -errno, "cannot close descriptors: %s", strerror(errno));
	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd < 0)
		return tg_error(e, -errno, "cannot open /dev/null: %s", strerror(errno));
	close(fd);
	return 0;
}

static int start_children(struct supervisor *s, struct tg_error *e)
{
	int ret = 0;

	for (size_t i = 0; !ret && i < s->count; i++) {
		struct supervised *c = &s->children[i];

		ret = start_child(c, e);
		if (ret && c->kind->dispensable) {
			try_later(c, e);
			ret = 0;
		}
	}
	return ret;
}

static void free_event(struct event *event)
{
	if (event)
		event_free(event);
}

static void clean_up(struct supervisor *s)
{
	for (size_t i = 0; i < s->count; i++) {
		/* only where the loop did not see the end of it */
		if (s->children[i].pid)
			kill(s->children[i].pid, SIGKILL);
		channel_close(s->children[i].channel);
		free_event(s->children[i].on_restart);
	}
	for (int i = 0; i < SIGNAL_COUNT; i++)
		free_event(s->signals[i]);
	free_event(s->on_ping);
	free_event(s->on_watchdog);
	free_event(s->on_late);
	oneshots_free(s->oneshots);
	if (s->base)
		event_base_free(s->base);
}

int supervise(const struct supervisor_conf *conf, int *ret_status, struct tg_error *e)
{
	struct supervisor s = { .conf = conf };
	int ret = close_inherited(e);

	if (!ret)
		ret = find_addresses(&s, e);
	if (!ret)
		ret = give_up_rights(conf, e);
	if (ret)
		return ret;
	/* that of one that was killed */
	loops_note(conf->run_dir, conf->kinds, 0);
	ret = prepare(&s, e);
	if (!ret)
		ret = start_children(&s, e);
	if (!ret && event_base_dispatch(s.base) < 0)
		ret = tg_error(e, -EIO, "the event loop failed");
	clean_up(&s);
	remove_addresses(&s);
	loops_note(conf->run_dir, conf->kinds, 0);
	if (!ret)
		*ret_status = s.status;
	return ret;
}
