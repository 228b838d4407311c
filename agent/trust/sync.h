/* SPDX-License-Identifier: BSD-3-Clause */
/* POST /v1/sync, as one call that blocks, over a connection that stays (docs/api-sync.md). */
#ifndef AGENT_TRUST_SYNC_H
#define AGENT_TRUST_SYNC_H

#include <stdatomic.h>

#include "tensorguard/sync.h"
#include "trust/audit.h"
#include "trust/policy.h"
#include "trust/tunnels.h"

struct https;
struct trust_fetch;
struct trust_link;

struct trust_sync {
	const char *directory;
	const struct tg_bytes *secret;	/* of the key, without a TPM */
	const atomic_bool *stop;	/* gives up soon after it becomes true */
	const char *run_dir;		/* where the process keys says what it has, or NULL */
	char *unnoted; /* TRUST_REASON_LEN: why the Platform refuses this device, where no note took it */
	struct trust_tunnels tunnels;
	struct tg_sync_heartbeat heartbeat;
	struct trust_link *link;	/* kept from call to call; trust_sync_close() */
	struct tg_bytes
		records[TG_AUDIT_BATCH_RECORDS]; /* of the audit trail, to be handed over; the caller's */
	size_t record_count;
	struct trust_fetch *fetch; /* of models; NULL: they are not asked for */

	/* what the answer said */
	int64_t period;			/* 0: nothing yet */
	bool news;			/* there is another policy in the state folder, or a revocation */
	char refused[TG_SYNC_FAULT_LEN]; /* why the policy in it was not taken: a word; or "" */
	uint64_t audit_stored; /* the records up to this sequence are in the ledger; 0: nothing new */
	char audit_refused[TG_AUDIT_REASON_SIZE]; /* why the Platform did not take them, or "" */
	struct audit_kept unsaved;	/* the ledger's checkpoint, while the disk does not take it */
	struct tg_error unsaved_error;	/* why not */
	bool ledger_refused;		/* its ledger does not continue the one that is kept, or is another */
	struct tg_error ledger_error;	/* what is wrong with it then */
	int64_t refused_version;	/* of the policy that was not taken */
	long status;			/* of the answer; 0: there was none */
	bool expired;			/* the Platform says that the certificate has ended */
	/* of the one that the device has; 0: it has none */
	int64_t policy_end, policy_version;
	enum tg_offline policy_offline;
	bool more_keys;			/* there are peers whose keys are to be asked for, without waiting */
};

/*
 * 0; -EKEYREVOKED: the Platform refuses this device for good, which is noted for tg-load apply and beside
 * the identity, or left to the caller in `unnoted`; else as exchange.h has it. A policy that is refused is no
 * error: the answer's other parts count.
 */
int trust_sync(struct trust_sync *sync, struct tg_error *e);
/* The connection that it goes over, made if there is none: for others that ask the Platform something. */
int trust_sync_link(struct trust_sync *sync, struct https **ret_https, struct tg_error *e);
/* Ends the connection; the identity has changed, for instance. */
void trust_sync_close(struct trust_sync *sync);

#endif
