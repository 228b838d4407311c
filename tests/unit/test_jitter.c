/* SPDX-License-Identifier: BSD-3-Clause */
/* Whether `jitter` draws what its specification says, keeps the order and never exceeds its delay. */
#include <math.h>
#include <stdlib.h>

#include "draws.h"
#include "harness.h"
#include "pace/pacer.h"
#include "tensorguard/compile.h"

#define MS 1000000ull
#define START (7 * 1000 * MS)
#define DELAY (40 * MS)

enum { DRAWS = 20000 };

static const struct tg_exponential *table(void)
{
	static struct tg_exponential t;

	if (!t.quantile[1])
		tg_exponential_fill(&t);
	return &t;
}

static double *draw_side(enum tg_distribution distribution, uint64_t seed)
{
	const struct tg_jitter j = { .delay_ns = DELAY, .distribution = distribution };
	double *delays = malloc(DRAWS * sizeof(*delays));

	for (size_t i = 0; i < DRAWS; i++) {
		uint32_t random = draw_word(&seed), more = draw_word(&seed);
		uint64_t delay = tg_jitter_draw(&j, table(), random, more);

		CU_ASSERT_FATAL(delay <= DELAY);
		delays[i] = (double)delay / DELAY;
	}
	return delays;
}

static double uniform(double x)
{
	return x;
}

/* Peak at 1/2, scale 1/8, cut off at 0 and 1. */
static double laplace(double x)
{
	double half = -expm1(-4), away = -expm1(-fabs(x - 0.5) * 8) / half;

	return x < 0.5 ? (1 - away) / 2 : (1 + away) / 2;
}

/* Both sides fit, each on its own. */
static void check_sides(enum tg_distribution distribution, double (*cdf)(double), double (*other)(double))
{
	double *a = draw_side(distribution, 1), *b = draw_side(distribution, 2);

	CU_ASSERT(draws_uncorrelated(a, b, DRAWS));
	CU_ASSERT(draws_fit(a, DRAWS, cdf));
	CU_ASSERT(draws_fit(b, DRAWS, cdf));
	/* the test can tell one from the other */
	CU_ASSERT(!draws_fit(a, DRAWS, other));
	free(a);
	free(b);
}

TEST(jitter, uniform_delays)
{
	check_sides(TG_DISTRIBUTION_UNIFORM, uniform, laplace);
}

TEST(jitter, laplace_delays)
{
	check_sides(TG_DISTRIBUTION_LAPLACE, laplace, uniform);
}

TEST(jitter, the_ends_of_the_range)
{
	const struct tg_jitter u = { .delay_ns = DELAY, .distribution = TG_DISTRIBUTION_UNIFORM };
	const struct tg_jitter l = { .delay_ns = DELAY, .distribution = TG_DISTRIBUTION_LAPLACE };
	const struct tg_jitter ten = { .delay_ns = 10000 * MS, .distribution = TG_DISTRIBUTION_UNIFORM };

	CU_ASSERT_EQUAL(tg_jitter_draw(&u, table(), 0, 0), 0);
	CU_ASSERT_EQUAL(tg_jitter_draw(&u, table(), UINT32_MAX, 0), DELAY);
	CU_ASSERT_EQUAL(tg_jitter_draw(&ten, table(), 1u << 31, 0), 5000 * MS);
	CU_ASSERT_EQUAL(tg_jitter_draw(&l, table(), 0, 0), DELAY / 2);
	CU_ASSERT(tg_jitter_draw(&l, table(), UINT32_MAX, 0) < DELAY / 1000);
	CU_ASSERT(tg_jitter_draw(&l, table(), UINT32_MAX, 1) > DELAY - DELAY / 1000);
	CU_ASSERT(tg_jitter_draw(&l, table(), UINT32_MAX, 1) <= DELAY);
}

static const struct tg_schedule schedule = {
	.defence = TG_DEFENCE_JITTER,
	.budget_ns = DELAY,
	.queue = { .budget_cells = 64, .limit_cells = 64, .guard_ns = DELAY, .overflow = TG_OVERFLOW_DROP },
	.jitter = { .delay_ns = DELAY, .distribution = TG_DISTRIBUTION_UNIFORM },
};

/* What the maps hold for a class with one peer. */
struct state {
	struct tg_paced paced;
	struct tg_session_state session;
};

static void begin(struct pacer *p, struct state *state)
{
	const struct pacer_setup setup = {
		.schedule = &schedule, .table = table(), .session = &state->session, .shared = &state->paced
	};

	CU_ASSERT_EQUAL_FATAL(pacer_init(p, &setup, START), 0);
}

/* Packets come every millisecond and are served at the pacer's own time. */
TEST(jitter, order_is_kept_and_no_wait_exceeds_the_delay)
{
	struct state state = { .paced = { .flags = 0 } };
	uint64_t seed = 3, now = START, longest = 0, sum = 0;
	uint32_t words[PACER_WORDS], next = 1, sent = 0;
	struct pacer_packet packet;
	struct pacer p;

	begin(&p, &state);
	CU_ASSERT_EQUAL(p.next_ns, 0);
	while (sent < 10000) {
		if (next <= 10000 && (!p.next_ns || START + next * MS <= p.next_ns)) {
			words[0] = draw_word(&seed);
			words[1] = draw_word(&seed);
			packet = (struct pacer_packet){ .arrived_ns = START + next * MS, .id = next };
			CU_ASSERT_TRUE_FATAL(pacer_admit(&p, &packet, words));
			next++;
			continue;
		}
		CU_ASSERT_FATAL(p.next_ns >= now);
		now = p.next_ns;
		CU_ASSERT_EQUAL_FATAL(pacer_step(&p, now, 0, &packet), PACER_REAL);
		CU_ASSERT_EQUAL_FATAL(packet.id, ++sent);
		CU_ASSERT_FATAL(now >= packet.arrived_ns && now - packet.arrived_ns <= DELAY);
		longest = now - packet.arrived_ns > longest ? now - packet.arrived_ns : longest;
		sum += now - packet.arrived_ns;
	}
	/* with the order kept many a packet waits for the one ahead: the mean is above half */
	CU_ASSERT(longest > DELAY * 9 / 10 && sum / 10000 > DELAY / 2);
	CU_ASSERT_EQUAL(p.next_ns, 0);
	CU_ASSERT_EQUAL(state.paced.stats.late_packets, 0);
	CU_ASSERT_EQUAL(state.paced.stats.violations[TG_VIOLATION_DELAY], 0);
	CU_ASSERT_EQUAL(state.session.lost + tg_session_backlog(&state.session), 0);
	pacer_free(&p);
}

TEST(jitter, no_more_are_held_than_fit)
{
	struct state state = { .paced = { .flags = 0 } };
	static const uint32_t words[PACER_WORDS] = { 1u << 31, 0 };
	struct pacer_packet packet;
	struct pacer p;

	begin(&p, &state);
	for (uint32_t i = 1; i <= 70; i++) {
		packet = (struct pacer_packet){ .arrived_ns = START, .id = i, .size = 100 };
		CU_ASSERT_EQUAL(pacer_admit(&p, &packet, words), i <= 64);
	}
	CU_ASSERT_EQUAL(state.paced.stats.drop_packets, 6);
	CU_ASSERT_EQUAL(state.paced.stats.drop_bytes, 600);
	CU_ASSERT_EQUAL(state.paced.stats.violations[TG_VIOLATION_OVERFLOW], 6);
	for (uint32_t i = 1; i <= 64; i++) {
		CU_ASSERT_EQUAL(pacer_step(&p, START + DELAY / 2, 0, &packet), PACER_REAL);
		CU_ASSERT_EQUAL(packet.id, i);
	}
	CU_ASSERT_EQUAL(pacer_step(&p, START + DELAY / 2, 0, &packet), PACER_NOTHING);
	pacer_free(&p);
}

static void drop_none(void *ctx, const struct pacer_packet *packet)
{
	(void)ctx;
	(void)packet;
	CU_FAIL("nothing is to be dropped");
}

/* A reload draws nothing anew: what is held leaves when it was to leave. */
TEST(jitter, a_reload_keeps_the_times)
{
	struct state state = { .paced = { .flags = 0 } };
	static const uint32_t half[PACER_WORDS] = { 1u << 31, 0 }, none[PACER_WORDS];
	struct pacer_packet packet = { .arrived_ns = START, .id = 1 };
	struct pacer old, new;

	begin(&old, &state);
	CU_ASSERT_TRUE(pacer_admit(&old, &packet, half));
	begin(&new, &state);
	pacer_take_over(&new, &old, START + MS, none, drop_none, NULL);
	packet = (struct pacer_packet){ .arrived_ns = START + MS, .id = 2 };
	CU_ASSERT_TRUE(pacer_admit(&new, &packet, none));
	CU_ASSERT_EQUAL(new.next_ns, START + DELAY / 2);
	CU_ASSERT_EQUAL(pacer_step(&new, new.next_ns, 0, &packet), PACER_REAL);
	CU_ASSERT_EQUAL(packet.id, 1);
	/* the second drew nothing, and waits for the first */
	CU_ASSERT_EQUAL(new.next_ns, START + DELAY / 2);
	CU_ASSERT_EQUAL(state.session.lost, 0);
	pacer_free(&old);
	pacer_free(&new);
}
