/* SPDX-License-Identifier: BSD-3-Clause */
#include "harness.h"
#include "trust/schedule.h"

static const int64_t issued = 1900000000, day = 86400;

TEST(trust_schedule, renews_at_two_thirds)
{
	const struct trust_times t = { issued, issued + day, 0 };

	CU_ASSERT_EQUAL(trust_renew_in(&t, issued), 57600);
	CU_ASSERT_EQUAL(trust_renew_in(&t, issued + 57599), 1);
	CU_ASSERT_EQUAL(trust_renew_in(&t, issued + 57600), 0);
	CU_ASSERT_EQUAL(trust_renew_in(&t, issued + 10 * day), 0);
	CU_ASSERT_EQUAL(trust_left(&t, issued), day);
	CU_ASSERT_EQUAL(trust_left(&t, issued + day - 1), 1);
	CU_ASSERT_EQUAL(trust_left(&t, issued + 2 * day), 0);
}

/* A clock that has been off by the same amount all the time changes nothing. */
TEST(trust_schedule, takes_no_notice_of_a_constant_skew)
{
	static const int64_t skews[] = { -1900000000, -3600, -1, 1, 300, 100000000 };

	for (unsigned i = 0; i < sizeof(skews) / sizeof(skews[0]); i++) {
		const struct trust_times t = { issued, issued + day, skews[i] };

		CU_ASSERT_EQUAL(trust_renew_in(&t, issued + skews[i]), 57600);
		CU_ASSERT_EQUAL(trust_renew_in(&t, issued + skews[i] + 1000), 56600);
		CU_ASSERT_EQUAL(trust_left(&t, issued + skews[i] + 1000), day - 1000);
	}
}

TEST(trust_schedule, a_clock_that_was_set_back_renews_at_once)
{
	const struct trust_times t = { issued, issued + day, 0 };

	CU_ASSERT_EQUAL(trust_renew_in(&t, 0), 0);
	CU_ASSERT_EQUAL(trust_renew_in(&t, issued - 61), 0);
	/* but not for a correction of seconds */
	CU_ASSERT_EQUAL(trust_renew_in(&t, issued - 60), 57660);
	CU_ASSERT_EQUAL(trust_left(&t, 0), day);
}

TEST(trust_schedule, a_certificate_without_a_lifetime_is_due)
{
	const struct trust_times t = { issued, issued - 5, 0 };

	CU_ASSERT_EQUAL(trust_renew_in(&t, issued), 0);
	CU_ASSERT_EQUAL(trust_left(&t, issued), 0);
	CU_ASSERT(trust_retry_ms(&t, 1, 0) > 0);
	CU_ASSERT(trust_retry_ms(&t, 100, UINT32_MAX) > 0);
}

/* Twice as long each time, within a quarter, and never longer than leaves tries before the end. */
TEST(trust_schedule, waits_longer_after_each_failure)
{
	static const int64_t lifetimes[] = { 12, 60, 3600, 86400 };

	for (unsigned i = 0; i < sizeof(lifetimes) / sizeof(lifetimes[0]); i++) {
		const struct trust_times t = { issued, issued + lifetimes[i], 0 };
		int64_t longest = lifetimes[i] * 1000 / 12, before = 0;

		for (unsigned n = 1; n < 40; n++) {
			int64_t low = trust_retry_ms(&t, n, 0), middle, high = 0;

			for (uint32_t draw = 0; draw < 100000; draw += 7) {
				int64_t ms = trust_retry_ms(&t, n, draw);

				CU_ASSERT_FATAL(ms >= low);
				high = ms > high ? ms : high;
			}
			middle = (low * 4 + 2) / 3;
			CU_ASSERT(middle >= before);
			CU_ASSERT(middle <= longest + 2);
			CU_ASSERT(high <= longest + longest / 4);
			CU_ASSERT(n > 1 || middle <= 30000);
			CU_ASSERT(low >= 750);
			before = middle;
		}
		CU_ASSERT(before >= longest - 2);
	}
}

TEST(trust_schedule, syncs_once_a_period_and_more_rarely_after_failures)
{
	static const struct {
		int64_t period;
		unsigned failures;
		int64_t middle_ms, part;
	} cases[] = {
		{ 60, 0, 60000, 10 },     { 60, 1, 60000, 4 },     { 60, 2, 120000, 4 }, { 60, 3, 240000, 4 },
		{ 60, 4, 300000, 4 },     { 60, 1000, 300000, 4 }, { 1, 0, 1000, 10 },   { 1, 5, 16000, 4 },
		{ 3600, 0, 3600000, 10 }, { 3600, 9, 3600000, 4 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t off = cases[i].middle_ms / cases[i].part, least = INT64_MAX, most = 0;

		for (uint32_t draw = 0; draw < 100000; draw++) {
			int64_t ms = trust_sync_ms(cases[i].period, cases[i].failures, draw * 42949u);

			least = ms < least ? ms : least;
			most = ms > most ? ms : most;
		}
		CU_ASSERT(least >= cases[i].middle_ms - off && least <= cases[i].middle_ms - off + off / 10);
		CU_ASSERT(most <= cases[i].middle_ms + off && most >= cases[i].middle_ms + off - off / 10);
	}
}
