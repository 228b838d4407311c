/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pace/pacer.h"
#include "shared/hist.h"

static const struct tg_queue *queue_of(const struct pacer *p)
{
	return &p->schedule->queue;
}

/* ---- the ring ---- */

static void put(struct pacer *p, const struct pacer_packet *packet)
{
	struct pacer_packet *place = &p->ring[(p->first + p->count++) % p->room];

	*place = *packet;
	place->number = p->session->admitted;
}

static struct pacer_packet take(struct pacer *p)
{
	struct pacer_packet packet = p->ring[p->first];

	p->first = (p->first + 1) % p->room;
	p->count--;
	return packet;
}

/* ---- when the next one leaves ---- */

/* A constant session runs, or somebody waits. */
static bool is_running(const struct pacer *p)
{
	return !queue_of(p)->slots || p->session->left || p->count;
}

/* How long after its slot a cell may leave on time. */
static uint64_t most_leave(const struct tg_queue *q)
{
	return q->dither ? q->period_ns / TG_LEAVE_PARTS : 0;
}

/* The slot that a packet wakes the grid for. The last cell may have left late: never close up to it. */
static uint64_t first_slot(const struct pacer *p, uint64_t now)
{
	uint64_t period = queue_of(p)->period_ns, last = p->session->last_tick_ns;
	uint64_t slot = tg_grid_first(now, period, p->phase_ns);

	return last && slot < last + period / 2 ? slot + period : slot;
}

/* A regulator's slot, or before it the end of what the first packet in line may be held. */
static uint64_t slot_or_hold(const struct pacer *p)
{
	uint64_t hold;

	if (!p->count)
		return p->slot_ns;
	hold = tg_regulator_hold_end(&p->schedule->regulator, p->ring[p->first].arrived_ns);
	return p->slot_ns && p->slot_ns < hold ? p->slot_ns : hold;
}

/* The slot with which a session goes on that somebody else has served: one whose cell may still leave is not
 * left out. */
static uint64_t resumed_slot(const struct pacer *p, uint64_t now)
{
	uint64_t window = most_leave(queue_of(p)), last = p->session->last_tick_ns;
	uint64_t slot = tg_grid_first(now - window, queue_of(p)->period_ns, p->phase_ns);

	return slot < now && slot >= last + queue_of(p)->period_ns / 2 ? slot : first_slot(p, now);
}

static void set_next(struct pacer *p)
{
	if (p->schedule->defence == TG_DEFENCE_JITTER)
		p->next_ns = p->count ? p->ring[p->first].departs_ns : 0;
	else if (p->schedule->defence == TG_DEFENCE_REGULATOR)
		p->next_ns = slot_or_hold(p);
}

/* Slots that went by while nobody served them. */
static void note_missed(struct pacer *p, uint64_t due, uint64_t now)
{
	uint64_t period = queue_of(p)->period_ns;

	if (!period)
		return;
	if (now - due >= period)
		p->shared->missed_slots += (now - due) / period;
	if (now - due > period / 2)
		p->shared->late_wakes++;
}

/* ---- beginning and end ---- */

/* Cell, period, session and budget may be others: a session goes on under them, as in a queue of the kernel.
 */
bool pacer_continues(const struct tg_paced *shared, const struct tg_schedule *schedule)
{
	const struct tg_schedule *before = &shared->schedule;

	return before->defence == schedule->defence && before->queue.class == schedule->queue.class &&
	       before->queue.first == schedule->queue.first && before->queue.room == schedule->queue.room;
}

/* A session that ran under an agent before us goes on; what that one held went with it. */
static void resume(struct pacer *p, uint64_t now)
{
	struct tg_session_state *s = p->session;
	const struct tg_queue *q = queue_of(p);

	tg_session_forget(s);
	if (p->schedule->defence == TG_DEFENCE_REGULATOR && s->left)
		p->slot_ns = tg_regulator_first(s, &p->schedule->regulator, now);
	if (p->schedule->defence == TG_DEFENCE_CONSTANT && is_running(p)) {
		uint64_t longest = q->period_ns + most_leave(q);

		if (s->last_tick_ns && now > s->last_tick_ns + longest)
			p->shared->missed_slots += (now - s->last_tick_ns - 1) / q->period_ns;
		p->next_ns = resumed_slot(p, now);
	}
	set_next(p);
}

int pacer_init(struct pacer *p, const struct pacer_setup *setup, uint64_t now)
{
	const struct tg_queue *q = &setup->schedule->queue;

	*p = (struct pacer){ .schedule = setup->schedule,
			     .table = setup->table,
			     .peer = setup->peer,
			     .session = setup->session,
			     .shared = setup->shared,
			     .room = (q->limit_cells > q->budget_cells ? q->limit_cells : q->budget_cells) +
				     1 };
	p->ring = calloc(p->room, sizeof(*p->ring));
	if (!p->ring)
		return -ENOMEM;
	p->phase_ns = tg_grid_phase(p->peer, q->period_ns);
	resume(p, now);
	return 0;
}

void pacer_free(struct pacer *p)
{
	free(p->ring);
	p->ring = NULL;
	p->count = 0;
}

/* ---- packets that come ---- */

static enum tg_admit admit_constant(struct pacer *p, const struct pacer_packet *packet)
{
	enum tg_admit answer = tg_session_count_in(p->session, queue_of(p), packet->arrived_ns, 0);

	if (answer != TG_ADMIT_DROP)
		put(p, packet);
	/* what is dropped starts a session all the same */
	if (!p->next_ns && is_running(p))
		p->next_ns = first_slot(p, packet->arrived_ns);
	return answer;
}

/* One that was drawn before, under the policy before, keeps its time. */
static void admit_jitter(struct pacer *p, struct pacer_packet *packet, const uint32_t random[PACER_WORDS])
{
	const struct tg_jitter *j = &p->schedule->jitter;
	struct tg_session_state *s = p->session;

	if (!packet->departs_ns)
		packet->departs_ns = packet->arrived_ns + tg_jitter_draw(j, p->table, random[0], random[1]);
	packet->departs_ns = tg_jitter_departs(packet->departs_ns, 0, p->ahead_ns);
	p->ahead_ns = packet->departs_ns;
	s->last_real_ns = packet->arrived_ns;
	s->admitted++;
	put(p, packet);
}

static void admit_regulator(struct pacer *p, const struct pacer_packet *packet, uint32_t random)
{
	const struct tg_regulator *r = &p->schedule->regulator;
	struct tg_session_state *s = p->session;
	int surge = tg_regulator_admit(s, r, queue_of(p), packet->arrived_ns, random);
	uint64_t first = tg_regulator_first(s, r, packet->arrived_ns);

	if (!p->slot_ns || (surge && first < p->slot_ns))
		p->slot_ns = first;
	put(p, packet);
}

/* Whatever became of the shared memory, the ring has room for this many and no more. */
static void set_backlog(struct pacer *p)
{
	p->session->released = p->session->admitted - (uint32_t)p->count;
}

static void count_drop(struct pacer *p, const struct pacer_packet *packet)
{
	p->shared->stats.drop_packets++;
	p->shared->stats.drop_bytes += packet->size;
}

static enum tg_admit admit(struct pacer *p, const struct pacer_packet *packet,
			   const uint32_t random[PACER_WORDS])
{
	struct pacer_packet own = *packet;
	enum tg_admit answer = TG_ADMIT_OK;

	set_backlog(p);
	if (p->schedule->defence == TG_DEFENCE_CONSTANT)
		answer = admit_constant(p, packet);
	else if (p->count >= queue_of(p)->limit_cells)
		answer = TG_ADMIT_DROP;
	else if (p->schedule->defence == TG_DEFENCE_JITTER)
		admit_jitter(p, &own, random);
	else
		admit_regulator(p, packet, random[0]);
	if (answer == TG_ADMIT_DROP)
		count_drop(p, packet);
	set_next(p);
	return answer;
}

bool pacer_admit(struct pacer *p, const struct pacer_packet *packet, const uint32_t random[PACER_WORDS])
{
	enum tg_admit answer = admit(p, packet, random);

	if (answer != TG_ADMIT_OK)
		p->shared->stats.violations[TG_VIOLATION_OVERFLOW]++;
	return answer != TG_ADMIT_DROP;
}

/* ---- packets that leave ---- */

static void account_delay(struct pacer *p, uint64_t delay)
{
	struct tg_stats *stats = &p->shared->stats;

	stats->delay[tg_hist_bucket(delay)]++;
	if (delay > p->schedule->budget_ns)
		stats->late_packets++;
	if (delay > queue_of(p)->guard_ns)
		stats->violations[TG_VIOLATION_DELAY]++;
}

static void take_real(struct pacer *p, struct tg_cell *cell, struct pacer_packet *ret_packet)
{
	*ret_packet = take(p);
	cell->number = ret_packet->number;
	cell->waited_ns = cell->now > ret_packet->arrived_ns ? cell->now - ret_packet->arrived_ns : 0;
	account_delay(p, cell->waited_ns);
}

/* What leaves in this slot, and when: from here on nothing that comes makes a difference to it. */
static void settle(struct pacer *p, uint64_t now, uint32_t random)
{
	const struct tg_queue *q = queue_of(p);
	uint64_t half = p->session->last_tick_ns + q->period_ns / 2;

	p->real = p->count > 0;
	p->settled = true;
	p->slot_ns = tg_grid_first(now + 1, q->period_ns, p->phase_ns) - q->period_ns;
	p->next_ns = p->slot_ns + (q->dither ? tg_leave_ns(q->period_ns, random >> 16) : 0);
	/* the cell before may have been late */
	if (p->session->ticks && p->next_ns < half)
		p->next_ns = half;
}

static enum pacer_step leave(struct pacer *p, uint64_t now, struct pacer_packet *ret_packet)
{
	struct tg_cell cell = { .now = now, .real = p->real };
	uint64_t late = now - p->next_ns;
	struct tg_release_notes notes;
	enum tg_release release;

	p->settled = false;
	if (cell.real)
		take_real(p, &cell, ret_packet);
	release = tg_session_slot(p->session, queue_of(p), &cell, &notes);
	p->shared->extensions += (uint64_t)notes.extended;
	p->next_ns = is_running(p) ? tg_grid_next(p->slot_ns + late, queue_of(p)->period_ns, p->phase_ns) : 0;
	if (release == TG_RELEASE_IDLE)
		return PACER_NOTHING;
	return cell.real ? PACER_REAL : PACER_DUMMY;
}

static enum pacer_step step_constant(struct pacer *p, uint64_t now, uint32_t random,
				     struct pacer_packet *ret_packet)
{
	if (!p->settled)
		settle(p, now, random);
	return now < p->next_ns ? PACER_NOTHING : leave(p, now, ret_packet);
}

static enum pacer_step send_real(struct pacer *p, uint64_t now, struct pacer_packet *ret_packet)
{
	struct tg_cell cell = { .now = now, .real = 1 };

	take_real(p, &cell, ret_packet);
	tg_session_count_real(p->session, cell.number);
	return PACER_REAL;
}

/* In a slot, or because the first in line has been held long enough: that uses no slot. */
static enum pacer_step step_regulator(struct pacer *p, uint64_t now, struct pacer_packet *ret_packet)
{
	const struct tg_regulator *r = &p->schedule->regulator;
	bool in_slot = p->slot_ns && now >= p->slot_ns;
	struct tg_session_state *s = p->session;
	enum pacer_step step = PACER_DUMMY;

	if (p->count) {
		step = send_real(p, now, ret_packet);
	} else if (!tg_regulator_spend(s)) {
		p->slot_ns = 0;
		return PACER_NOTHING;
	} else {
		s->last_clock_ns = now;
	}
	if (in_slot)
		p->slot_ns = p->count || s->left ? tg_regulator_next(s, r, p->slot_ns, now) : 0;
	return step;
}

enum pacer_step pacer_step(struct pacer *p, uint64_t now, uint32_t random, struct pacer_packet *ret_packet)
{
	enum pacer_step step;

	if (!p->next_ns || now < p->next_ns)
		return PACER_NOTHING;
	note_missed(p, p->next_ns, now);
	set_backlog(p);
	if (p->schedule->defence == TG_DEFENCE_CONSTANT)
		return step_constant(p, now, random, ret_packet);
	if (p->schedule->defence == TG_DEFENCE_JITTER)
		step = send_real(p, now, ret_packet);
	else
		step = step_regulator(p, now, ret_packet);
	if (step != PACER_NOTHING) {
		p->session->last_tick_ns = now;
		p->session->ticks++;
	}
	set_next(p);
	return step;
}

/* ---- other policies ---- */

void pacer_take_over(struct pacer *p, struct pacer *from, uint64_t now, const uint32_t random[PACER_WORDS],
		     void (*drop)(void *ctx, const struct pacer_packet *packet), void *ctx)
{
	from->settled = false;
	while (from->count) {
		struct pacer_packet packet = take(from);

		if (packet.size > queue_of(p)->cell) {
			/* the programs would drop it, and its slot would stay empty */
			count_drop(p, &packet);
			drop(ctx, &packet);
		} else if (admit(p, &packet, random) == TG_ADMIT_DROP) {
			drop(ctx, &packet);
		} else if (p->session == from->session && p->session->lost) {
			p->session->lost--;	/* it had not gone with an agent */
		}
	}
	/* a session that they started began when they came, on the old schedule; its slots did not */
	if (p->schedule->defence == TG_DEFENCE_CONSTANT && p->next_ns && p->next_ns < now)
		p->next_ns = resumed_slot(p, now);
}

void pacer_clear(struct pacer *p, void (*drop)(void *ctx, const struct pacer_packet *packet), void *ctx)
{
	p->settled = false;
	while (p->count) {
		struct pacer_packet packet = take(p);

		drop(ctx, &packet);
	}
}
