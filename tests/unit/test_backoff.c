/* SPDX-License-Identifier: BSD-3-Clause */
#include "harness.h"
#include "supervise/backoff.h"

#define S 1000000000ull
#define MS 1000000ull

TEST(backoff, at_once_then_later_and_later)
{
	static const uint64_t want[] = { 0,     250 * MS, 500 * MS, S,      2 * S,  4 * S,
					 8 * S, 16 * S,   30 * S,   30 * S, 30 * S, 30 * S };
	struct backoff b = { 0 };

	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		CU_ASSERT_EQUAL(backoff_wait(&b, 0, 100 * S), want[i]);
		CU_ASSERT_EQUAL(backoff_is_loop(&b), i + 1 >= BACKOFF_LOOP);
	}
}

TEST(backoff, a_minute_of_readiness_is_recovery_and_less_is_not)
{
	struct backoff b = { 0 };
	uint64_t ready = 100 * S;

	for (int i = 0; i < 10; i++)
		backoff_wait(&b, 0, ready);
	CU_ASSERT_EQUAL(backoff_wait(&b, ready, ready + 60 * S - 1), 30 * S);
	CU_ASSERT_EQUAL(backoff_wait(&b, ready, ready + 60 * S), 0);
	CU_ASSERT_FALSE(backoff_is_loop(&b));
	CU_ASSERT_EQUAL(backoff_wait(&b, ready, ready + 1), 250 * MS);
}

TEST(backoff, never_ready_is_not_recovery_however_late_it_is)
{
	struct backoff b = { 0 };

	CU_ASSERT_EQUAL(backoff_wait(&b, 0, S), 0);
	CU_ASSERT_EQUAL(backoff_wait(&b, 0, 1000000 * S), 250 * MS);
}

TEST(backoff, goes_on_for_ever)
{
	struct backoff b = { 0 };

	for (int i = 0; i < 100000; i++)
		backoff_wait(&b, 0, S);
	CU_ASSERT_EQUAL(backoff_wait(&b, 0, S), 30 * S);
	CU_ASSERT_TRUE(backoff_is_loop(&b));
}
