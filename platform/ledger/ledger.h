/* SPDX-License-Identifier: BSD-3-Clause */
/* What the Platform does with agents' batches, and the checkpoints and proofs that it gives (docs/audit.md).
 */
#ifndef PLATFORM_LEDGER_LEDGER_H
#define PLATFORM_LEDGER_LEDGER_H

#include "ledger/key.h"
#include "store/ledger.h"

/* Why a batch was refused; 0 is taken. */
enum ledger_refusal {
	LEDGER_TAKEN,
	LEDGER_MALFORMED,	/* not a batch, or its records do not follow one another */
	LEDGER_STRANGER,	/* of another agent */
	LEDGER_SIGNATURE,	/* not signed by the agent's key */
	LEDGER_GAP,		/* records between what is stored and the batch are missing */
	LEDGER_FORK,		/* what is stored is another record of that sequence */
	LEDGER_ENDED,		/* of a chain that the agent gave up for another one */
	LEDGER_REFUSALS
};
/* "audit-gap" */
const char *ledger_refusal_name(enum ledger_refusal refusal);

struct ledger_batch {
	const char *agent;	/* who sent it */
	EVP_PKEY *key;		/* of its client certificate */
	const uint8_t *data;
	size_t len;
	int64_t now;		/* seconds since 1970 */
	/* Whether there is to be a record of one more refusal; NULL: of each. */
	bool (*may_record)(void *arg, enum ledger_refusal refusal);
	void *arg;
};

struct ledger_result {
	enum ledger_refusal refusal;
	uint64_t stored;	/* sequence up to which the agent's chain is in the ledger */
	char detail[STORE_TEXT_SIZE]; /* of a refusal */
};

/*
 * In the writer's transaction. Returns 0 also for a batch that is refused: a record of the Platform's own
 * says so then, if there may be one. What was stored before is not stored again. An error is the store's.
 */
int ledger_take(struct store *store, const struct ledger_batch *batch, struct ledger_result *ret_result,
		struct tg_error *e);

/* A signed checkpoint of the ledger as it is in the store, and the proof that it continues one of size
 * `older`, which is empty for 0 and for sizes that the ledger never had. */
struct ledger_checkpoint {
	struct tg_tlog_head head;
	struct tg_bytes note;	/* text with a NUL that is not in its length */
	struct tg_tlog_proof proof;
};
int ledger_checkpoint(struct store *store, const struct ledger_key *key, uint64_t older,
		      struct ledger_checkpoint *ret_checkpoint, struct tg_error *e);
void ledger_checkpoint_clear(struct ledger_checkpoint *checkpoint);

/* A tile or bundle of entries, as it is served. -ENOENT: the ledger has none such. */
int ledger_tile(struct store *store, const struct tg_tlog_tile *tile, struct tg_bytes *ret_data,
		struct tg_error *e);

#endif
