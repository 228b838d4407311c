/* SPDX-License-Identifier: BSD-3-Clause */
/* The tokens and the modes of `wtf-pad`, and what its draws are distributed like. */
#include <string.h>

#include "draws.h"
#include "harness.h"
#include "shared/metronome.h"

#define US 1000ull
#define MS (1000 * US)
#define START (5000 * MS)
#define NONE UINT32_MAX

static const struct tg_metronome wtfpad = {
	.tick_ns = MS,
	.defence = TG_DEFENCE_WTF_PAD,
	.burst = { .edge_us = { 0, 10000, 20000, 50000, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE,
				NONE, NONE, NONE, NONE },
		   .tokens = { 10, 0, 30, [TG_MAX_BINS] = 20 } },
	.gap = { .edge_us = { 0, 1000, 2000, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE,
			      NONE, NONE, NONE },
		 .tokens = { 5, 5, [TG_MAX_BINS] = 10 } },
};

static int beat(struct tg_metronome_state *s, uint64_t now, uint64_t *seed)
{
	uint32_t random[TG_METRONOME_WORDS];

	for (unsigned i = 0; i < TG_METRONOME_WORDS; i++)
		random[i] = draw_word(seed);
	return tg_metronome_beat(s, &wtfpad, NULL, now, random);
}

TEST(wtfpad, bins_of_intervals)
{
	CU_ASSERT_EQUAL(tg_histogram_bin(&wtfpad.burst, 0), 0);
	CU_ASSERT_EQUAL(tg_histogram_bin(&wtfpad.burst, 10 * MS), 0);
	CU_ASSERT_EQUAL(tg_histogram_bin(&wtfpad.burst, 10 * MS + 1), 1);
	CU_ASSERT_EQUAL(tg_histogram_bin(&wtfpad.burst, 50 * MS), 2);
	/* above all edges: a bin without tokens below infinity, or infinity itself */
	CU_ASSERT_EQUAL(tg_histogram_bin(&wtfpad.burst, 50 * MS + 1), 3);
	CU_ASSERT_EQUAL(tg_histogram_bin(&wtfpad.burst, 5000000 * (1000 * MS)), TG_MAX_BINS);
}

TEST(wtfpad, removal_takes_the_bin_or_the_next_higher_one)
{
	uint16_t tokens[TG_MAX_BINS + 1] = { 2, 0, 1, [TG_MAX_BINS] = 1 };

	tg_tokens_remove(tokens, 0);
	CU_ASSERT_EQUAL(tokens[0], 1);
	tg_tokens_remove(tokens, 1);
	CU_ASSERT(tokens[0] == 1 && tokens[2] == 0 && tokens[TG_MAX_BINS] == 1);
	tg_tokens_remove(tokens, 1);
	CU_ASSERT_EQUAL(tokens[TG_MAX_BINS], 0);
	/* nothing at or above it: nothing */
	tg_tokens_remove(tokens, 1);
	CU_ASSERT(tokens[0] == 1 && tg_tokens_left(tokens) == 1);
}

/* Without real packets a histogram is drawn empty, exactly, and then filled again. */
TEST(wtfpad, each_pass_draws_the_histogram_exactly)
{
	uint16_t tokens[TG_MAX_BINS + 1] = { 0 };
	unsigned counts[TG_MAX_BINS + 1] = { 0 };
	uint64_t seed = 1;

	for (unsigned pass = 1; pass <= 50; pass++) {
		for (unsigned i = 0; i < 60; i++) {
			uint32_t bin = tg_wtfpad_draw(tokens, &wtfpad.burst, draw_word(&seed));

			CU_ASSERT_FATAL(bin <= TG_MAX_BINS && tokens[bin]);
			tg_tokens_remove(tokens, bin);
			counts[bin]++;
		}
		CU_ASSERT_EQUAL(tg_tokens_left(tokens), 0);
		for (unsigned i = 0; i <= TG_MAX_BINS; i++)
			CU_ASSERT_EQUAL(counts[i], pass * wtfpad.burst.tokens[i]);
	}
}

TEST(wtfpad, draws_are_in_proportion_to_the_tokens)
{
	enum { DRAWS = 60000 };
	const double expected[] = { DRAWS / 6.0, DRAWS / 2.0, DRAWS / 3.0 };
	unsigned counts[3] = { 0 };
	uint64_t seed = 2;

	for (unsigned i = 0; i < DRAWS; i++) {
		uint16_t tokens[TG_MAX_BINS + 1] = { 0 };
		uint32_t bin = tg_wtfpad_draw(tokens, &wtfpad.burst, draw_word(&seed));

		CU_ASSERT_FATAL(bin == 0 || bin == 2 || bin == TG_MAX_BINS);
		counts[bin == TG_MAX_BINS ? 2 : bin / 2]++;
	}
	CU_ASSERT(counts_fit(counts, expected, 3));
	counts[0] += 500;
	CU_ASSERT(!counts_fit(counts, expected, 3));
}

static double uniform_in_third(double us)
{
	return (us - 20000) / 30000;
}

TEST(wtfpad, intervals_are_uniform_within_their_bin)
{
	enum { DRAWS = 20000 };
	static double us[DRAWS];
	uint64_t seed = 3;

	for (unsigned i = 0; i < DRAWS; i++) {
		us[i] = (double)tg_wtfpad_interval(&wtfpad.burst, 2, draw_word(&seed)) / 1e3;
		CU_ASSERT_FATAL(us[i] >= 20000 && us[i] < 50000);
	}
	CU_ASSERT(draws_fit(us, DRAWS, uniform_in_third));
	/* an hour fits */
	CU_ASSERT(tg_wtfpad_interval(&(struct tg_histogram){ .edge_us = { 0, 3600000000u } }, 0, UINT32_MAX) >
		  3599 * 1000 * MS);
}

TEST(wtfpad, a_real_packet_takes_the_token_of_the_interval_before_it)
{
	struct tg_metronome_state s = { 0 };
	uint64_t seed = 4;

	CU_ASSERT_EQUAL(beat(&s, START, &seed), 0);
	tg_metronome_real(&s, &wtfpad, START);
	CU_ASSERT(s.mode == TG_WTFPAD_BURST_DRAW && s.sessions == 1);
	/* the packet that starts it ends no interval */
	CU_ASSERT_EQUAL(tg_tokens_left(s.wtfpad.burst), 0);
	tg_metronome_real(&s, &wtfpad, START + 5 * MS);
	CU_ASSERT(s.wtfpad.burst[0] == 9 && tg_tokens_left(s.wtfpad.burst) == 59);
	/* the second bin has none: the third gives one */
	tg_metronome_real(&s, &wtfpad, START + 20 * MS);
	CU_ASSERT(s.wtfpad.burst[2] == 29 && tg_tokens_left(s.wtfpad.burst) == 58);
	tg_metronome_real(&s, &wtfpad, START + 120 * MS);
	CU_ASSERT(s.wtfpad.burst[TG_MAX_BINS] == 19 && tg_tokens_left(s.wtfpad.burst) == 57);
	CU_ASSERT(s.sessions == 1 && s.dummies == 0);
}

/* Ticks until the machine is idle; returns the dummies. */
static unsigned run_out(struct tg_metronome_state *s, uint64_t *now, uint64_t *seed)
{
	unsigned dummies = 0;

	for (unsigned i = 0; i < 100000 && s->mode != TG_WTFPAD_IDLE; i++) {
		enum tg_wtfpad_mode before = (enum tg_wtfpad_mode)s->mode;

		if (beat(s, *now, seed)) {
			CU_ASSERT(s->mode == TG_WTFPAD_GAP_DRAW && s->last_ns == *now);
			CU_ASSERT(before != TG_WTFPAD_IDLE && s->due_ns <= *now);
			dummies++;
		}
		*now += wtfpad.tick_ns;
	}
	return dummies;
}

/* Every interval takes one token, so that dummies and sessions can be counted in tokens. */
TEST(wtfpad, it_ends_by_infinity_and_every_interval_takes_one_token)
{
	uint64_t seed = 5, now = START;
	struct tg_metronome_state s = { 0 };
	unsigned dummies = 0, sessions = 0;

	for (; sessions < 20000; sessions++) {
		tg_metronome_real(&s, &wtfpad, now);
		dummies += run_out(&s, &now, &seed);
		CU_ASSERT_EQUAL_FATAL(s.mode, TG_WTFPAD_IDLE);
	}
	CU_ASSERT(s.sessions == sessions && s.dummies == dummies);
	/*
	 * A session ends with infinity in burst mode. Of 60 tokens there 20 are
	 * infinity: 2 finite ones per session, each of which one dummy answers; in
	 * gap mode as many finite tokens as infinite ones, one per visit: 4 dummies.
	 */
	CU_ASSERT(dummies > 4 * sessions - 100 && dummies < 4 * sessions + 100);
}

TEST(wtfpad, real_packets_that_come_faster_than_any_draw_leave_no_room)
{
	struct tg_metronome_state s = { 0 };
	struct tg_metronome slow = wtfpad;
	uint32_t random[TG_METRONOME_WORDS];
	uint64_t seed = 6, now = START;

	slow.burst.tokens[0] = 0;
	for (unsigned i = 0; i < 1000; i++, now += 5 * MS) {
		tg_metronome_real(&s, &slow, now);
		for (unsigned k = 0; k < 5; k++) {
			for (unsigned n = 0; n < TG_METRONOME_WORDS; n++)
				random[n] = draw_word(&seed);
			CU_ASSERT_EQUAL_FATAL(tg_metronome_beat(&s, &slow, NULL, now + k * MS, random), 0);
		}
	}
	CU_ASSERT_EQUAL(s.dummies, 0);
}
