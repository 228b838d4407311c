/* SPDX-License-Identifier: BSD-3-Clause */
/* What dummies may cost, driven by a clock that the test owns. */
#include "harness.h"
#include "shared/budget.h"

#define S 1000000000ull
#define START (100 * S)

static const struct tg_budget day = { .flags = TG_BUDGET_DAY | TG_BUDGET_STOP, .day_bytes = 1000 };
static const struct tg_budget share = { .flags = TG_BUDGET_SHARE | TG_BUDGET_STOP, .share_rate = 1000 };

/* How many of `count` dummies of 100 bytes may go, one every `every` from `now` on. */
static unsigned sent(struct tg_spending_state *s, const struct tg_budget *b, unsigned count, __u64 now,
		     __u64 every)
{
	unsigned may = 0;
	__u32 violation;

	for (unsigned i = 0; i < count; i++)
		may += (unsigned)tg_budget_spend(s, b, 100, now + i * every, &violation);
	return may;
}

TEST(budget, a_day_lasts_24_hours_from_its_first_dummy)
{
	struct tg_spending_state s = { 0 };
	__u32 violation = 99;

	CU_ASSERT_EQUAL(tg_budget_spend(&s, &day, 100, START, &violation), 1);
	CU_ASSERT_EQUAL(violation, TG_VIOLATION_COUNT);
	CU_ASSERT_EQUAL(sent(&s, &day, 20, START + 1, S), 9);
	CU_ASSERT_EQUAL(tg_budget_spend(&s, &day, 1, START + TG_DAY_NS - 1, &violation), 0);
	CU_ASSERT_EQUAL(violation, TG_VIOLATION_DAY);
	CU_ASSERT_EQUAL(s.day_bytes, 1000);
	/* and the next one from its own first dummy, whenever that is */
	CU_ASSERT_EQUAL(sent(&s, &day, 20, START + TG_DAY_NS + 7 * S, S), 10);
	CU_ASSERT_EQUAL(s.day_start_ns, START + TG_DAY_NS + 7 * S);
	CU_ASSERT_EQUAL(sent(&s, &day, 20, START + 2 * TG_DAY_NS + 6 * S, 1), 0);
	CU_ASSERT_EQUAL(sent(&s, &day, 20, START + 2 * TG_DAY_NS + 7 * S, 1), 10);
}

TEST(budget, the_last_byte_of_the_day_may_be_spent_and_no_more)
{
	struct tg_spending_state s = { 0 };
	__u32 violation;

	CU_ASSERT_EQUAL(tg_budget_spend(&s, &day, 1001, START, &violation), 0);
	CU_ASSERT_EQUAL(tg_budget_spend(&s, &day, 1000, START, &violation), 1);
	CU_ASSERT_EQUAL(tg_budget_spend(&s, &day, 1, START, &violation), 0);
}

TEST(budget, clock_jumps_give_no_more_than_the_budget)
{
	struct tg_spending_state s = { 0 };

	CU_ASSERT_EQUAL(sent(&s, &day, 20, START, 1), 10);
	/* backwards, again and again: what is spent stays spent, and the day ends 24 hours from there */
	CU_ASSERT_EQUAL(sent(&s, &day, 20, START - 50 * S, 1), 0);
	CU_ASSERT_EQUAL(sent(&s, &day, 20, START - 99 * S, 1), 0);
	CU_ASSERT_EQUAL(sent(&s, &day, 20, START - 99 * S + TG_DAY_NS - 1, 0), 0);
	CU_ASSERT_EQUAL(sent(&s, &day, 20, START - 99 * S + TG_DAY_NS, 1), 10);
	/* a hundred days forwards are one new day */
	CU_ASSERT_EQUAL(sent(&s, &day, 20, START + 100 * TG_DAY_NS, 1), 10);
	/* and back from there */
	CU_ASSERT_EQUAL(sent(&s, &day, 20, START, 1), 0);
}

TEST(budget, a_metered_link_has_a_reason_of_its_own)
{
	struct tg_budget b = day;
	struct tg_spending_state s = { 0 };
	__u32 violation;

	b.flags |= TG_BUDGET_METERED;
	b.day_bytes = 0;
	CU_ASSERT_EQUAL(tg_budget_spend(&s, &b, 100, START, &violation), 0);
	CU_ASSERT_EQUAL(violation, TG_VIOLATION_METERED);
}

TEST(budget, a_violation_may_be_counted_only)
{
	struct tg_budget b = day;
	struct tg_spending_state s = { 0 };
	unsigned violations = 0;

	b.flags = TG_BUDGET_DAY;
	for (unsigned i = 0; i < 20; i++) {
		__u32 violation;

		CU_ASSERT_EQUAL(tg_budget_spend(&s, &b, 100, START, &violation), 1);
		violations += violation == TG_VIOLATION_DAY;
	}
	CU_ASSERT_EQUAL(violations, 10);
	/* what was sent is counted, within the budget or not */
	CU_ASSERT_EQUAL(s.day_bytes, 2000);
}

TEST(budget, a_share_is_a_rate_with_a_second_in_hand)
{
	struct tg_spending_state s = { 0 };
	__u32 violation;

	/* 1000 bytes a second: eleven at once, ten of the second in hand and the one that overdraws */
	CU_ASSERT_EQUAL(sent(&s, &share, 100, START, 0), 11);
	CU_ASSERT_EQUAL(tg_budget_spend(&s, &share, 100, START, &violation), 0);
	CU_ASSERT_EQUAL(violation, TG_VIOLATION_SHARE);
	/* then ten a second, however many are tried: 99.9 s have a dummy each tenth */
	CU_ASSERT_EQUAL(sent(&s, &share, 10000, START + 1, S / 100), 999);
	/* a schedule below the rate never meets it */
	s = (struct tg_spending_state){ 0 };
	CU_ASSERT_EQUAL(sent(&s, &share, 10000, START, S / 10), 10000);
}

TEST(budget, a_share_survives_clock_jumps)
{
	struct tg_spending_state s = { 0 };

	CU_ASSERT_EQUAL(sent(&s, &share, 100, START + TG_DAY_NS, 0), 11);
	/* a day back: not silent for a day, but never more than the rate from here on */
	CU_ASSERT_EQUAL(sent(&s, &share, 100, START, 0), 0);
	CU_ASSERT_EQUAL(sent(&s, &share, 1000, START + 1, S / 100), 99);
	/* a day forwards: a second in hand, not a day */
	CU_ASSERT_EQUAL(sent(&s, &share, 100, START + 2 * TG_DAY_NS, 0), 11);
}

TEST(budget, the_slowest_share_still_lets_dummies_through)
{
	const struct tg_budget b = { .flags = TG_BUDGET_SHARE | TG_BUDGET_STOP, .share_rate = 1 };
	struct tg_spending_state s = { 0 };
	__u32 violation;

	/* one of 9060 bytes at a byte a second */
	CU_ASSERT_EQUAL(tg_budget_spend(&s, &b, 9060, START, &violation), 1);
	CU_ASSERT_EQUAL(tg_budget_spend(&s, &b, 9060, START + 9058 * S, &violation), 0);
	CU_ASSERT_EQUAL(tg_budget_spend(&s, &b, 9060, START + 9059 * S, &violation), 1);
}
