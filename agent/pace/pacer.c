/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pace/pacer.h"
#include "shared/hist.h"

/* Whether the next slot has to be served: a session runs, or somebody waits. */
static bool is_running(const struct pacer *p)
{
	return !p->queue.slots || p->shared->session.left || p->count;
}

/* Slots that went by while nobody served them. */
static void note_missed(struct pacer *p, uint64_t due, uint64_t now)
{
	uint64_t period = p->queue.period_ns;

	if (now - due >= period)
		p->shared->missed_slots += (now - due) / period;
	if (now - due > period / 2)
		p->shared->late_wakes++;
}

int pacer_init(struct pacer *p, const struct tg_queue *schedule)
{
	size_t limit = schedule->limit_cells, budget = schedule->budget_cells;

	*p = (struct pacer){ .queue = *schedule, .room = (limit > budget ? limit : budget) + 1 };
	p->ring = calloc(p->room, sizeof(*p->ring));
	return p->ring ? 0 : -ENOMEM;
}

void pacer_start(struct pacer *p, struct tg_paced *shared, uint64_t now)
{
	struct tg_session_state *s = &shared->session;

	p->shared = shared;
	if (memcmp(&shared->queue, &p->queue, sizeof(p->queue))) {
		shared->queue = p->queue;
		*s = (struct tg_session_state){ .sessions = s->sessions, .extensions = s->extensions };
	}
	/* what an agent before us held went with it */
	s->lost += s->backlog;
	s->released = s->admitted;
	s->backlog = 0;
	if (!is_running(p))
		return;
	if (s->last_tick_ns && s->last_tick_ns < now)
		shared->missed_slots += (now - s->last_tick_ns) / p->queue.period_ns;
	p->next_ns = tg_grid_next(now, p->queue.period_ns);
}

void pacer_free(struct pacer *p)
{
	free(p->ring);
	p->ring = NULL;
	p->count = 0;
}

static void put(struct pacer *p, const struct pacer_packet *packet)
{
	p->ring[(p->first + p->count++) % p->room] = *packet;
}

static struct pacer_packet take(struct pacer *p)
{
	struct pacer_packet packet = p->ring[p->first];

	p->first = (p->first + 1) % p->room;
	p->count--;
	return packet;
}

/* The slot that a packet wakes the grid for. The last cell may have left late: never close up to it. */
static uint64_t first_slot(const struct pacer *p, uint64_t now)
{
	uint64_t period = p->queue.period_ns, last = p->shared->session.last_tick_ns;
	uint64_t slot = tg_grid_first(now, period);

	return last && slot < last + period / 2 ? slot + period : slot;
}

/*
 * Whatever became of the shared memory, the ring has room for this many and no
 * more. And no clock cell can be missed here: there is none.
 */
static void set_backlog(struct pacer *p)
{
	p->shared->session.backlog = (uint32_t)p->count;
	p->shared->session.clock_due_ns = 0;
}

bool pacer_admit(struct pacer *p, const struct pacer_packet *packet)
{
	struct tg_paced *shared = p->shared;
	bool admitted;
	int overdue;

	set_backlog(p);
	admitted =
		tg_session_admit(&shared->session, &p->queue, packet->arrived_ns, &overdue) != TG_ADMIT_DROP;
	if (admitted) {
		put(p, packet);
		p->ring[(p->first + p->count - 1) % p->room].number = shared->session.admitted;
	} else {
		shared->stats.drop_packets++;
		shared->stats.drop_bytes += packet->size;
	}
	/* what is dropped starts a session all the same */
	if (!p->next_ns && is_running(p))
		p->next_ns = first_slot(p, packet->arrived_ns);
	return admitted;
}

static void account_delay(struct pacer *p, uint64_t delay)
{
	struct tg_stats *stats = &p->shared->stats;

	stats->delay[tg_hist_bucket(delay)]++;
	if (delay > (uint64_t)p->queue.budget_cells * p->queue.period_ns)
		stats->late_packets++;
}

enum pacer_step pacer_step(struct pacer *p, uint64_t now, struct pacer_packet *ret_packet)
{
	struct tg_paced *shared = p->shared;
	struct tg_cell cell = { .now = now, .real = p->count > 0 };
	struct tg_release_notes notes;
	enum tg_release release;

	if (!p->next_ns || now < p->next_ns)
		return PACER_NOTHING;
	note_missed(p, p->next_ns, now);
	set_backlog(p);
	if (cell.real) {
		*ret_packet = take(p);
		cell.number = ret_packet->number;
		cell.waited_ns = now > ret_packet->arrived_ns ? now - ret_packet->arrived_ns : 0;
		account_delay(p, cell.waited_ns);
	}
	/* slots are half a period apart at least: none is dropped as too fast */
	release = tg_session_release(&shared->session, &p->queue, &cell, &notes);
	p->next_ns = is_running(p) ? tg_grid_next(now, p->queue.period_ns) : 0;
	if (release == TG_RELEASE_IDLE)
		return PACER_NOTHING;
	return cell.real ? PACER_REAL : PACER_DUMMY;
}

void pacer_take_over(struct pacer *p, struct pacer *from,
		     void (*drop)(void *ctx, const struct pacer_packet *packet), void *ctx)
{
	while (from->count) {
		struct pacer_packet packet = take(from);

		if (!pacer_admit(p, &packet))
			drop(ctx, &packet);
	}
}

void pacer_clear(struct pacer *p, void (*drop)(void *ctx, const struct pacer_packet *packet), void *ctx)
{
	while (p->count) {
		struct pacer_packet packet = take(p);

		drop(ctx, &packet);
	}
}
