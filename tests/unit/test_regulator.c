/* SPDX-License-Identifier: BSD-3-Clause */
/* Whether `regulator` keeps its schedule, begins surges, holds and spends as its specification says. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "draws.h"
#include "harness.h"
#include "pace/pacer.h"
#include "tensorguard/compile.h"

#define MS 1000000ull
#define S (1000 * MS)
#define START (7 * S)

#define POLICY(role, more)                                                                                  \
	"version = 1; name = \"x\"; policy_version = 1; profile = \"lab\"; fail = \"open\"; role = \"" role \
	"\"; tunnels = ( { name = \"a\"; external = \"wg1\"; dummy = { source = \"fd00::1\"; target = "     \
	"\"fd00::2\"; }; classes = ( { name = \"r\"; defence = \"regulator\"; cell = 160; rate = 100; "     \
	"decay = "                                                                                          \
	"0.5; threshold = \"50ms\"; uplink_ratio = 4; idle = \"2s\"; " more " } ); } );"

static void schedule_of(const char *text, struct tg_schedule *ret_schedule)
{
	struct tg_policy *policy = NULL;
	struct tg_error e = { "" };

	if (tg_policy_parse(text, strlen(text), "t.conf", &policy, &e))
		printf("%s\n", e.message);
	CU_ASSERT_PTR_NOT_NULL_FATAL(policy);
	tg_policy_schedule(policy, &policy->tunnels[0].classes[0], ret_schedule);
	tg_policy_free(policy);
}

static struct tg_schedule downlink(void)
{
	struct tg_schedule schedule;

	schedule_of(POLICY("gateway", "dummies = 19; hold = \"10s\";"), &schedule);
	return schedule;
}

static bool within(uint64_t value, uint64_t wanted, uint64_t error)
{
	return value + error >= wanted && value <= wanted + error;
}

TEST(regulator, the_interval_decays)
{
	struct tg_schedule down = downlink(), up;
	const struct tg_regulator *r = &down.regulator;

	CU_ASSERT_EQUAL(tg_regulator_interval(r, 0), 10 * MS);
	CU_ASSERT(within(tg_regulator_interval(r, S / 2), 14142136, 10));
	CU_ASSERT(within(tg_regulator_interval(r, S), 20 * MS, 20));
	CU_ASSERT(within(tg_regulator_interval(r, 2 * S), 40 * MS, 40));
	CU_ASSERT(within(tg_regulator_interval(r, 6 * S), 640 * MS, 640));
	/* never slower than a cell per second, however old the surge */
	CU_ASSERT_EQUAL(tg_regulator_interval(r, 7 * S), S);
	CU_ASSERT_EQUAL(tg_regulator_interval(r, 1000 * S), S);
	CU_ASSERT_EQUAL(tg_regulator_interval(r, 1000000 * S), S);
	/* the edge sends up, at a quarter of the rate */
	schedule_of(POLICY("edge", "dummies = 19; hold = \"10s\";"), &up);
	CU_ASSERT_EQUAL(tg_regulator_interval(&up.regulator, 0), 40 * MS);
	CU_ASSERT(within(tg_regulator_interval(&up.regulator, S), 80 * MS, 80));
}

/* What the maps hold for a class with one peer. */
struct state {
	struct tg_paced paced;
	struct tg_session_state session;
};

static void begin(struct pacer *p, struct state *state, const struct tg_schedule *schedule)
{
	const struct pacer_setup setup = { .schedule = schedule,
					   .session = &state->session,
					   .shared = &state->paced };

	CU_ASSERT_EQUAL_FATAL(pacer_init(p, &setup, START), 0);
}

static void admit(struct pacer *p, uint64_t now, uint32_t id, uint32_t random)
{
	const uint32_t words[PACER_WORDS] = { random, 0 };
	const struct pacer_packet packet = { .arrived_ns = now, .id = id };

	CU_ASSERT_TRUE(pacer_admit(p, &packet, words));
}

/* Serves what is due at the pacer's own time; *now becomes it. */
static enum pacer_step next_step(struct pacer *p, uint64_t *now, uint32_t *ret_id)
{
	struct pacer_packet packet = { .id = 0 };
	enum pacer_step step;

	*now = p->next_ns;
	step = pacer_step(p, *now, 0, &packet);
	*ret_id = packet.id;
	return step;
}

/* t(k+1) = t(k) + 10 ms * 2^t(k), with t in whole 1024ths of a second: by hand, in nanoseconds */
static const uint64_t table[] = {
	0,         10000000,  20067920,  30204221,  40409367,  50690784,  61042031,
	71470641,  81977192,  92555102,  103212069, 113948683, 124765539, 135663237,
	146642382, 157711071, 168862484, 180097240, 191423625, 202842387,
};

enum { TABLE = sizeof(table) / sizeof(table[0]) };

/* Three real packets, then dummies, then real ones again: the slots are the same. */
TEST(regulator, the_schedule_is_the_table_whatever_is_sent)
{
	struct tg_schedule down = downlink();
	struct state state = { .paced = { .flags = 0 } };
	struct pacer p;
	uint64_t now;
	uint32_t id;

	begin(&p, &state, &down);
	CU_ASSERT_EQUAL(p.next_ns, 0);
	admit(&p, START, 1, UINT32_MAX);
	CU_ASSERT_EQUAL(state.session.left, 19);
	admit(&p, START, 2, 0);
	admit(&p, START, 3, 0);
	for (uint32_t k = 0; k < TABLE; k++) {
		bool real = k < 3 || (k >= 10 && k < 12);

		if (k == 10) {
			admit(&p, now + MS, 11, 0);
			admit(&p, now + 2 * MS, 12, 0);
		}
		CU_ASSERT_EQUAL(next_step(&p, &now, &id), real ? PACER_REAL : PACER_DUMMY);
		CU_ASSERT_EQUAL(id, real ? k + 1 : 0);
		CU_ASSERT(within(now - START, table[k], 1000));
	}
	CU_ASSERT_EQUAL(state.session.left, 19 - (TABLE - 5));
	CU_ASSERT_EQUAL(state.session.sessions, 1);
	CU_ASSERT_EQUAL(state.session.extensions, 0);
	CU_ASSERT_EQUAL(state.session.ticks, TABLE);
	CU_ASSERT_EQUAL(state.session.lost + tg_session_backlog(&state.session), 0);
	pacer_free(&p);
}

/* T = 50 ms: at 100 cells per second 5 packets may wait, at 50 two, and one more begins a surge. */
TEST(regulator, a_backlog_beyond_the_threshold_begins_a_surge)
{
	struct tg_schedule down = downlink();
	struct state state = { .paced = { .flags = 0 } };
	struct pacer p;
	uint64_t now, before;
	uint32_t id;

	begin(&p, &state, &down);
	for (uint32_t i = 1; i <= 5; i++)
		admit(&p, START, i, UINT32_MAX);
	CU_ASSERT_EQUAL(state.session.extensions, 0);
	admit(&p, START, 6, 0);
	CU_ASSERT_EQUAL(state.session.extensions, 1);
	for (unsigned i = 0; i < 6; i++)
		CU_ASSERT_EQUAL(next_step(&p, &now, &id), PACER_REAL);
	/* 19 dummies last for some 230 ms; then a rest, but no new session */
	while (p.next_ns && now < START + S)
		next_step(&p, &now, &id);
	CU_ASSERT_EQUAL(p.next_ns, 0);
	now = START + S;
	admit(&p, now, 7, 0);
	CU_ASSERT_EQUAL(p.next_ns, now);
	CU_ASSERT_EQUAL(next_step(&p, &now, &id), PACER_REAL);
	before = now;
	admit(&p, now + MS, 8, 0);
	/* what came to rest is still old: its cells are 20 ms apart */
	CU_ASSERT(within(p.next_ns, before + 20 * MS, 20 * MS / 500));
	admit(&p, now + MS, 9, 0);
	CU_ASSERT_EQUAL(state.session.extensions, 1);
	admit(&p, now + MS, 10, 0);
	CU_ASSERT_EQUAL(state.session.extensions, 2);
	CU_ASSERT_EQUAL(state.session.started_ns, now + MS);
	CU_ASSERT_EQUAL(p.next_ns, before + 10 * MS);
	CU_ASSERT_EQUAL(state.session.sessions, 1);
	pacer_free(&p);
}

/* A packet that the rate would keep longer than C leaves a sixteenth before that; the slots stay where they
 * are. */
TEST(regulator, none_is_held_for_longer_than_the_cap)
{
	struct state state = { .paced = { .flags = 0 } };
	struct tg_schedule down;
	struct pacer p;
	uint64_t now, slot;
	uint32_t id;

	schedule_of(POLICY("gateway", "dummies = 1; hold = \"4ms\";"), &down);
	begin(&p, &state, &down);
	admit(&p, START, 1, 0);
	CU_ASSERT_EQUAL(next_step(&p, &now, &id), PACER_REAL);
	CU_ASSERT_EQUAL(now, START);
	admit(&p, START + MS, 2, 0);
	admit(&p, START + 2 * MS, 3, 0);
	admit(&p, START + 8 * MS, 4, 0);
	slot = START + 10 * MS;
	CU_ASSERT_EQUAL(next_step(&p, &now, &id), PACER_REAL);
	CU_ASSERT_EQUAL(now, START + MS + 3750000);
	CU_ASSERT_EQUAL(next_step(&p, &now, &id), PACER_REAL);
	CU_ASSERT_EQUAL(now, START + 2 * MS + 3750000);
	CU_ASSERT_EQUAL(id, 3);
	CU_ASSERT_EQUAL(next_step(&p, &now, &id), PACER_REAL);
	CU_ASSERT(within(now, slot, 10 * MS / 500));
	CU_ASSERT_EQUAL(id, 4);
	CU_ASSERT_EQUAL(state.paced.stats.late_packets, 0);
	pacer_free(&p);
}

TEST(regulator, lateness_is_not_made_good_by_a_burst)
{
	struct tg_schedule down = downlink();
	struct state state = { .paced = { .flags = 0 } };
	struct pacer_packet packet;
	struct pacer p;

	begin(&p, &state, &down);
	admit(&p, START, 1, UINT32_MAX);
	CU_ASSERT_EQUAL(pacer_step(&p, START + 33 * MS, 0, &packet), PACER_REAL);
	CU_ASSERT_EQUAL(pacer_step(&p, START + 33 * MS, 0, &packet), PACER_NOTHING);
	CU_ASSERT_EQUAL(p.next_ns, START + 38 * MS);
	CU_ASSERT_EQUAL(state.paced.late_wakes, 1);
	pacer_free(&p);
}

enum { SESSIONS = 20000, MOST = 19 };

/* How many dummies each session had, by what left the pacer. */
static double *run_side(uint64_t seed)
{
	double *dummies = calloc(SESSIONS, sizeof(*dummies));
	struct tg_schedule down = downlink();
	struct state state = { .paced = { .flags = 0 } };
	struct pacer p;
	uint32_t id;

	begin(&p, &state, &down);
	for (uint64_t i = 0; i < SESSIONS; i++) {
		uint64_t now = START + i * 10 * S;

		admit(&p, now, 1, draw_word(&seed));
		CU_ASSERT_EQUAL_FATAL(next_step(&p, &now, &id), PACER_REAL);
		while (p.next_ns)
			dummies[i] += next_step(&p, &now, &id) == PACER_DUMMY;
	}
	CU_ASSERT_EQUAL(state.session.sessions, SESSIONS);
	CU_ASSERT_EQUAL(state.session.extensions, 0);
	pacer_free(&p);
	return dummies;
}

static int uniform_counts(const double *dummies)
{
	unsigned counts[MOST + 1] = { 0 };
	double expected[MOST + 1];

	for (size_t i = 0; i < SESSIONS; i++) {
		CU_ASSERT_FATAL(dummies[i] <= MOST);
		counts[(size_t)dummies[i]]++;
	}
	for (size_t i = 0; i <= MOST; i++)
		expected[i] = (double)SESSIONS / (MOST + 1);
	return counts_fit(counts, expected, MOST + 1);
}

TEST(regulator, each_session_draws_its_dummies_each_side_on_its_own)
{
	double *a = run_side(1), *b = run_side(2);

	CU_ASSERT(uniform_counts(a));
	CU_ASSERT(uniform_counts(b));
	CU_ASSERT(draws_uncorrelated(a, b, SESSIONS));
	free(a);
	free(b);
}

/* Killed in a session: a new agent sends what is left of it. */
TEST(regulator, a_session_goes_on_under_the_next_agent)
{
	struct tg_schedule down = downlink();
	struct state state = { .paced = { .flags = 0 } };
	struct pacer p, again;
	uint64_t now;
	uint32_t id, dummies = 0;

	begin(&p, &state, &down);
	admit(&p, START, 1, UINT32_MAX);
	for (unsigned i = 0; i < 6; i++)
		next_step(&p, &now, &id);
	pacer_free(&p);
	CU_ASSERT_EQUAL(state.session.left, 14);
	begin(&again, &state, &down);
	CU_ASSERT(again.next_ns > now);
	while (again.next_ns)
		dummies += next_step(&again, &now, &id) == PACER_DUMMY;
	CU_ASSERT_EQUAL(dummies, 14);
	CU_ASSERT_EQUAL(state.session.sessions, 1);
	pacer_free(&again);
}
