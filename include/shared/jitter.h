/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * The `jitter` defence: every packet waits for a random time of at most
 * `delay_ns`, and none overtakes the one ahead. Pure functions: times and random
 * words are parameters.
 *
 * uniform: over [0, delay_ns]. laplace: with its peak at half of delay_ns and a
 * scale of an eighth of it, cut off at both ends of [0, delay_ns], which leaves
 * 98 % of the distribution.
 */
#ifndef TG_SHARED_JITTER_H
#define TG_SHARED_JITTER_H

#include "exponential.h"

enum tg_distribution {
	TG_DISTRIBUTION_UNIFORM = 1,
	TG_DISTRIBUTION_LAPLACE = 2,
};

struct tg_jitter {
	__u64 delay_ns;		/* the most that is drawn */
	__u32 distribution;	/* enum tg_distribution */
	__u32 reserved;
};

/* 1 - e^-4 in units of 2^-32: the part of an exponential below 4, where the Laplace is cut off */
#define TG_JITTER_BELOW_4 4216302226u
#define TG_JITTER_SCALES 8u	/* of the Laplace in delay_ns */

/* value * random / 2^32, without the 64 bits in between running over; value is below 2^48 */
tg_inline __u64 tg_jitter_part(__u64 value, __u32 random)
{
	return ((value * (random >> 16)) >> 16) + ((value * (random & 0xffff)) >> 32);
}

/* The wait of one packet; the lowest bit of `more` chooses the side. */
tg_inline __u64 tg_jitter_draw(const struct tg_jitter *j, const struct tg_exponential *table, __u32 random,
			       __u32 more)
{
	__u32 below = (__u32)(((__u64)random * TG_JITTER_BELOW_4) >> 32);
	__u64 middle = j->delay_ns / 2, away;

	if (j->distribution == TG_DISTRIBUTION_UNIFORM)
		return tg_jitter_part(j->delay_ns + 1, random);
	away = (j->delay_ns / TG_JITTER_SCALES) * tg_exponential_inside(table, below) / TG_EXPONENTIAL_UNIT;
	if (away > middle)
		away = middle;
	return more & 1 ? middle + away : middle - away;
}

/*
 * When it leaves: not before the one ahead, which came earlier and waits no
 * longer than delay_ns either, so that this one does not.
 */
tg_inline __u64 tg_jitter_departs(__u64 arrived, __u64 drawn, __u64 ahead_departs)
{
	__u64 departs = arrived + drawn;

	return departs < ahead_departs ? ahead_departs : departs;
}

#endif
