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

/* Periods without the clock cell that no queue ever shows, unless the machine stood still. */
#define TG_WATCH_PERIODS 2u

/*
 * Clock cells in a row, each less than half a period behind the cell before it,
 * that prove that nothing paces the queue. Late processing makes up to three: two
 * clock cells that waited for the processor, and the one that the clock's half a cell of
 * spare tokens lets go.
 */
#define TG_FAST_TICKS 6u

struct tg_session_state {
	__u64 started_ns;	/* first real packet of the running or the last session */
	__u64 last_real_ns;	/* newest real packet */
	__u64 last_tick_ns;	/* newest cell, real or clock, to leave the queue */
	__u64 last_clock_ns;	/* newest clock cell to leave the queue */
	__u64 clock_due_ns;	/* when the next clock cell is overdue, given that no other real cell comes */
	__u64 sessions;		/* sessions started */
	__u64 extensions;	/* quanta added because the session was not idle at its end */
	__u64 ticks;		/* cells that left the queue, real and clock */
	__u64 lost;		/* real cells that were admitted and never left the queue */
	__u32 left;		/* slots left; 0 = no session (unless `slots` is 0: always on) */
	__u32 admitted;		/* number of the newest real cell that was admitted; wraps */
	__u32 released;		/* highest number of a real cell that left the queue */
	__u32 backlog;		/* real cells in the queue: admitted - released */
	__u32 stale;		/* clock cells in a row while backlog said that real ones wait */
	__u32 overdue; /* real cells that came or left since the clock cell was overdue; 0: it is not */
	__u32 fast;    /* clock cells in a row that came too fast; TG_FAST_TICKS: nothing paces them */
	__u32 reserved;
};

/* map `sessions`, ARRAY, index = first entry of the queue + peer; read it with BPF_F_LOCK */
struct tg_session {
	struct bpf_spin_lock lock;
	__u32 reserved;
	struct tg_session_state state;
};

_Static_assert(sizeof(struct tg_session) == 112, "tg_session layout");

/* A time as a queued cell carries it: it wraps after 18 minutes, and no cell waits for so long. */
#define TG_STAMP_SHIFT 8

tg_inline __u32 tg_stamp(__u64 ns)
{
	return (__u32)(ns >> TG_STAMP_SHIFT);
}

/* How long ago it was, true to 256 ns; a stamp from the future (another CPU's clock is ahead) is now. */
tg_inline __u64 tg_stamp_age(__u32 stamp, __u64 now)
{
	__u32 age = tg_stamp(now) - stamp;

	return (__s32)age < 0 ? 0 : (__u64)age << TG_STAMP_SHIFT;
}

/*
 * Whether the clock cell is overdue at `now`. Real cells overtake it, so each
 * one that leaves moves the time at which it is due (tg_session_note_real()),
 * and while some wait it is the queue as a whole that must not stand still.
 */
tg_inline int tg_session_watch(struct tg_session_state *s, const struct tg_queue *q, __u64 now)
{
	__u64 grace = TG_WATCH_PERIODS * q->period_ns;

	if (!s->clock_due_ns)
		s->clock_due_ns = now + grace;
	if ((__s64)(now - s->clock_due_ns) <= 0 ||
	    (s->backlog && (__s64)(now - s->last_tick_ns) <= (__s64)grace))
		return 0;
	s->overdue++;
	return 1;
}

/* The cells that seem to wait are not there any more. Should one leave after all, it is taken back. */
tg_inline void tg_session_forget(struct tg_session_state *s)
{
	s->lost += s->backlog;
	s->released = s->admitted;
	s->backlog = 0;
	s->stale = 0;
}

/* No queue with cells in it stands still for so long. One without its clock cell and with a full count would
 * admit nothing, and so never learn better. */
tg_inline int tg_session_is_stuck(const struct tg_session_state *s, const struct tg_queue *q, __u64 now)
{
	return s->backlog && s->ticks &&
	       (__s64)(now - s->last_tick_ns) > (__s64)(TG_STALE_TICKS * q->period_ns);
}

enum tg_admit {
	TG_ADMIT_OK,
	TG_ADMIT_STRETCH,	/* beyond the delay budget: it waits longer */
	TG_ADMIT_DROP,		/* beyond the queue's limit */
};

/*
 * A real packet arrives at `now`. Starts a session if none runs; counts it into
 * the backlog. Unless it is dropped, its number is s->admitted afterwards.
 */
tg_inline enum tg_admit tg_session_admit(struct tg_session_state *s, const struct tg_queue *q, __u64 now,
					 int *ret_overdue)
{
	__u32 limit = q->overflow == TG_OVERFLOW_STRETCH ? q->limit_cells : q->budget_cells;

	/* A packet that is dropped is traffic all the same: the session must not end on it. */
	s->last_real_ns = now;
	*ret_overdue = tg_session_watch(s, q, now);
	if (tg_session_is_stuck(s, q, now))
		tg_session_forget(s);
	if (q->slots && !s->left) {
		s->left = q->slots;
		s->started_ns = now;
		s->sessions++;
	}
	if (s->backlog >= limit)
		return TG_ADMIT_DROP;
	s->admitted++;
	return s->backlog++ >= q->budget_cells ? TG_ADMIT_STRETCH : TG_ADMIT_OK;
}

/* A cell that leaves the queue. */
struct tg_cell {
	__u64 now;
	__u64 waited_ns;	/* real: how long it was in the queue */
	__u32 number;		/* real: as it was admitted */
	__u32 real;		/* 0 = the clock cell */
};

enum tg_release {
	TG_RELEASE_REAL,	/* send this cell */
	TG_RELEASE_DUMMY,	/* send a copy of the clock cell */
	TG_RELEASE_IDLE,	/* send nothing */
	TG_RELEASE_DROP,	/* nothing paces the queue: drop the cell */
};

struct tg_release_notes {
	int extended;		/* the session was given another quantum */
	int overdue;		/* the clock cell is missing */
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

/* Everything that was admitted before a cell that leaves is gone: the queue keeps the order. */
tg_inline void tg_session_count_real(struct tg_session_state *s, __u32 number)
{
	__s32 ahead = (__s32)(number - s->released);

	s->stale = 0;
	if ((__s32)(number - s->admitted) > 0)
		return;		/* from before the state was cleared */
	if (ahead > 0) {
		s->lost += (__u32)ahead - 1;
		s->released = number;
		s->backlog = s->admitted - number;
	} else if (s->lost) {
		s->lost--;	/* two CPUs: numbered first, queued second */
	}
}

/*
 * The queue hands out a clock cell only when no real cell waits: several in a
 * row tell that those which were admitted have vanished (device down, queue purged).
 */
tg_inline void tg_session_count_clock(struct tg_session_state *s)
{
	if (!s->backlog)
		s->stale = 0;
	else if (++s->stale >= TG_STALE_TICKS)
		tg_session_forget(s);
}

/* Whether it is less than a part of a period since the cell before. A clock that stands still tells nothing.
 */
tg_inline int tg_session_is_fast(const struct tg_session_state *s, const struct tg_queue *q, __u64 now,
				 __u32 part)
{
	__s64 gap = (__s64)(now - s->last_tick_ns);

	return s->ticks && gap > 0 && part * (__u64)gap < q->period_ns;
}

tg_inline void tg_session_note_clock(struct tg_session_state *s, const struct tg_queue *q, __u64 now)
{
	if (!tg_session_is_fast(s, q, now, 2))
		s->fast = 0;
	else if (s->fast < TG_FAST_TICKS)
		s->fast++;
	s->last_clock_ns = s->last_tick_ns = now;
	s->clock_due_ns = now + TG_WATCH_PERIODS * q->period_ns;
	s->overdue = 0;
	s->ticks++;
}

/*
 * One that waited already when the cell before left has used the time since then, however
 * long it was. One that came later has used one slot: the time until it came
 * was the clock cell's.
 */
tg_inline int tg_session_note_real(struct tg_session_state *s, const struct tg_queue *q,
				   const struct tg_cell *cell)
{
	__u64 since = cell->now - s->last_tick_ns;
	int overdue = 0;

	if ((__s64)since < 0 || !s->ticks)
		since = 0;
	if (s->clock_due_ns) {
		s->clock_due_ns += cell->waited_ns >= since ? since : q->period_ns;
		overdue = (__s64)(cell->now - s->clock_due_ns) > 0;
	}
	s->overdue += (__u32)overdue;
	s->last_tick_ns = cell->now;
	s->ticks++;
	return overdue;
}

/* A cell leaves the queue. */
tg_inline enum tg_release tg_session_release(struct tg_session_state *s, const struct tg_queue *q,
					     const struct tg_cell *cell, struct tg_release_notes *ret_notes)
{
	ret_notes->extended = ret_notes->overdue = 0;
	if (cell->real) {
		tg_session_count_real(s, cell->number);
		/*
		 * So that a queue without its clock sends no burst: no more than four times the rate. The
		 * clock itself never lets two cells close up to less than half a period.
		 */
		if ((s->fast >= TG_FAST_TICKS || s->overdue > TG_FAST_TICKS) &&
		    tg_session_is_fast(s, q, cell->now, 4))
			return TG_RELEASE_DROP;
		ret_notes->overdue = tg_session_note_real(s, q, cell);
	} else {
		tg_session_count_clock(s);
		tg_session_note_clock(s, q, cell->now);
		if (s->fast >= TG_FAST_TICKS)
			return TG_RELEASE_DROP;
		if (q->slots && !s->left)
			return TG_RELEASE_IDLE;
	}
	if (q->slots)
		ret_notes->extended = tg_session_spend(s, q, cell->now);
	return cell->real ? TG_RELEASE_REAL : TG_RELEASE_DUMMY;
}

#endif
