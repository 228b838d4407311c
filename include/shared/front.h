/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * The `front` defence (Gong and Wang, USENIX Security 2020): a session gets
 * n ~ U{1..N} dummies at the times w * sqrt(-2 ln U) from its start, with
 * w ~ U(Wmin, Wmax), drawn anew for each session and by each end on its own.
 *
 * The dummies are needed in order, and there is no room for an array of them:
 * the order statistics of n exponentials E follow one another by
 * E_(k+1) = E_k + X / (n - k) with X ~ Exp(1) (Renyi 1953), and the k-th dummy
 * is due at w * sqrt(2 E_k). Pure functions, as in session.h.
 */
#ifndef TG_SHARED_FRONT_H
#define TG_SHARED_FRONT_H

#include "exponential.h"

enum tg_front_mode {
	TG_FRONT_REST,		/* no session, or all of its dummies are sent */
	TG_FRONT_START,		/* a session began: n and w are to be drawn */
	TG_FRONT_NEXT,		/* the next dummy's time is to be drawn */
	TG_FRONT_WAIT,		/* a dummy is due at due_ns */
};

struct tg_front_state {
	__u64 energy;		/* E_k, in units of 2^-32 */
	__u32 window_us;	/* w */
	__u32 planned;		/* n */
	__u32 sent;		/* k */
	__u32 reserved;
};

/* Twice this and 24 more bits fit into 64 bits; no draw comes near: P(E > 63) < n * e^-63. */
#define TG_FRONT_MAX_ENERGY (63ull << 32)

/* w * sqrt(2 E) in nanoseconds; exact to 2^-28 of w and to 4 ns */
tg_inline __u64 tg_front_time(__u32 window_us, __u64 energy)
{
	__u64 root = tg_square_root((2 * energy) << 24); /* in units of 2^-28 */

	return ((((__u64)window_us * root) >> 18) * 1000) >> 10;
}

tg_inline void tg_front_start(struct tg_front_state *f, const struct tg_metronome *m, __u32 random_n,
			      __u32 random_w)
{
	__u64 width = (__u64)m->window_max_us - m->window_min_us + 1;

	f->planned = 1 + (__u32)(((__u64)random_n * m->dummies) >> 32);
	f->window_us = m->window_min_us + (__u32)((random_w * width) >> 32);
	f->energy = 0;
	f->sent = 0;
}

/* Time of the next dummy from the session's start. One must be left. */
tg_inline __u64 tg_front_next(struct tg_front_state *f, const struct tg_exponential *table, __u32 random,
			      __u32 more)
{
	__u64 x = tg_exponential_draw(table, random, more);

	f->energy += (x << 8) / (f->planned - f->sent);
	if (f->energy > TG_FRONT_MAX_ENERGY)
		f->energy = TG_FRONT_MAX_ENERGY;
	return tg_front_time(f->window_us, f->energy);
}

#endif
