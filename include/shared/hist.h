/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Delay histogram: four buckets per octave of microseconds. Bucket 0 holds
 * [0, 1) us, buckets 1..3 are [1,2), [2,3), [3,4); from there on bucket
 * 4 * (e - 1) + m holds [(4 + m) * 2^(e-2), (5 + m) * 2^(e-2)) us. The relative
 * width is at most a quarter; the last bucket takes everything above.
 */
#ifndef TG_SHARED_HIST_H
#define TG_SHARED_HIST_H

#include "types.h"

tg_inline __u32 tg_hist_log2(__u64 v)
{
	__u32 log = 0;

	if (v >> 16) {
		v >>= 16;
		log += 16;
	}
	if (v >> 8) {
		v >>= 8;
		log += 8;
	}
	if (v >> 4) {
		v >>= 4;
		log += 4;
	}
	if (v >> 2) {
		v >>= 2;
		log += 2;
	}
	return log + (__u32)(v >> 1);
}

tg_inline __u32 tg_hist_bucket(__u64 ns)
{
	__u64 us = ns / 1000;
	__u32 e, bucket;

	if (us < 4)
		return (__u32)us;
	if (us >> 21)
		return TG_DELAY_BUCKETS - 1;
	e = tg_hist_log2(us);
	bucket = 4 * (e - 1) + ((us >> (e - 2)) & 3);
	return bucket < TG_DELAY_BUCKETS ? bucket : TG_DELAY_BUCKETS - 1;
}

/* Lower edge of a bucket in microseconds. */
tg_inline __u64 tg_hist_floor_us(__u32 bucket)
{
	__u32 e = bucket / 4 + 1;

	if (bucket < 4)
		return bucket;
	return (__u64)(4 + bucket % 4) << (e - 2);
}

#endif
