/* SPDX-License-Identifier: BSD-3-Clause */
/* The pacing of the queue engine, driven by a clock that the test owns. */
#include <string.h>

#include "harness.h"
#include "pace/pacer.h"

#define MS 1000000ull
#define S (1000 * MS)
#define START (7 * S + 123456)	/* on no slot */

static const struct tg_queue schedule = {
	.period_ns = 5 * MS,
	.idle_ns = 100 * MS,
	.slots = 200,
	.budget_cells = 20,
	.limit_cells = 20,
	.cell = 160,
	.overflow = TG_OVERFLOW_DROP,
};

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
	step = pacer_step(p, *now, &packet);
	*ret_id = packet.id;
	return step;
}

static void begin(struct pacer *p, struct tg_paced *shared, const struct tg_queue *queue, uint64_t now)
{
	CU_ASSERT_EQUAL_FATAL(pacer_init(p, queue), 0);
	pacer_start(p, shared, now);
}

TEST(pacer, grid_is_absolute)
{
	CU_ASSERT_EQUAL(tg_grid_first(START, 5 * MS), 7 * S + 5 * MS);
	CU_ASSERT_EQUAL(tg_grid_first(7 * S, 5 * MS), 7 * S);
	/* on time, a little late, and more than half a period late: then one slot is left out */
	CU_ASSERT_EQUAL(tg_grid_next(7 * S, 5 * MS), 7 * S + 5 * MS);
	CU_ASSERT_EQUAL(tg_grid_next(7 * S + 2 * MS, 5 * MS), 7 * S + 5 * MS);
	CU_ASSERT_EQUAL(tg_grid_next(7 * S + 3 * MS, 5 * MS), 7 * S + 10 * MS);
}

TEST(pacer, nothing_leaves_before_the_first_packet)
{
	struct tg_paced shared = { .flags = 0 };
	struct pacer_packet packet;
	struct pacer p;

	begin(&p, &shared, &schedule, START);
	CU_ASSERT_EQUAL(p.next_ns, 0);
	CU_ASSERT_EQUAL(pacer_step(&p, START + S, &packet), PACER_NOTHING);
	pacer_free(&p);
}

/* The wire's (slot, kind-blind) sequence must not depend on what is sent. */
static unsigned session_slots(unsigned packets, uint64_t spacing, uint64_t slots[static 512])
{
	struct tg_paced shared = { .flags = 0 };
	uint64_t now = START;
	unsigned n = 0, sent = 0, real = 0;
	struct pacer p;
	uint32_t id;

	begin(&p, &shared, &schedule, START);
	do {
		while (sent < packets && START + sent * spacing <= (p.next_ns ? p.next_ns : START)) {
			struct pacer_packet packet = packet_at(START + sent * spacing, sent + 1);

			CU_ASSERT_TRUE(pacer_admit(&p, &packet));
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
	CU_ASSERT_EQUAL(shared.session.backlog, 0);
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
	struct tg_paced shared = { .flags = 0 };
	struct pacer p;

	begin(&p, &shared, &schedule, START);
	for (uint32_t i = 0; i < 30; i++) {
		struct pacer_packet packet = packet_at(START, i);

		CU_ASSERT_EQUAL(pacer_admit(&p, &packet), i < 20);
	}
	CU_ASSERT_EQUAL(shared.stats.drop_packets, 10);
	CU_ASSERT_EQUAL(shared.stats.drop_bytes, 1000);
	/* whatever somebody does to the shared memory, the ring keeps to its room */
	shared = (struct tg_paced){ .flags = 0 };
	CU_ASSERT_FALSE(pacer_admit(&p, &(struct pacer_packet){ .arrived_ns = START, .id = 77 }));
	CU_ASSERT_EQUAL(p.count, 20);
	pacer_free(&p);
}

TEST(pacer, lateness_never_bursts)
{
	struct tg_paced shared = { .flags = 0 };
	struct pacer_packet first = packet_at(START, 1), second = packet_at(START, 2), packet;
	struct pacer p;

	begin(&p, &shared, &schedule, START);
	pacer_admit(&p, &first);
	pacer_admit(&p, &second);
	/* 23 ms after the slot: one cell, and the next half a period later at the soonest */
	CU_ASSERT_EQUAL(pacer_step(&p, 7 * S + 28 * MS, &packet), PACER_REAL);
	CU_ASSERT_EQUAL(pacer_step(&p, 7 * S + 28 * MS, &packet), PACER_NOTHING);
	CU_ASSERT_EQUAL(p.next_ns, 7 * S + 35 * MS);
	CU_ASSERT_EQUAL(shared.missed_slots, 4);
	CU_ASSERT_EQUAL(shared.late_wakes, 1);
	/* and back on the grid at once */
	CU_ASSERT_EQUAL(pacer_step(&p, 7 * S + 35 * MS, &packet), PACER_REAL);
	CU_ASSERT_EQUAL(p.next_ns, 7 * S + 40 * MS);
	pacer_free(&p);
}

TEST(pacer, delays_are_counted_like_the_kernels)
{
	struct tg_paced shared = { .flags = 0 };
	struct tg_queue stretch = schedule;
	struct pacer p;
	uint64_t now, total = 0;
	uint32_t id;

	stretch.overflow = TG_OVERFLOW_STRETCH;
	stretch.limit_cells = 200;
	begin(&p, &shared, &stretch, START);
	for (uint32_t i = 0; i < 60; i++)
		CU_ASSERT_TRUE(pacer_admit(&p, &(struct pacer_packet){ .arrived_ns = START, .id = i }));
	for (uint32_t i = 0; i < 60; i++)
		CU_ASSERT_EQUAL(next_step(&p, &now, &id), PACER_REAL);
	for (unsigned i = 0; i < TG_DELAY_BUCKETS; i++)
		total += shared.stats.delay[i];
	CU_ASSERT_EQUAL(total, 60);
	/* cell k waits 4.88 ms + 5 ms * k; the budget is 100 ms */
	CU_ASSERT_EQUAL(shared.stats.late_packets, 40);
	pacer_free(&p);
}

TEST(pacer, an_agent_goes_on_where_the_one_before_was)
{
	struct tg_paced shared = { .flags = 0 };
	struct pacer_packet packet = packet_at(START, 1);
	struct tg_queue other = schedule;
	struct pacer p, again;
	unsigned cells = 0;
	uint64_t now;
	uint32_t id;

	begin(&p, &shared, &schedule, START);
	pacer_admit(&p, &packet);
	for (int i = 0; i < 50; i++)
		next_step(&p, &now, &id);
	/* killed: what it held is lost, the session is not */
	pacer_free(&p);
	now += S;
	begin(&again, &shared, &schedule, now);
	CU_ASSERT_EQUAL(again.next_ns, tg_grid_next(now, 5 * MS));
	CU_ASSERT_EQUAL(shared.missed_slots, 200);
	for (; again.next_ns && cells < 512; cells++)
		CU_ASSERT_EQUAL(next_step(&again, &now, &id), PACER_DUMMY);
	CU_ASSERT_EQUAL(cells, 150);
	pacer_free(&again);
	/* under another schedule nothing of it counts */
	shared.session.left = 100;
	other.period_ns = 10 * MS;
	begin(&p, &shared, &other, now);
	CU_ASSERT_EQUAL(p.next_ns, 0);
	CU_ASSERT_EQUAL(shared.session.sessions, 1);
	pacer_free(&p);
}

static void count_dropped(void *ctx, const struct pacer_packet *packet)
{
	(void)packet;
	(*(unsigned *)ctx)++;
}

TEST(pacer, what_waits_goes_over_to_the_next_policy)
{
	struct tg_paced shared = { .flags = 0 };
	struct tg_queue smaller = schedule;
	struct pacer old, new;
	unsigned dropped = 0;
	uint64_t now;
	uint32_t id;

	begin(&old, &shared, &schedule, START);
	for (uint32_t i = 0; i < 10; i++)
		pacer_admit(&old, &(struct pacer_packet){ .arrived_ns = START, .id = i });
	smaller.budget_cells = smaller.limit_cells = 4;
	begin(&new, &shared, &smaller, START + MS);
	pacer_take_over(&new, &old, count_dropped, &dropped);
	CU_ASSERT_EQUAL(dropped, 6);
	CU_ASSERT_EQUAL(next_step(&new, &now, &id), PACER_REAL);
	CU_ASSERT_EQUAL(id, 0);
	pacer_clear(&new, count_dropped, &dropped);
	CU_ASSERT_EQUAL(dropped, 9);
	pacer_free(&old);
	pacer_free(&new);
}

TEST(pacer, always_needs_no_packet)
{
	struct tg_paced shared = { .flags = 0 };
	struct tg_queue always = schedule;
	struct pacer p;
	uint64_t now;
	uint32_t id;

	always.slots = 0;
	always.idle_ns = 0;
	begin(&p, &shared, &always, START);
	for (unsigned i = 1; i <= 1000; i++) {
		CU_ASSERT_EQUAL_FATAL(next_step(&p, &now, &id), PACER_DUMMY);
		CU_ASSERT_EQUAL_FATAL(now, 7 * S + 5 * MS * i);
	}
	pacer_free(&p);
}
