/* SPDX-License-Identifier: BSD-3-Clause */
#include "harness.h"
#include "supervise/limit.h"

#define S 1000000000ull
#define MS 1000000ull

/* How many start within `span` if somebody asks every 100 ms and none fails. */
static unsigned starts_within(struct limit *l, uint64_t from, uint64_t span)
{
	unsigned count = 0;

	for (uint64_t now = from; now < from + span; now += 100 * MS)
		if (!limit_wait(l, now)) {
			limit_started(l, now);
			limit_ended(l, false, now);
			count++;
		}
	return count;
}

TEST(limit, a_burst_then_one_per_period)
{
	struct limit l = { 0 };

	CU_ASSERT_EQUAL(starts_within(&l, 1000 * S, 2 * S), LIMIT_BURST);
	CU_ASSERT_EQUAL(starts_within(&l, 1002 * S, 1000 * S), 1000 * S / LIMIT_EVERY_NS);
	/* after a long calm the burst is there again, and no more than that */
	CU_ASSERT_EQUAL(starts_within(&l, 100000 * S, 2 * S), LIMIT_BURST);
}

TEST(limit, says_how_long_to_wait)
{
	struct limit l = { 0 };

	for (int i = 0; i < LIMIT_BURST; i++) {
		CU_ASSERT_EQUAL(limit_wait(&l, 50 * S), 0);
		limit_started(&l, 50 * S);
	}
	CU_ASSERT_EQUAL(limit_wait(&l, 50 * S), LIMIT_EVERY_NS);
	CU_ASSERT_EQUAL(limit_wait(&l, 50 * S + LIMIT_EVERY_NS - 1), 1);
	CU_ASSERT_EQUAL(limit_wait(&l, 50 * S + LIMIT_EVERY_NS), 0);
}

TEST(limit, failures_wait_longer_and_longer_and_success_forgets_them)
{
	static const uint64_t want[] = { 500 * MS, S,      2 * S,  4 * S,  8 * S,
					 16 * S,   32 * S, 60 * S, 60 * S, 60 * S };
	struct limit l = { 0 };
	uint64_t now = 1000 * S;

	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++, now += 59 * S) {
		limit_started(&l, now);
		limit_ended(&l, true, now);
		CU_ASSERT_EQUAL(limit_wait(&l, now), want[i]);
		CU_ASSERT_EQUAL(limit_wait(&l, now + want[i]), 0);
	}
	now += 1000 * S;
	limit_started(&l, now);
	limit_ended(&l, true, now);
	CU_ASSERT_EQUAL(limit_wait(&l, now), 500 * MS);
	limit_ended(&l, false, now);
	CU_ASSERT_EQUAL(limit_wait(&l, now), 0);
	limit_ended(&l, true, now);
	CU_ASSERT_EQUAL(limit_wait(&l, now), 500 * MS);
}
