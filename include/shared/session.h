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
#include <stddef.h>

#include "dither.h"
#include "twins.h"
#include "types.h"

/* Clock cells in a row that prove a backlog count wrong: real cells overtake them, so none can be waiting. */
#define TG_STALE_TICKS 8u

/*
 * Periods without the clock cell that no queue ever shows, unless the machine stood still. With a
 * dither half a period more, for slots are 0.13 periods from the grid on the average (dither.h).
 */
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
	/* Both halves of a word, the number the lower one: one addition changes them. See below. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	__u32 admitted; /* how many real cells were admitted; wraps */
	__s32 offset;	/* steps that all cells came to (dither.h) */
#else
	__s32 offset;
	__u32 admitted;
#endif
	__u32 left;		/* slots left; 0 = no session (unless `slots` is 0: always on) */
	__u32 released;		/* highest number of a real cell that left the queue */
	__u32 stale;		/* clock cells in a row while backlog said that real ones wait */
	__u32 overdue; /* real cells that came or left since the clock cell was overdue; 0: it is not */
	__u32 fast;    /* clock cells in a row that came too fast; TG_FAST_TICKS: nothing paces them */
	__u32 queue;   /* whose clock is this session's */
	struct tg_twins clocks; /* its clock cells */
	struct tg_twins waiting; /* those of the queue that it is to move to */
};

/* map `sessions`, ARRAY, index = first entry of the queue + peer; read it with BPF_F_LOCK */
struct tg_session {
	struct bpf_spin_lock lock;
	__u32 reserved;
	struct tg_session_state state;
};

_Static_assert(sizeof(struct tg_session) == 128, "tg_session layout");
_Static_assert(offsetof(struct tg_session, state.admitted) / 8 ==
		       offsetof(struct tg_session, state.offset) / 8,
	       "tg_session_count_cell() changes both at once");

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

/* Real cells in the queue. */
tg_inline __u32 tg_session_backlog(const struct tg_session_state *s)
{
	return s->admitted - s->released;
}

typedef __u64 __attribute__((__may_alias__)) tg_session_sums;

/*
 * A cell enters the queue, a real one or not, and will last `step` steps longer than
 * a period: one atomic addition counts both.
 */
tg_inline void tg_session_count_cell(struct tg_session_state *s, __u32 real, __s32 step)
{
	size_t at = offsetof(struct tg_session_state, admitted) & ~7ul;
	tg_session_sums *sums = (void *)((char *)s + at);

	/* when the number wraps, the carry is a step too many: it is pulled back like all others */
	__sync_fetch_and_add(sums, real + ((__u64)(__u32)step << 32));
}

/* How long a queue may be without its clock cell. */
tg_inline __u64 tg_session_grace(const struct tg_queue *q)
{
	return TG_WATCH_PERIODS * q->period_ns + (q->dither ? q->period_ns / 2 : 0);
}

/*
 * Whether the clock cell is overdue at `now`. Real cells overtake it, so each
 * one that leaves moves the time at which it is due (tg_session_note_real()),
 * and while some wait it is the queue as a whole that must not stand still.
 */
tg_inline int tg_session_watch(struct tg_session_state *s, const struct tg_queue *q, __u64 now)
{
	__u64 grace = tg_session_grace(q);

	if (!s->clock_due_ns)
		s->clock_due_ns = now + grace;
	if ((__s64)(now - s->clock_due_ns) <= 0 ||
	    (tg_session_backlog(s) && (__s64)(now - s->last_tick_ns) <= (__s64)grace))
		return 0;
	s->overdue++;
	return 1;
}

/* The cells that seem to wait are not there any more. Should one leave after all, it is taken back. */
tg_inline void tg_session_forget(struct tg_session_state *s)
{
	__u32 admitted = s->admitted;

	s->lost += admitted - s->released;
	s->released = admitted;
	s->stale = 0;
}

/* No queue with cells in it stands still for so long. One without its clock cell and with a full count would
 * admit nothing, and so never learn better. */
tg_inline int tg_session_is_stuck(const struct tg_session_state *s, const struct tg_queue *q, __u64 now)
{
	return tg_session_backlog(s) && s->ticks &&
	       (__s64)(now - s->last_tick_ns) > (__s64)(TG_STALE_TICKS * q->period_ns);
}

enum tg_admit {
	TG_ADMIT_OK,
	TG_ADMIT_STRETCH,	/* beyond the delay budget: it waits longer */
	TG_ADMIT_DROP,		/* beyond the queue's limit */
};

/*
 * A real packet arrives at `now`. Starts a session if none runs; counts it into
 * the backlog, and its step. Unless it is dropped, its number is s->admitted
 * afterwards. For who keeps the time himself, and knows his backlog.
 */
tg_inline enum tg_admit tg_session_count_in(struct tg_session_state *s, const struct tg_queue *q, __u64 now,
					    __s32 step)
{
	__u32 limit = q->overflow == TG_OVERFLOW_STRETCH ? q->limit_cells : q->budget_cells, backlog;

	/* A packet that is dropped is traffic all the same: the session must not end on it. */
	s->last_real_ns = now;
	if (q->slots && !s->left) {
		s->left = q->slots;
		s->started_ns = now;
		s->sessions++;
	}
	backlog = tg_session_backlog(s);
	if (backlog >= limit)
		return TG_ADMIT_DROP;
	tg_session_count_cell(s, 1, step);
	return backlog >= q->budget_cells ? TG_ADMIT_STRETCH : TG_ADMIT_OK;
}

/* The same for a queue with a clock cell, which may be lost, and its backlog with it. */
tg_inline enum tg_admit tg_session_admit(struct tg_session_state *s, const struct tg_queue *q, __u64 now,
					 __s32 step, int *ret_overdue)
{
	*ret_overdue = tg_session_watch(s, q, now);
	if (tg_session_is_stuck(s, q, now))
		tg_session_forget(s);
	return tg_session_count_in(s, q, now, step);
}

/*
 * tg_session_admit() where nothing but the count changes, which is nearly always:
 * a session runs on the clock of queue `index`, which is not due, and there is
 * room. The caller need not hold the lock, which costs as much as all the rest.
 * Returns 0 if it takes the lock to decide.
 *
 * Two processors that count at once may read the same number afterwards, the
 * higher one. A number is only ever too high, so of the two cells the first to
 * leave counts one as lost, and the second one takes it back: the sums stay
 * true. They may also be one cell too many for the budget. A session that ends in
 * this moment begins another quantum when the cell leaves.
 */
tg_inline int tg_session_admit_fast(struct tg_session_state *s, const struct tg_queue *q, __u32 index,
				    __u64 now, __s32 step)
{
	if (s->queue != index || (q->slots && !s->left) || now >= s->clock_due_ns ||
	    tg_session_backlog(s) >= q->budget_cells)
		return 0;
	s->last_real_ns = now;
	tg_session_count_cell(s, 1, step);
	return 1;
}

/*
 * How much longer than a period the next cell to enter the queue lasts, in steps: nothing, or what
 * was drawn. It counts when the cell has entered.
 */
tg_inline __s32 tg_session_step(const struct tg_session_state *s, const struct tg_queue *q, __u32 draw)
{
	return q->dither ? tg_dither_step(s->offset, draw) : 0;
}

/* A cell that leaves the queue. */
struct tg_cell {
	__u64 now;
	__u64 waited_ns;	/* real: how long it was in the queue */
	__u32 number;		/* real: as it was admitted; clock: which one it is */
	__u32 real;		/* 0 = the clock cell */
	__u32 queue;		/* whose clock let it go */
};

enum tg_release {
	TG_RELEASE_REAL,	/* send this cell */
	TG_RELEASE_DUMMY,	/* send a copy of the clock cell */
	TG_RELEASE_IDLE,	/* send nothing */
	TG_RELEASE_DROP,	/* nothing paces the queue: drop the cell */
	TG_RELEASE_STRAY,	/* a clock cell that was replaced: drop it */
	TG_RELEASE_RETIRE,	/* the clock cell of a queue that the session has left: drop it */
};

struct tg_release_notes {
	int extended;		/* the session was given another quantum */
	int overdue;		/* the clock cell is missing */
	__u16 twin; /* a copy of this clock cell is to go round as well, under this number; 0: none */
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
	if (!tg_session_backlog(s) && tg_session_silent(s, q, now))
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
	if (!tg_session_backlog(s))
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
	s->clock_due_ns = now + tg_session_grace(q);
	s->overdue = 0;
	s->ticks++;
}

/*
 * One that waited already when the cell before left has used the time since then, however
 * long it was. One that came later has used one slot: the time until it came
 * was the clock cell's. What a dither takes from slots it gives to others, and those who come
 * once a period seem to wait in the short ones and to be late for the long ones: each is a period.
 */
tg_inline int tg_session_note_real(struct tg_session_state *s, const struct tg_queue *q,
				   const struct tg_cell *cell)
{
	__u64 since = cell->now - s->last_tick_ns;
	int overdue = 0;

	if ((__s64)since < 0 || !s->ticks)
		since = 0;
	if (q->dither && since < q->period_ns && 2 * since >= q->period_ns)
		since = q->period_ns;
	if (s->clock_due_ns) {
		s->clock_due_ns += cell->waited_ns >= since ? since : q->period_ns;
		overdue = (__s64)(cell->now - s->clock_due_ns) > 0;
	}
	s->overdue += (__u32)overdue;
	s->last_tick_ns = cell->now;
	s->ticks++;
	return overdue;
}

/* A slot comes, with a real cell or without one. */
tg_inline enum tg_release tg_session_use_slot(struct tg_session_state *s, const struct tg_queue *q,
					      const struct tg_cell *cell, struct tg_release_notes *ret_notes)
{
	if (!cell->real && q->slots && !s->left)
		return TG_RELEASE_IDLE;
	if (q->slots)
		ret_notes->extended = tg_session_spend(s, q, cell->now);
	return cell->real ? TG_RELEASE_REAL : TG_RELEASE_DUMMY;
}

/* The same for who keeps the time himself: no clock cell goes round that could be lost or run too fast. */
tg_inline enum tg_release tg_session_slot(struct tg_session_state *s, const struct tg_queue *q,
					  const struct tg_cell *cell, struct tg_release_notes *ret_notes)
{
	*ret_notes = (struct tg_release_notes){ 0 };
	if (cell->real)
		tg_session_count_real(s, cell->number);
	else
		s->last_clock_ns = cell->now;
	s->last_tick_ns = cell->now;
	s->ticks++;
	return tg_session_use_slot(s, q, cell, ret_notes);
}

/*
 * A clock cell of another queue. A queue's depth cannot be changed: where a
 * reload needs more, the sessions move one by one to a queue that shares their
 * entries. Its clock cell goes round in silence until the old queue has let the
 * last real cell go; then the new clock takes over. Early in the old one's period
 * its cell still sends nothing: no gap is shorter than half a period, none longer
 * than one and a half. Returns 1 while the cell is not of the session's clock.
 */
tg_inline int tg_session_move(struct tg_session_state *s, const struct tg_queue *q,
			      const struct tg_cell *cell, struct tg_release_notes *ret_notes,
			      enum tg_release *ret_release)
{
	*ret_release = TG_RELEASE_RETIRE;
	if (cell->queue != q->next)
		return 1;
	*ret_release = TG_RELEASE_STRAY;
	if (!tg_twins_seen(&s->waiting, (__u16)cell->number, &ret_notes->twin))
		return 1;
	*ret_release = TG_RELEASE_IDLE;
	if (tg_session_is_stuck(s, q, cell->now))
		tg_session_forget(s);
	if (tg_session_backlog(s))
		return 1;
	s->queue = cell->queue;
	s->clocks = s->waiting;
	return tg_session_is_fast(s, q, cell->now, 2);
}

/* A clock cell goes into the loop of that queue, as one of two: returns its number. */
tg_inline __u16 tg_session_start_clock(struct tg_session_state *s, __u32 queue, __u32 which)
{
	return tg_twins_start(queue == s->queue ? &s->clocks : &s->waiting, which);
}

/* A cell leaves the queue. */
tg_inline enum tg_release tg_session_release(struct tg_session_state *s, const struct tg_queue *q,
					     const struct tg_cell *cell, struct tg_release_notes *ret_notes)
{
	enum tg_release other;

	ret_notes->extended = ret_notes->overdue = 0;
	ret_notes->twin = 0;
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
		if (cell->queue != s->queue) {
			if (tg_session_move(s, q, cell, ret_notes, &other))
				return other;
		} else if (!tg_twins_seen(&s->clocks, (__u16)cell->number, &ret_notes->twin)) {
			return TG_RELEASE_STRAY;
		}
		tg_session_count_clock(s);
		tg_session_note_clock(s, q, cell->now);
		if (s->fast >= TG_FAST_TICKS)
			return TG_RELEASE_DROP;
	}
	return tg_session_use_slot(s, q, cell, ret_notes);
}

#endif
