/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ledger in the store: every audit record, the agents' and the Platform's own, is a leaf of one Merkle
 * tree that only grows (docs/audit.md). Leaves, chains and the tree's head change in one transaction.
 */
#ifndef PLATFORM_STORE_LEDGER_H
#define PLATFORM_STORE_LEDGER_H

#include "store/store.h"
#include "tensorguard/audit.h"
#include "tensorguard/tlog.h"

/* An encoded record that is to be a leaf. */
struct store_leaf_new {
	const uint8_t *data;
	size_t len;
	uint64_t sequence;	/* of the record */
};
/* Adds leaves in their order; `now`: when, seconds since 1970. Only in a transaction. *ret_first: index of
 * the first. */
int store_ledger_append(struct store *store, const char *source, const struct store_leaf_new *leaves,
			size_t count, int64_t now, uint64_t *ret_first, struct tg_error *e);

/* Size and root of the tree. */
int store_ledger_head(struct store *store, struct tg_tlog_head *ret_head, struct tg_error *e);

/*
 * The hashes of 256^level leaves each (those of the leaves themselves for level 0), from `first` on: at most
 * `max`. Fewer are there than asked for at the tree's end.
 */
int store_ledger_hashes(struct store *store, unsigned level, uint64_t first, size_t max,
			uint8_t (*ret_hashes)[TG_SHA256_LEN], size_t *ret_count, struct tg_error *e);
/* Proofs take them from here: `ctx` is the store. */
int store_ledger_node(void *store, unsigned level, uint64_t index, uint8_t ret_hash[static TG_SHA256_LEN],
		      struct tg_error *e);

/* A leaf as it is read; `data` is valid during the call. */
struct store_leaf {
	uint64_t index, sequence;
	int64_t stored;
	char source[STORE_NAME_SIZE];	/* "" is the Platform */
	const uint8_t *data;
	size_t len;
};
struct store_leaf_query {
	const char *source;	/* NULL: all */
	uint64_t from;		/* index; with `newest_first` it is the last one's, and 0 is the tree's end */
	int64_t since;		/* stored at that time or later */
	uint64_t limit;
	bool newest_first;
};
/* `each` ends it with something else than 0, which is returned if it is negative. */
int store_ledger_each(struct store *store, const struct store_leaf_query *query,
		      int (*each)(void *arg, const struct store_leaf *leaf), void *arg, struct tg_error *e);

/* The chain of that name, or with `chain` NULL the newest one, of a source. -ENOENT. */
int store_ledger_chain(struct store *store, const char *source, const uint8_t *chain,
		       struct tg_audit_chain *ret_chain, struct tg_error *e);
/* Its new end; a new chain begins at leaf `begun`, which for others is not looked at. */
int store_ledger_chain_set(struct store *store, const struct tg_audit_chain *chain, uint64_t begun,
			   struct tg_error *e);
/* SHA-256 of the record of a chain. -ENOENT. */
int store_ledger_record_hash(struct store *store, const struct tg_audit_chain *chain, uint64_t sequence,
			     uint8_t ret_hash[static TG_SHA256_LEN], struct tg_error *e);

/* A batch's signature, with the SubjectPublicKeyInfo of the key that made it. */
struct store_batch {
	uint64_t last;
	uint8_t signature[TG_SIGNATURE_LEN];
	uint8_t public_key[TG_SPKI_MAX_LEN];
	size_t public_key_len;
};
int store_ledger_batch_add(struct store *store, const struct tg_audit_chain *chain,
			   const struct store_batch *batch, struct tg_error *e);
/* The first batch that covers this sequence. -ENOENT. */
int store_ledger_batch(struct store *store, const struct tg_audit_chain *chain, uint64_t sequence,
		       struct store_batch *ret_batch, struct tg_error *e);

/* A record of the Platform's own, as the next one of its chain. Only in a transaction. */
int store_ledger_own(struct store *store, const struct store_audit *record, struct tg_error *e);

#endif
