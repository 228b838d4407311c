/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What trust itself has to say to the audit trail of policies and syncs, each thing once: a Platform that is
 * away, or offers the same bad policy each minute, does not fill the ledger.
 */
#ifndef AGENT_TRUST_TRAIL_H
#define AGENT_TRUST_TRAIL_H

#include "tensorguard/signed_policy.h"
#include "tensorguard/sync.h"
#include "trust/audit.h"

enum { TRAIL_OUTAGE = 3 /* syncs that fail in a row: from then on it is one whose end is told */ };

struct trail {
	struct audit_log *log;
	int64_t applied;	/* versions that were told of; 0: none */
	int64_t rejected;
	int64_t refused;
	char reason[TG_SYNC_FAULT_LEN]; /* why the last one was refused */
	unsigned failures;	/* syncs, in a row */
	bool said_refusal;	/* of a sync, in these failures */
	long status;		/* its HTTP status */
};

/* The end of tg-load apply, for the policy that is in the state folder: its version, 0 for none. */
void trail_applied(struct trail *trail, int64_t version, int result);
/* The answer to a sync brought a policy that was not taken; `reason` is a fault's word. */
void trail_policy_refused(struct trail *trail, int64_t version, const char *reason, const char *text);
/* The policy has ended, and nothing newer came. */
void trail_policy_ended(struct trail *trail, int64_t version, enum tg_offline offline);
/*
 * A sync ended: 0, or a negative errno. `refused`: the Platform answered with this status, or (0) is not the
 * one that it should be.
 */
void trail_sync(struct trail *trail, int result, bool refused, long status, const char *text);

#endif
