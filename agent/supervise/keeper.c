/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/ended.h"
#include "supervise/backoff.h"
#include "supervise/keeper.h"

enum {
	MESSAGE_MAX = 256,
	EXIT_NO_EXEC = 127,
	AT_ONCE = 1024, /* messages: more than the kernel lets wait (net.unix.max_dgram_qlen) */
};

struct keeper {
	char **argv;
	void (*log)(const char *line);
	int signals, timer, restart, socket; /* descriptors */
	char address[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* as in NOTIFY_SOCKET */
	pid_t pid;	      /* of the supervisor; 0: it does not run */
	struct backoff backoff;
	uint64_t ready_since; /* 0: not yet */
	unsigned missed;      /* ticks since it was heard */
	uint64_t ending_since; /* 0: it is not to end */
	bool was_ready, done;
	int status;
};

__attribute__((format(printf, 2, 3))) static void say(const struct keeper *k, const char *format, ...)
{
	char line[256];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	k->log(line);
}

/* ---- starting ---- */

static void set_number(const char *name, long long value)
{
	char text[32];

	snprintf(text, sizeof(text), "%lld", value);
	setenv(name, text, 1);
}

_Noreturn static void become_supervisor(const struct keeper *k, pid_t parent)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	setenv("NOTIFY_SOCKET", k->address, 1);
	set_number("WATCHDOG_USEC", KEEPER_FEED_S * 1000000ll);
	set_number("WATCHDOG_PID", getpid());
	/* it may have ended before its death could be a signal to us */
	if (getppid() == parent)
		execv("/proc/self/exe", k->argv);
	_exit(EXIT_NO_EXEC);
}

static void restart_in(const struct keeper *k, uint64_t ns)
{
	/* zero would disarm it */
	const struct itimerspec when = { .it_value = { .tv_sec = (time_t)(ns / 1000000000u),
						       .tv_nsec = (long)(ns % 1000000000u) + !ns } };

	timerfd_settime(k->restart, 0, &when, NULL);
}

static void start(struct keeper *k)
{
	pid_t parent = getpid();

	k->ready_since = 0;
	k->missed = 0;
	k->pid = fork();
	if (!k->pid)
		become_supervisor(k, parent);
	if (k->pid < 0) {
		say(k, "the supervisor cannot be started: %s", strerror(errno));
		k->pid = 0;
		restart_in(k, backoff_wait(&k->backoff, 0, monotonic_ns()));
	}
}

/* ---- ending ---- */

static void ended(struct keeper *k, int status)
{
	uint64_t wait;
	char text[96];

	k->pid = 0;
	k->status = ended_status(status);
	/* a wrong call or a wrong policy does not get better by being tried again */
	k->done = k->ending_since || (!k->was_ready && WIFEXITED(status));
	if (k->done)
		return;
	wait = backoff_wait(&k->backoff, k->ready_since, monotonic_ns());
	ended_describe(status, text, sizeof(text));
	say(k, "the supervisor %s: it is started again in %.2f s", text, (double)wait / 1e9);
	restart_in(k, wait);
}

static void reap(struct keeper *k)
{
	int status;

	if (k->pid && waitpid(k->pid, &status, WNOHANG) == k->pid)
		ended(k, status);
}

static void take_signal(struct keeper *k)
{
	struct signalfd_siginfo info;

	if (read(k->signals, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGCHLD) {
		reap(k);
	} else if (info.ssi_signo == SIGHUP) {
		if (k->pid)
			kill(k->pid, SIGHUP);
	} else if (!k->pid) {
		k->status = 0;
		k->done = true;
	} else if (!k->ending_since) {
		k->ending_since = monotonic_ns();
		kill(k->pid, SIGTERM);
	}
}

/* ---- the watchdog ---- */

/* Ticks that a machine at a standstill left out do not count. */
static void tick(struct keeper *k)
{
	uint64_t count;

	if (read(k->timer, &count, sizeof(count)) != sizeof(count) || !k->pid)
		return;
	if (k->ending_since) {
		if (monotonic_ns() - k->ending_since >= KEEPER_END_S * 1000000000ull)
			kill(k->pid, SIGKILL);
	} else if (++k->missed == KEEPER_MISSED) {
		say(k, "the supervisor does not answer: it is killed");
		kill(k->pid, SIGKILL);
	}
}

static bool is_ours(const struct keeper *k, struct msghdr *message)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		struct ucred from;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_CREDENTIALS)
			continue;
		memcpy(&from, CMSG_DATA(c), sizeof(from));
		return k->pid && from.pid == k->pid;
	}
	return false;
}

/* One datagram of the supervisor's; anybody may send there, and is not heard. False: there is none. */
static bool take_message(struct keeper *k)
{
	char text[MESSAGE_MAX + 1];
	union {
		char room[CMSG_SPACE(sizeof(struct ucred))];
		struct cmsghdr align;
	} control;
	struct iovec data = { text, MESSAGE_MAX };
	struct msghdr message = { .msg_iov = &data,
				  .msg_iovlen = 1,
				  .msg_control = control.room,
				  .msg_controllen = sizeof(control.room) };
	ssize_t n = recvmsg(k->socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n < 0)
		return false;
	if (!is_ours(k, &message))
		return true;
	text[n] = '\0';
	k->missed = 0;
	if (!strcmp(text, "READY=1") && !k->ready_since) {
		k->ready_since = monotonic_ns();
		k->was_ready = true;
	}
	return true;
}

/* All that was there; somebody who never stops sending keeps us from nothing else. */
static void take_messages(struct keeper *k)
{
	for (int i = 0; i < AT_ONCE && take_message(k); i++)
		;
}

/* ---- its own start ---- */

/* An address of the kernel's choice, which no file is in the way of. */
static int open_socket(struct keeper *k)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(address);
	int on = 1;

	k->socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (k->socket < 0 || setsockopt(k->socket, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) ||
	    bind(k->socket, (const struct sockaddr *)&address, sizeof(sa_family_t)) ||
	    getsockname(k->socket, (struct sockaddr *)&address, &len))
		return -errno;
	len -= (socklen_t)offsetof(struct sockaddr_un, sun_path);
	memcpy(k->address, address.sun_path, len);
	k->address[0] = '@';
	return 0;
}

static int open_all(struct keeper *k)
{
	const struct itimerspec every = { { KEEPER_TICK_S, 0 }, { KEEPER_TICK_S, 0 } };
	sigset_t set;

	sigemptyset(&set);
	for (const int *s = (const int[]){ SIGCHLD, SIGTERM, SIGINT, SIGHUP, 0 }; *s; s++)
		sigaddset(&set, *s);
	sigprocmask(SIG_BLOCK, &set, NULL);
	k->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	k->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	k->restart = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (k->signals < 0 || k->timer < 0 || k->restart < 0 || timerfd_settime(k->timer, 0, &every, NULL))
		return -errno;
	return open_socket(k);
}

static void serve(struct keeper *k)
{
	struct pollfd fds[] = { { .fd = k->signals, .events = POLLIN },
				{ .fd = k->socket, .events = POLLIN },
				{ .fd = k->timer, .events = POLLIN },
				{ .fd = k->restart, .events = POLLIN } };
	uint64_t count;

	while (!k->done) {
		if (poll(fds, 4, -1) < 0)
			continue;
		/* what was said before somebody ended, or before it is too late, counts */
		if (fds[1].revents)
			take_messages(k);
		if (fds[2].revents)
			tick(k);
		if (fds[0].revents)
			take_signal(k);
		if (!k->done && fds[3].revents && read(k->restart, &count, sizeof(count)) > 0)
			start(k);
	}
}

int keeper_run(char **argv, void (*log)(const char *line), int *ret_status, struct tg_error *e)
{
	struct keeper k = {
		.argv = argv, .log = log, .signals = -1, .timer = -1, .restart = -1, .socket = -1
	};
	int fds[4], ret = 0;

	if (getenv("NOTIFY_SOCKET"))
		ret = tg_error(e, -EINVAL,
			       "--respawn: the service manager that started this does that itself");
	if (!ret)
		ret = open_all(&k);
	if (ret)
		ret = e->message[0] ? ret : tg_error(e, ret, "cannot watch a process: %s", strerror(-ret));
	prctl(PR_SET_NAME, "tg-keeper", 0, 0, 0);
	if (!ret) {
		start(&k);
		serve(&k);
		*ret_status = k.status;
	}
	memcpy(fds, (const int[]){ k.signals, k.timer, k.restart, k.socket }, sizeof(fds));
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return ret;
}
