/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Exponentially distributed numbers and square roots in fixed point, without
 * floating point and without unbounded loops. The quantiles come from a table
 * that userspace computes (tensorguard/exponential.h).
 */
#ifndef TG_SHARED_EXPONENTIAL_H
#define TG_SHARED_EXPONENTIAL_H

#include "hist.h"
#include "types.h"

#define TG_EXPONENTIAL_UNIT (1u << 24)	/* 1.0 in the table and in what is drawn from it */
#define TG_EXPONENTIAL_LAST (TG_EXPONENTIAL_BINS - 1u)
#define TG_EXPONENTIAL_SHIFT 22		/* random bits below those that choose the bin: its inside */

tg_inline __u32 tg_exponential_inside(const struct tg_exponential *table, __u32 random)
{
	__u32 bin = random >> TG_EXPONENTIAL_SHIFT;
	__u32 inside = random & ((1u << TG_EXPONENTIAL_SHIFT) - 1);
	__u32 lo = table->quantile[bin & TG_EXPONENTIAL_LAST];
	__u32 hi = table->quantile[(bin & TG_EXPONENTIAL_LAST) + 1];

	return lo + (__u32)(((__u64)(hi - lo) * inside) >> TG_EXPONENTIAL_SHIFT);
}

/*
 * X ~ Exp(1) from two random words. The last bin has no upper edge: what lies
 * in it exceeds its lower edge by another exponential, for which the second
 * word serves. Beyond that edge once more (one draw in a million) the mean of
 * the rest, 1, stands for the rest.
 */
tg_inline __u32 tg_exponential_draw(const struct tg_exponential *table, __u32 random, __u32 more)
{
	__u32 edge = table->quantile[TG_EXPONENTIAL_LAST];

	if (random >> TG_EXPONENTIAL_SHIFT != TG_EXPONENTIAL_LAST)
		return tg_exponential_inside(table, random);
	if (more >> TG_EXPONENTIAL_SHIFT != TG_EXPONENTIAL_LAST)
		return edge + tg_exponential_inside(table, more);
	return 2 * edge + TG_EXPONENTIAL_UNIT;
}

/*
 * The square root, rounded down, at most one too large. Newton's method from a
 * power of two above it: the error, at first at most the root itself, is
 * squared and halved each time, so five steps leave less than one.
 */
tg_inline __u64 tg_square_root(__u64 v)
{
	__u32 log = v >> 32 ? 32 + tg_hist_log2(v >> 32) : tg_hist_log2(v);
	__u64 root = 1ull << (log / 2 + 1);

	if (!v)
		return 0;
	root = (root + v / root) >> 1;
	root = (root + v / root) >> 1;
	root = (root + v / root) >> 1;
	root = (root + v / root) >> 1;
	root = (root + v / root) >> 1;
	return root;
}

#endif
