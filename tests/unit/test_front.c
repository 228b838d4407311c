/* SPDX-License-Identifier: BSD-3-Clause */
/* Whether `front` draws what its specification says, and when. */
#include <math.h>
#include <stdlib.h>

#include "draws.h"
#include "harness.h"
#include "shared/metronome.h"
#include "tensorguard/compile.h"

#define MS 1000000ull
#define S (1000 * MS)
#define START (5 * S)

enum { SESSIONS = 12000, MOST = 40 };

static const struct tg_metronome front = {
	.tick_ns = MS,
	.defence = TG_DEFENCE_FRONT,
	.idle_ns = 20 * S,
	.dummies = MOST,
	.window_min_us = 1000000,
	.window_max_us = 4000000,
};

static const struct tg_exponential *table(void)
{
	static struct tg_exponential t;

	if (!t.quantile[1])
		tg_exponential_fill(&t);
	return &t;
}

static int beat(struct tg_metronome_state *s, uint64_t now, uint64_t *seed)
{
	uint32_t random[TG_METRONOME_WORDS];

	for (unsigned i = 0; i < TG_METRONOME_WORDS; i++)
		random[i] = draw_word(seed);
	return tg_metronome_beat(s, &front, table(), now, random);
}

/* What many sessions of one end drew. */
struct side {
	double n[SESSIONS], w[SESSIONS];
	double first[SESSIONS];	/* time of the first dummy, in units of w */
	double *times;		/* of all dummies, in units of their session's w */
	size_t count;
	size_t backwards;	/* dummies before the one before them */
};

static struct side *run_side(uint64_t seed)
{
	struct side *side = calloc(1, sizeof(*side));
	struct tg_metronome_state s = { 0 };

	side->times = calloc(SESSIONS, MOST * sizeof(*side->times));
	for (size_t i = 0; i < SESSIONS; i++) {
		uint64_t now = START + i * 200 * S, before = 0;
		size_t from = side->count;

		tg_metronome_real(&s, &front, now);
		while (beat(&s, s.mode == TG_FRONT_WAIT ? s.due_ns : now, &seed) || s.mode != TG_FRONT_REST) {
			if (s.mode != TG_FRONT_WAIT)
				continue;
			side->backwards += s.due_ns < before;
			before = s.due_ns;
			side->times[side->count++] =
				(double)(s.due_ns - s.started_ns) / 1e3 / s.front.window_us;
		}
		side->first[i] = side->times[from];
		side->n[i] = s.front.sent;
		side->w[i] = s.front.window_us;
		CU_ASSERT(s.front.sent == s.front.planned && s.sessions == i + 1);
	}
	CU_ASSERT_EQUAL(s.dummies, side->count);
	return side;
}

static void free_side(struct side *side)
{
	free(side->times);
	free(side);
}

static double uniform_window(double w)
{
	return (w - 1000000 + 1) / 3000001;
}

static double rayleigh(double t)
{
	return -expm1(-t * t / 2);
}

static double exponential(double x)
{
	return -expm1(-x);
}

static void check_side(struct side *side)
{
	unsigned counts[MOST] = { 0 };
	double expected[MOST];

	for (size_t i = 0; i < SESSIONS; i++) {
		CU_ASSERT_FATAL(side->n[i] >= 1 && side->n[i] <= MOST);
		counts[(size_t)side->n[i] - 1]++;
	}
	for (size_t i = 0; i < MOST; i++)
		expected[i] = (double)SESSIONS / MOST;
	CU_ASSERT(counts_fit(counts, expected, MOST));
	CU_ASSERT(side->count > 10000 && side->backwards == 0);
	CU_ASSERT(draws_fit(side->times, side->count, rayleigh));
	CU_ASSERT(draws_fit(side->w, SESSIONS, uniform_window));
}

TEST(front, both_ends_draw_what_is_specified_each_on_its_own)
{
	struct side *a = run_side(1), *b = run_side(2);

	CU_ASSERT(draws_uncorrelated(a->n, b->n, SESSIONS));
	CU_ASSERT(draws_uncorrelated(a->w, b->w, SESSIONS));
	CU_ASSERT(draws_uncorrelated(a->n, a->w, SESSIONS));
	/* from session to session as well */
	CU_ASSERT(draws_uncorrelated(a->n, a->n + 1, SESSIONS - 1));
	CU_ASSERT(draws_uncorrelated(a->w, a->w + 1, SESSIONS - 1));
	/* in the order in which they are sent, times of one session depend on one another: one of each */
	CU_ASSERT(draws_uncorrelated(a->first, b->first, SESSIONS));
	check_side(a);
	check_side(b);
	free_side(a);
	free_side(b);
}

TEST(front, the_tests_of_it_can_fail)
{
	struct side *a = run_side(1);

	/* a window that is 3 % too long, and one dummy too few in each 20th session */
	for (size_t i = 0; i < a->count; i++)
		a->times[i] *= 1.03;
	CU_ASSERT(!draws_fit(a->times, a->count, rayleigh));
	for (size_t i = 0; i < SESSIONS; i++)
		a->w[i] *= 1.03;
	CU_ASSERT(!draws_fit(a->w, SESSIONS, uniform_window));
	CU_ASSERT(!draws_uncorrelated(a->n, a->n, SESSIONS));
	free_side(a);
}

TEST(front, exponentials_are_exponential_beyond_the_table_too)
{
	enum { DRAWS = 200000 };
	double *x = calloc(DRAWS, sizeof(*x));
	double edge = table()->quantile[TG_EXPONENTIAL_LAST] / (double)TG_EXPONENTIAL_UNIT;
	uint64_t seed = 3;
	size_t beyond = 0;

	for (size_t i = 0; i < DRAWS; i++) {
		uint32_t random = draw_word(&seed);

		x[i] = tg_exponential_draw(table(), random, draw_word(&seed)) / (double)TG_EXPONENTIAL_UNIT;
		beyond += x[i] > edge;
	}
	CU_ASSERT(draws_fit(x, DRAWS, exponential));
	/* 195.3 are to be expected */
	CU_ASSERT(beyond > 140 && beyond < 250);
	CU_ASSERT_EQUAL(tg_exponential_draw(table(), 0, 0), 0);
	CU_ASSERT(tg_exponential_draw(table(), UINT32_MAX, UINT32_MAX) > 14 * TG_EXPONENTIAL_UNIT);
	free(x);
}

TEST(front, square_roots)
{
	uint64_t seed = 4;

	CU_ASSERT_EQUAL(tg_square_root(0), 0);
	for (unsigned i = 0; i < 200000; i++) {
		uint64_t v = ((uint64_t)draw_word(&seed) << 32 | draw_word(&seed)) >> i % 64;
		uint64_t root = tg_square_root(v);

		CU_ASSERT_FATAL(v == 0 || (root <= 0xffffffffu && root * root <= v + 2 * root));
		CU_ASSERT_FATAL((__uint128_t)(root + 1) * (root + 1) > v);
	}
}

TEST(front, the_time_of_an_energy)
{
	/* E = 2: w * 2 */
	CU_ASSERT(llabs((long long)tg_front_time(1000000, 2ull << 32) - 2000000000ll) <= 16);
	CU_ASSERT_EQUAL(tg_front_time(600000000, 0), 0);
	/* the longest window and the highest energy: 600 s * 11.22 */
	CU_ASSERT(fabs(tg_front_time(600000000, TG_FRONT_MAX_ENERGY) / 1e9 - 600 * sqrt(126)) < 0.001);
}

TEST(front, a_session_begins_after_idle_and_not_before)
{
	struct tg_metronome_state s = { 0 };
	uint64_t seed = 5;

	CU_ASSERT_EQUAL(beat(&s, START, &seed), 0);
	tg_metronome_real(&s, &front, START);
	CU_ASSERT(s.sessions == 1 && s.started_ns == START && s.mode == TG_FRONT_START);
	beat(&s, START, &seed);
	/* packets all the time, none after `idle`: still the same session */
	for (unsigned i = 1; i <= 100; i++)
		tg_metronome_real(&s, &front, START + i * (front.idle_ns - 1));
	CU_ASSERT(s.sessions == 1 && s.started_ns == START && s.front.sent == 0);
	/* what the first one had left falls away */
	tg_metronome_real(&s, &front, START + 101 * front.idle_ns);
	CU_ASSERT(s.sessions == 2 && s.mode == TG_FRONT_START);
	beat(&s, s.last_real_ns, &seed);
	CU_ASSERT(s.front.sent == 0 && s.due_ns > s.started_ns);
	/* a processor whose clock is behind is no silence */
	tg_metronome_real(&s, &front, s.last_real_ns - 5);
	CU_ASSERT_EQUAL(s.sessions, 2);
}

TEST(front, late_dummies_are_made_good_and_the_next_tick_is_in_time)
{
	struct tg_metronome_state s = { 0 };
	uint64_t seed = 6, now = START + 600 * S;
	unsigned sent = 0;

	tg_metronome_real(&s, &front, START);
	CU_ASSERT_EQUAL(tg_metronome_turn(&s, &front, START), START + front.tick_ns);
	while (beat(&s, now, &seed))
		sent++;
	CU_ASSERT(sent == s.front.planned && s.mode == TG_FRONT_REST);
	s.mode = TG_FRONT_WAIT;
	s.due_ns = now + 300000;
	CU_ASSERT_EQUAL(tg_metronome_turn(&s, &front, now), now + 300000);
	s.due_ns = now - 1;
	CU_ASSERT_EQUAL(tg_metronome_turn(&s, &front, now), now);
	s.due_ns = now + 5 * S;
	CU_ASSERT_EQUAL(tg_metronome_turn(&s, &front, now), now + front.tick_ns);
	/* a real packet notices that the clock stands still */
	tg_metronome_real(&s, &front, now + 3 * front.tick_ns);
	CU_ASSERT_EQUAL(s.gaps, 0);
	tg_metronome_real(&s, &front, now + 3 * front.tick_ns + 1);
	CU_ASSERT_EQUAL(s.gaps, 1);
	tg_metronome_turn(&s, &front, now + 4 * front.tick_ns);
	CU_ASSERT_EQUAL(s.gaps, 0);
}
