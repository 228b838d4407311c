/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A transparency log as others read it: C2SP tlog-tiles, tlog-checkpoint, signed-note and tlog-proof, over
 * the Merkle tree of RFC 6962 with SHA-256 (merkle.h makes its leaves). Pure functions.
 */
#ifndef TENSORGUARD_TLOG_H
#define TENSORGUARD_TLOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tensorguard/bytes.h"
#include "tensorguard/crypto.h"
#include "tensorguard/error.h"

enum {
	TG_TLOG_TILE = 256,		/* hashes of a full tile */
	TG_TLOG_ORIGIN_SIZE = 128,
	TG_TLOG_KEY_SIZE = TG_TLOG_ORIGIN_SIZE + 1 + 8 + 1 + 44 + 1, /* text of a key, with its NUL */
	TG_TLOG_NOTE_MAX = 16 * 1024,	/* bytes of a signed checkpoint */
	TG_TLOG_PROOF_MAX = 64,		/* hashes of a proof */
	TG_TLOG_ENTRIES = -1,		/* level of bundles of entries */
};

#define TG_TLOG_LEAVES_MAX (1ull << 40)

/* "0/x001/234.p/5", "entries/007": what stands behind "/tile/". */
struct tg_tlog_tile {
	int level;		/* from 0, or TG_TLOG_ENTRIES */
	uint64_t index;
	unsigned width;		/* 1 to 255 for a partial one, 256 for a full one */
};
/* -EINVAL unless it is written exactly as the specification has it. */
int tg_tlog_tile_parse(const char *text, struct tg_tlog_tile *ret_tile);

/*
 * An Ed25519 key of a log and its name, which is the checkpoints' origin:
 * "NAME+HASH+BASE64" as Go's note package and other clients take it.
 */
struct tg_tlog_key {
	char origin[TG_TLOG_ORIGIN_SIZE];
	uint8_t id[4];
	uint8_t point[32];
};
/* Whether it can be an origin: 1 to 127 of printable ASCII without space and '+'. */
bool tg_tlog_origin_valid(const char *origin);
int tg_tlog_key_of(const char *origin, const EVP_PKEY *key, struct tg_tlog_key *ret_key, struct tg_error *e);
int tg_tlog_key_format(const struct tg_tlog_key *key, char ret_text[static TG_TLOG_KEY_SIZE],
		       struct tg_error *e);
int tg_tlog_key_parse(const char *text, struct tg_tlog_key *ret_key, struct tg_error *e);

struct tg_tlog_head {
	uint64_t size;
	uint8_t root[TG_SHA256_LEN];
};
/* A signed checkpoint: text with a NUL that is not in its length. `key` is that of `origin`. */
int tg_tlog_checkpoint_sign(const struct tg_tlog_head *head, const char *origin, EVP_PKEY *key,
			    struct tg_bytes *ret_note, struct tg_error *e);
/* -EBADMSG: not a checkpoint; -EKEYREJECTED: not of this origin, or this key has not signed it. Signatures of
 * other keys (witnesses) may be there and are not looked at. */
int tg_tlog_checkpoint_verify(const char *note, size_t len, const struct tg_tlog_key *key,
			      struct tg_tlog_head *ret_head, struct tg_error *e);

struct tg_tlog_proof {
	size_t count;
	uint8_t hashes[TG_TLOG_PROOF_MAX][TG_SHA256_LEN];
};
/*
 * Whether the leaf (its hash) is at `index` of the tree; whether the tree `newer` begins with all of `older`.
 * -EKEYREJECTED when it is not, or the proof is of another length.
 */
int tg_tlog_check_inclusion(const struct tg_tlog_proof *proof, const struct tg_tlog_head *head,
			    uint64_t index, const uint8_t leaf[static TG_SHA256_LEN], struct tg_error *e);
int tg_tlog_check_consistency(const struct tg_tlog_proof *proof, const struct tg_tlog_head *older,
			      const struct tg_tlog_head *newer, struct tg_error *e);

/*
 * Where the maker of proofs gets hashes from: that of the full subtree over the 2^level leaves from
 * index * 2^level on. 0 or a negative errno.
 */
struct tg_tlog_source {
	int (*node)(void *ctx, unsigned level, uint64_t index, uint8_t ret_hash[static TG_SHA256_LEN],
		    struct tg_error *e);
	void *ctx;
};
/* -EINVAL unless index < size, 0 < older <= newer. */
int tg_tlog_prove_inclusion(const struct tg_tlog_source *source, uint64_t index, uint64_t size,
			    struct tg_tlog_proof *ret_proof, struct tg_error *e);
int tg_tlog_prove_consistency(const struct tg_tlog_source *source, uint64_t older, uint64_t newer,
			      struct tg_tlog_proof *ret_proof, struct tg_error *e);
int tg_tlog_root(const struct tg_tlog_source *source, uint64_t size, uint8_t ret_root[static TG_SHA256_LEN],
		 struct tg_error *e);

/* A tlog-proof file: inclusion proof and checkpoint in one text, with a NUL that is not in its length. */
int tg_tlog_proof_format(const struct tg_tlog_proof *proof, uint64_t index, const char *checkpoint,
			 struct tg_bytes *ret_text, struct tg_error *e);
/* *ret_checkpoint points into `text`, to its end. -EBADMSG. */
int tg_tlog_proof_parse(const char *text, size_t len, struct tg_tlog_proof *ret_proof, uint64_t *ret_index,
			const char **ret_checkpoint, struct tg_error *e);

#endif
