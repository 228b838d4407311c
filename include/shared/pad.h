/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Padding arithmetic: pure functions, the same text in the BPF programs and in
 * the host tests.
 */
#ifndef TG_SHARED_PAD_H
#define TG_SHARED_PAD_H

#include "types.h"

/* WireGuard rounds its plaintext up to this, capped by the MTU (its white paper, section 5.4.6). */
#define TG_WG_ALIGN 16u

tg_inline __u32 tg_pad_pow2(__u32 len, __u32 cell)
{
	__u32 size = 64;
	int i;

	for (i = 0; i < 8 && size < len; i++)
		size <<= 1;
	return size < len || size > cell ? cell : size;
}

/* Uniform over {aligned(len), aligned(len)+16, ..., cell}; `random` must be unpredictable. */
tg_inline __u32 tg_pad_uniform(__u32 len, __u32 cell, __u32 random)
{
	__u32 first = (len + TG_WG_ALIGN - 1) & ~(TG_WG_ALIGN - 1);
	__u32 steps, size;

	if (first >= cell)
		return cell;
	steps = (cell - first + TG_WG_ALIGN - 1) / TG_WG_ALIGN + 1;
	/* Lemire's multiply-shift: bias below steps / 2^32 */
	size = first + (__u32)(((__u64)random * steps) >> 32) * TG_WG_ALIGN;
	return size > cell ? cell : size;
}

tg_inline __u32 tg_pad_bucket(const struct tg_class *class, __u32 len)
{
	int i;

	for (i = 0; i < TG_MAX_BUCKETS; i++) {
		if (i >= class->bucket_count)
			break;
		if (len <= class->buckets[i])
			return class->buckets[i];
	}
	return class->cell;
}

/*
 * Size to which a packet of `len` bytes is padded under `class`, or 0 if the
 * class has no size that holds it.
 */
tg_inline __u32 tg_pad_target(const struct tg_class *class, __u32 len, __u32 random)
{
	if (len > class->cell)
		return 0;
	switch (class->pad_mode) {
	case TG_PAD_CELL:
		return class->cell;
	case TG_PAD_BUCKETS:
		return tg_pad_bucket(class, len);
	case TG_PAD_POW2:
		return tg_pad_pow2(len, class->cell);
	case TG_PAD_UNIFORM:
		return tg_pad_uniform(len, class->cell, random);
	default:
		return 0;
	}
}

#endif
