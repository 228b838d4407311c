/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * When to renew, and when to try again. All of it scales with the certificate's lifetime. Times are seconds
 * since 1970; this machine's clock may differ from the Platform's, and may jump.
 */
#ifndef AGENT_TRUST_SCHEDULE_H
#define AGENT_TRUST_SCHEDULE_H

#include <stdint.h>

struct trust_times {
	int64_t issued, not_after; /* by the Platform's clock */
	int64_t skew;		   /* this machine's clock less the Platform's, when it was issued */
};

/*
 * Seconds from `now`, by this machine's clock, to two thirds of the lifetime; 0 is at once. A clock that
 * stands before the issue tells nothing: then it is at once, and the new certificate sets it right.
 */
int64_t trust_renew_in(const struct trust_times *times, int64_t now);

/* Seconds that are left of the lifetime, by the Platform's clock as far as it is known; not below 0. */
int64_t trust_left(const struct trust_times *times, int64_t now);

/*
 * Milliseconds to wait after `failures` (1 or more) tries in a row: twice as long each time, up to a twelfth
 * of the lifetime, give or take a quarter by `draw`, which is any number.
 */
int64_t trust_retry_ms(const struct trust_times *times, unsigned failures, uint32_t draw);

/*
 * Milliseconds to the next sync, `failures` tries in a row having failed: a period of so many seconds, give
 * or take a tenth; after failures twice as long each time, up to five minutes or the period, give or take a
 * quarter.
 */
int64_t trust_sync_ms(int64_t period, unsigned failures, uint32_t draw);

#endif
