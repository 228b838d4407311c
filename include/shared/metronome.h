/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * The defences that delay nothing and send dummies at times of their own
 * choice: pure functions over explicit state, with time and randomness as
 * parameters. The caller holds the lock of the map value that contains the
 * state, and calls
 *
 *	tg_metronome_real	for each real packet of the class
 *	tg_metronome_beat	at each tick, until it returns 0: 1 = send a dummy now
 *	tg_metronome_turn	then, for the time of the next tick
 */
#ifndef TG_SHARED_METRONOME_H
#define TG_SHARED_METRONOME_H

#include <linux/bpf.h>

#include "front.h"
#include "twins.h"
#include "wtfpad.h"

/* Dummies of one tick; what is due beyond that waits for the next one, so that no stall ends in a burst. */
#define TG_METRONOME_DUMMIES 4u
/* Random words that one beat may use. */
#define TG_METRONOME_WORDS 4u
/* Ticks without the clock packet that no clock ever shows, unless the machine stood still. */
#define TG_METRONOME_GAP 3u

struct tg_metronome_state {
	__u64 started_ns;	/* first real packet of the running or the last session */
	__u64 last_real_ns;	/* newest real packet */
	__u64 last_ns;		/* newest packet, real or dummy */
	__u64 last_tick_ns;	/* newest tick; 0 = none yet */
	__u64 due_ns;		/* the next dummy, while `mode` waits for it */
	__u64 sessions;		/* sessions started */
	__u64 dummies;		/* dummies decided on */
	__u64 ticks;
	__u32 mode;		/* enum tg_front_mode or enum tg_wtfpad_mode */
	__u32 gaps; /* real packets that found the clock silent since its newest tick: is it lost? */
	struct tg_twins clocks; /* the packets that go round */
	struct tg_front_state front;
	struct tg_wtfpad_state wtfpad;
};

/* map `metronome_state`, ARRAY[TG_MAX_CLASSES], index = class; read it with BPF_F_LOCK */
struct tg_metronome_session {
	struct bpf_spin_lock lock;
	__u32 reserved;
	struct tg_metronome_state state;
};

_Static_assert(sizeof(struct tg_metronome_session) == 184, "tg_metronome_session layout");

/* Two processors read the clock before they take the lock: what seems to come from the future is now. */
tg_inline __u64 tg_since(__u64 now, __u64 then)
{
	return then < now ? now - then : 0;
}

tg_inline void tg_metronome_real_front(struct tg_metronome_state *s, const struct tg_metronome *m, __u64 now)
{
	if (s->sessions && tg_since(now, s->last_real_ns) < m->idle_ns)
		return;
	/* What an earlier session has not sent yet falls away: each session has the dummies of one draw. */
	s->mode = TG_FRONT_START;
	s->started_ns = now;
	s->sessions++;
}

tg_inline void tg_metronome_real_wtfpad(struct tg_metronome_state *s, const struct tg_metronome *m, __u64 now)
{
	__u64 interval = tg_since(now, s->last_ns);

	if (s->mode == TG_WTFPAD_IDLE) {
		s->started_ns = now;
		s->sessions++;
	} else if (s->mode < TG_WTFPAD_GAP_DRAW) {
		tg_wtfpad_measured(s->wtfpad.burst, &m->burst, interval);
	} else {
		tg_wtfpad_measured(s->wtfpad.gap, &m->gap, interval);
	}
	s->mode = TG_WTFPAD_BURST_DRAW;
}

/* A real packet leaves at `now`. */
tg_inline void tg_metronome_real(struct tg_metronome_state *s, const struct tg_metronome *m, __u64 now)
{
	if (s->last_tick_ns && tg_since(now, s->last_tick_ns) > TG_METRONOME_GAP * m->tick_ns)
		s->gaps++;
	if (m->defence == TG_DEFENCE_FRONT)
		tg_metronome_real_front(s, m, now);
	else
		tg_metronome_real_wtfpad(s, m, now);
	s->last_real_ns = now;
	s->last_ns = now;
}

tg_inline int tg_metronome_beat_front(struct tg_metronome_state *s, const struct tg_metronome *m,
				      const struct tg_exponential *table, __u64 now, const __u32 *random)
{
	struct tg_front_state *f = &s->front;

	if (s->mode == TG_FRONT_START) {
		tg_front_start(f, m, random[0], random[1]);
		s->mode = TG_FRONT_NEXT;
	}
	if (s->mode == TG_FRONT_NEXT) {
		s->due_ns = s->started_ns + tg_front_next(f, table, random[2], random[3]);
		s->mode = TG_FRONT_WAIT;
	}
	if (s->mode != TG_FRONT_WAIT || s->due_ns > now)
		return 0;
	f->sent++;
	s->mode = f->sent < f->planned ? TG_FRONT_NEXT : TG_FRONT_REST;
	return 1;
}

/* Draws the interval of a mode. Infinity: on to the mode `after`. */
tg_inline void tg_metronome_draw_wtfpad(struct tg_metronome_state *s, __u16 *tokens,
					const struct tg_histogram *h, __u32 after, const __u32 *random)
{
	__u32 bin = tg_wtfpad_draw(tokens, h, random[0]);

	if (bin >= TG_MAX_BINS) {
		tokens[TG_MAX_BINS]--;
		s->mode = after;
		return;
	}
	s->wtfpad.bin = bin;
	s->due_ns = s->last_ns + tg_wtfpad_interval(h, bin, random[1]);
	s->mode++;
}

tg_inline int tg_metronome_beat_wtfpad(struct tg_metronome_state *s, const struct tg_metronome *m, __u64 now,
				       const __u32 *random)
{
	struct tg_wtfpad_state *w = &s->wtfpad;

	if (s->mode == TG_WTFPAD_BURST_DRAW)
		tg_metronome_draw_wtfpad(s, w->burst, &m->burst, TG_WTFPAD_IDLE, random);
	else if (s->mode == TG_WTFPAD_GAP_DRAW)
		tg_metronome_draw_wtfpad(s, w->gap, &m->gap, TG_WTFPAD_BURST_DRAW, random);
	if ((s->mode != TG_WTFPAD_BURST_WAIT && s->mode != TG_WTFPAD_GAP_WAIT) || s->due_ns > now)
		return 0;
	tg_tokens_remove(s->mode == TG_WTFPAD_BURST_WAIT ? w->burst : w->gap, w->bin);
	s->mode = TG_WTFPAD_GAP_DRAW;
	s->last_ns = now;
	return 1;
}

/* Whether a dummy is due at `now`; `random` holds TG_METRONOME_WORDS fresh words. */
tg_inline int tg_metronome_beat(struct tg_metronome_state *s, const struct tg_metronome *m,
				const struct tg_exponential *table, __u64 now, const __u32 *random)
{
	int due;

	if (m->defence == TG_DEFENCE_FRONT)
		due = tg_metronome_beat_front(s, m, table, now, random);
	else
		due = tg_metronome_beat_wtfpad(s, m, now, random);
	s->dummies += due;
	return due;
}

tg_inline int tg_metronome_waits(const struct tg_metronome_state *s, const struct tg_metronome *m)
{
	if (m->defence == TG_DEFENCE_FRONT)
		return s->mode == TG_FRONT_WAIT;
	return s->mode == TG_WTFPAD_BURST_WAIT || s->mode == TG_WTFPAD_GAP_WAIT;
}

/*
 * The tick at `now` is done. Returns when the next one is wanted: at the next
 * dummy's time, yet never later than a tick from now, for a real packet may
 * come and change it.
 */
tg_inline __u64 tg_metronome_turn(struct tg_metronome_state *s, const struct tg_metronome *m, __u64 now)
{
	__u64 next = now + m->tick_ns;

	s->last_tick_ns = now;
	s->ticks++;
	s->gaps = 0;
	if (tg_metronome_waits(s, m) && s->due_ns < next)
		next = s->due_ns;
	return next > now ? next : now;
}

#endif
