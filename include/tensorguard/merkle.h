/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The Merkle tree hash of RFC 6962, section 2.1, with SHA-256, over leaves that
 * come one after the other. The state is plain data, 1.4 KiB whatever the
 * number of leaves: it can be stored and taken up again.
 */
#ifndef TENSORGUARD_MERKLE_H
#define TENSORGUARD_MERKLE_H

#include "tensorguard/crypto.h"

#define TG_MERKLE_LEVELS 41	/* up to 2^40 leaves */

struct tg_merkle {
	uint64_t count;		/* leaves so far */
	uint8_t roots[TG_MERKLE_LEVELS]
		     [TG_SHA256_LEN]; /* of the full subtree that each set bit of count stands for */
};

/* SHA-256(0 | data). */
int tg_merkle_leaf(const void *data, size_t len, uint8_t ret_leaf[static TG_SHA256_LEN], struct tg_error *e);

/* SHA-256(1 | left | right). `ret_hash` may be one of them. */
int tg_merkle_node(const uint8_t left[static TG_SHA256_LEN], const uint8_t right[static TG_SHA256_LEN],
		   uint8_t ret_hash[static TG_SHA256_LEN], struct tg_error *e);

/* `tree` begins as zeros. -EFBIG beyond 2^40 leaves. */
int tg_merkle_add(struct tg_merkle *tree, const uint8_t leaf[static TG_SHA256_LEN], struct tg_error *e);

/*
 * The same; also gives the roots of the full subtrees that the leaf completes: of 2^level leaves in
 * ret_made[level], for each level below *ret_levels, which is at least 1.
 */
int tg_merkle_add_seen(struct tg_merkle *tree, const uint8_t leaf[static TG_SHA256_LEN],
		       uint8_t ret_made[static TG_MERKLE_LEVELS][TG_SHA256_LEN], unsigned *ret_levels,
		       struct tg_error *e);

/* Of no leaves: the hash of nothing. `tree` can go on growing. */
int tg_merkle_root(const struct tg_merkle *tree, uint8_t ret_root[static TG_SHA256_LEN], struct tg_error *e);

#endif
