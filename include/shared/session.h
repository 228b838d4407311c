/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * A session of the `constant` defence: pure functions over explicit state,
 * with time as a parameter. The caller holds the lock of the map value that
 * contains the state.
 *
 * A session is counted in slots, not in seconds: it starts with the first real
 * packet and lasts `slots` cells, so that what the wire shows is a function of
 * the public configuration and of the start alone. If real traffic came within
 * `idle` of its end, another quantum follows: lengths are multiples of the
 * quantum.
 */
#ifndef TG_SHARED_SESSION_H
#define TG_SHARED_SESSION_H

#include <linux/bpf.h>

#include "types.h"

/* Clock cells in a row that prove a backlog count wrong: real cells overtake them, so none can be waiting. */
#define TG_STALE_TICKS 8u

/* Periods without a cell that no queue with a clock cell in it ever shows, unless the machine stood still. */
#define TG_GAP_PERIODS 3u

struct tg_session_state {
	__u64 started_ns;	/* first real packet of the running or the last session */
	__u64 last_real_ns;	/* newest real packet */
	__u64 last_tick_ns;	/* newest cell, real or clock, to leave the queue */
	__u64 last_clock_ns;	/* newest clock cell to leave the queue */
	__u64 sessions;		/* sessions started */
	__u64 extensions;	/* quanta added because the session was not idle at its end */
	__u64 ticks;		/* cells that left the queue, real and clock */
	__u32 left;		/* slots left; 0 = no session (unless `slots` is 0: always on) */
	__u32 backlog;		/* real cells in the queue */
	__u32 stale;		/* clock cells in a row while backlog said that real ones wait */
	__u32 resets;		/* times that the backlog was found wrong and set to 0 */
	__u32 gaps;		/* silences above TG_GAP_PERIODS since the last clock cell: is it lost? */
	__u32 reserved;
};

/* map `sessions`, ARRAY[TG_MAX_QUEUES]; read it with BPF_F_LOCK */
struct tg_session {
	struct bpf_spin_lock lock;
	__u32 reserved;
	struct tg_session_state state;
};

_Static_assert(sizeof(struct tg_session) == 88, "tg_session layout");

enum tg_admit {
	TG_ADMIT_OK,
	TG_ADMIT_DROP,		/* beyond the queue's limit */
};

/* A real packet arrives at `now`. Starts a session if none runs; counts it into the backlog. */
tg_inline enum tg_admit tg_session_admit(struct tg_session_state *s, const struct tg_queue *q, __u64 now)
{
	__u32 limit = q->overflow == TG_OVERFLOW_STRETCH ? q->limit_cells : q->budget_cells;

	/* A packet that is dropped is traffic all the same: the session must not end on it. */
	s->last_real_ns = now;
	if (q->slots && !s->left) {
		s->left = q->slots;
		s->started_ns = now;
		s->sessions++;
	}
	if (s->backlog >= limit)
		return TG_ADMIT_DROP;
	s->backlog++;
	return TG_ADMIT_OK;
}

enum tg_release {
	TG_RELEASE_REAL,	/* send this cell */
	TG_RELEASE_DUMMY,	/* send a copy of the clock cell */
	TG_RELEASE_IDLE,	/* send nothing */
};

/*
 * Whether `idle` has passed since the last real packet. Two CPUs read the clock
 * before they take the lock, so a packet may seem to come from the future: its
 * silence begins now, instead of wrapping round to centuries.
 */
tg_inline int tg_session_silent(struct tg_session_state *s, const struct tg_queue *q, __u64 now)
{
	if (s->last_real_ns > now)
		s->last_real_ns = now;
	return now - s->last_real_ns >= q->idle_ns;
}

/* Uses up one slot. Returns 1 if the session went into another quantum. */
tg_inline int tg_session_spend(struct tg_session_state *s, const struct tg_queue *q, __u64 now)
{
	if (!s->left)
		s->left = q->slots;	/* backlog beyond the end: the quantum it needs */
	if (--s->left)
		return 0;
	if (!s->backlog && tg_session_silent(s, q, now))
		return 0;
	s->left = q->slots;
	s->extensions++;
	return 1;
}

/*
 * Keeps the backlog honest when cells vanished between admission and release
 * (device down, queue purged): the queue hands out a clock cell only when no
 * real cell waits.
 */
tg_inline void tg_session_count_down(struct tg_session_state *s, int real)
{
	if (real) {
		s->stale = 0;
		if (s->backlog)
			s->backlog--;
	} else if (!s->backlog) {
		s->stale = 0;
	} else if (++s->stale >= TG_STALE_TICKS) {
		s->stale = 0;
		s->backlog = 0;
		s->resets++;
	}
}

/* Real cells that go out on their own time, with pauses between, tell that no clock cell is there to pace
 * them. */
tg_inline void tg_session_note_time(struct tg_session_state *s, const struct tg_queue *q, __u64 now, int real)
{
	if (!real) {
		s->last_clock_ns = now;
		s->gaps = 0;
	} else if (s->ticks && (__s64)(now - s->last_tick_ns) > (__s64)(TG_GAP_PERIODS * q->period_ns)) {
		s->gaps++;
	}
	s->last_tick_ns = now;
	s->ticks++;
}

/*
 * A cell leaves the queue at `now`; `real` tells which kind. *ret_extended is
 * set to 1 if the session was given another quantum, else to 0.
 */
tg_inline enum tg_release tg_session_release(struct tg_session_state *s, const struct tg_queue *q, __u64 now,
					     int real, int *ret_extended)
{
	*ret_extended = 0;
	tg_session_note_time(s, q, now, real);
	tg_session_count_down(s, real);
	if (!real && q->slots && !s->left)
		return TG_RELEASE_IDLE;
	if (q->slots)
		*ret_extended = tg_session_spend(s, q, now);
	return real ? TG_RELEASE_REAL : TG_RELEASE_DUMMY;
}

#endif
