/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/clock.h"
#include "common/ended.h"
#include "supervise/limit.h"
#include "supervise/oneshot.h"
#include "supervise/spawn.h"

enum { EXIT_NO_EXEC = 127 };

struct oneshots {
	const struct oneshot_kind *kinds;
	struct oneshot_ops ops;
	size_t count;
	struct event *on_time;	/* one may start, or has run for too long */
	struct limit limits[ONESHOT_MAX];
	bool wanted[ONESHOT_MAX];
	pid_t pid;		/* 0 = none runs */
	size_t running;
	uint64_t started_ns;
	bool late, stopped;
};

__attribute__((format(printf, 2, 3))) static void say(const struct oneshots *o, const char *format, ...)
{
	char line[256];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	o->ops.log(line);
}

static void wake_in(struct oneshots *o, uint64_t ns)
{
	const struct timeval when = { .tv_sec = (time_t)(ns / 1000000000u),
				      .tv_usec = (suseconds_t)(ns % 1000000000u / 1000u) };

	event_add(o->on_time, &when);
}

/* ---- the process ---- */

/* Its standard output is for people who call it themselves; standard error is the agent's. */
static int place_files(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (fd < 0 || dup2(fd, STDIN_FILENO) < 0 || dup2(fd, STDOUT_FILENO) < 0)
		return -errno;
	return close_range(STDERR_FILENO + 1, ~0u, CLOSE_RANGE_CLOEXEC) ? -errno : 0;
}

static void reset_signals(void)
{
	struct sigaction action = { .sa_handler = SIG_DFL };
	sigset_t none;

	for (int s = 1; s < NSIG; s++)
		sigaction(s, &action, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* A group of its own: what it started ends with it. A daemon that it leaves behind has left the group. */
_Noreturn static void become(const struct oneshot_kind *kind)
{
	struct tg_error e = { "" };

	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	setpgid(0, 0);
	reset_signals();
	spawn_clean_environment();
	if (place_files() || sandbox_give(kind->sandbox, &e))
		goto fail;
	execv(kind->argv[0], (char *const *)kind->argv);
fail:
	fprintf(stderr, "tensorguard-agent: cannot start %s: %s\n", kind->argv[0],
		e.message[0] ? e.message : strerror(errno));
	_exit(EXIT_NO_EXEC);
}

static void ended(struct oneshots *o, int result)
{
	uint64_t now = monotonic_ns(), took = now - o->started_ns;
	size_t kind = o->running;

	o->pid = 0;
	limit_ended(&o->limits[kind], result != 0, now);
	o->ops.ended(o->ops.ctx, kind, result, took);
}

static void start(struct oneshots *o, size_t kind)
{
	pid_t pid;

	o->wanted[kind] = false;
	o->running = kind;
	o->started_ns = monotonic_ns();
	o->late = false;
	limit_started(&o->limits[kind], o->started_ns);
	o->ops.started(o->ops.ctx, kind);
	pid = fork();
	if (!pid)
		become(&o->kinds[kind]);
	if (pid < 0) {
		int error = errno;

		say(o, "%s: cannot make a process: %s", o->kinds[kind].name, strerror(error));
		ended(o, -error);
		return;
	}
	/* in both: whoever comes first */
	setpgid(pid, pid);
	o->pid = pid;
}

/* ---- whose turn it is ---- */

/* Starts what may start, and says when to look again. */
static void look(struct oneshots *o)
{
	uint64_t now = monotonic_ns(), soonest = UINT64_MAX;

	for (size_t i = 0; i < o->count && !o->pid && !o->stopped; i++) {
		uint64_t wait = limit_wait(&o->limits[i], now);

		if (!o->wanted[i])
			continue;
		if (!wait)
			start(o, i);
		else if (wait < soonest)
			soonest = wait;
	}
	if (o->pid)
		soonest = o->kinds[o->running].limit_s * 1000000000ull;
	if (soonest != UINT64_MAX)
		wake_in(o, soonest);
}

static void on_time(evutil_socket_t fd, short what, void *ctx)
{
	struct oneshots *o = ctx;

	(void)fd;
	(void)what;
	if (!o->pid) {
		look(o);
		return;
	}
	o->late = true;
	say(o, "%s has run for %u s: it is killed", o->kinds[o->running].name, o->kinds[o->running].limit_s);
	kill(-o->pid, SIGKILL);
}

void oneshots_ask(struct oneshots *o, size_t kind)
{
	o->wanted[kind] = true;
	if (!o->pid)
		look(o);
}

static int result_of(const struct oneshots *o, int status)
{
	if (o->late)
		return -ETIMEDOUT;
	return ended_status(status);
}

void oneshots_reap(struct oneshots *o)
{
	int status;

	if (!o->pid || waitpid(o->pid, &status, WNOHANG) != o->pid)
		return;
	event_del(o->on_time);
	ended(o, result_of(o, status));
	look(o);
}

int oneshots_new(struct event_base *base, const struct oneshot_kind *kinds, const struct oneshot_ops *ops,
		 struct oneshots **ret_oneshots)
{
	struct oneshots *o = calloc(1, sizeof(*o));

	if (!o)
		return -ENOMEM;
	o->kinds = kinds;
	o->ops = *ops;
	while (kinds && kinds[o->count].name && o->count < ONESHOT_MAX)
		o->count++;
	o->on_time = event_new(base, -1, 0, on_time, o);
	if (!o->on_time) {
		free(o);
		return -ENOMEM;
	}
	*ret_oneshots = o;
	return 0;
}

void oneshots_stop(struct oneshots *o)
{
	o->stopped = true;
}

void oneshots_kill(struct oneshots *o)
{
	if (o->pid)
		kill(-o->pid, SIGKILL);
}

bool oneshots_run(const struct oneshots *o)
{
	return o->pid != 0;
}

void oneshots_free(struct oneshots *o)
{
	if (!o)
		return;
	oneshots_kill(o);
	event_free(o->on_time);
	free(o);
}
