/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * SipHash-2-4 (Aumasson and Bernstein 2012) of one 64-bit word: random words for
 * the programs of the kernel, whose own generator is linear. Who has seen some
 * hundred bits of that one knows all that follow.
 */
#ifndef TG_SHARED_SIPHASH_H
#define TG_SHARED_SIPHASH_H

#include <linux/types.h>

#include "limits.h"

struct tg_siphash_key {
	__u64 word[2];
};

struct tg_siphash {
	__u64 v0, v1, v2, v3;
};

tg_inline __u64 tg_siphash_rotate(__u64 value, __u32 by)
{
	return value << by | value >> (64 - by);
}

tg_inline void tg_siphash_round(struct tg_siphash *s)
{
	s->v0 += s->v1;
	s->v2 += s->v3;
	s->v1 = tg_siphash_rotate(s->v1, 13) ^ s->v0;
	s->v3 = tg_siphash_rotate(s->v3, 16) ^ s->v2;
	s->v0 = tg_siphash_rotate(s->v0, 32);
	s->v2 += s->v1;
	s->v0 += s->v3;
	s->v1 = tg_siphash_rotate(s->v1, 17) ^ s->v2;
	s->v3 = tg_siphash_rotate(s->v3, 21) ^ s->v0;
	s->v2 = tg_siphash_rotate(s->v2, 32);
}

tg_inline void tg_siphash_absorb(struct tg_siphash *s, __u64 word)
{
	s->v3 ^= word;
	tg_siphash_round(s);
	tg_siphash_round(s);
	s->v0 ^= word;
}

/* Of the eight bytes of `word`, the lowest first. */
tg_inline __u64 tg_siphash_word(const struct tg_siphash_key *key, __u64 word)
{
	struct tg_siphash s = { key->word[0] ^ 0x736f6d6570736575ull, key->word[1] ^ 0x646f72616e646f6dull,
				key->word[0] ^ 0x6c7967656e657261ull, key->word[1] ^ 0x7465646279746573ull };

	tg_siphash_absorb(&s, word);
	tg_siphash_absorb(&s, 8ull << 56);
	s.v2 ^= 0xff;
	tg_siphash_round(&s);
	tg_siphash_round(&s);
	tg_siphash_round(&s);
	tg_siphash_round(&s);
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

#endif
