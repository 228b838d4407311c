/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * The `wtf-pad` defence: adaptive padding (Shmatikov and Wang, ESORICS 2006) in
 * the form of Juarez et al. (ESORICS 2016). Two histograms of intervals hold
 * tokens. After a real packet the machine is in burst mode: it draws an
 * interval from `burst`, and if no real packet comes before that is over, it
 * sends a dummy and goes to gap mode, where it draws from `gap` and sends
 * dummies until it draws infinity (back to burst mode) or a real packet comes.
 * Infinity in burst mode: idle until the next real packet.
 *
 * Every interval takes one token: an interval that a dummy ended, the one that
 * was drawn; an interval that a real packet ended, that of the interval's own
 * length (or of the next longer one that has any); infinity, its own. An empty
 * histogram is filled again. Pure functions, as in session.h.
 */
#ifndef TG_SHARED_WTFPAD_H
#define TG_SHARED_WTFPAD_H

#include "types.h"

enum tg_wtfpad_mode {
	TG_WTFPAD_IDLE,
	TG_WTFPAD_BURST_DRAW,	/* burst mode, the interval is to be drawn */
	TG_WTFPAD_BURST_WAIT,	/* a dummy is due at due_ns unless a real packet comes before */
	TG_WTFPAD_GAP_DRAW,
	TG_WTFPAD_GAP_WAIT,
};

struct tg_wtfpad_state {
	__u16 burst[TG_MAX_BINS + 1]; /* tokens left; the last bin is infinity */
	__u16 gap[TG_MAX_BINS + 1];
	__u32 bin;		/* of the interval that was drawn */
};

#define TG_NO_BIN (TG_MAX_BINS + 1u)

/*
 * 1 if a < b, both below 2^63, without a branch: the verifier would follow each
 * of them in each round. The empty statement keeps the compiler from seeing the
 * comparison in it and making a branch of it again.
 */
tg_inline __u64 tg_less(__u64 a, __u64 b)
{
	__u64 difference = a - b;

	__asm__ volatile("" : "+r"(difference));
	return difference >> 63;
}

tg_inline __u32 tg_tokens_left(const __u16 *tokens)
{
	__u32 i, sum = 0;

	for (i = 0; i <= TG_MAX_BINS; i++)
		sum += tokens[i];
	return sum;
}

tg_inline void tg_tokens_fill(__u16 *tokens, const struct tg_histogram *h)
{
	__u32 i;

	for (i = 0; i <= TG_MAX_BINS; i++)
		tokens[i] = h->tokens[i];
}

/* The bin that holds the token number `rank`, counted from 0 over all bins. */
tg_inline __u32 tg_tokens_bin(const __u16 *tokens, __u32 rank)
{
	__u32 i, bin = 0, sum = 0;

	for (i = 0; i < TG_MAX_BINS; i++) {
		sum += tokens[i];
		bin += 1 - (__u32)tg_less(rank, sum);
	}
	return bin;
}

/* Bin i holds intervals above edge i and up to edge i + 1. */
tg_inline __u32 tg_histogram_bin(const struct tg_histogram *h, __u64 ns)
{
	__u64 us = (ns + 999) / 1000;
	__u32 i, bin = 0;

	for (i = 0; i < TG_MAX_BINS; i++)
		bin += (__u32)tg_less(h->edge_us[i + 1], us);
	return bin;
}

/* Removes a token of `bin`, or of the next higher one that has any. */
tg_inline void tg_tokens_remove(__u16 *tokens, __u32 bin)
{
	__u32 i, below = 1;

	for (i = 0; i <= TG_MAX_BINS; i++) {
		/* 1 in the first bin from `bin` on that has tokens, if there was none before it */
		__u32 hit = below & (__u32)(1 - tg_less(i, bin)) & (__u32)tg_less(0, tokens[i]);

		tokens[i] -= (__u16)hit;
		below -= hit;
	}
}

/* A draw: the bin, infinity included. Fills an empty histogram first. */
tg_inline __u32 tg_wtfpad_draw(__u16 *tokens, const struct tg_histogram *h, __u32 random)
{
	__u32 left = tg_tokens_left(tokens);

	if (!left) {
		tg_tokens_fill(tokens, h);
		left = tg_tokens_left(tokens);
	}
	return tg_tokens_bin(tokens, (__u32)(((__u64)random * left) >> 32));
}

/* Uniform within a bin below TG_MAX_BINS. */
tg_inline __u64 tg_wtfpad_interval(const struct tg_histogram *h, __u32 bin, __u32 random)
{
	__u64 lo = h->edge_us[bin], width = h->edge_us[bin + 1] - lo;

	return lo * 1000 + ((((width * random) >> 22) * 1000) >> 10);
}

/* The interval before a packet was `ns` long and ended with a real one. */
tg_inline void tg_wtfpad_measured(__u16 *tokens, const struct tg_histogram *h, __u64 ns)
{
	if (!tg_tokens_left(tokens))
		tg_tokens_fill(tokens, h);
	tg_tokens_remove(tokens, tg_histogram_bin(h, ns));
}

#endif
