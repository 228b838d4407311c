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

/* A real packet arrives. */
static enum tg_admit admit(struct tg_session_state *s, const struct tg_queue *q, __u64 now)
{
	int overdue;

	return tg_session_admit(s, q, now, 0, &overdue);
}

/* The clock cell whose turn it is; both are put in when there is none. */
static struct tg_cell clock_cell(struct tg_session_state *s, __u64 now)
{
	for (__u32 i = 0; i < TG_TWINS; i++)
		if (!s->clocks.number[i])
			tg_twins_start(&s->clocks, i);
	return (struct tg_cell){ .now = now, .number = s->clocks.number[!s->clocks.last] };
}

static struct tg_cell real_cell(const struct tg_session_state *s, __u64 now, __u64 waited)
{
	return (struct tg_cell){ .now = now, .number = s->released + 1, .real = 1, .waited_ns = waited };
}

/* A cell leaves: the oldest real one that was not seen to leave, or the clock cell. */
static enum tg_release leave(struct tg_session_state *s, const struct tg_queue *q, __u64 now, int real,
			     int *ret_extended)
{
	const struct tg_cell cell = real ? real_cell(s, now, 0) : clock_cell(s, now);
	struct tg_release_notes notes;
	enum tg_release release = tg_session_release(s, q, &cell, &notes);

	*ret_extended = notes.extended;
	return release;
}

/* One slot: a real cell goes if the queue holds one, as the kernel's priorities have it. */
static enum tg_release slot(struct tg_session_state *s, const struct tg_queue *q, __u64 now,
			    int *ret_extended)
{
	return leave(s, q, now, tg_session_backlog(s) > 0, ret_extended);
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

TEST(session, one_packet_buys_one_quantum)
{
	struct tg_session_state s = { 0 };
	int extended;

	CU_ASSERT_EQUAL(admit(&s, &quantum, START), TG_ADMIT_OK);
	CU_ASSERT(s.sessions == 1 && s.started_ns == START && tg_session_backlog(&s) == 1);
	CU_ASSERT_EQUAL(slot(&s, &quantum, START, &extended), TG_RELEASE_REAL);
	CU_ASSERT_EQUAL(1 + run_out(&s, &quantum, START + quantum.period_ns, 10000), quantum.slots);
	CU_ASSERT(s.extensions == 0 && s.left == 0 && tg_session_backlog(&s) == 0);
}

/* What the wire shows of one run: which slots carry a cell. */
static void wire(const char *arrivals, unsigned slots, char *ret_wire)
{
	struct tg_session_state s = { 0 };
	int extended;

	for (unsigned i = 0; i < slots; i++) {
		__u64 now = START + i * quantum.period_ns;

		for (char n = arrivals[i % strlen(arrivals)]; n > '0' && i < 190; n--)
			admit(&s, &quantum, now);
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
				admit(&s, &quantum, now);
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

		admit(&s, &quantum, START);
		for (unsigned i = 0; i < 200; i++) {
			if (i == 185)
				admit(&s, &quantum, end - quantum.idle_ns + (__u64)late);
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

	admit(&s, &quantum, START);
	CU_ASSERT_EQUAL(run_out(&s, &quantum, START, 10000), 200);
	admit(&s, &quantum, START + 100 * S);
	CU_ASSERT(s.sessions == 2 && s.started_ns == START + 100 * S);
	CU_ASSERT_EQUAL(run_out(&s, &quantum, START + 100 * S, 10000), 200);
}

TEST(session, a_backlog_keeps_the_session_up)
{
	struct tg_queue q = quantum;
	struct tg_session_state s = { 0 };

	q.budget_cells = 300;
	for (unsigned i = 0; i < 250; i++)
		CU_ASSERT_EQUAL(admit(&s, &q, START), TG_ADMIT_OK);
	/* 250 real cells need two quanta although all came in the first instant */
	CU_ASSERT_EQUAL(run_out(&s, &q, START, 10000), 400);
	CU_ASSERT(tg_session_backlog(&s) == 0 && s.sessions == 1 && s.extensions == 1);
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
	admit(&s, &q, START);
	CU_ASSERT_EQUAL(slot(&s, &q, START, &extended), TG_RELEASE_REAL);
	CU_ASSERT(s.sessions == 0 && s.extensions == 0 && s.left == 0);
}

TEST(session, drop_keeps_to_the_budget)
{
	struct tg_session_state s = { 0 };
	unsigned admitted = 0;

	for (unsigned i = 0; i < 1000; i++)
		admitted += admit(&s, &quantum, START) == TG_ADMIT_OK;
	CU_ASSERT(admitted == 20 && tg_session_backlog(&s) == 20);
	/* each slot makes room for one */
	for (unsigned i = 0; i < 100; i++) {
		int extended;

		CU_ASSERT_EQUAL(slot(&s, &quantum, START + i * quantum.period_ns, &extended),
				TG_RELEASE_REAL);
		CU_ASSERT_EQUAL(admit(&s, &quantum, START + i * quantum.period_ns), TG_ADMIT_OK);
		CU_ASSERT_EQUAL(admit(&s, &quantum, START + i * quantum.period_ns), TG_ADMIT_DROP);
	}
	CU_ASSERT_EQUAL(tg_session_backlog(&s), 20);
}

TEST(session, stretch_goes_on_to_the_limit)
{
	struct tg_queue q = quantum;
	struct tg_session_state s = { 0 };
	unsigned admitted = 0;

	q.overflow = TG_OVERFLOW_STRETCH;
	for (unsigned i = 0; i < 1000; i++)
		admitted += admit(&s, &q, START) != TG_ADMIT_DROP;
	CU_ASSERT(admitted == 200 && tg_session_backlog(&s) == 200);
}

TEST(session, a_dropped_packet_is_traffic_all_the_same)
{
	struct tg_queue q = quantum;
	struct tg_session_state s = { 0 };
	int extended;

	q.budget_cells = 1;
	for (unsigned i = 0; i < 200; i++) {
		__u64 now = START + i * q.period_ns;

		admit(&s, &q, now);
		if (i == 190)
			CU_ASSERT_EQUAL(admit(&s, &q, now), TG_ADMIT_DROP);
		slot(&s, &q, now, &extended);
	}
	CU_ASSERT(extended == 1 && s.left == 200);
}

/* ---- the clock ---- */

TEST(session, a_clock_that_stands_still_counts_slots_all_the_same)
{
	struct tg_session_state s = { 0 };
	int extended;

	admit(&s, &quantum, START);
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

	admit(&s, &quantum, START);
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

	admit(&s, &quantum, before);
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

	admit(&s, &quantum, START);
	for (unsigned i = 0; i < 199; i++)
		slot(&s, &quantum, START + i * quantum.period_ns, &extended);
	/* admitted on one CPU a microsecond after another CPU read the clock for the last slot, and sent with
	 * it */
	admit(&s, &quantum, START + 199 * quantum.period_ns + 1000);
	slot(&s, &quantum, START + 199 * quantum.period_ns, &extended);
	CU_ASSERT(extended == 1 && s.left == 200 && tg_session_backlog(&s) == 0);
}

/* ---- cells that vanish between admission and release ---- */

TEST(session, a_backlog_that_drifted_is_put_right)
{
	struct tg_session_state s = { 0 };
	int extended;

	for (unsigned i = 0; i < 20; i++)
		admit(&s, &quantum, START);
	/* the device went down and lost them all: only clock cells come out */
	for (unsigned i = 0; i < TG_STALE_TICKS - 1; i++)
		leave(&s, &quantum, START + i * quantum.period_ns, 0, &extended);
	CU_ASSERT(tg_session_backlog(&s) == 20 && s.lost == 0);
	leave(&s, &quantum, START + TG_STALE_TICKS * quantum.period_ns, 0, &extended);
	CU_ASSERT(tg_session_backlog(&s) == 0 && s.lost == 20);
	CU_ASSERT_EQUAL(admit(&s, &quantum, START + S), TG_ADMIT_OK);
	/* so the session ends; it would have gone on for ever */
	CU_ASSERT(run_out(&s, &quantum, START + S, 100000) <= 400);
}

/* Under steady load no clock cell comes out to tell: the first real one that leaves does. */
TEST(session, a_backlog_heals_under_load)
{
	const struct tg_cell behind_the_purge = { .now = START, .number = 20, .real = 1 };
	struct tg_session_state s = { 0 };
	struct tg_release_notes notes;

	/* the queue is purged after the first 19 */
	for (unsigned i = 0; i < 20; i++)
		CU_ASSERT_EQUAL(admit(&s, &quantum, START), TG_ADMIT_OK);
	CU_ASSERT_EQUAL(admit(&s, &quantum, START), TG_ADMIT_DROP);
	tg_session_release(&s, &quantum, &behind_the_purge, &notes);
	CU_ASSERT(tg_session_backlog(&s) == 0 && s.lost == 19);
	CU_ASSERT_EQUAL(admit(&s, &quantum, START), TG_ADMIT_OK);
}

/* Nothing is admitted, so nothing leaves to tell that the queue is empty: its standing still does. */
TEST(session, a_full_count_of_an_empty_queue_is_no_deadlock)
{
	const __u64 still = TG_STALE_TICKS * quantum.period_ns;
	struct tg_session_state s = { 0 };
	int extended;

	leave(&s, &quantum, START, 0, &extended);
	for (unsigned i = 0; i < 20; i++)
		CU_ASSERT_EQUAL(admit(&s, &quantum, START + 1), TG_ADMIT_OK);
	CU_ASSERT_EQUAL(admit(&s, &quantum, START + still), TG_ADMIT_DROP);
	CU_ASSERT_EQUAL(admit(&s, &quantum, START + still + 1), TG_ADMIT_OK);
	CU_ASSERT(tg_session_backlog(&s) == 1 && s.lost == 20);
	/* it only stood still: what leaves after all is not lost */
	for (__u32 i = 1; i <= 21; i++) {
		const struct tg_cell cell = { .now = START + still + i * quantum.period_ns,
					      .number = i,
					      .real = 1 };
		struct tg_release_notes notes;

		CU_ASSERT_EQUAL(tg_session_release(&s, &quantum, &cell, &notes), TG_RELEASE_REAL);
	}
	CU_ASSERT(tg_session_backlog(&s) == 0 && s.lost == 0);
}

/* Every cell is admitted, and then released, lost, or waiting: exactly, whatever happens in between. */
TEST(session, admitted_is_released_lost_and_waiting)
{
	__u32 queue[512], head = 0, tail = 0, random = 20261122;
	struct tg_session_state s = { .admitted = 0xffffff00u, .released = 0xffffff00u };
	__u64 admitted = 0, released = 0, purged = 0;
	struct tg_release_notes notes;
	struct tg_queue q = quantum;
	int overdue;

	q.budget_cells = 100;
	for (unsigned i = 0; i < 100000; i++) {
		__u64 now = START + i * q.period_ns;

		random = random * 1664525u + 1013904223u;
		if (random >> 31 && tg_session_admit(&s, &q, now, 0, &overdue) != TG_ADMIT_DROP) {
			queue[tail++ % 512] = s.admitted;
			admitted++;
		}
		/* another CPU was quicker with the one admitted last */
		if ((random >> 20 & 63) == 0 && tail - head >= 2) {
			__u32 swap = queue[(tail - 1) % 512];

			queue[(tail - 1) % 512] = queue[(tail - 2) % 512];
			queue[(tail - 2) % 512] = swap;
		}
		if ((random >> 10 & 1023) == 0) {
			purged += tail - head;
			head = tail;
		}
		if ((random >> 29 & 1) && head != tail) {
			const struct tg_cell cell = { .now = now, .number = queue[head++ % 512], .real = 1 };

			tg_session_release(&s, &q, &cell, &notes);
			released++;
		} else if (head == tail) {
			const struct tg_cell cell = clock_cell(&s, now);

			tg_session_release(&s, &q, &cell, &notes);
		}
	}
	CU_ASSERT(purged > 50 && released > 10000);
	while (head != tail) {
		const struct tg_cell cell = { .now = START, .number = queue[head++ % 512], .real = 1 };

		tg_session_release(&s, &q, &cell, &notes);
		released++;
	}
	for (unsigned i = 0; i < TG_STALE_TICKS; i++) {
		const struct tg_cell cell = clock_cell(&s, START + i * q.period_ns);

		tg_session_release(&s, &q, &cell, &notes);
	}
	CU_ASSERT_EQUAL(tg_session_backlog(&s), 0);
	CU_ASSERT_EQUAL(s.lost, purged);
	CU_ASSERT_EQUAL(admitted, released + s.lost);
}

/* Without the lock or with it: the same state after every packet and every cell, and mostly without it. */
TEST(session, the_fast_admission_is_the_admission)
{
	struct tg_session_state fast = { 0 }, slow = { 0 };
	unsigned quick = 0, taken = 0;
	__u32 random = 20261122;

	for (unsigned i = 0; i < 20000; i++) {
		__u64 now = START + i * quantum.period_ns;
		int overdue, extended;

		random = random * 1664525u + 1013904223u;
		if (random >> 31) {
			taken++;
			if (tg_session_admit_fast(&fast, &quantum, 0, now + 1, 0))
				quick++;
			else
				tg_session_admit(&fast, &quantum, now + 1, 0, &overdue);
			tg_session_admit(&slow, &quantum, now + 1, 0, &overdue);
			CU_ASSERT_FATAL(!memcmp(&fast, &slow, sizeof(fast)));
		}
		/* one slot in 64 stays empty: then the clock is overdue for a while */
		if (random >> 20 & 63) {
			slot(&fast, &quantum, now + 2, &extended);
			slot(&slow, &quantum, now + 2, &extended);
		}
		CU_ASSERT_FATAL(!memcmp(&fast, &slow, sizeof(fast)));
	}
	CU_ASSERT(taken > 9000 && quick > taken * 3 / 4 && quick < taken);
	/* in another queue's session it decides nothing */
	CU_ASSERT_EQUAL(tg_session_admit_fast(&fast, &quantum, 1, START, 0), 0);
}

/* Two cells that read the same number: one counts as lost until the other leaves. */
TEST(session, a_number_read_twice_does_no_harm)
{
	struct tg_session_state s = { 0 };
	struct tg_cell cell = { .now = START, .number = 2, .real = 1 };
	struct tg_release_notes notes;

	admit(&s, &quantum, START);
	admit(&s, &quantum, START);
	tg_session_release(&s, &quantum, &cell, &notes);
	CU_ASSERT(tg_session_backlog(&s) == 0 && s.lost == 1);
	tg_session_release(&s, &quantum, &cell, &notes);
	CU_ASSERT(tg_session_backlog(&s) == 0 && s.lost == 0 && s.released == 2);
}

TEST(session, a_clock_cell_that_overtakes_is_no_drift)
{
	struct tg_session_state s = { 0 };
	int extended;

	/* admitted and not yet queued when the clock cell leaves: the real one follows */
	for (unsigned i = 0; i < 100; i++) {
		__u64 now = START + 2 * i * quantum.period_ns;

		admit(&s, &quantum, now);
		leave(&s, &quantum, now, 0, &extended);
		CU_ASSERT_EQUAL(tg_session_backlog(&s), 1);
		leave(&s, &quantum, now + quantum.period_ns, 1, &extended);
		CU_ASSERT_EQUAL(tg_session_backlog(&s), 0);
	}
	CU_ASSERT_EQUAL(s.lost, 0);
}

TEST(session, more_cells_than_were_counted_do_no_harm)
{
	struct tg_session_state s = { 0 };
	int extended;

	/* from before the state was cleared: their numbers are ahead */
	for (unsigned i = 0; i < 50; i++)
		CU_ASSERT_EQUAL(leave(&s, &quantum, START + i * quantum.period_ns, 1, &extended),
				TG_RELEASE_REAL);
	CU_ASSERT(tg_session_backlog(&s) == 0 && s.released == 0 && s.lost == 0);
	/* a cell outside a session takes a whole quantum with it */
	CU_ASSERT_EQUAL(s.left, 150);
}

TEST(session, a_stamp_tells_an_age_over_its_wrap)
{
	const __u64 wrap = 1ull << (32 + TG_STAMP_SHIFT);

	CU_ASSERT_EQUAL(tg_stamp_age(tg_stamp(START), START), 0);
	CU_ASSERT_EQUAL(tg_stamp_age(tg_stamp(7 * wrap - 256), 7 * wrap + 512), 768);
	CU_ASSERT(tg_stamp_age(tg_stamp(START), START + 100 * S) / 1000 == 100 * S / 1000);
	/* the other CPU's clock is ahead */
	CU_ASSERT_EQUAL(tg_stamp_age(tg_stamp(START + 1000), START), 0);
}

/* ---- the watch over the clock ---- */

/* A cell of a queue under test: a real one says how long it waited. */
static struct tg_release_notes pass(struct tg_session_state *s, __u64 now, int real, __u64 waited)
{
	const struct tg_cell cell = real ? real_cell(s, now, waited) : clock_cell(s, now);
	struct tg_release_notes notes;

	tg_session_release(s, &quantum, &cell, &notes);
	return notes;
}

static int arrives(struct tg_session_state *s, __u64 now)
{
	int overdue;

	tg_session_admit(s, &quantum, now, 0, &overdue);
	return overdue;
}

TEST(session, a_missing_clock_cell_shows_within_two_periods)
{
	const __u64 p = 5 * MS;
	struct tg_session_state s = { 0 };

	pass(&s, START, 0, 0);
	CU_ASSERT_EQUAL(arrives(&s, START + 2 * p), 0);
	s = (struct tg_session_state){ 0 };
	pass(&s, START, 0, 0);
	CU_ASSERT_EQUAL(arrives(&s, START + 2 * p + 1), 1);
	CU_ASSERT_EQUAL(s.overdue, 1);
	/* it leaves at once, as no clock cell holds the tokens: still missing */
	CU_ASSERT_EQUAL(pass(&s, START + 2 * p + 1000, 1, 999).overdue, 0);
	CU_ASSERT_EQUAL(arrives(&s, START + 5 * p), 1);
	/* it comes back */
	pass(&s, START + 6 * p, 0, 0);
	CU_ASSERT_EQUAL(s.overdue, 0);
	CU_ASSERT_EQUAL(arrives(&s, START + 8 * p), 0);
}

/* Each slot taken by a real cell, late timers included: the clock cell waits behind them by right. */
TEST(session, a_backlog_holds_the_clock_back_by_right)
{
	const __u64 p = 5 * MS;
	struct tg_session_state s = { 0 };
	__u64 now = START;

	pass(&s, now, 0, 0);
	for (unsigned i = 0; i < 10; i++)
		CU_ASSERT_EQUAL(arrives(&s, now + 1), 0);
	for (unsigned i = 0; i < 10000; i++) {
		now += p + (i % 7 ? 0 : 2 * MS);
		CU_ASSERT_EQUAL(pass(&s, now, 1, 10 * p).overdue, 0);
		CU_ASSERT_EQUAL(arrives(&s, now + 1), 0);
	}
	CU_ASSERT_EQUAL(s.overdue, 0);
	CU_ASSERT_EQUAL(s.last_clock_ns, START);
	/* then the queue runs empty: from here on it is due */
	while (tg_session_backlog(&s)) {
		now += p;
		pass(&s, now, 1, 10 * p);
	}
	CU_ASSERT_EQUAL(arrives(&s, now + 2 * p - 1), 0);
	CU_ASSERT_EQUAL(arrives(&s, now + 2 * p + 1), 1);
}

/* A flow slower than the grid leaves slots to the clock cell: the slots that it does not take add up. */
TEST(session, a_flow_without_pauses_does_not_hide_a_lost_clock)
{
	const __u64 p = 5 * MS;

	for (int lost = 0; lost < 2; lost++) {
		struct tg_session_state s = { 0 };
		unsigned overdue = 0;

		pass(&s, START, 0, 0);
		/* four cells in five slots */
		for (__u64 i = 1; i <= 40; i++) {
			__u64 came = START + i * 5 * p / 4, left = (came + p - 1) / p * p;

			overdue += (unsigned)arrives(&s, came);
			overdue += (unsigned)pass(&s, lost ? came : left, 1, lost ? 0 : left - came).overdue;
			if (!lost && i % 4 == 0)
				pass(&s, left + p, 0, 0);
		}
		CU_ASSERT(lost ? overdue > 40 : !overdue);
	}
}

TEST(session, a_queue_that_stands_still_with_cells_in_it_is_overdue)
{
	const __u64 p = 5 * MS;
	struct tg_session_state s = { 0 };

	pass(&s, START, 0, 0);
	CU_ASSERT_EQUAL(arrives(&s, START + 1), 0);
	CU_ASSERT_EQUAL(arrives(&s, START + 2 * p), 0);
	CU_ASSERT_EQUAL(arrives(&s, START + 2 * p + 1), 1);
	/* a processor whose clock is behind sees nothing of it */
	CU_ASSERT_EQUAL(arrives(&s, START - 1), 0);
}

TEST(session, a_clock_that_never_came_is_due_two_periods_after_the_first_packet)
{
	const __u64 p = 5 * MS;
	struct tg_session_state s = { 0 };

	CU_ASSERT_EQUAL(arrives(&s, START), 0);
	CU_ASSERT_EQUAL(arrives(&s, START + 2 * p), 0);
	CU_ASSERT_EQUAL(arrives(&s, START + 2 * p + 1), 1);
}

/* Without its clock the clock cell goes round as fast as the processor can: it is taken out, not sent. */
TEST(session, a_queue_that_nobody_paces_stops)
{
	const __u64 p = 5 * MS;
	struct tg_session_state s = { .left = 100000, .ticks = 1, .last_tick_ns = START };
	unsigned sent = 0;
	int extended;
	__u64 now = START;

	for (unsigned i = 0; i < 1000; i++) {
		now += 2000;
		sent += leave(&s, &quantum, now, 0, &extended) != TG_RELEASE_DROP;
	}
	CU_ASSERT_EQUAL(sent, TG_FAST_TICKS - 1);
	CU_ASSERT_EQUAL(s.left, 100000 - sent);
	/* real cells go on, but not faster than four times the rate */
	sent = 0;
	for (unsigned i = 0; i < 10000; i++) {
		now += p / 100;
		admit(&s, &quantum, now);
		sent += leave(&s, &quantum, now, 1, &extended) != TG_RELEASE_DROP;
	}
	CU_ASSERT(sent > 380 && sent <= 400);
	CU_ASSERT_EQUAL(tg_session_backlog(&s), 0);
	/* a paced clock cell mends it */
	CU_ASSERT_EQUAL(leave(&s, &quantum, now + p, 0, &extended), TG_RELEASE_DUMMY);
	CU_ASSERT_EQUAL(s.fast, 0);
}

/* Cells that waited for the processor come together: the clock must not be taken out for that. */
TEST(session, late_cells_that_come_together_are_paced_all_the_same)
{
	const __u64 p = 5 * MS;
	struct tg_session_state s = { 0 };
	__u64 now = START;
	int extended;

	for (unsigned i = 0; i < 1000; i++) {
		now += 10 * p;
		for (unsigned k = 0; k < 4; k++)
			CU_ASSERT_NOT_EQUAL(leave(&s, &quantum, now + k * 1000, 0, &extended),
					    TG_RELEASE_DROP);
	}
}

/* ---- moving to another queue ---- */

enum { OLD = 1, NEW = 2 };

static enum tg_release clock_of(struct tg_session_state *s, unsigned queue, __u64 now)
{
	struct tg_twins *t = queue == s->queue ? &s->clocks : &s->waiting;
	struct tg_cell cell = { .now = now, .queue = queue };
	struct tg_queue q = quantum;
	struct tg_release_notes notes;

	for (__u32 i = 0; i < TG_TWINS; i++)
		if (!t->number[i])
			tg_session_start_clock(s, queue, i);
	cell.number = t->number[!t->last];
	q.slots = 0;
	q.next = NEW;
	return tg_session_release(s, &q, &cell, &notes);
}

/* The new clock waits in silence for the last real cell, and then the old one's cell is dropped. */
TEST(session, moves_when_its_queue_is_empty)
{
	struct tg_session_state s = { .queue = OLD };
	struct tg_queue q = quantum;
	int extended;

	q.slots = 0;
	q.next = OLD;
	CU_ASSERT_EQUAL(clock_of(&s, OLD, START), TG_RELEASE_DUMMY);
	admit(&s, &q, START + 1 * MS);
	CU_ASSERT_EQUAL(clock_of(&s, NEW, START + 3 * MS), TG_RELEASE_IDLE);
	CU_ASSERT(s.queue == OLD && s.ticks == 1);
	/* it puts no other clock cell out of the old queue's loop */
	CU_ASSERT(s.clocks.number[0] == 1 && s.clocks.number[1] == 2 && s.waiting.number[1] == 2);
	CU_ASSERT_EQUAL(leave(&s, &q, START + 5 * MS, 1, &extended), TG_RELEASE_REAL);
	CU_ASSERT_EQUAL(clock_of(&s, NEW, START + 8 * MS), TG_RELEASE_DUMMY);
	CU_ASSERT_EQUAL(s.queue, NEW);
	CU_ASSERT_EQUAL(clock_of(&s, OLD, START + 10 * MS), TG_RELEASE_RETIRE);
	CU_ASSERT_EQUAL(s.ticks, 3);
	CU_ASSERT_EQUAL(clock_of(&s, NEW, START + 13 * MS), TG_RELEASE_DUMMY);
}

/* Its first cell early in the old clock's period sends nothing: one gap of one and a half periods at most. */
TEST(session, moves_without_a_short_gap)
{
	struct tg_session_state s = { .queue = OLD };

	CU_ASSERT_EQUAL(clock_of(&s, OLD, START), TG_RELEASE_DUMMY);
	CU_ASSERT_EQUAL(clock_of(&s, NEW, START + 2 * MS), TG_RELEASE_IDLE);
	CU_ASSERT_EQUAL(s.queue, NEW);
	CU_ASSERT_EQUAL(clock_of(&s, OLD, START + 5 * MS), TG_RELEASE_RETIRE);
	CU_ASSERT_EQUAL(clock_of(&s, NEW, START + 7 * MS), TG_RELEASE_DUMMY);
}

/* Cells that were lost with their queue do not hold it there. */
TEST(session, moves_though_its_queue_was_purged)
{
	struct tg_session_state s = { .queue = OLD };

	clock_of(&s, OLD, START);
	admit(&s, &quantum, START + 1 * MS);
	CU_ASSERT_EQUAL(clock_of(&s, NEW, START + TG_STALE_TICKS * 5 * MS), TG_RELEASE_IDLE);
	CU_ASSERT_EQUAL(clock_of(&s, NEW, START + TG_STALE_TICKS * 5 * MS + 5 * MS), TG_RELEASE_DUMMY);
	CU_ASSERT(s.queue == NEW && s.lost == 1);
}
