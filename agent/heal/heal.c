/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/clock.h"
#include "heal/heal.h"
#include "instance/engine.h"
#include "instance/instance.h"
#include "net/watch.h"

#define MS 1000000ull

/* A look is worth so much of a processor at most: 1 in 200 when much changes, 1 in 400 when nothing does. */
enum { BUSY_SHARE = 200, CALM_SHARE = 400, STACK = 512 * 1024 };
#define SOON_NS (20 * MS)	  /* from a notification to the look: they come in groups */
#define AGAIN_NS (100 * MS)	  /* between two looks, at least */
#define CALM_NS (2000 * MS)	  /* between two looks without a notification, at least */
#define FILTERS_NS \
	(30000 * MS) /* between two repairs that are asked for because of foreign packet filters \
				 */

struct counters {
	uint64_t looks, noticed, asked, repaired, failed;
	uint64_t last_ns, max_ns; /* from noticing it to its repair */
};

struct heal {
	struct heal_conf conf;
	pthread_t thread;
	bool runs;
	int watch, filters;	/* descriptors of net_watch; `filters` may be -1 */
	int wake, news;		/* eventfds: to the thread, and from it */
	struct event *on_news;

	pthread_mutex_t lock;	/* of what follows */
	bool stop, looks_now, wants, asked;
	struct counters count;
	char line[512];		/* to be logged; "" = nothing */

	/* of the thread alone */
	struct instance in;
	struct tg_policy *policy;
	struct stat files[2];
	uint64_t cost_ns, looked_ns, broken_ns, filters_ns;
	bool changed, filters_changed, whole;
};

/* ---- what the thread says ---- */

static void signal_fd(int fd)
{
	const uint64_t one = 1;

	/* it fails only when it is set already */
	(void)!write(fd, &one, sizeof(one));
}

/* Under the lock. What was not logged yet is the older and the less interesting line. */
__attribute__((format(printf, 2, 3))) static void say(struct heal *h, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(h->line, sizeof(h->line), format, args);
	va_end(args);
	signal_fd(h->news);
}

/* Under the lock. */
static void want(struct heal *h)
{
	if (h->asked || h->wants)
		return;
	h->wants = true;
	signal_fd(h->news);
}

/* ---- one look ---- */

static uint64_t thread_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void stat_in(const char *run_dir, const char *name, struct stat *ret_stat)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", run_dir, name);
	if (stat(path, ret_stat))
		memset(ret_stat, 0, sizeof(*ret_stat));
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* The policy that is up; without one there is nothing to look after. */
static bool refresh_policy(struct heal *h)
{
	struct stat files[2];

	stat_in(h->conf.run_dir, "policy.conf", &files[0]);
	stat_in(h->conf.run_dir, "site.conf", &files[1]);
	if (h->policy && same_file(&files[0], &h->files[0]) && same_file(&files[1], &h->files[1]))
		return true;
	tg_policy_free(h->policy);
	h->policy = NULL;
	if (state_load(h->conf.run_dir, &h->policy, NULL))
		return false;
	memcpy(h->files, files, sizeof(files));
	return true;
}

/* Whoever changes the data plane at this moment holds the lock: what is missing then is on its way. */
static bool is_being_changed(const struct heal *h)
{
	char path[PATH_MAX];
	bool held;
	int fd;

	snprintf(path, sizeof(path), "%s/lock", h->conf.run_dir);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return false;
	held = flock(fd, LOCK_SH | LOCK_NB) && errno == EWOULDBLOCK;
	close(fd);
	return held;
}

static void take_broken(struct heal *h, const struct report *report, uint64_t begun)
{
	if (!h->broken_ns) {
		h->broken_ns = begun;
		h->count.noticed++;
		say(h, "%s%s: a repair is asked for", report->problems[0],
		    report->problem_count > 1 ? ", and more" : "");
	}
	want(h);
}

static void take_whole(struct heal *h)
{
	struct counters *c = &h->count;

	if (!h->broken_ns)
		return;
	c->last_ns = monotonic_ns() - h->broken_ns;
	c->max_ns = c->last_ns > c->max_ns ? c->last_ns : c->max_ns;
	c->repaired++;
	h->broken_ns = 0;
	say(h, "the data plane is whole again after %.3f s", (double)c->last_ns / 1e9);
}

static void take_report(struct heal *h, const struct report *report, uint64_t begun)
{
	bool being_changed = report->problem_count && is_being_changed(h);

	pthread_mutex_lock(&h->lock);
	h->count.looks++;
	h->whole = !report->problem_count;
	if (h->whole)
		take_whole(h);
	else if (!being_changed)
		take_broken(h, report, begun);
	pthread_mutex_unlock(&h->lock);
}

static void look(struct heal *h)
{
	uint64_t begun = monotonic_ns(), cpu = thread_ns();
	struct report report;

	h->changed = false;
	h->whole = true;
	if (refresh_policy(h)) {
		h->in.policy = h->policy;
		engine_recall(h->policy, h->conf.pin_dir);
		if (!instance_inspect(&h->in, &report, NULL)) {
			take_report(h, &report, begun);
			report_free(&report);
		}
	}
	h->cost_ns = thread_ns() - cpu;
	h->looked_ns = monotonic_ns();
}

/* Which rules these are only iptables-save can tell, which is for who repairs. */
static void ask_because_of_filters(struct heal *h)
{
	h->filters_changed = false;
	h->filters_ns = monotonic_ns();
	if (!h->policy || is_being_changed(h))
		return;
	pthread_mutex_lock(&h->lock);
	want(h);
	pthread_mutex_unlock(&h->lock);
}

/* ---- when to look ---- */

static uint64_t at_least(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t next_look(const struct heal *h)
{
	uint64_t soon = h->changed || !h->whole;
	uint64_t gap = soon ? at_least(AGAIN_NS, h->cost_ns * BUSY_SHARE)
			    : at_least(CALM_NS, h->cost_ns * CALM_SHARE);

	return h->looked_ns + gap;
}

/* Until it is time to look, or something happens. */
static void await(struct heal *h)
{
	struct pollfd fds[] = { { .fd = h->wake, .events = POLLIN },
				{ .fd = h->watch, .events = POLLIN },
				{ .fd = h->filters, .events = POLLIN } };
	uint64_t now = monotonic_ns(), due = next_look(h), count;

	/* what has been told already is not to wake us again before it is time */
	if (h->changed)
		fds[1].fd = -1;
	if (h->filters_changed) {
		fds[2].fd = -1;
		due = due < h->filters_ns + FILTERS_NS ? due : h->filters_ns + FILTERS_NS;
	}
	poll(fds, 3, due > now ? (int)((due - now + MS - 1) / MS) : 0);
	if (fds[0].revents)
		(void)!read(h->wake, &count, sizeof(count));
	if (fds[1].revents) {
		const struct timespec soon = { .tv_nsec = SOON_NS };

		nanosleep(&soon, NULL);
		h->changed |= net_watch_take(h->watch);
	}
	if (fds[2].revents)
		h->filters_changed |= net_watch_take(h->filters);
}

/* Whether somebody wants it to end, or to look whatever the time is. */
static bool goes_on(struct heal *h, bool *ret_now)
{
	bool stop;

	pthread_mutex_lock(&h->lock);
	stop = h->stop;
	*ret_now = h->looks_now;
	h->looks_now = false;
	pthread_mutex_unlock(&h->lock);
	return !stop;
}

static void *run(void *arg)
{
	struct heal *h = arg;
	struct tg_error e = { "" };
	bool now = true;

	if (h->conf.settle && h->conf.settle(&e)) {
		pthread_mutex_lock(&h->lock);
		say(h, "nobody looks after the data plane: %s", e.message);
		pthread_mutex_unlock(&h->lock);
		return NULL;
	}
	while (goes_on(h, &now)) {
		if (now || monotonic_ns() >= next_look(h))
			look(h);
		if (h->filters_changed && monotonic_ns() >= h->filters_ns + FILTERS_NS)
			ask_because_of_filters(h);
		await(h);
	}
	return NULL;
}

/* ---- the other thread ---- */

static void take_done(struct heal *h, bool looks_now)
{
	pthread_mutex_lock(&h->lock);
	h->asked = false;
	h->looks_now |= looks_now;
	pthread_mutex_unlock(&h->lock);
}

static void on_news(evutil_socket_t fd, short what, void *ctx)
{
	struct heal *h = ctx;
	char line[sizeof(h->line)];
	uint64_t count;
	bool wants;

	(void)what;
	(void)!read(fd, &count, sizeof(count));
	pthread_mutex_lock(&h->lock);
	memcpy(line, h->line, sizeof(line));
	h->line[0] = '\0';
	wants = h->wants;
	h->wants = false;
	if (wants) {
		h->asked = true;
		h->count.asked++;
	}
	pthread_mutex_unlock(&h->lock);
	if (line[0])
		h->conf.log(h->conf.ctx, line);
	if (wants && h->conf.ask(h->conf.ctx))
		take_done(h, false);
}

void heal_done(struct heal *h, int result)
{
	pthread_mutex_lock(&h->lock);
	h->count.failed += result != 0;
	pthread_mutex_unlock(&h->lock);
	take_done(h, true);
	signal_fd(h->wake);
}

static int start_thread(struct heal *h)
{
	pthread_attr_t attributes;
	sigset_t all, before;
	int ret = pthread_attr_init(&attributes);

	if (ret)
		return -ret;
	/* where the agent paces, its memory is locked: a stack of the usual size would be, too */
	pthread_attr_setstacksize(&attributes, STACK);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	ret = pthread_create(&h->thread, &attributes, run, h);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	h->runs = !ret;
	return -ret;
}

static int open_all(struct heal *h, struct event_base *base, struct tg_error *e)
{
	int ret = net_open(&h->in.net, e);

	if (!ret)
		ret = net_watch_open(&h->watch, e);
	if (ret)
		return ret;
	/* where there is no nftables, the supervisor's own look is all that sees iptables */
	if (net_watch_open_filters(&h->filters, NULL))
		h->filters = -1;
	h->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	h->news = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (h->wake < 0 || h->news < 0)
		return tg_error(e, -errno, "cannot make an event: %s", strerror(errno));
	h->on_news = event_new(base, h->news, EV_READ | EV_PERSIST, on_news, h);
	if (!h->on_news || event_add(h->on_news, NULL))
		return tg_error(e, -ENOMEM, "out of memory");
	ret = start_thread(h);
	return ret ? tg_error(e, ret, "cannot make a thread: %s", strerror(-ret)) : 0;
}

int heal_new(const struct heal_conf *conf, struct event_base *base, struct heal **ret_heal,
	     struct tg_error *e)
{
	struct heal *h = calloc(1, sizeof(*h));
	int ret;

	if (!h)
		return tg_error(e, -ENOMEM, "out of memory");
	h->conf = *conf;
	h->watch = h->filters = h->wake = h->news = -1;
	h->in = (struct instance){ .pin_dir = conf->pin_dir, .run_dir = conf->run_dir, .kernel_only = true };
	h->whole = true;
	h->looks_now = true;
	pthread_mutex_init(&h->lock, NULL);
	ret = open_all(h, base, e);
	if (ret) {
		heal_free(h);
		return ret;
	}
	*ret_heal = h;
	return 0;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

void heal_free(struct heal *h)
{
	if (!h)
		return;
	if (h->runs) {
		pthread_mutex_lock(&h->lock);
		h->stop = true;
		pthread_mutex_unlock(&h->lock);
		signal_fd(h->wake);
		pthread_join(h->thread, NULL);
	}
	if (h->on_news)
		event_free(h->on_news);
	close_fd(h->watch);
	close_fd(h->filters);
	close_fd(h->wake);
	close_fd(h->news);
	net_close(h->in.net);
	tg_policy_free(h->policy);
	pthread_mutex_destroy(&h->lock);
	free(h);
}

bool heal_is_broken(struct heal *h)
{
	bool broken;

	pthread_mutex_lock(&h->lock);
	broken = h->broken_ns != 0;
	pthread_mutex_unlock(&h->lock);
	return broken;
}

json_t *heal_stats(struct heal *h)
{
	bool broken = heal_is_broken(h);
	struct counters c;

	pthread_mutex_lock(&h->lock);
	c = h->count;
	pthread_mutex_unlock(&h->lock);
	return json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:f, s:f}", "whole", !broken, "looks",
			 (json_int_t)c.looks, "noticed", (json_int_t)c.noticed, "asked", (json_int_t)c.asked,
			 "repaired", (json_int_t)c.repaired, "failed", (json_int_t)c.failed, "last_ms",
			 (double)c.last_ns / 1e6, "max_ms", (double)c.max_ns / 1e6);
}
