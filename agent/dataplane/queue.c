/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The life of a self-clocking queue: a veth pair whose head lets one cell per
 * period and session go, and clock cells that go round in it for ever.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "dataplane/dataplane.h"
#include "dataplane/loop.h"

enum {
	/* of all queues, so that it never changes: that would take the device down */
	VETH_MTU = TG_MAX_CELL + TG_DITHER_CYCLE,
	SPARE_CELLS =
		16, /* the two clock cells, and what admission and release count differently for a moment */
	NS_PER_S = 1000000000,
};

/* Cells that a clock of this queue may have to hold. */
static uint32_t depth_of(const struct tg_queue *queue)
{
	return queue->limit_cells + SPARE_CELLS;
}

void queue_names(const char *tunnel, unsigned id, char ret_head[IFNAMSIZ], char ret_tail[IFNAMSIZ])
{
	snprintf(ret_head, IFNAMSIZ, "%.8sq%u", tunnel, id % 100);
	snprintf(ret_tail, IFNAMSIZ, "%.8sq%up", tunnel, id % 100);
}

/* Everything equal but what depends on devices and on the queue's place in the maps. */
static bool serves(const struct tg_queue *running, const struct tg_queue *wanted)
{
	struct tg_queue a = *running, b = *wanted;

	a.head_ifindex = a.tail_ifindex = a.class = a.guard_ns = a.first = a.room = a.depth = a.next = 0;
	b.head_ifindex = b.tail_ifindex = b.class = b.guard_ns = b.first = b.room = b.depth = b.next = 0;
	return running->head_ifindex && !memcmp(&a, &b, sizeof(a));
}

static bool fits(const struct tg_queue *queue, unsigned id, const struct tg_compiled_queue *wanted,
		 enum queue_fit fit)
{
	/* one that its sessions are to leave is as good as gone */
	if (!queue->head_ifindex || queue->next != id)
		return false;
	if (fit == QUEUE_AS_WANTED)
		return serves(queue, &wanted->queue);
	return fit == QUEUE_ANY || queue->class == wanted->class;
}

int queue_choose(const struct dataplane *dp, const struct tg_compiled_queue *wanted, enum queue_fit fit,
		 const bool *taken, struct queue_choice *ret_choice, struct tg_error *e)
{
	unsigned running = TG_NO_QUEUE, unused = TG_NO_QUEUE;
	bool has_room = false;

	for (unsigned id = dp->queues; id-- > 0;) {
		struct tg_queue queue;
		int ret = dataplane_queue_get(dp, id, &queue, e);

		if (ret)
			return ret;
		if (taken[id])
			continue;
		if (!queue.head_ifindex)
			unused = id;
		if (!fits(&queue, id, wanted, fit))
			continue;
		running = id;
		has_room = queue.depth >= depth_of(&wanted->queue);
	}
	if (running == TG_NO_QUEUE && fit != QUEUE_ANY)
		return -ENOENT;
	if (!has_room && unused == TG_NO_QUEUE)
		return tg_error(e, -ENOSPC, "%s has %u queues already; is one stuck while draining?",
				dp->tunnel, dp->queues);
	*ret_choice = (struct queue_choice){ has_room ? running : unused, running };
	return 0;
}

/*
 * Something leaves the queue in time, and where it went silent in between, the
 * clock cell was seen since: real cells alone also tick, on their own time.
 */
static bool seems_alive(const struct tg_session_state *state, const struct tg_queue *queue, uint64_t now)
{
	enum { GRACE_PERIODS = 4, FRESH_NS = 20000000 };
	int64_t fresh = (int64_t)(GRACE_PERIODS * queue->period_ns + FRESH_NS);

	return state->ticks && (int64_t)(now - state->last_tick_ns) < fresh &&
	       (!state->overdue || (int64_t)(now - state->last_clock_ns) < fresh);
}

/* Which of the wanted clocks seem to stand, at one look. */
static int look_at_clocks(const struct dataplane *dp, const struct tg_queue *queue, const bool *wanted,
			  bool *ret_stopped, size_t *ret_count, struct tg_error *e)
{
	struct tg_session_state state;
	size_t count = 0;
	int ret = 0;

	for (unsigned n = 0; n < queue->room && !ret; n++) {
		ret_stopped[n] = false;
		if (!wanted[n])
			continue;
		ret = dataplane_session_get(dp, queue->first + n, &state, e);
		ret_stopped[n] = !seems_alive(&state, queue, monotonic_ns());
		count += ret_stopped[n];
	}
	*ret_count = count;
	return ret;
}

int queue_stopped(const struct dataplane *dp, unsigned id, const bool *wanted, bool *ret_stopped,
		  size_t *ret_count, struct tg_error *e)
{
	/* A busy machine may hold the clock back for a while: only waiting tells late from lost. */
	enum { LOST_NS = 500000000 };
	const struct timespec pause = { .tv_nsec = 5000000 };
	struct tg_queue queue;
	uint64_t deadline;
	int ret = dataplane_queue_get(dp, id, &queue, e);

	if (ret)
		return ret;
	deadline = monotonic_ns() + LOST_NS + 2 * queue.period_ns;
	ret = look_at_clocks(dp, &queue, wanted, ret_stopped, ret_count, e);
	while (!ret && *ret_count && monotonic_ns() < deadline) {
		nanosleep(&pause, NULL);
		ret = look_at_clocks(dp, &queue, wanted, ret_stopped, ret_count, e);
	}
	return ret;
}

/* ---- clock cells ---- */

/*
 * Clocks that start at one instant tick at one instant ever after. Number `n` of
 * `count` begins its share of a period later; what is due within a pause is sent
 * without one.
 */
static void await_turn(uint64_t begun, uint64_t period_ns, size_t n, size_t count)
{
	enum { LEAST_PAUSE_NS = 1000000 };
	uint64_t due = begun + period_ns / count * n, now = monotonic_ns();
	struct timespec pause;

	if (due < now + LEAST_PAUSE_NS)
		return;
	pause = (struct timespec){ .tv_sec = (time_t)((due - now) / NS_PER_S),
				   .tv_nsec = (long)((due - now) % NS_PER_S) };
	nanosleep(&pause, NULL);
}

/* Starts the `count` clocks that have wanted[n]. */
static int start_clocks(unsigned id, const struct tg_queue *queue, const struct in6_addr *source,
			const struct tg_peer_entry *entries, const bool *wanted, size_t count,
			struct tg_error *e)
{
	struct loop loop = { .ifindex = queue->head_ifindex,
			     .index = id,
			     .cell = queue->cell,
			     .length = tg_dither_length(TG_L2_LEN + queue->cell, 0) };
	uint64_t begun = monotonic_ns();
	size_t started = 0;
	int ret = loop_open(&loop, e);

	for (unsigned n = 0; n < queue->room && !ret; n++) {
		if (!wanted[n])
			continue;
		await_turn(begun, queue->period_ns, started++, count);
		ret = loop_start(&loop, n, source, entries[n].dummy_target, e);
	}
	loop_close(&loop);
	return ret;
}

/* ---- waiting for sessions ---- */

/* Whether session n is still to be waited for; `what` is the caller's. */
typedef bool (*waits_fn)(const struct tg_session_state *state, const void *what, size_t n);

static int some_wait(const struct dataplane *dp, const struct tg_queue *queue, const bool *of, waits_fn waits,
		     const void *what, bool *ret_waiting, struct tg_error *e)
{
	struct tg_session_state state;
	int ret = 0;

	*ret_waiting = false;
	for (unsigned n = 0; n < queue->room && !ret && !*ret_waiting; n++) {
		if (!of[n])
			continue;
		ret = dataplane_session_get(dp, queue->first + n, &state, e);
		*ret_waiting = !ret && waits(&state, what, n) && seems_alive(&state, queue, monotonic_ns());
	}
	return ret;
}

/* Until no session with of[n] waits that has a clock to get on by; bounded by what the queue can hold. */
static int wait_for_sessions(const struct dataplane *dp, const struct tg_queue *queue, const bool *of,
			     waits_fn waits, const void *what, struct tg_error *e)
{
	enum { LATE_NS = 500000000 };
	uint64_t deadline = monotonic_ns() + (uint64_t)depth_of(queue) * queue->period_ns + LATE_NS;
	struct timespec pause = { .tv_nsec = (long)(queue->period_ns < NS_PER_S ? queue->period_ns
										: NS_PER_S - 1) };
	bool waiting = true;
	int ret = 0;

	do {
		ret = some_wait(dp, queue, of, waits, what, &waiting, e);
		/* One more period even when empty: what left the queue may still be on its way to the tunnel.
		 */
		nanosleep(&pause, NULL);
	} while (!ret && waiting && monotonic_ns() < deadline);
	return ret;
}

static bool is_before(const struct tg_session_state *state, const void *numbers, size_t n)
{
	return (int32_t)(((const uint32_t *)numbers)[n] - state->released) > 0;
}

/* Until all real cells are gone that are in the queue now. */
static int wait_until_passed(const struct dataplane *dp, const struct tg_queue *queue, const bool *of,
			     struct tg_error *e)
{
	uint32_t *numbers = calloc(queue->room + 1, sizeof(*numbers));
	struct tg_session_state state;
	int ret = 0;

	if (!numbers)
		return tg_error(e, -ENOMEM, "out of memory");
	for (unsigned n = 0; n < queue->room && !ret; n++) {
		ret = of[n] ? dataplane_session_get(dp, queue->first + n, &state, e) : 0;
		if (!ret && of[n])
			numbers[n] = state.admitted;
	}
	if (!ret)
		ret = wait_for_sessions(dp, queue, of, is_before, numbers, e);
	free(numbers);
	return ret;
}

/* ---- making ---- */

/* The entries of a queue that takes over no sessions: those that no other queue has. */
static int unused_entries(const struct dataplane *dp, uint32_t *ret_first, struct tg_error *e)
{
	bool used[TG_MAX_QUEUES] = { false };
	unsigned block = 0;

	for (unsigned id = 0; id < dp->queues; id++) {
		struct tg_queue queue;
		int ret = dataplane_queue_get(dp, id, &queue, e);

		if (ret)
			return ret;
		if (queue.head_ifindex)
			used[queue.first / dp->room] = true;
	}
	while (block < dp->blocks && used[block])
		block++;
	if (block >= dp->blocks)
		return tg_error(e, -ENOSPC, "%s has no room for the sessions of another queue", dp->tunnel);
	*ret_first = block * dp->room;
	return 0;
}

/* What is to be made or changed. */
struct making {
	unsigned id;
	struct tg_queue before, queue;
	bool *fresh;		/* by number: its clock was made anew */
	bool *silent;		/* by number: it is to be started */
};

/* A pair that is left from before the maps and has too little room goes: its cells have no sessions. */
static int ensure_pair(const struct dataplane *dp, struct net *net, struct making *m, struct tg_error *e)
{
	uint32_t depth = m->before.head_ifindex ? m->before.depth : depth_of(&m->queue);
	char head[IFNAMSIZ], tail[IFNAMSIZ], alias[64];
	struct net_link link;
	int ret = 0;

	queue_names(dp->tunnel, m->id, head, tail);
	snprintf(alias, sizeof(alias), TG_LINK_ALIAS "%s queue", dp->tunnel);
	if (!m->before.head_ifindex && !net_link_get(net, head, &link, NULL)) {
		if (link.txqlen < depth)
			ret = net_link_remove(net, head, e);
		else
			depth = link.txqlen;
	}
	if (!ret)
		ret = net_veth_ensure(net, head, tail, VETH_MTU, depth, alias, e);
	if (!ret)
		ret = net_link_get(net, head, &link, e);
	if (ret)
		return ret;
	m->queue.depth = depth;
	m->queue.head_ifindex = link.ifindex;
	m->queue.tail_ifindex = link.peer_ifindex;
	return 0;
}

/*
 * A clock that seems too fast loses its cell, one that seems too slow is only
 * counted: the entry has the shorter of two periods while both are about.
 */
static int ensure_clocks(const struct dataplane *dp, struct net *net, const struct making *m,
			 const struct roster *roster, struct tg_error *e)
{
	bool runs = m->before.head_ifindex == m->queue.head_ifindex;
	int ret = 0;

	if (runs && m->queue.period_ns < m->before.period_ns)
		ret = dataplane_queue_set(dp, m->id, &m->queue, e);
	if (!ret)
		ret = net_clock_ensure(net, m->queue.head_ifindex, m->queue.period_ns, dp->progs[DP_STEER],
				       roster->member, roster->room, m->fresh, e);
	return ret;
}

/* Whether the session goes on in another queue, from which it is to move to this one. */
static bool is_elsewhere(const struct dataplane *dp, unsigned id, const struct tg_queue *queue,
			 const struct tg_session_state *state)
{
	struct tg_queue other;

	return state->queue != id && state->ticks && state->queue < dp->queues &&
	       !dataplane_queue_get(dp, state->queue, &other, NULL) && other.head_ifindex &&
	       other.first == queue->first;
}

/* Sessions whose clock was made anew, or all when the devices were, begin from nothing. *ret_old: those that
 * are in this queue and go on. */
static int clear_fresh(const struct dataplane *dp, const struct making *m, const struct roster *roster,
		       bool *ret_old, struct tg_error *e)
{
	bool all = m->before.head_ifindex != m->queue.head_ifindex;
	struct tg_session_state state;
	int ret = 0;

	for (unsigned n = 0; n < m->queue.room && !ret; n++) {
		ret_old[n] = false;
		if (!roster->member[n]) {
			m->fresh[n] = false;
			continue;
		}
		ret = dataplane_session_get(dp, m->queue.first + n, &state, e);
		if (!ret && is_elsewhere(dp, m->id, &m->queue, &state)) {
			m->fresh[n] = false;
			continue;
		}
		m->fresh[n] |= all;
		ret_old[n] = !m->fresh[n];
		if (!ret && m->fresh[n])
			ret = dataplane_session_clear(dp, m->queue.first + n, m->id, e);
	}
	return ret;
}

/* Those that are to be started: the fresh ones, and the others that stand. */
static int find_silent(const struct dataplane *dp, const struct making *m, const bool *old, size_t *ret_count,
		       struct tg_error *e)
{
	int ret = queue_stopped(dp, m->id, old, m->silent, ret_count, e);

	for (size_t n = 0; n < m->queue.room; n++) {
		m->silent[n] |= m->fresh[n];
		*ret_count += m->fresh[n];
	}
	return ret;
}

static int make(const struct dataplane *dp, struct net *net, const struct tg_tunnel *tunnel, struct making *m,
		const struct roster *roster, struct tg_error *e)
{
	bool *old = calloc(roster->room + 1, sizeof(*old));
	struct tg_queue *queue = &m->queue;
	size_t count;
	int ret = old ? 0 : tg_error(e, -ENOMEM, "out of memory");

	if (!ret)
		ret = ensure_pair(dp, net, m, e);
	if (!ret && m->before.head_ifindex == queue->head_ifindex && queue->cell < m->before.cell)
		ret = wait_until_passed(dp, &m->before, roster->member, e);
	if (!ret)
		ret = ensure_clocks(dp, net, m, roster, e);
	if (!ret)
		ret = clear_fresh(dp, m, roster, old, e);
	if (!ret)
		ret = dataplane_queue_set(dp, m->id, queue, e);
	if (!ret)
		ret = dataplane_port_set(dp, queue->tail_ifindex, m->id, e);
	if (!ret)
		ret = dataplane_attach(dp, DP_RELEASE, queue->tail_ifindex, DP_HOOK_INGRESS, e);
	if (!ret)
		ret = find_silent(dp, m, old, &count, e);
	if (!ret && count)
		ret = start_clocks(m->id, queue, &tunnel->dummy_source, roster->entries, m->silent, count, e);
	free(old);
	return ret;
}

/* The queue as wanted, at its place in the maps. */
static int ensure_queue(const struct dataplane *dp, struct net *net, const struct tg_tunnel *tunnel,
			unsigned id, const struct tg_queue *wanted, uint32_t first,
			const struct roster *roster, struct tg_error *e)
{
	struct making m = { .id = id, .queue = *wanted };
	int ret;

	m.fresh = calloc(roster->room + 1, sizeof(*m.fresh));
	m.silent = calloc(roster->room + 1, sizeof(*m.silent));
	m.queue.first = first;
	m.queue.room = dp->room;
	m.queue.next = id;
	ret = m.fresh && m.silent ? dataplane_queue_get(dp, id, &m.before, e)
				  : tg_error(e, -ENOMEM, "out of memory");
	if (!ret)
		ret = make(dp, net, tunnel, &m, roster, e);
	free(m.fresh);
	free(m.silent);
	return ret ? tg_error_prefix(e, ret, "queue %u of %s", id, dp->tunnel) : 0;
}

/* As wanted, but with no more cells than the queue has room for. */
static struct tg_queue within_depth(const struct tg_queue *wanted, uint32_t depth)
{
	struct tg_queue queue = *wanted;

	if (queue.limit_cells > depth - SPARE_CELLS)
		queue.limit_cells = depth - SPARE_CELLS;
	if (queue.budget_cells > queue.limit_cells)
		queue.budget_cells = queue.limit_cells;
	return queue;
}

int queue_ensure(const struct dataplane *dp, struct net *net, const struct tg_tunnel *tunnel,
		 const struct queue_choice *choice, const struct tg_compiled_queue *compiled,
		 const struct roster *roster, struct tg_error *e)
{
	struct tg_queue wanted = compiled->queue, from = { 0 }, fitting;
	uint32_t first = 0;
	int ret;

	wanted.class = compiled->class;
	ret = choice->from == TG_NO_QUEUE ? unused_entries(dp, &first, e)
					  : dataplane_queue_get(dp, choice->from, &from, e);
	if (choice->from != TG_NO_QUEUE)
		first = from.first;
	if (!ret && choice->from != TG_NO_QUEUE && choice->from != choice->id) {
		/* what the wire shows changes here, and then no more while the sessions move */
		fitting = within_depth(&wanted, from.depth);
		ret = ensure_queue(dp, net, tunnel, choice->from, &fitting, first, roster, e);
	}
	return ret ? ret : ensure_queue(dp, net, tunnel, choice->id, &wanted, first, roster, e);
}

/* ---- moving sessions ---- */

static bool is_outside(const struct tg_session_state *state, const void *id, size_t n)
{
	(void)n;
	return state->queue != *(const unsigned *)id;
}

/* From here on the other queues' clocks do not take a session back that has moved. */
static int point_others(const struct dataplane *dp, unsigned id, const struct tg_queue *queue,
			struct tg_error *e)
{
	int ret = 0;

	for (unsigned other = 0; other < dp->queues && !ret; other++) {
		struct tg_queue from;

		ret = dataplane_queue_get(dp, other, &from, e);
		if (ret || other == id || !from.head_ifindex || from.first != queue->first)
			continue;
		from.next = id;
		ret = dataplane_queue_set(dp, other, &from, e);
	}
	return ret;
}

static int find_outside(const struct dataplane *dp, unsigned id, const struct tg_queue *queue,
			const struct roster *roster, bool *ret_outside, size_t *ret_count, struct tg_error *e)
{
	struct tg_session_state state;
	int ret = 0;

	*ret_count = 0;
	for (unsigned n = 0; n < queue->room && !ret; n++) {
		if (!roster->member[n])
			continue;
		ret = dataplane_session_get(dp, queue->first + n, &state, e);
		ret_outside[n] = !ret && state.queue != id;
		*ret_count += ret_outside[n];
	}
	return ret;
}

int queue_settle(const struct dataplane *dp, const struct tg_tunnel *tunnel, unsigned id,
		 const struct roster *roster, struct tg_error *e)
{
	bool *outside = calloc(roster->room + 1, sizeof(*outside));
	struct tg_queue queue;
	size_t count = 0;
	int ret = outside ? dataplane_queue_get(dp, id, &queue, e) : tg_error(e, -ENOMEM, "out of memory");

	if (!ret)
		ret = point_others(dp, id, &queue, e);
	if (!ret)
		ret = find_outside(dp, id, &queue, roster, outside, &count, e);
	if (!ret && count)
		ret = start_clocks(id, &queue, &tunnel->dummy_source, roster->entries, outside, count, e);
	if (!ret && count)
		ret = wait_for_sessions(dp, &queue, outside, is_outside, &id, e);
	free(outside);
	return ret ? tg_error_prefix(e, ret, "queue %u of %s", id, dp->tunnel) : 0;
}

/* ---- draining ---- */

/* In this queue, or (NULL) in any. */
static bool has_backlog(const struct tg_session_state *state, const void *id, size_t n)
{
	(void)n;
	return tg_session_backlog(state) && (!id || state->queue == *(const unsigned *)id);
}

/*
 * Those that have leaving[n]; NULL: all that are in this queue. One that shares its entries may be without
 * sessions: a run was killed before it had moved them here, and they go on in the other queue.
 */
static int clear_sessions(const struct dataplane *dp, unsigned id, const struct tg_queue *queue,
			  const bool *leaving, struct tg_error *e)
{
	struct tg_session_state state = { .queue = id };
	int ret = 0;

	for (unsigned n = 0; n < queue->room && !ret; n++) {
		if (!leaving)
			ret = dataplane_session_get(dp, queue->first + n, &state, e);
		if (!ret && (leaving ? leaving[n] : state.queue == id))
			ret = dataplane_session_clear(dp, queue->first + n, id, e);
	}
	return ret;
}

int queue_drain_gone(const struct dataplane *dp, struct net *net, unsigned id, const struct roster *roster,
		     struct tg_error *e)
{
	struct tg_queue queue;
	bool some = false;
	int ret;

	for (size_t n = 0; n < roster->room; n++)
		some |= roster->gone[n];
	if (!some)
		return 0;
	ret = dataplane_queue_get(dp, id, &queue, e);
	if (!ret)
		ret = wait_for_sessions(dp, &queue, roster->gone, has_backlog, NULL, e);
	if (!ret)
		ret = net_clock_drop(net, queue.head_ifindex, roster->gone, roster->room, e);
	if (!ret)
		ret = clear_sessions(dp, id, &queue, roster->gone, e);
	return ret;
}

static int drain_all(const struct dataplane *dp, unsigned id, const struct tg_queue *queue,
		     struct tg_error *e)
{
	bool *taken;
	int ret = roster_taken(dp, &taken, e);

	if (ret)
		return ret;
	ret = wait_for_sessions(dp, queue, taken, has_backlog, &id, e);
	free(taken);
	return ret;
}

int queue_drain(const struct dataplane *dp, struct net *net, unsigned id, struct tg_error *e)
{
	struct tg_queue queue = { 0 }, none = { 0 };
	char head[IFNAMSIZ], tail[IFNAMSIZ];
	int ret = 0;

	/* a device beyond the map is left from a larger one */
	if (id < dp->queues)
		ret = dataplane_queue_get(dp, id, &queue, e);
	if (!ret && queue.head_ifindex)
		ret = drain_all(dp, id, &queue, e);
	queue_names(dp->tunnel, id, head, tail);
	if (!ret)
		ret = net_link_remove(net, head, e);
	if (ret == -EPERM && !queue.head_ifindex)
		return 0;	/* somebody else's device of that name */
	if (!ret && id < dp->queues)
		ret = dataplane_queue_set(dp, id, &none, e);
	if (!ret && queue.tail_ifindex)
		ret = dataplane_port_clear(dp, queue.tail_ifindex, e);
	/* but sessions that have moved on to another queue are its own */
	if (!ret && queue.next == id)
		ret = clear_sessions(dp, id, &queue, NULL, e);
	return ret;
}
