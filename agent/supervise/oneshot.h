/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What needs root and exec, which no child has: programs that the supervisor starts for one call, each with a
 * command line that is fixed before anybody can ask. One runs at a time; one more of each kind waits, and
 * stands for all that ask meanwhile. limit.h says when it may start; after its limit it is killed with all
 * that it started.
 */
#ifndef AGENT_SUPERVISE_ONESHOT_H
#define AGENT_SUPERVISE_ONESHOT_H

#include <stdbool.h>
#include <sys/types.h>

#include "supervise/message.h"
#include "supervise/sandbox.h"

enum { ONESHOT_LIMIT_S = 30, ONESHOT_MAX = 4 };

struct event_base;

struct oneshot_kind {
	const char *name;	       /* "repair", in messages; NULL ends a table */
	enum message_type asked_by;    /* the message that starts it */
	const struct sandbox *sandbox; /* its rights: it keeps root's user, and makes any system call */
	const char *const *argv;       /* argv[0] is its path */
	/* Whether the supervisor has it run without being asked as well. */
	bool looks;
	unsigned limit_s; /* so long it may run; ONESHOT_LIMIT_S */
};

/* How a run ended: 0 = with success, > 0 = its exit status (128 + N: signal N), < 0 = a negative errno:
 * -ETIMEDOUT it was killed, else it could not be started. */
typedef void oneshot_ended(void *ctx, size_t kind, int result, uint64_t took_ns);
typedef void oneshot_started(void *ctx, size_t kind);

struct oneshot_ops {
	oneshot_started *started;
	oneshot_ended *ended;
	void (*log)(const char *line);
	void *ctx;
};

struct oneshots;

/* `kinds` and what it points to, and `ops`'s ctx, stay the caller's until oneshots_free(). */
int oneshots_new(struct event_base *base, const struct oneshot_kind *kinds, const struct oneshot_ops *ops,
		 struct oneshots **ret_oneshots);
void oneshots_free(struct oneshots *oneshots); /* NULL-safe; kills what runs */

/* One run that begins after this call is wanted. */
void oneshots_ask(struct oneshots *oneshots, size_t kind);

/* On SIGCHLD: takes the end of its own process, of nobody else's. */
void oneshots_reap(struct oneshots *oneshots);

/* Nothing starts any more; what runs may end. */
void oneshots_stop(struct oneshots *oneshots);
void oneshots_kill(struct oneshots *oneshots);
bool oneshots_run(const struct oneshots *oneshots); /* whether one does */

#endif
