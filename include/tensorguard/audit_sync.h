/* SPDX-License-Identifier: BSD-3-Clause */
/* The audit part of POST /v1/sync (docs/api-sync.md, docs/audit.md). */
#ifndef TENSORGUARD_AUDIT_SYNC_H
#define TENSORGUARD_AUDIT_SYNC_H

#include "tensorguard/audit.h"
#include "tensorguard/tlog.h"

enum { TG_AUDIT_REASON_SIZE = 32 };

/* What the agent hands over. */
struct tg_audit_push {
	struct tg_bytes batch;	/* tg_audit_batch_make(); empty: nothing waits */
	uint64_t checkpoint;	/* size of the ledger at the checkpoint that it keeps; 0: none */
};

/* What the Platform answers. */
struct tg_audit_pull {
	uint64_t stored; /* the agent's chain is in the ledger up to this sequence; 0 without a batch */
	char refused[TG_AUDIT_REASON_SIZE]; /* why the batch was not taken, "audit-fork"; "" */
	char key[TG_TLOG_KEY_SIZE];	/* of the ledger */
	struct tg_bytes checkpoint;	/* signed; text with a NUL that is not in its length */
	struct tg_bytes
		proof; /* that it continues the agent's: hashes one behind the other; empty for size 0 */
};

/* What tables cannot say. -EINVAL. */
int tg_audit_pull_check(const struct tg_audit_pull *pull, struct tg_error *e);
/* `proof` as hashes. */
void tg_audit_pull_proof(const struct tg_audit_pull *pull, struct tg_tlog_proof *ret_proof);
int tg_audit_pull_set_proof(struct tg_audit_pull *pull, const struct tg_tlog_proof *proof,
			    struct tg_error *e);

/* NULL-safe. */
void tg_audit_push_clear(struct tg_audit_push *push);
void tg_audit_pull_clear(struct tg_audit_pull *pull);

#endif
