/* SPDX-License-Identifier: BSD-3-Clause */
#include "trust/schedule.h"

enum {
	SLACK_SECONDS = 60,	/* a clock may be corrected by so much */
	FIRST_PART = 1000,	/* the first wait: this part of the lifetime ... */
	FIRST_MS_MIN = 1000,
	FIRST_MS_MAX = 30000,	/* ... within these */
	LAST_PART = 12,		/* the longest wait */
	SYNC_MS_MAX = 300000,
};

static int64_t lifetime(const struct trust_times *times)
{
	return times->not_after > times->issued ? times->not_after - times->issued : 0;
}

int64_t trust_renew_in(const struct trust_times *times, int64_t now)
{
	int64_t age = now - times->skew - times->issued, due = lifetime(times) * 2 / 3;

	if (age < -SLACK_SECONDS)
		return 0;
	return age < due ? due - age : 0;
}

int64_t trust_left(const struct trust_times *times, int64_t now)
{
	int64_t age = now - times->skew - times->issued, all = lifetime(times);

	if (age < 0)
		return all;
	return age < all ? all - age : 0;
}

static int64_t clamp(int64_t value, int64_t min, int64_t max)
{
	if (value > max)
		value = max;
	return value < min ? min : value;
}

int64_t trust_retry_ms(const struct trust_times *times, unsigned failures, uint32_t draw)
{
	int64_t all = lifetime(times) * 1000, wait = clamp(all / FIRST_PART, FIRST_MS_MIN, FIRST_MS_MAX);
	int64_t longest = clamp(all / LAST_PART, FIRST_MS_MIN, all);

	while (--failures && wait < longest)
		wait *= 2;
	wait = clamp(wait, FIRST_MS_MIN, longest);
	/* a fleet whose Platform was away does not come back all at once */
	return wait - wait / 4 + (int64_t)(draw % (uint32_t)(wait / 2 + 1));
}

int64_t trust_sync_ms(int64_t period, unsigned failures, uint32_t draw)
{
	int64_t wait = period * 1000, longest = wait > SYNC_MS_MAX ? wait : SYNC_MS_MAX;
	uint32_t part = failures ? 4 : 10;

	for (; failures > 1 && wait < longest; failures--)
		wait *= 2;
	wait = clamp(wait, 0, longest);
	/* a fleet does not come all at once, however it was started */
	return wait - wait / part + (int64_t)(draw % (uint32_t)(2 * wait / part + 1));
}
