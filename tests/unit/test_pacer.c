/* SPDX-License-Identifier: BSD-3-Clause */
/* The pacing of the queue engine, driven by a clock that the test owns. */
#include <string.h>

#include "draws.h"
#include "harness.h"
#include "pace/pacer.h"

#define MS 1000000ull
#define S (1000 * MS)
#define START (7 * S + 123456)	/* on no slot */

static const struct tg_schedule schedule = {
	.defence = TG_DEFENCE_CONSTANT,
	.budget_ns = 100 * MS,
	.queue = {
		.period_ns = 5 * MS,
		.idle_ns = 100 * MS,
		.slots = 200,
		.budget_cells = 20,
		.limit_cells = 20,
		.cell = 160,
		.overflow = TG_OVERFLOW_DROP,
	},
};

static const uint32_t words[PACER_WORDS];

static struct pacer_packet packet_at(uint64_t now, uint32_t id)
{
	return (struct pacer_packet){ .arrived_ns = now, .id = id, .size = 100 };
}

/* One step at the pacer's own time. *now becomes it. */
static enum pacer_step next_step(struct pacer *p, uint64_t *now, uint32_t *ret_id)
{
	struct pacer_packet packet = { .id = 0 };
	enum pacer_step step;

	*now = p->next_ns;
	step = pacer_step(p, *now, 0, &packet);
	*ret_id = packet.id;
	return step;
}

/* What the maps hold for a class with one peer. */
struct state {
	struct tg_paced paced;
	struct tg_session_state session;
};

static void begin(struct pacer *p, struct state *state, const struct tg_schedule *by, uint64_t now)
{
	const struct pacer_setup setup = { .schedule = by,
					   .session = &state->session,
					   .shared = &state->paced };

	CU_ASSERT_EQUAL_FATAL(pacer_init(p, &setup, now), 0);
}

TEST(pacer, grid_is_absolute)
{
	CU_ASSERT_EQUAL(tg_grid_first(START, 5 * MS, 0), 7 * S + 5 * MS);
	CU_ASSERT_EQUAL(tg_grid_first(7 * S, 5 * MS, 0), 7 * S);
	/* on time, a little late, and more than half a period late: then one slot is left out */
	CU_ASSERT_EQUAL(tg_grid_next(7 * S, 5 * MS, 0), 7 * S + 5 * MS);
	CU_ASSERT_EQUAL(tg_grid_next(7 * S + 2 * MS, 5 * MS, 0), 7 * S + 5 * MS);
	CU_ASSERT_EQUAL(tg_grid_next(7 * S + 3 * MS, 5 * MS, 0), 7 * S + 10 * MS);
	/* peers take turns within the period */
	CU_ASSERT_EQUAL(tg_grid_phase(0, 16 * MS), 0);
	CU_ASSERT_EQUAL(tg_grid_phase(3, 16 * MS), 3 * MS);
	CU_ASSERT_EQUAL(tg_grid_phase(19, 16 * MS), 3 * MS);
	CU_ASSERT_EQUAL(tg_grid_first(16 * S, 16 * MS, 3 * MS), 16 * S + 3 * MS);
	CU_ASSERT_EQUAL(tg_grid_first(16 * S + 3 * MS, 16 * MS, 3 * MS), 16 * S + 3 * MS);
	CU_ASSERT_EQUAL(tg_grid_first(16 * S + 3 * MS + 1, 16 * MS, 3 * MS), 16 * S + 19 * MS);
	CU_ASSERT_EQUAL(tg_grid_next(16 * S + 3 * MS, 16 * MS, 3 * MS), 16 * S + 19 * MS);
}

TEST(pacer, nothing_leaves_before_the_first_packet)
{
	struct state shared = { .paced = { .flags = 0 } };
	struct pacer_packet packet;
	struct pacer p;

	begin(&p, &shared, &schedule, START);
	CU_ASSERT_EQUAL(p.next_ns, 0);
	CU_ASSERT_EQUAL(pacer_step(&p, START + S, 0, &packet), PACER_NOTHING);
	pacer_free(&p);
}

/* The wire's (slot, kind-blind) sequence must not depend on what is sent. */
static unsigned session_slots(unsigned packets, uint64_t spacing, uint64_t slots[static 512])
{
	struct state shared = { .paced = { .flags = 0 } };
	uint64_t now = START;
	unsigned n = 0, sent = 0, real = 0;
	struct pacer p;
	uint32_t id;

	begin(&p, &shared, &schedule, START);
	do {
		while (sent < packets && START + sent * spacing <= (p.next_ns ? p.next_ns : START)) {
			struct pacer_packet packet = packet_at(START + sent * spacing, sent + 1);

			CU_ASSERT_TRUE(pacer_admit(&p, &packet, words));
			sent++;
		}
		switch (next_step(&p, &now, &id)) {
		case PACER_REAL:
			/* first in, first out */
			CU_ASSERT_EQUAL(id, ++real);
			slots[n++] = now;
			break;
		case PACER_DUMMY:
			slots[n++] = now;
			break;
		case PACER_NOTHING:
			break;
		}
	} while (p.next_ns && n < 512);
	CU_ASSERT_EQUAL(real, packets);
	CU_ASSERT_EQUAL(tg_session_backlog(&shared.session), 0);
	pacer_free(&p);
	return n;
}

TEST(pacer, a_session_is_the_same_whatever_is_sent)
{
	uint64_t idle[512], busy[512];

	CU_ASSERT_EQUAL(session_slots(1, 0, idle), 200);
	CU_ASSERT_EQUAL(session_slots(150, 5900000, busy), 200);
	CU_ASSERT_EQUAL(memcmp(idle, busy, 200 * sizeof(idle[0])), 0);
	for (unsigned i = 0; i < 200; i++)
		CU_ASSERT_EQUAL_FATAL(idle[i], 7 * S + 5 * MS * (i + 1));
	/* still sending at its end: another quantum */
	CU_ASSERT_EQUAL(session_slots(195, 5 * MS, busy), 400);
}

TEST(pacer, overflow_is_dropped_and_counted)
{
	struct state shared = { .paced = { .flags = 0 } };
	struct pacer p;

	begin(&p, &shared, &schedule, START);
	for (uint32_t i = 0; i < 30; i++) {
		struct pacer_packet packet = packet_at(START, i);

		CU_ASSERT_EQUAL(pacer_admit(&p, &packet, words), i < 20);
	}
	CU_ASSERT_EQUAL(shared.paced.stats.drop_packets, 10);
	CU_ASSERT_EQUAL(shared.paced.stats.drop_bytes, 1000);
	/* whatever somebody does to the shared memory, the ring keeps to its room */
	shared.session = (struct tg_session_state){ 0 };
	CU_ASSERT_FALSE(pacer_admit(&p, &(struct pacer_packet){ .arrived_ns = START, .id = 77 }, words));
	CU_ASSERT_EQUAL(p.count, 20);
	pacer_free(&p);
}

/* Long after the one before, and before the first slot: nothing has left the queue for ages, and yet it is
 * full. */
TEST(pacer, a_later_session_keeps_to_its_limit)
{
	struct state shared = { .paced = { .flags = 0 } };
	struct pacer_packet packet = packet_at(START, 1);
	struct pacer p;
	uint64_t now;
	uint32_t id;

	begin(&p, &shared, &schedule, START);
	CU_ASSERT_TRUE(pacer_admit(&p, &packet, words));
	for (unsigned i = 0; i < 200; i++)
		next_step(&p, &now, &id);
	CU_ASSERT_EQUAL(p.next_ns, 0);
	for (uint32_t i = 0; i < 30; i++) {
		packet = packet_at(now + 60 * S, i);
		CU_ASSERT_EQUAL(pacer_admit(&p, &packet, words), i < 20);
	}
	CU_ASSERT_EQUAL(p.count, 20);
	CU_ASSERT_EQUAL(shared.paced.stats.drop_packets, 10);
	for (uint32_t i = 0; i < 20; i++) {
		CU_ASSERT_EQUAL(next_step(&p, &now, &id), PACER_REAL);
		CU_ASSERT_EQUAL(id, i);
	}
	CU_ASSERT_EQUAL(shared.session.lost, 0);
	pacer_free(&p);
}

TEST(pacer, lateness_never_bursts)
{
	struct state shared = { .paced = { .flags = 0 } };
	struct pacer_packet first = packet_at(START, 1), second = packet_at(START, 2), packet;
	struct pacer p;

	begin(&p, &shared, &schedule, START);
	pacer_admit(&p, &first, words);
	pacer_admit(&p, &second, words);
	/* 23 ms after the slot: one cell, and the next half a period later at the soonest */
	CU_ASSERT_EQUAL(pacer_step(&p, 7 * S + 28 * MS, 0, &packet), PACER_REAL);
	CU_ASSERT_EQUAL(pacer_step(&p, 7 * S + 28 * MS, 0, &packet), PACER_NOTHING);
	CU_ASSERT_EQUAL(p.next_ns, 7 * S + 35 * MS);
	CU_ASSERT_EQUAL(shared.paced.missed_slots, 4);
	CU_ASSERT_EQUAL(shared.paced.late_wakes, 1);
	/* and back on the grid at once */
	CU_ASSERT_EQUAL(pacer_step(&p, 7 * S + 35 * MS, 0, &packet), PACER_REAL);
	CU_ASSERT_EQUAL(p.next_ns, 7 * S + 40 * MS);
	pacer_free(&p);
}

TEST(pacer, delays_are_counted_like_the_kernels)
{
	struct state shared = { .paced = { .flags = 0 } };
	struct tg_schedule stretch = schedule;
	struct pacer p;
	uint64_t now, total = 0;
	uint32_t id;

	stretch.queue.overflow = TG_OVERFLOW_STRETCH;
	stretch.queue.limit_cells = 200;
	begin(&p, &shared, &stretch, START);
	for (uint32_t i = 0; i < 60; i++)
		CU_ASSERT_TRUE(
			pacer_admit(&p, &(struct pacer_packet){ .arrived_ns = START, .id = i }, words));
	for (uint32_t i = 0; i < 60; i++)
		CU_ASSERT_EQUAL(next_step(&p, &now, &id), PACER_REAL);
	for (unsigned i = 0; i < TG_DELAY_BUCKETS; i++)
		total += shared.paced.stats.delay[i];
	CU_ASSERT_EQUAL(total, 60);
	/* cell k waits 4.88 ms + 5 ms * k; the budget is 100 ms */
	CU_ASSERT_EQUAL(shared.paced.stats.late_packets, 40);
	pacer_free(&p);
}

TEST(pacer, an_agent_goes_on_where_the_one_before_was)
{
	struct state shared = { .paced = { .flags = 0 } };
	struct pacer_packet packet = packet_at(START, 1);
	struct tg_schedule other = schedule;
	struct pacer p, again;
	unsigned cells = 0;
	uint64_t now;
	uint32_t id;

	begin(&p, &shared, &schedule, START);
	pacer_admit(&p, &packet, words);
	for (int i = 0; i < 50; i++)
		next_step(&p, &now, &id);
	/* killed: what it held is lost, the session is not */
	pacer_free(&p);
	now += S;
	begin(&again, &shared, &schedule, now);
	/* in the slot that comes at this moment */
	CU_ASSERT_EQUAL(again.next_ns, now);
	CU_ASSERT_EQUAL(shared.paced.missed_slots, 199);
	for (; again.next_ns && cells < 512; cells++)
		CU_ASSERT_EQUAL(next_step(&again, &now, &id), PACER_DUMMY);
	CU_ASSERT_EQUAL(cells, 150);
	pacer_free(&again);
	/* a session goes on whatever its cells and their times are now, but not as another class's */
	shared.paced.schedule = schedule;
	other.queue.guard_ns = 1;
	other.queue.period_ns = 10 * MS;
	other.queue.cell = 1200;
	CU_ASSERT_TRUE(pacer_continues(&shared.paced, &other));
	other.queue.first = 4;
	CU_ASSERT_FALSE(pacer_continues(&shared.paced, &other));
	other = schedule;
	other.defence = TG_DEFENCE_JITTER;
	CU_ASSERT_FALSE(pacer_continues(&shared.paced, &other));
}

/* At whatever part of a period a new policy comes: no slot is left out, and no cell closes up to the one
 * before. */
TEST(pacer, a_reload_leaves_no_slot_out)
{
	for (uint64_t part = 0; part < 5 * MS; part += MS / 10) {
		struct state shared = { .paced = { .flags = 0 } };
		struct pacer_packet packet = packet_at(START, 1);
		struct tg_schedule slower = schedule;
		struct pacer old, same, other;
		uint64_t now, last;
		uint32_t id;

		begin(&old, &shared, &schedule, START);
		pacer_admit(&old, &packet, words);
		for (int i = 0; i < 50; i++)
			next_step(&old, &now, &id);
		last = now;
		begin(&same, &shared, &schedule, last + part);
		CU_ASSERT_EQUAL(same.next_ns, last + 5 * MS);
		slower.queue.period_ns = 8 * MS;
		begin(&other, &shared, &slower, last + part);
		CU_ASSERT_TRUE(other.next_ns >= last + 4 * MS && other.next_ns >= last + part);
		CU_ASSERT_TRUE(other.next_ns <= last + 5 * MS + 8 * MS);
		CU_ASSERT_EQUAL(other.next_ns % (8 * MS), 0);
		CU_ASSERT_EQUAL(shared.paced.missed_slots, 0);
		CU_ASSERT_EQUAL(shared.session.left, 150);
		pacer_free(&old);
		pacer_free(&same);
		pacer_free(&other);
	}
}

static void ignore_packet(void *ctx, const struct pacer_packet *packet)
{
	(void)ctx;
	(void)packet;
}

/* With a dither each cell leaves in the first quarter of its slot, drawn, whatever is sent in it; a reload,
 * before it is settled what leaves or between that and leaving, leaves no slot out. */
static unsigned dithered_slots(const struct tg_schedule *dithered, unsigned every,
			       uint64_t slots[static 1000])
{
	struct state shared = { .paced = { .flags = 0 } };
	struct pacer_packet packet = packet_at(START, 0);
	uint64_t seed = 7, now, slot;
	struct pacer p, reloaded;
	unsigned n = 0;

	begin(&p, &shared, dithered, START);
	pacer_admit(&p, &packet, words);
	while (p.next_ns && n < 1000) {
		enum pacer_step step;
		uint32_t word = draw_word(&seed);
		bool real = !n || (every && n % every == 0);

		slot = p.next_ns;
		if (n && real)
			pacer_admit(&p, &(struct pacer_packet){ .arrived_ns = slot - 1 }, words);
		step = pacer_step(&p, slot, word, &packet);
		now = step == PACER_NOTHING ? p.next_ns : slot;
		if (step == PACER_NOTHING) {
			begin(&reloaded, &shared, dithered, slot + (now - slot) / 2);
			CU_ASSERT_EQUAL(reloaded.next_ns, slot + (now - slot < 2 ? 5 * MS : 0));
			pacer_free(&reloaded);
			CU_ASSERT_EQUAL(pacer_step(&p, now - 1, ~word, &packet), PACER_NOTHING);
			step = pacer_step(&p, now, ~word, &packet);
		}
		CU_ASSERT_EQUAL(step, real ? PACER_REAL : PACER_DUMMY);
		slots[n++] = now;
		begin(&reloaded, &shared, dithered, now + (n * 83 * 1000) % (4 * MS));
		CU_ASSERT_TRUE(!p.next_ns || reloaded.next_ns == p.next_ns);
		pacer_free(&reloaded);
	}
	CU_ASSERT_EQUAL(shared.paced.missed_slots, 0);
	pacer_free(&p);
	return n;
}

TEST(pacer, a_dither_moves_cells_and_not_the_grid)
{
	uint64_t idle[1000], busy[1000];
	struct tg_schedule dithered = schedule;
	unsigned eighths[8] = { 0 };

	dithered.queue.slots = 1000;
	dithered.queue.dither = 1;
	CU_ASSERT_EQUAL_FATAL(dithered_slots(&dithered, 0, idle), 1000);
	CU_ASSERT_EQUAL_FATAL(dithered_slots(&dithered, 2, busy), 1000);
	CU_ASSERT_EQUAL(memcmp(idle, busy, sizeof(idle)), 0);
	for (unsigned i = 0; i < 1000; i++) {
		uint64_t slot = 7 * S + 5 * MS * (i + 1);

		CU_ASSERT_FATAL(idle[i] >= slot && idle[i] < slot + 5 * MS / 4);
		eighths[(idle[i] - slot) * 32 / (5 * MS)]++;
	}
	/* 125 expected, standard deviation 10.5 */
	for (unsigned i = 0; i < 8; i++)
		CU_ASSERT_TRUE(eighths[i] > 80 && eighths[i] < 170);
}

/* What is drawn must not decide whether a cell is real. */
TEST(pacer, what_comes_before_a_cell_leaves_is_for_the_next_slot)
{
	struct state shared = { .paced = { .flags = 0 } };
	struct pacer_packet packet = packet_at(START, 1);
	struct tg_schedule dithered = schedule;
	struct pacer p;
	uint64_t slot;

	dithered.queue.dither = 1;
	begin(&p, &shared, &dithered, START);
	pacer_admit(&p, &packet, words);
	slot = p.next_ns;
	CU_ASSERT_EQUAL(pacer_step(&p, slot, 0, &packet), PACER_REAL);
	CU_ASSERT_EQUAL(p.next_ns, slot + 5 * MS);
	CU_ASSERT_EQUAL(pacer_step(&p, slot + 5 * MS, UINT32_MAX, &packet), PACER_NOTHING);
	CU_ASSERT_EQUAL(p.next_ns, slot + 5 * MS + (5 * MS / 4 * 65535 >> 16));
	packet = packet_at(slot + 5 * MS + 1, 2);
	pacer_admit(&p, &packet, words);
	CU_ASSERT_EQUAL(pacer_step(&p, p.next_ns, 0, &packet), PACER_DUMMY);
	CU_ASSERT_EQUAL(pacer_step(&p, slot + 10 * MS, 0, &packet), PACER_REAL);
	CU_ASSERT_EQUAL(packet.id, 2);
	/* one that is settled is gone with all that is dropped */
	packet = packet_at(slot + 11 * MS, 3);
	pacer_admit(&p, &packet, words);
	CU_ASSERT_EQUAL(pacer_step(&p, slot + 15 * MS, UINT32_MAX, &packet), PACER_NOTHING);
	pacer_clear(&p, ignore_packet, NULL);
	CU_ASSERT_EQUAL(pacer_step(&p, p.next_ns, 0, &packet), PACER_DUMMY);
	pacer_free(&p);
}

static void count_dropped(void *ctx, const struct pacer_packet *packet)
{
	(void)packet;
	(*(unsigned *)ctx)++;
}

TEST(pacer, what_waits_goes_over_to_the_next_policy)
{
	struct state shared = { .paced = { .flags = 0 } };
	struct tg_schedule smaller = schedule;
	struct pacer old, new;
	unsigned dropped = 0;
	uint64_t now;
	uint32_t id;

	begin(&old, &shared, &schedule, START);
	for (uint32_t i = 0; i < 10; i++)
		pacer_admit(&old, &(struct pacer_packet){ .arrived_ns = START, .id = i }, words);
	smaller.queue.budget_cells = smaller.queue.limit_cells = 4;
	begin(&new, &shared, &smaller, START + MS);
	pacer_take_over(&new, &old, START + MS, words, count_dropped, &dropped);
	CU_ASSERT_EQUAL(dropped, 6);
	/* they were within the budget when they came; nobody lost the others */
	CU_ASSERT_EQUAL(shared.paced.stats.violations[TG_VIOLATION_OVERFLOW], 0);
	CU_ASSERT_EQUAL(shared.paced.stats.drop_packets, 6);
	CU_ASSERT_EQUAL(shared.session.lost, 6);
	CU_ASSERT_EQUAL(next_step(&new, &now, &id), PACER_REAL);
	CU_ASSERT_EQUAL(id, 0);
	pacer_clear(&new, count_dropped, &dropped);
	CU_ASSERT_EQUAL(dropped, 9);
	pacer_free(&old);
	pacer_free(&new);
}

/* What waits starts a session that had none, but none of its slots was before that. */
TEST(pacer, what_waits_gets_a_slot_that_is_still_to_come)
{
	struct state shared = { .paced = { .flags = 0 } }, cleared = { .paced = { .flags = 0 } };
	struct pacer old, new;
	unsigned dropped = 0;
	uint64_t now = START + 3 * S;
	uint32_t id;

	begin(&old, &shared, &schedule, START);
	pacer_admit(&old, &(struct pacer_packet){ .arrived_ns = START, .id = 1 }, words);
	begin(&new, &cleared, &schedule, now);
	pacer_take_over(&new, &old, now, words, count_dropped, &dropped);
	CU_ASSERT_EQUAL(dropped, 0);
	CU_ASSERT_TRUE(new.next_ns >= now);
	CU_ASSERT_TRUE(new.next_ns < now + 5 * MS);
	CU_ASSERT_EQUAL(next_step(&new, &now, &id), PACER_REAL);
	CU_ASSERT_EQUAL(cleared.paced.missed_slots, 0);
	CU_ASSERT_TRUE(new.next_ns > now);
	pacer_free(&old);
	pacer_free(&new);
}

/* What entered before the cell became smaller would be dropped where it leaves, and leave its slot empty. */
TEST(pacer, what_does_not_fit_the_next_cell_takes_no_slot)
{
	struct state shared = { .paced = { .flags = 0 } };
	struct tg_schedule smaller = schedule;
	struct pacer old, new;
	unsigned dropped = 0;
	uint64_t now;
	uint32_t id;

	begin(&old, &shared, &schedule, START);
	pacer_admit(&old, &(struct pacer_packet){ .arrived_ns = START, .id = 1, .size = 160 }, words);
	pacer_admit(&old, &(struct pacer_packet){ .arrived_ns = START, .id = 2, .size = 96 }, words);
	smaller.queue.cell = 96;
	begin(&new, &shared, &smaller, START + MS);
	pacer_take_over(&new, &old, START + MS, words, count_dropped, &dropped);
	CU_ASSERT_EQUAL(dropped, 1);
	CU_ASSERT_EQUAL(shared.paced.stats.drop_packets, 1);
	CU_ASSERT_EQUAL(shared.paced.stats.drop_bytes, 160);
	CU_ASSERT_EQUAL(next_step(&new, &now, &id), PACER_REAL);
	CU_ASSERT_EQUAL(id, 2);
	CU_ASSERT_EQUAL(next_step(&new, &now, &id), PACER_DUMMY);
	pacer_free(&old);
	pacer_free(&new);
}

TEST(pacer, always_needs_no_packet)
{
	struct state shared = { .paced = { .flags = 0 } };
	struct tg_schedule always = schedule;
	struct pacer p;
	uint64_t now;
	uint32_t id;

	always.queue.slots = 0;
	always.queue.idle_ns = 0;
	begin(&p, &shared, &always, START);
	for (unsigned i = 1; i <= 1000; i++) {
		CU_ASSERT_EQUAL_FATAL(next_step(&p, &now, &id), PACER_DUMMY);
		CU_ASSERT_EQUAL_FATAL(now, 7 * S + 5 * MS * i);
	}
	pacer_free(&p);
}

/* Each peer has a session, in slots of its own; the counters are the class's. */
TEST(pacer, peers_have_sessions_of_their_own)
{
	struct tg_paced shared = { .flags = 0 };
	struct tg_session_state sessions[2] = { { 0 }, { 0 } };
	struct pacer_packet packet = packet_at(START, 1);
	struct pacer a, b;
	unsigned cells = 0;
	uint64_t now;
	uint32_t id;

	struct pacer_setup setup = { .schedule = &schedule, .session = &sessions[0], .shared = &shared };

	CU_ASSERT_EQUAL_FATAL(pacer_init(&a, &setup, START), 0);
	setup.peer = 1;
	setup.session = &sessions[1];
	CU_ASSERT_EQUAL_FATAL(pacer_init(&b, &setup, START), 0);
	CU_ASSERT_TRUE(pacer_admit(&b, &packet, words));
	CU_ASSERT_EQUAL(a.next_ns, 0);
	CU_ASSERT_EQUAL(b.next_ns, 7 * S + 5 * MS / TG_GRID_PHASES);
	CU_ASSERT_EQUAL(next_step(&b, &now, &id), PACER_REAL);
	while (b.next_ns && cells < 512)
		cells += next_step(&b, &now, &id) == PACER_DUMMY;
	CU_ASSERT_EQUAL(cells, 199);
	CU_ASSERT_EQUAL(now, 7 * S + 5 * MS / TG_GRID_PHASES + 199 * 5 * MS);
	CU_ASSERT_EQUAL(sessions[0].ticks, 0);
	CU_ASSERT_EQUAL(sessions[1].ticks, 200);
	pacer_free(&a);
	pacer_free(&b);
}
