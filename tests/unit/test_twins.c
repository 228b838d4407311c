/* SPDX-License-Identifier: BSD-3-Clause */
/* The two packets of a clock: what is lost comes back, what was late does not, and there are never three. */
#include "harness.h"
#include "shared/session.h"
#include "shared/twins.h"

static struct tg_twins started(void)
{
	struct tg_twins t = { { 0 }, 0, 0, 0 };

	CU_ASSERT_EQUAL(tg_twins_start(&t, 0), 1);
	CU_ASSERT_EQUAL(tg_twins_start(&t, 1), 2);
	return t;
}

TEST(twins, both_go_round_for_ever)
{
	struct tg_twins t = started();
	__u16 lost;

	for (unsigned i = 0; i < 1000; i++) {
		CU_ASSERT_EQUAL(tg_twins_seen(&t, 1 + (i & 1), &lost), 1);
		CU_ASSERT_EQUAL(lost, 0);
	}
	CU_ASSERT_EQUAL(t.newest, 2);
}

TEST(twins, a_loop_without_packets_knows_nobody)
{
	struct tg_twins t = { { 0 }, 0, 0, 0 };
	__u16 lost = 7;

	CU_ASSERT_EQUAL(tg_twins_seen(&t, 0, &lost), 0);
	CU_ASSERT_EQUAL(tg_twins_seen(&t, 1, &lost), 0);
	CU_ASSERT_EQUAL(lost, 0);
}

/* Either of them may be the one that remains. */
TEST(twins, the_one_that_remains_makes_the_other)
{
	for (__u16 remains = 1; remains <= 2; remains++) {
		struct tg_twins t = started();
		__u16 lost = 0;
		unsigned rounds = 0;

		tg_twins_seen(&t, 3 - remains, &lost);
		while (!lost && rounds < 100) {
			rounds++;
			CU_ASSERT_EQUAL(tg_twins_seen(&t, remains, &lost), 1);
		}
		CU_ASSERT_EQUAL(rounds, TG_TWINS_ALONE + 1);
		CU_ASSERT_EQUAL(lost, 3);
		CU_ASSERT_EQUAL(tg_twins_seen(&t, 3, &lost), 1);
		CU_ASSERT_EQUAL(tg_twins_seen(&t, remains, &lost), 1);
		/* the other was only late */
		CU_ASSERT_EQUAL(tg_twins_seen(&t, 3 - remains, &lost), 0);
		CU_ASSERT_EQUAL(lost, 0);
	}
}

TEST(twins, a_new_start_makes_strays_of_those_before)
{
	struct tg_twins t = started();
	__u16 lost;

	CU_ASSERT_EQUAL(tg_twins_start(&t, 0), 3);
	CU_ASSERT_EQUAL(tg_twins_start(&t, 1), 4);
	CU_ASSERT_EQUAL(tg_twins_seen(&t, 1, &lost), 0);
	CU_ASSERT_EQUAL(tg_twins_seen(&t, 2, &lost), 0);
	CU_ASSERT_EQUAL(tg_twins_seen(&t, 3, &lost), 1);
	CU_ASSERT_EQUAL(tg_twins_seen(&t, 4, &lost), 1);
}

TEST(twins, numbers_pass_over_nobody_when_they_wrap)
{
	struct tg_twins t = { { 0 }, 0xfffe, 0, 0 };

	CU_ASSERT_EQUAL(tg_twins_start(&t, 0), 0xffff);
	CU_ASSERT_EQUAL(tg_twins_start(&t, 1), 1);
}

/*
 * Each passage loses one packet in 500, and one in 100 falls behind: of a hundred
 * loops with a single packet, two would see the 2,000th round. No loop ever holds
 * more than the two and a stray.
 */
TEST(twins, a_lossy_loop_goes_on)
{
	__u32 random = 20261122;
	unsigned ended = 0;

	for (unsigned n = 0; n < 100; n++) {
		struct tg_twins t = started();
		__u16 loop[8] = { 1, 2 }, lost;
		unsigned length = 2;

		for (unsigned i = 0; i < 2000 && length; i++) {
			__u16 packet = loop[0];

			for (unsigned j = 1; j < length; j++)
				loop[j - 1] = loop[j];
			length--;
			if (!tg_twins_seen(&t, packet, &lost))
				continue;
			random = random * 1664525u + 1013904223u;
			if ((random >> 8) % 500)
				loop[length++] = packet;
			if (lost)
				loop[length++] = lost;
			if ((random >> 8) % 100 == 1 && length == 2) {
				packet = loop[0];
				loop[0] = loop[1];
				loop[1] = packet;
			}
			CU_ASSERT_FATAL(length <= 3);
		}
		ended += !length;
	}
	CU_ASSERT(ended < 10);
}

/* In a session: the copy is asked for once, and the stray is no tick. */
TEST(twins, a_session_asks_for_the_copy)
{
	const struct tg_queue q = { .period_ns = 5000000, .slots = 0, .budget_cells = 4, .limit_cells = 8 };
	struct tg_session_state s = { .clocks = started() };
	struct tg_release_notes notes;
	unsigned asked = 0;

	for (unsigned i = 0; i < 10; i++) {
		struct tg_cell cell = { .now = 1000000000 + i * q.period_ns, .number = 1 };

		CU_ASSERT_EQUAL(tg_session_release(&s, &q, &cell, &notes), TG_RELEASE_DUMMY);
		if (notes.twin) {
			asked++;
			cell.number = notes.twin;
			cell.now += q.period_ns / 2;
			CU_ASSERT_EQUAL(tg_session_release(&s, &q, &cell, &notes), TG_RELEASE_DUMMY);
			CU_ASSERT_EQUAL(notes.twin, 0);
			cell.number = 2;
			CU_ASSERT_EQUAL(tg_session_release(&s, &q, &cell, &notes), TG_RELEASE_STRAY);
		}
	}
	CU_ASSERT(asked >= 1 && asked <= 2);
	CU_ASSERT_EQUAL(s.ticks, 10 + asked);
}
