/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How often one-shots run: LIMIT_BURST at once, then one per LIMIT_EVERY_NS, and after a failure not before a
 * wait that doubles. Time is a parameter, in nanoseconds of a monotonic clock.
 */
#ifndef AGENT_SUPERVISE_LIMIT_H
#define AGENT_SUPERVISE_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#define LIMIT_EVERY_NS 5000000000ull
#define LIMIT_WAIT_NS 500000000ull /* after the first failure in a row */
#define LIMIT_WAIT_MAX_NS 60000000000ull
enum { LIMIT_BURST = 12 };

struct limit {
	uint64_t full_ns;    /* when the burst will have filled up again */
	uint64_t not_before; /* because of failures */
	unsigned failures;   /* in a row */
};

/* How long from `now` on it has to wait; 0 = it may start. */
static inline uint64_t limit_wait(const struct limit *l, uint64_t now)
{
	uint64_t room = (LIMIT_BURST - 1) * LIMIT_EVERY_NS, wait = 0;

	if (l->full_ns > now + room)
		wait = l->full_ns - now - room;
	if (l->not_before > now && l->not_before - now > wait)
		wait = l->not_before - now;
	return wait;
}

/* Failures that lie back far enough have nothing to do with one another. */
static inline void limit_started(struct limit *l, uint64_t now)
{
	if (now > l->not_before + LIMIT_WAIT_MAX_NS)
		l->failures = 0;
	l->full_ns = (l->full_ns > now ? l->full_ns : now) + LIMIT_EVERY_NS;
}

static inline void limit_ended(struct limit *l, bool failed, uint64_t now)
{
	uint64_t wait = LIMIT_WAIT_NS;

	if (!failed) {
		l->failures = 0;
		l->not_before = 0;
		return;
	}
	for (unsigned i = 0; i < l->failures && wait < LIMIT_WAIT_MAX_NS; i++)
		wait *= 2;
	if (l->failures < 64)
		l->failures++;
	l->not_before = now + (wait < LIMIT_WAIT_MAX_NS ? wait : LIMIT_WAIT_MAX_NS);
}

#endif
