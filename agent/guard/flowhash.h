/* SPDX-License-Identifier: BSD-3-Clause */
/* A keyed hash of flow keys (SipHash-1-3), for tables that strangers can fill. */
#ifndef AGENT_GUARD_FLOWHASH_H
#define AGENT_GUARD_FLOWHASH_H

#include <stdint.h>
#include <string.h>

#include "shared/types.h"

static inline uint64_t flow_hash_rotate(uint64_t v, unsigned n)
{
	return v << n | v >> (64 - n);
}

static inline void flow_hash_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = flow_hash_rotate(v[1], 13) ^ v[0];
	v[0] = flow_hash_rotate(v[0], 32);
	v[2] += v[3];
	v[3] = flow_hash_rotate(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = flow_hash_rotate(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = flow_hash_rotate(v[1], 17) ^ v[2];
	v[2] = flow_hash_rotate(v[2], 32);
}

/* `seed` stands for both halves of SipHash's key: 64 unpredictable bits are plenty for a table. */
static inline uint64_t flow_hash(const struct tg_flow_key *key, uint64_t seed)
{
	uint64_t v[4] = { seed ^ 0x736f6d6570736575ull, ~seed ^ 0x646f72616e646f6dull,
			  seed ^ 0x6c7967656e657261ull, ~seed ^ 0x7465646279746573ull };
	uint64_t words[sizeof(*key) / sizeof(uint64_t)];

	memcpy(words, key, sizeof(words));
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		v[3] ^= words[i];
		flow_hash_round(v);
		v[0] ^= words[i];
	}
	v[2] ^= 0xff;
	for (int i = 0; i < 3; i++)
		flow_hash_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

#endif
