/* SPDX-License-Identifier: BSD-3-Clause */
/* The session of a constant class, driven by a clock that the test owns. */
#include <string.h>

#include "harness.h"
#include "shared/session.h"

#define MS 1000000ull
#define S (1000 * MS)
#define H24 (24 * 3600 * S)
#define START (5 * S)

static const struct tg_queue quantum = {
	.period_ns = 5 * MS,
	.idle_ns = 100 * MS,
	.slots = 200,
	.budget_cells = 20,
	.limit_cells = 200,
	.cell = 160,
	.overflow = TG_OVERFLOW_DROP,
};

/* One slot: a real cell goes if the queue holds one, as the kernel's priorities have it. */
static enum tg_release slot(struct tg_session_state *s, const struct tg_queue *q, __u64 now,
			    int *ret_extended)
{
	return tg_session_release(s, q, now, s->backlog > 0, ret_extended);
}

/* Runs slots from `now` on until nothing is sent; returns how many cells went out, at most `most`. */
static unsigned run_out(struct tg_session_state *s, const struct tg_queue *q, __u64 now, unsigned most)
{
	unsigned cells = 0;
	int extended;

	while (cells < most && slot(s, q, now, &extended) != TG_RELEASE_IDLE) {
		cells++;
		now += q->period_ns;
	}
	return cells;
}

TEST(session, nothing_goes_out_before_the_first_packet)
{
	struct tg_session_state s = { 0 };
	int extended = 7;

	for (unsigned i = 0; i < 1000; i++)
		CU_ASSERT_EQUAL(slot(&s, &quantum, START + i * quantum.period_ns, &extended),
				TG_RELEASE_IDLE);
	CU_ASSERT(s.sessions == 0 && s.ticks == 1000 && extended == 0);
	CU_ASSERT_EQUAL(s.last_tick_ns, START + 999 * quantum.period_ns);
}

/* Real cells with pauses between them: nobody paces them. Each slot taken by a real one: the clock waits
 * behind. */
TEST(session, silence_between_real_cells_tells_of_a_lost_clock)
{
	struct tg_session_state s = { 0 };
	__u64 now = START;
	int extended;

	slot(&s, &quantum, now, &extended);
	for (unsigned i = 0; i < 10; i++) {
		now += quantum.period_ns;
		tg_session_admit(&s, &quantum, now - 1);
		tg_session_release(&s, &quantum, now, 1, &extended);
	}
	CU_ASSERT_EQUAL(s.gaps, 0);
	CU_ASSERT_EQUAL(s.last_clock_ns, START);
	for (unsigned i = 1; i <= 3; i++) {
		now += (TG_GAP_PERIODS + 1) * quantum.period_ns;
		tg_session_admit(&s, &quantum, now - 1);
		tg_session_release(&s, &quantum, now, 1, &extended);
		CU_ASSERT_EQUAL(s.gaps, i);
	}
	slot(&s, &quantum, now + quantum.period_ns, &extended);
	CU_ASSERT_EQUAL(s.gaps, 0);
	/* a processor whose clock is behind is no gap */
	tg_session_release(&s, &quantum, now, 1, &extended);
	CU_ASSERT_EQUAL(s.gaps, 0);
}

TEST(session, one_packet_buys_one_quantum)
{
	struct tg_session_state s = { 0 };
	int extended;

	CU_ASSERT_EQUAL(tg_session_admit(&s, &quantum, START), TG_ADMIT_OK);
	CU_ASSERT(s.sessions == 1 && s.started_ns == START && s.backlog == 1);
	CU_ASSERT_EQUAL(slot(&s, &quantum, START, &extended), TG_RELEASE_REAL);
	CU_ASSERT_EQUAL(1 + run_out(&s, &quantum, START + quantum.period_ns, 10000), quantum.slots);
	CU_ASSERT(s.extensions == 0 && s.left == 0 && s.backlog == 0);
}

/* What the wire shows of one run: which slots carry a cell. */
static void wire(const char *arrivals, unsigned slots, char *ret_wire)
{
	struct tg_session_state s = { 0 };
	int extended;

	for (unsigned i = 0; i < slots; i++) {
		__u64 now = START + i * quantum.period_ns;

		for (char n = arrivals[i % strlen(arrivals)]; n > '0' && i < 190; n--)
			tg_session_admit(&s, &quantum, now);
		ret_wire[i] = slot(&s, &quantum, now, &extended) == TG_RELEASE_IDLE ? '.' : 'X';
	}
}

TEST(session, the_wire_does_not_depend_on_the_payload)
{
	char a[600], b[600], c[600];

	/* these go on until shortly before the end, so that two quanta follow from each */
	wire("1", 600, a);
	wire("9000010", 600, b);
	wire("1000000000000000000000000000000000000000", 600, c);
	CU_ASSERT(!memcmp(a, b, sizeof(a)));
	CU_ASSERT(memchr(a, '.', sizeof(a)) == a + 400);
	/* the last arrival of this one, in slot 160, is 39 slots before the end: silent for longer than
	 * `idle` */
	CU_ASSERT(memchr(c, '.', sizeof(c)) == c + 200);
}

TEST(session, lengths_are_multiples_of_the_quantum)
{
	/* the last real packet `last` slots after the first */
	for (unsigned last = 1; last < 900; last += 7) {
		struct tg_session_state s = { 0 };
		unsigned cells = 0;
		int extended;

		for (unsigned i = 0; i < 2000; i++) {
			__u64 now = START + i * quantum.period_ns;

			if (i <= last)
				tg_session_admit(&s, &quantum, now);
			cells += slot(&s, &quantum, now, &extended) != TG_RELEASE_IDLE;
		}
		CU_ASSERT_EQUAL(cells % quantum.slots, 0);
		CU_ASSERT(cells > last && cells <= last + 2 * quantum.slots);
		CU_ASSERT_EQUAL(s.sessions, 1);
		CU_ASSERT_EQUAL(s.extensions, cells / quantum.slots - 1);
	}
}

TEST(session, silence_at_the_end_decides_about_an_extension)
{
	/* the end falls on slot 199: a packet `idle` before it does not extend, one a nanosecond later does
	 */
	const __u64 end = START + 199 * quantum.period_ns;

	for (int late = 0; late < 2; late++) {
		struct tg_session_state s = { 0 };
		unsigned extensions = 0;
		int extended;

		tg_session_admit(&s, &quantum, START);
		for (unsigned i = 0; i < 200; i++) {
			if (i == 185)
				tg_session_admit(&s, &quantum, end - quantum.idle_ns + (__u64)late);
			slot(&s, &quantum, START + i * quantum.period_ns, &extended);
			extensions += (unsigned)extended;
		}
		CU_ASSERT_EQUAL(extensions, (unsigned)late);
		CU_ASSERT_EQUAL(s.left, late ? quantum.slots : 0);
	}
}

TEST(session, a_packet_after_the_end_starts_another)
{
	struct tg_session_state s = { 0 };

	tg_session_admit(&s, &quantum, START);
	CU_ASSERT_EQUAL(run_out(&s, &quantum, START, 10000), 200);
	tg_session_admit(&s, &quantum, START + 100 * S);
	CU_ASSERT(s.sessions == 2 && s.started_ns == START + 100 * S);
	CU_ASSERT_EQUAL(run_out(&s, &quantum, START + 100 * S, 10000), 200);
}

TEST(session, a_backlog_keeps_the_session_up)
{
	struct tg_queue q = quantum;
	struct tg_session_state s = { 0 };

	q.budget_cells = 300;
	for (unsigned i = 0; i < 250; i++)
		CU_ASSERT_EQUAL(tg_session_admit(&s, &q, START), TG_ADMIT_OK);
	/* 250 real cells need two quanta although all came in the first instant */
	CU_ASSERT_EQUAL(run_out(&s, &q, START, 10000), 400);
	CU_ASSERT(s.backlog == 0 && s.sessions == 1 && s.extensions == 1);
}

TEST(session, always_never_ends)
{
	struct tg_queue q = quantum;
	struct tg_session_state s = { 0 };
	int extended;

	q.slots = 0;
	q.idle_ns = 0;
	for (unsigned i = 0; i < 100000; i++)
		if (slot(&s, &q, START + i * q.period_ns, &extended) != TG_RELEASE_DUMMY || extended)
			CU_FAIL("a slot without its cell");
	tg_session_admit(&s, &q, START);
	CU_ASSERT_EQUAL(slot(&s, &q, START, &extended), TG_RELEASE_REAL);
	CU_ASSERT(s.sessions == 0 && s.extensions == 0 && s.left == 0);
}

TEST(session, drop_keeps_to_the_budget)
{
	struct tg_session_state s = { 0 };
	unsigned admitted = 0;

	for (unsigned i = 0; i < 1000; i++)
		admitted += tg_session_admit(&s, &quantum, START) == TG_ADMIT_OK;
	CU_ASSERT(admitted == 20 && s.backlog == 20);
	/* each slot makes room for one */
	for (unsigned i = 0; i < 100; i++) {
		int extended;

		CU_ASSERT_EQUAL(slot(&s, &quantum, START + i * quantum.period_ns, &extended),
				TG_RELEASE_REAL);
		CU_ASSERT_EQUAL(tg_session_admit(&s, &quantum, START + i * quantum.period_ns), TG_ADMIT_OK);
		CU_ASSERT_EQUAL(tg_session_admit(&s, &quantum, START + i * quantum.period_ns), TG_ADMIT_DROP);
	}
	CU_ASSERT_EQUAL(s.backlog, 20);
}

TEST(session, stretch_goes_on_to_the_limit)
{
	struct tg_queue q = quantum;
	struct tg_session_state s = { 0 };
	unsigned admitted = 0;

	q.overflow = TG_OVERFLOW_STRETCH;
	for (unsigned i = 0; i < 1000; i++)
		admitted += tg_session_admit(&s, &q, START) == TG_ADMIT_OK;
	CU_ASSERT(admitted == 200 && s.backlog == 200);
}

TEST(session, a_dropped_packet_is_traffic_all_the_same)
{
	struct tg_queue q = quantum;
	struct tg_session_state s = { 0 };
	int extended;

	q.budget_cells = 1;
	for (unsigned i = 0; i < 200; i++) {
		__u64 now = START + i * q.period_ns;

		tg_session_admit(&s, &q, now);
		if (i == 190)
			CU_ASSERT_EQUAL(tg_session_admit(&s, &q, now), TG_ADMIT_DROP);
		slot(&s, &q, now, &extended);
	}
	CU_ASSERT(extended == 1 && s.left == 200);
}

/* ---- the clock ---- */

TEST(session, a_clock_that_stands_still_counts_slots_all_the_same)
{
	struct tg_session_state s = { 0 };
	int extended;

	tg_session_admit(&s, &quantum, START);
	for (unsigned i = 0; i < 199; i++)
		CU_ASSERT_NOT_EQUAL(slot(&s, &quantum, START, &extended), TG_RELEASE_IDLE);
	CU_ASSERT_EQUAL(s.left, 1);
	/* no time has passed, so there was no silence: another quantum, never an end that the payload decides
	 */
	slot(&s, &quantum, START, &extended);
	CU_ASSERT(extended == 1 && s.left == 200);
	/* it moves again: the session ends with this quantum */
	CU_ASSERT_EQUAL(run_out(&s, &quantum, START + quantum.period_ns, 10000), 200);
}

TEST(session, a_day_forwards_does_not_cut_a_session_short)
{
	struct tg_session_state s = { 0 };
	unsigned cells = 0;
	int extended;

	tg_session_admit(&s, &quantum, START);
	for (unsigned i = 0; i < 100; i++)
		cells += slot(&s, &quantum, START + i * quantum.period_ns, &extended) != TG_RELEASE_IDLE;
	cells += run_out(&s, &quantum, START + H24, 10000);
	CU_ASSERT_EQUAL(cells, 200);
	CU_ASSERT_EQUAL(s.extensions, 0);
}

TEST(session, a_day_backwards_ends_nothing_early_and_keeps_nothing_for_a_day)
{
	const __u64 before = START + H24;
	struct tg_session_state s = { 0 };
	unsigned cells = 0;
	int extended;

	tg_session_admit(&s, &quantum, before);
	for (unsigned i = 0; i < 199; i++)
		cells += slot(&s, &quantum, before + i * quantum.period_ns, &extended) != TG_RELEASE_IDLE;
	/* the last packet seems to lie in the future: how long it was silent is unknown, so it goes on */
	cells += slot(&s, &quantum, START, &extended) != TG_RELEASE_IDLE;
	CU_ASSERT_EQUAL(extended, 1);
	/* but only for one quantum more */
	cells += run_out(&s, &quantum, START + quantum.period_ns, 100000);
	CU_ASSERT_EQUAL(cells, 400);
}

TEST(session, a_packet_from_another_cpus_future_is_not_silence)
{
	struct tg_session_state s = { 0 };
	int extended;

	tg_session_admit(&s, &quantum, START);
	for (unsigned i = 0; i < 199; i++)
		slot(&s, &quantum, START + i * quantum.period_ns, &extended);
	/* admitted on one CPU a microsecond after another CPU read the clock for the last slot, and sent with
	 * it */
	tg_session_admit(&s, &quantum, START + 199 * quantum.period_ns + 1000);
	slot(&s, &quantum, START + 199 * quantum.period_ns, &extended);
	CU_ASSERT(extended == 1 && s.left == 200 && s.backlog == 0);
}

/* ---- cells that vanish between admission and release ---- */

TEST(session, a_backlog_that_drifted_is_put_right)
{
	struct tg_session_state s = { 0 };
	int extended;

	for (unsigned i = 0; i < 20; i++)
		tg_session_admit(&s, &quantum, START);
	/* the device went down and lost them all: only clock cells come out */
	for (unsigned i = 0; i < TG_STALE_TICKS - 1; i++)
		tg_session_release(&s, &quantum, START + i * quantum.period_ns, 0, &extended);
	CU_ASSERT(s.backlog == 20 && s.resets == 0);
	tg_session_release(&s, &quantum, START + TG_STALE_TICKS * quantum.period_ns, 0, &extended);
	CU_ASSERT(s.backlog == 0 && s.resets == 1);
	CU_ASSERT_EQUAL(tg_session_admit(&s, &quantum, START + S), TG_ADMIT_OK);
	/* so the session ends; it would have gone on for ever */
	CU_ASSERT(run_out(&s, &quantum, START + S, 100000) <= 400);
}

TEST(session, a_clock_cell_that_overtakes_is_no_drift)
{
	struct tg_session_state s = { 0 };
	int extended;

	/* admitted and not yet queued when the clock cell leaves: the real one follows */
	for (unsigned i = 0; i < 100; i++) {
		__u64 now = START + 2 * i * quantum.period_ns;

		tg_session_admit(&s, &quantum, now);
		tg_session_release(&s, &quantum, now, 0, &extended);
		CU_ASSERT_EQUAL(s.backlog, 1);
		tg_session_release(&s, &quantum, now + quantum.period_ns, 1, &extended);
		CU_ASSERT_EQUAL(s.backlog, 0);
	}
	CU_ASSERT_EQUAL(s.resets, 0);
}

TEST(session, more_cells_than_were_counted_do_no_harm)
{
	struct tg_session_state s = { 0 };
	int extended;

	for (unsigned i = 0; i < 50; i++)
		CU_ASSERT_EQUAL(tg_session_release(&s, &quantum, START + i * quantum.period_ns, 1, &extended),
				TG_RELEASE_REAL);
	CU_ASSERT_EQUAL(s.backlog, 0);
	/* a cell outside a session takes a whole quantum with it */
	CU_ASSERT_EQUAL(s.left, 150);
}
