/* SPDX-License-Identifier: BSD-3-Clause */
/* What cells cost: the law, its bounds, how HTB reads it, and that a cell's kind does not show in it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/two_sample.h"
#include "draws.h"
#include "harness.h"
#include "net/htb.h"
#include "shared/session.h"

enum { CELLS = 200000, WAITING = 64 };

#define PERIOD_NS 5000000ull
#define PERIOD_STEPS ((double)TG_CELL_COST / TG_DITHER_UNIT)

/* The vector of its paper's reference program for the bytes 00 .. 07 under the key 00 .. 0f. */
TEST(dither, siphash_is_siphash)
{
	static const struct tg_siphash_key key = { { 0x0706050403020100ull, 0x0f0e0d0c0b0a0908ull } };

	CU_ASSERT_EQUAL(tg_siphash_word(&key, 0x0706050403020100ull), 0x93f5f5799a932462ull);
}

/* Each word is used up before the next one, and no two processors have the same. */
TEST(dither, draws_are_the_words_of_siphash)
{
	static const struct tg_siphash_key key = { { 1, 2 } };
	struct tg_draws first = { .left = 0 }, second = { .left = 0 };

	for (uint64_t n = 0; n < 100; n++) {
		uint64_t word = 0, other = 0;

		for (unsigned i = 0; i < 4; i++) {
			word |= (uint64_t)tg_dither_draw(&first, &key, 0) << 16 * i;
			other |= (uint64_t)tg_dither_draw(&second, &key, 3) << 16 * i;
		}
		CU_ASSERT_EQUAL(word, tg_siphash_word(&key, n));
		CU_ASSERT_EQUAL(other, tg_siphash_word(&key, 3ull << 48 | n));
	}
}

/* Near the grid the draw alone: uniform, all values, and not one beyond. */
TEST(dither, the_law_is_uniform)
{
	static unsigned counts[TG_DITHER_DRAWS];
	static double expected[TG_DITHER_DRAWS];
	uint64_t seed = 1;

	for (unsigned i = 0; i < CELLS; i++) {
		int step = tg_dither_step(0, draw_word(&seed) >> 16) + TG_DITHER_DRAWS / 2;

		CU_ASSERT_TRUE_FATAL(step >= 0 && step < TG_DITHER_DRAWS);
		counts[step]++;
	}
	for (unsigned i = 0; i < TG_DITHER_DRAWS; i++)
		expected[i] = (double)CELLS / TG_DITHER_DRAWS;
	CU_ASSERT_TRUE(counts_fit(counts, expected, TG_DITHER_DRAWS));
	/* the same from the words that the kernel's programs have */
	memset(counts, 0, sizeof(counts));
	for (struct tg_draws d = { .left = 0 }; d.counter < CELLS / 4;) {
		static const struct tg_siphash_key key = { { 3, 4 } };

		counts[tg_dither_step(0, tg_dither_draw(&d, &key, 1)) + TG_DITHER_DRAWS / 2]++;
	}
	CU_ASSERT_TRUE(counts_fit(counts, expected, TG_DITHER_DRAWS));
}

/* Far from the grid, even where only somebody else can have written that, a cell costs a sixteenth more or
 * less at most, and towards the grid. */
TEST(dither, no_cell_costs_more_than_its_bounds)
{
	static const int offsets[] = { 0, 31, 32, -1, -32, 480, -480, 100000, -100000, INT32_MAX, INT32_MIN };

	for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
		int least = tg_dither_step(offsets[i], 0), most = tg_dither_step(offsets[i], 0xffff);

		CU_ASSERT_TRUE(least >= -TG_DITHER_MOST && most < TG_DITHER_MOST);
		CU_ASSERT_EQUAL(most - least, TG_DITHER_DRAWS - 1);
		CU_ASSERT_TRUE(offsets[i] < 32 || least + most < 0);
		CU_ASSERT_TRUE(offsets[i] > -32 || least + most > 0);
	}
}

/* As the kernel computes a packet's length from a size table (net/sched/sch_api.c). */
static unsigned cost_of(const uint16_t entries[static TG_DITHER_CYCLE], unsigned length)
{
	if (length < TG_DITHER_CYCLE)
		return entries[length];
	return entries[TG_DITHER_CYCLE - 1] * (length / TG_DITHER_CYCLE) + entries[length % TG_DITHER_CYCLE];
}

TEST(dither, htb_reads_the_cost_from_the_length)
{
	uint16_t entries[TG_DITHER_CYCLE];

	htb_size_table(entries);
	for (unsigned frame = TG_MIN_CELL + TG_L2_LEN; frame <= TG_MAX_CELL + TG_L2_LEN; frame += 13) {
		for (int step = -TG_DITHER_MOST; step < TG_DITHER_MOST; step++) {
			unsigned length = tg_dither_length(frame, step);

			CU_ASSERT_TRUE_FATAL(length >= frame && length < frame + TG_DITHER_CYCLE);
			CU_ASSERT_EQUAL_FATAL(cost_of(entries, length),
					      (unsigned)((int)HTB_CELL + step * TG_DITHER_UNIT));
		}
		CU_ASSERT_EQUAL(cost_of(entries, tg_dither_length(frame, 0)), HTB_CELL);
	}
	/* a cell less what HTB lets gather for late timers is half a period at the least */
	CU_ASSERT_TRUE(cost_of(entries, tg_dither_length(174, -TG_DITHER_MOST)) >=
		       HTB_CELL / 2 + HTB_CELL * 7 / 16);
}

TEST(dither, steps_are_times)
{
	CU_ASSERT_EQUAL(tg_dither_ns(0, PERIOD_NS), 0);
	for (int steps = -100000; steps <= 100000; steps += 777)
		CU_ASSERT_DOUBLE_EQUAL((double)tg_dither_ns(steps, PERIOD_NS),
				       steps / PERIOD_STEPS * (double)PERIOD_NS,
				       1 + fabs(steps / PERIOD_STEPS) * 1024);
}

/* ---- a queue ---- */

/* One slot: what left in it. */
struct slot {
	int step;
	int offset;	/* of its time from the grid, in steps */
	bool real;
};

struct line {
	int step[WAITING];
	unsigned first, count;
};

static void enter(struct line *line, struct tg_session_state *s, const struct tg_queue *q, bool real,
		  uint64_t *seed)
{
	int step = tg_session_step(s, q, draw_word(seed) >> 16);

	tg_session_count_cell(s, real, step);
	line->step[(line->first + line->count++) % WAITING] = step;
}

/* Real cells overtake the two clock cells, which go round; `busy` of 16 slots find a new real cell. */
static void run_queue(const struct tg_queue *q, unsigned busy, struct slot *slots, struct tg_session_state *s)
{
	struct line real = { .count = 0 }, clock = { .count = 0 };
	uint64_t seed = 42 + busy;
	int offset = 0;

	enter(&clock, s, q, false, &seed);
	enter(&clock, s, q, false, &seed);
	for (unsigned i = 0; i < CELLS; i++) {
		struct line *line = &clock;

		/* now and then three at once */
		for (unsigned n = draw_word(&seed) % 64 ? 1 : 3; n && real.count < WAITING; n--)
			if (draw_word(&seed) % 16 < busy)
				enter(&real, s, q, true, &seed);
		if (real.count)
			line = &real;
		slots[i] = (struct slot){ line->step[line->first], offset, line == &real };
		offset += slots[i].step;
		line->first = (line->first + 1) % WAITING;
		line->count--;
		if (line == &clock)
			enter(&clock, s, q, false, &seed);
	}
}

TEST(dither, slots_stay_near_the_grid)
{
	const struct tg_queue q = { .dither = 1 };
	struct slot *slots = calloc(CELLS, sizeof(*slots));

	for (unsigned busy = 0; busy <= 16; busy += 8) {
		struct tg_session_state s = { .admitted = 0xfffffff0u };
		double square = 0, most = 0, sum = 0;

		run_queue(&q, busy, slots, &s);
		for (unsigned i = 0; i < CELLS; i++) {
			double periods = slots[i].offset / PERIOD_STEPS;

			square += periods * periods;
			sum += slots[i].step;
			most = fmax(most, fabs(periods));
		}
		/* as dither.h says, and never a whole period */
		CU_ASSERT_DOUBLE_EQUAL(sqrt(square / CELLS), 0.134, 0.01);
		CU_ASSERT_TRUE(most < 1);
		/* a period each, on the average */
		CU_ASSERT_DOUBLE_EQUAL(sum / CELLS, 0, 0.01);
	}
	free(slots);
}

/* Kinds alternate at random. What an eavesdropper sees of a slot, against what it held and what those beside
 * it held. */
static double told(const struct slot *slots, unsigned value, int which)
{
	struct labelled *values = calloc(CELLS, sizeof(*values));
	struct two_sample r;
	double worst;

	for (unsigned i = 1; i + 1 < CELLS; i++) {
		const struct slot *slot = &slots[i];

		values[i].real = (slot + which)->real;
		values[i].value = value == 0   ? slot->step
				  : value == 1 ? slot->offset
				  : value == 2 ? slot->step - (slot - 1)->step
					       : (int64_t)slot->step * (slot - 1)->step;
	}
	CU_ASSERT_EQUAL_FATAL(two_sample(values + 1, CELLS - 2, &r), 0);
	free(values);
	worst = r.p;
	return worst;
}

TEST(dither, a_cells_kind_does_not_show)
{
	const struct tg_queue q = { .dither = 1 };
	struct slot *slots = calloc(CELLS, sizeof(*slots));
	struct tg_session_state s = { .left = 0 };

	run_queue(&q, 7, slots, &s);
	for (unsigned value = 0; value < 4; value++)
		for (int which = -1; which <= 1; which++)
			CU_ASSERT_TRUE(told(slots, value, which) > 1e-4);
	free(slots);
}

/* ---- the watch over the clock ---- */

struct waiting {
	uint64_t arrived_ns;
	uint32_t number;
	int step;
};

/*
 * A queue whose timers are on time, with a real packet in `busy` of 16 periods, at any moment of them;
 * returns how often its clock cell was thought to be missing.
 */
static unsigned watch(const struct tg_queue *q, unsigned busy, uint64_t *seed)
{
	struct tg_session_state s = { .left = 0 };
	struct waiting real[WAITING];
	struct line clock = { .count = 0 };
	uint64_t now = 1000 * PERIOD_NS, arrives = now;
	unsigned first = 0, count = 0, overdue = 0;

	for (unsigned i = 0; i < TG_TWINS; i++) {
		tg_session_start_clock(&s, 0, i);
		enter(&clock, &s, q, false, seed);
	}
	for (unsigned i = 0; i < CELLS; i++) {
		struct tg_cell cell = { .now = now };
		struct tg_release_notes notes;
		int step, missing;

		for (; arrives <= now;
		     arrives += PERIOD_NS * 16 / busy - PERIOD_NS / 16 + draw_word(seed) % (PERIOD_NS / 8)) {
			struct waiting *w = &real[(first + count) % WAITING];

			if (count == WAITING)
				break;
			w->step = tg_session_step(&s, q, draw_word(seed) >> 16);
			w->arrived_ns = arrives;
			count += tg_session_admit(&s, q, arrives, w->step, &missing) != TG_ADMIT_DROP;
			w->number = s.admitted;
			overdue += (unsigned)missing;
		}
		if (count) {
			const struct waiting *w = &real[first];

			cell.real = 1;
			cell.number = w->number;
			cell.waited_ns = now - w->arrived_ns;
			step = w->step;
			first = (first + 1) % WAITING;
			count--;
		} else {
			cell.number = s.clocks.number[!s.clocks.last];
			step = clock.step[clock.first];
			clock.first = (clock.first + 1) % WAITING;
			clock.count--;
		}
		tg_session_release(&s, q, &cell, &notes);
		overdue += (unsigned)notes.overdue;
		if (!cell.real)
			enter(&clock, &s, q, false, seed);
		now += PERIOD_NS + (uint64_t)tg_dither_ns(step, PERIOD_NS);
	}
	CU_ASSERT_TRUE(s.ticks == CELLS && !s.lost);
	return overdue;
}

/* Nearly as many real packets as slots are the worst: then the clock cell comes rarely. */
TEST(dither, no_clock_that_runs_is_missed)
{
	const struct tg_queue q = {
		.period_ns = PERIOD_NS, .dither = 1, .budget_cells = WAITING, .limit_cells = WAITING
	};
	uint64_t seed = 5;

	for (unsigned busy = 8; busy <= 16; busy += 2)
		CU_ASSERT_EQUAL(watch(&q, busy, &seed), 0);
}

TEST(dither, without_it_a_cell_costs_a_period)
{
	const struct tg_queue q = { .dither = 0, .period_ns = PERIOD_NS };
	struct tg_session_state s = { .offset = 400 };

	for (unsigned random = 0; random < 65536; random += 777)
		CU_ASSERT_EQUAL(tg_session_step(&s, &q, random), 0);
	CU_ASSERT_EQUAL(tg_session_grace(&q), 2 * PERIOD_NS);
}

/* One addition for both: the number wraps into the sum, by one step. */
TEST(dither, number_and_sum_are_counted_at_once)
{
	struct tg_session_state s = { .admitted = 7, .offset = -3, .left = 9 };

	tg_session_count_cell(&s, 1, -127);
	CU_ASSERT_TRUE(s.admitted == 8 && s.offset == -130);
	tg_session_count_cell(&s, 0, 126);
	CU_ASSERT_TRUE(s.admitted == 8 && s.offset == -4);
	s.admitted = 0xffffffffu;
	tg_session_count_cell(&s, 1, 4);
	CU_ASSERT_TRUE(s.admitted == 0 && s.offset == 1);
	CU_ASSERT_TRUE(s.left == 9 && !s.released && !s.last_clock_ns && !s.lost);
}
