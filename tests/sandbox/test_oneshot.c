/* SPDX-License-Identifier: BSD-3-Clause */
/* Programs that the supervisor runs as root for its children: one at a time, bounded, with few rights. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/clock.h"
#include "harness.h"
#include "supervise/oneshot.h"

enum { RUNS_MAX = 8, PATIENCE_S = 20 };

static struct {
	struct event_base *base;
	struct oneshots *oneshots;
	size_t want, begun, count, running, most;
	size_t kinds[RUNS_MAX];
	int results[RUNS_MAX];
	uint64_t took_ns[RUNS_MAX];
} seen;

static void begins(void *ctx, size_t kind)
{
	(void)ctx;
	(void)kind;
	seen.begun++;
	if (++seen.running > seen.most)
		seen.most = seen.running;
}

static void ends(void *ctx, size_t kind, int result, uint64_t took_ns)
{
	(void)ctx;
	seen.running--;
	if (seen.count < RUNS_MAX) {
		seen.kinds[seen.count] = kind;
		seen.results[seen.count] = result;
		seen.took_ns[seen.count] = took_ns;
	}
	if (++seen.count == seen.want)
		event_base_loopbreak(seen.base);
}

static void on_child(evutil_socket_t number, short what, void *ctx)
{
	(void)number;
	(void)what;
	(void)ctx;
	oneshots_reap(seen.oneshots);
}

static void no_log(const char *line)
{
	(void)line;
}

/* Asks `asks` times for each kind, and waits for `want` ends. */
static bool run(const struct oneshot_kind *kinds, unsigned asks, size_t want)
{
	const struct oneshot_ops ops = { begins, ends, no_log, NULL };
	const struct timeval limit = { .tv_sec = PATIENCE_S };
	struct event *on_sigchld;

	memset(&seen, 0, sizeof(seen));
	seen.want = want;
	seen.base = event_base_new();
	on_sigchld = evsignal_new(seen.base, SIGCHLD, on_child, NULL);
	if (!seen.base || event_add(on_sigchld, NULL) || oneshots_new(seen.base, kinds, &ops, &seen.oneshots))
		return false;
	for (unsigned i = 0; i < asks; i++)
		for (size_t k = 0; kinds[k].name; k++)
			oneshots_ask(seen.oneshots, k);
	event_base_loopexit(seen.base, &limit);
	event_base_dispatch(seen.base);
	oneshots_free(seen.oneshots);
	event_free(on_sigchld);
	event_base_free(seen.base);
	return seen.count == want;
}

#define SHELL(name_, text)                                                           \
	{                                                                            \
		.name = name_, .sandbox = &sandbox_load, .limit_s = ONESHOT_LIMIT_S, \
		.argv = (const char *const[])                                        \
		{                                                                    \
			"/bin/sh", "-c", text, NULL                                  \
		}                                                                    \
	}
#define END                  \
	{                    \
		.name = NULL \
	}

TEST(oneshot, its_end_is_told)
{
	const struct oneshot_kind well[] = { SHELL("well", "exit 0"), END };
	const struct oneshot_kind badly[] = { SHELL("badly", "exit 3"), END };
	const struct oneshot_kind killed[] = { SHELL("killed", "kill -9 $$"), END };
	const struct oneshot_kind none[] = { { .name = "none",
					       .sandbox = &sandbox_load,
					       .argv = (const char *const[]){ "/nonexistent", NULL },
					       .limit_s = ONESHOT_LIMIT_S },
					     END };

	CU_ASSERT_TRUE(run(well, 1, 1));
	CU_ASSERT_EQUAL(seen.results[0], 0);
	CU_ASSERT_TRUE(run(badly, 1, 1));
	CU_ASSERT_EQUAL(seen.results[0], 3);
	CU_ASSERT_TRUE(run(killed, 1, 1));
	CU_ASSERT_EQUAL(seen.results[0], 128 + SIGKILL);
	CU_ASSERT_TRUE(run(none, 1, 1));
	CU_ASSERT_EQUAL(seen.results[0], 127);
}

TEST(oneshot, one_runs_at_a_time_and_one_more_stands_for_all_that_ask_meanwhile)
{
	const struct oneshot_kind kinds[] = { SHELL("a", "sleep 0.2"), SHELL("b", "sleep 0.2"), END };

	/* the first of `a` began before the others were asked for */
	CU_ASSERT_TRUE(run(kinds, 5, 3));
	CU_ASSERT_EQUAL(seen.most, 1);
	CU_ASSERT_EQUAL(seen.begun, 3);
	CU_ASSERT_EQUAL(seen.kinds[0], 0);
	CU_ASSERT_EQUAL(seen.kinds[1] + seen.kinds[2], 1);
	CU_ASSERT_TRUE(seen.took_ns[0] >= 200000000u);
}

TEST(oneshot, what_hangs_is_killed_with_all_that_it_started)
{
	static const char text_of[] = "sleep 61 & echo $! > /tmp/tg-oneshot-$PPID; wait";
	struct oneshot_kind kinds[] = { SHELL("hangs", text_of), END };
	char name[64], text[32] = "";
	uint64_t started = monotonic_ns();
	FILE *f;

	kinds[0].limit_s = 1;
	CU_ASSERT_TRUE(run(kinds, 1, 1));
	CU_ASSERT_EQUAL(seen.results[0], -ETIMEDOUT);
	CU_ASSERT_TRUE(monotonic_ns() - started < 10000000000u);
	snprintf(name, sizeof(name), "/tmp/tg-oneshot-%d", (int)getpid());
	f = fopen(name, "re");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	CU_ASSERT_PTR_NOT_NULL(fgets(text, sizeof(text), f));
	fclose(f);
	unlink(name);
	CU_ASSERT_TRUE(atoi(text) > 1);
	/* somebody else reaps it: until then it is a zombie, or gone */
	for (int i = 0; i < 100 && !kill(atoi(text), 0); i++)
		usleep(20000);
	CU_ASSERT_NOT_EQUAL(kill(atoi(text), 0), 0);
}

TEST(oneshot, a_failure_is_followed_by_a_wait)
{
	const struct oneshot_kind kinds[] = { SHELL("fails", "exit 1"), END };
	uint64_t started = monotonic_ns();

	CU_ASSERT_TRUE(run(kinds, 2, 2));
	CU_ASSERT_TRUE(monotonic_ns() - started >= 500000000u);
}

/* As the supervisor, which holds more than it gives. */
static int run_as_supervisor(const char *check)
{
	const struct sandbox *sandboxes[] = { &sandbox_guard, &sandbox_trust, &sandbox_load };
	const struct oneshot_kind kinds[] = { SHELL("rights", check), END };
	struct tg_error e;
	int status;
	pid_t pid = fork();

	if (!pid) {
		if (sandbox_supervise(sandboxes, 3, &e))
			_exit(99);
		_exit(run(kinds, 1, 1) && seen.results[0] >= 0 ? seen.results[0] : 98);
	}
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 97;
}

TEST(oneshot, has_the_rights_of_its_kind_and_nothing_that_was_open)
{
	char check[512];
	/* NET_ADMIN 12, NET_RAW 13, SYS_ADMIN 21, SYS_NICE 23, SYS_RESOURCE 24, DAC_READ_SEARCH 2 */
	unsigned long long all = 1ull << 12 | 1ull << 13 | 1ull << 21 | 1ull << 23 | 1ull << 24 | 1ull << 2;
	unsigned long long have = 0;
	FILE *f = fopen("/proc/self/status", "re");
	int spare = open("/etc/hostname", O_RDONLY);

	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	while (fgets(check, sizeof(check), f) && sscanf(check, "CapPrm: %llx", &have) != 1)
		;
	fclose(f);
	snprintf(check, sizeof(check),
		 "awk '/^Cap(Prm|Eff|Bnd)/ { if ($2 != \"%016llx\") exit 1 } "
		 "/^CapInh/ { if ($2 !~ /^0*$/) exit 1 } "
		 "/^NoNewPrivs/ { if ($2 != 1) exit 1 }' /proc/self/status && "
		 "! readlink /proc/self/fd/* | grep -q hostname",
		 all & have);
	CU_ASSERT_EQUAL(run_as_supervisor(check), 0);
	CU_ASSERT_EQUAL(run_as_supervisor("[ -z \"$NOTIFY_SOCKET\" ] || exit 1"), 0);
	CU_ASSERT_EQUAL(run_as_supervisor("exit 5"), 5);
	close(spare);
}
