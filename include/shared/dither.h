/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * The dither of a `constant` class: what a cell costs is not exactly a period, but up to a sixteenth
 * of one more or less, drawn for each cell when it enters the queue, by one law for real cells and
 * clock cells. The microseconds by which a processor that a real packet has just woken is faster
 * drown in it. Pure functions: the draws are parameters.
 *
 * Costs are drawn for cells, and not times for slots, because nobody knows a cell's slot when it
 * enters: real cells overtake the clock cells. Were the costs independent, the slots would wander
 * from the grid like a random walk. So each draw is pulled back a little by what all cells before
 * it cost too much, 1/32 of it, and slots stay near the grid (standard deviation 0.13 periods). To
 * first order it makes no difference to that which of the waiting cells comes out first, so the pull
 * tells no kinds either; the second order is a hundredth of what a draw varies by.
 *
 * HTB learns the cost from the cell's length in the queue, by a size table: one byte more is one
 * step more, and the table begins again every TG_DITHER_CYCLE bytes. What leaves the queue is cut.
 */
#ifndef TG_SHARED_DITHER_H
#define TG_SHARED_DITHER_H

#include "siphash.h"

/* What a period is in HTB's bytes: large, so that the rate of one cell per period is exact. */
#define TG_CELL_COST 16384u
/* One step, in the same. */
#define TG_DITHER_UNIT 8

#define TG_DITHER_DRAWS 224	/* values of a draw */
#define TG_DITHER_MOST_PULL 15	/* steps */
#define TG_DITHER_PULL_SHIFT 5	/* 1/32 */
/* Steps are from -TG_DITHER_MOST to TG_DITHER_MOST - 1. */
#define TG_DITHER_MOST (TG_DITHER_DRAWS / 2 + TG_DITHER_MOST_PULL)
/* Entries of the size table: one per step, and two that are no step's. A power of two: division is slow. */
#define TG_DITHER_CYCLE 256u

_Static_assert(2 * TG_DITHER_MOST < TG_DITHER_CYCLE, "the last entry is no step's");
_Static_assert(TG_CELL_COST / 16 >= TG_DITHER_MOST * TG_DITHER_UNIT, "a sixteenth at most");

/* The next cell's step, where those before it came to `offset` steps; `random` has 16 bits. */
tg_inline __s32 tg_dither_step(__s32 offset, __u32 random)
{
	/* Lemire's multiply-shift: bias below 224 / 2^16 */
	__s32 draw = (__s32)((random * TG_DITHER_DRAWS) >> 16) - TG_DITHER_DRAWS / 2;
	__s32 pull = offset >> TG_DITHER_PULL_SHIFT;

	if (pull > TG_DITHER_MOST_PULL)
		pull = TG_DITHER_MOST_PULL;
	if (pull < -TG_DITHER_MOST_PULL)
		pull = -TG_DITHER_MOST_PULL;
	return draw - pull;
}

/* Length in the queue of a frame of `frame` bytes, not less than that, for HTB to read the step from. */
tg_inline __u32 tg_dither_length(__u32 frame, __s32 step)
{
	__u32 entry = (__u32)(step + TG_DITHER_MOST);

	return frame + ((entry - frame) & (TG_DITHER_CYCLE - 1));
}

/* The size table's entry. The last one is 0: what is longer begins anew with the first. */
tg_inline __u32 tg_dither_cost(__u32 entry)
{
	return entry + 1 < TG_DITHER_CYCLE
		       ? (__u32)((__s32)TG_CELL_COST + ((__s32)entry - TG_DITHER_MOST) * TG_DITHER_UNIT)
		       : 0;
}

/* Steps as a time. */
tg_inline __s64 tg_dither_ns(__s32 steps, __u64 period_ns)
{
	__s64 units = (__s64)steps * TG_DITHER_UNIT * (__s64)(period_ns / 1024);

	/* the kernel's programs have no signed division */
	return units >> 4;
}

/* ---- draws ---- */

/* map `draws`, PERCPU_ARRAY[1] */
struct tg_draws {
	__u64 counter;		/* words made so far */
	__u64 word;		/* the newest, without what was taken from it */
	__u32 left;		/* draws that it still has, of 16 bits each */
	__u32 reserved;
};

/* 16 bits of SipHash's output; `cpu` keeps the counters apart. */
tg_inline __u32 tg_dither_draw(struct tg_draws *d, const struct tg_siphash_key *key, __u32 cpu)
{
	__u32 draw;

	if (!d->left) {
		d->word = tg_siphash_word(key, (__u64)cpu << 48 | (d->counter++ & 0xffffffffffffull));
		d->left = 4;
	}
	draw = d->word & 0xffff;
	d->word >>= 16;
	d->left--;
	return draw;
}

#endif
