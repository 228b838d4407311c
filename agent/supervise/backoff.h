/* SPDX-License-Identifier: BSD-3-Clause */
/* When to start a child again that has ended: time is a parameter, in nanoseconds of a monotonic clock. */
#ifndef AGENT_SUPERVISE_BACKOFF_H
#define AGENT_SUPERVISE_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

#define BACKOFF_FIRST_NS \
	250000000ull /* after the second end in a row; after the first it is started at once */
#define BACKOFF_MAX_NS 30000000000ull
#define BACKOFF_CALM_NS 60000000000ull /* a child that was ready for so long has recovered */
enum { BACKOFF_LOOP = 5 /* ends in a row that make a crash loop */ };

struct backoff {
	unsigned ends; /* in a row */
};

/* How long to wait after an end at `now` of a child that had been ready since `ready_since`; 0 = it never
 * was. */
static inline uint64_t backoff_wait(struct backoff *b, uint64_t ready_since, uint64_t now)
{
	uint64_t wait = BACKOFF_FIRST_NS;

	if (ready_since && now - ready_since >= BACKOFF_CALM_NS)
		b->ends = 0;
	if (b->ends < BACKOFF_LOOP + 64)
		b->ends++;
	if (b->ends == 1)
		return 0;
	for (unsigned i = 2; i < b->ends && wait < BACKOFF_MAX_NS; i++)
		wait *= 2;
	return wait < BACKOFF_MAX_NS ? wait : BACKOFF_MAX_NS;
}

static inline bool backoff_is_loop(const struct backoff *b)
{
	return b->ends >= BACKOFF_LOOP;
}

#endif
