/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * The `regulator` defence (RegulaTor: Holland and Hopper, PETS 2022): a surge
 * begins with a rate of R cells per second, which decays as R * D^t; when more
 * packets wait than T times the rate, a new surge begins. A cell is real if a
 * packet waits, else a dummy, of which a session has n ~ U{0..N}. The uplink
 * has 1/U of the rate. No packet is held for longer than C.
 *
 * Pure functions over the session's state, with time and random words as
 * parameters. Of that state `started_ns` is the beginning of the surge, `left`
 * the dummies that are left, `extensions` the surges after a session's first.
 */
#ifndef TG_SHARED_REGULATOR_H
#define TG_SHARED_REGULATOR_H

#include "session.h"

#define TG_REGULATOR_BITS 20u
/* However old the surge: a cell per second. */
#define TG_REGULATOR_SLOWEST_NS 1000000000ull
#define TG_REGULATOR_HOLD_SPARE 16u	/* this part of C is for late timers */

struct tg_regulator {
	__u64 first_ns;		/* between two cells when a surge begins: 1/R, on the uplink U/R */
	__u64 threshold_ns;	/* T: a backlog that takes longer at the present rate begins a new surge */
	__u64 hold_ns;		/* C */
	__u32 dummies;		/* N */
	__u32 reserved;
	__u32 decay
		[TG_REGULATOR_BITS]; /* D^(2^i / 1024) in units of 2^-32: t counts in 1024ths of a second */
};

/* D^t in units of 2^-32 */
tg_inline __u64 tg_regulator_decay(const struct tg_regulator *r, __u64 since_ns)
{
	__u64 t = since_ns * 2 / 1953125, left = 1ull << 32;
	__u32 i;

	if (t >> TG_REGULATOR_BITS)
		return 0;
	for (i = 0; i < TG_REGULATOR_BITS; i++)
		if (t >> i & 1)
			left = (left * r->decay[i]) >> 32;
	return left;
}

/* Between two cells, that long after the beginning of a surge. */
tg_inline __u64 tg_regulator_interval(const struct tg_regulator *r, __u64 since_ns)
{
	__u64 left = tg_regulator_decay(r, since_ns) >> 4, interval;

	if (!left)
		return TG_REGULATOR_SLOWEST_NS;
	interval = (r->first_ns << 28) / left;
	return interval < TG_REGULATOR_SLOWEST_NS ? interval : TG_REGULATOR_SLOWEST_NS;
}

tg_inline __u64 tg_regulator_interval_at(const struct tg_regulator *r, const struct tg_session_state *s,
					 __u64 now)
{
	return tg_regulator_interval(r, now > s->started_ns ? now - s->started_ns : 0);
}

/*
 * A real packet arrives. One that comes after `idle` of silence begins a
 * session, with dummies of its own, and a surge. Its number is s->admitted
 * afterwards. Returns 1 if a surge begins.
 */
tg_inline int tg_regulator_admit(struct tg_session_state *s, const struct tg_regulator *r,
				 const struct tg_queue *q, __u64 now, __u32 random)
{
	int begins = !s->sessions || tg_session_silent(s, q, now);

	if (begins) {
		s->sessions++;
		s->left = (__u32)(((__u64)random * (r->dummies + 1ull)) >> 32);
		s->started_ns = now;
	}
	s->last_real_ns = now;
	s->admitted++;
	if (begins || tg_session_backlog(s) * tg_regulator_interval_at(r, s, now) <= r->threshold_ns)
		return begins;
	s->started_ns = now;
	s->extensions++;
	return 1;
}

/* When a packet leaves though no slot has come: somewhat before C is over, which the lateness of timers must
 * not break. */
tg_inline __u64 tg_regulator_hold_end(const struct tg_regulator *r, __u64 arrived)
{
	return arrived + r->hold_ns - r->hold_ns / TG_REGULATOR_HOLD_SPARE;
}

/* When the first cell of a surge leaves, or the first one after a rest. */
tg_inline __u64 tg_regulator_first(const struct tg_session_state *s, const struct tg_regulator *r, __u64 now)
{
	__u64 next = s->last_tick_ns + tg_regulator_interval_at(r, s, now);

	return s->ticks && next > now ? next : now;
}

/* The slot after the one that was due at `due` and served at `now`: what is late is not made good by a burst.
 */
tg_inline __u64 tg_regulator_next(const struct tg_session_state *s, const struct tg_regulator *r, __u64 due,
				  __u64 now)
{
	__u64 interval = tg_regulator_interval_at(r, s, due), next = due + interval;

	return next < now + interval / 2 ? now + interval / 2 : next;
}

/* A slot comes with no packet waiting. Returns 1 if a dummy is to be sent. */
tg_inline int tg_regulator_spend(struct tg_session_state *s)
{
	if (!s->left)
		return 0;
	s->left--;
	return 1;
}

#endif
