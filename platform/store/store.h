/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the Platform remembers: fleets, tokens, agents, their certificates, the audit records. The schema and
 * every statement are the same on SQLite and on PostgreSQL (db.h).
 *
 * Times are seconds since 1970; 0 means "never happened". Functions return 0 or a negative errno with a
 * message; -ENOENT when what was named does not exist, -EEXIST when it exists already. A struct store belongs
 * to one thread at a time; open one for each thread. Changes run in a transaction of their own, unless the
 * caller has begun one with store_begin().
 */
#ifndef PLATFORM_STORE_STORE_H
#define PLATFORM_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tensorguard/bytes.h"
#include "tensorguard/error.h"

enum {
	STORE_HASH_LEN = 32,	   /* SHA-256 */
	STORE_SERIAL_SIZE = 41,	   /* of a certificate, in hexadecimal digits */
	STORE_NAME_SIZE = 64,	   /* fleets, agents, tokens: with the final NUL */
	STORE_PCRS_MAX = 24,
	STORE_KEY_MAX = 512,	   /* TPM2B_PUBLIC */
	STORE_POINT_LEN = 65,	   /* an uncompressed P-256 point */
	STORE_TEXT_SIZE = 256,
};

struct store;

struct store_pcr {
	uint8_t index, value[STORE_HASH_LEN];
};

struct store_fleet {
	char name[STORE_NAME_SIZE];
	uint32_t levels;		/* TG_ALLOW() bits: how an agent may enrol */
	uint32_t pcr_mask;		/* PCRs of the SHA-256 bank that are quoted */
	struct store_pcr pcrs[STORE_PCRS_MAX];	/* those of the mask that must have a certain value */
	size_t pcr_count;
	bool event_log_optional;
	int64_t created;
	/* seconds after its end for which a certificate may still be renewed; 0: none */
	int64_t grace, grace_software; /* by devices with a TPM; by those without */
};

enum token_state { TOKEN_UNUSED, TOKEN_USED, TOKEN_EXPIRED, TOKEN_REVOKED };

struct store_token {
	char id[STORE_NAME_SIZE];	/* public name; says nothing about the secret */
	uint8_t hash[STORE_HASH_LEN];	/* SHA-256 of the secret */
	char fleet[STORE_NAME_SIZE];
	bool pinned;
	uint8_t ek_hash[STORE_HASH_LEN];	/* valid when pinned */
	char name[STORE_NAME_SIZE];	/* id that its agent gets; empty: one is made from its key */
	int64_t created, expires, used, revoked;
	char agent[STORE_NAME_SIZE];	/* who used it, or empty */
};

struct store_agent {
	char id[STORE_NAME_SIZE];
	uint8_t identity
		[STORE_HASH_LEN]; /* SHA-256 of the EK's public key; of its first TLS key without a TPM */
	char fleet[STORE_NAME_SIZE];
	int64_t level;			/* enum tg_assurance */
	uint8_t ak_public[STORE_KEY_MAX];	/* TPM2B_PUBLIC of the attestation key */
	size_t ak_public_len;		/* 0 without a TPM */
	uint8_t hpke_point[STORE_POINT_LEN];	/* all 0 without a TPM */
	int64_t enrolled, renewed, not_after, revoked;
	char reason[STORE_TEXT_SIZE];	/* why it was revoked */
	char labels[STORE_TEXT_SIZE];	/* in alphabetical order, with a space between them */
};

struct store_certificate {
	char serial[STORE_SERIAL_SIZE];
	char agent[STORE_NAME_SIZE];
	int64_t issued, not_after;
};

/* A client certificate of an operator. One that is not in the store is none. */
struct store_operator {
	char serial[STORE_SERIAL_SIZE];
	char name[STORE_NAME_SIZE];
	int64_t issued, not_after, revoked;
	char reason[STORE_TEXT_SIZE];	/* why it was revoked */
};

struct store_audit {
	int64_t sequence, time;
	const char *actor;	/* "operator", "agent ID", "address ADDR" */
	const char *action;	/* "enrol", "renew", "token-create", ... */
	const char *target;
	const char *outcome;	/* "done", or the name of the refusal's reason */
	const char *detail;
};

/* `url` as db_open() takes it. Brings an older schema up to date; refuses a newer one. */
int store_open(const char *url, struct store **ret_store, struct tg_error *e);
void store_close(struct store *store);
int store_schema_version(struct store *store, int64_t *ret_version, struct tg_error *e);
/* Version of the schema that this program makes. */
int store_schema_latest(void);
/* A cheap read, to see whether the store answers. */
int store_ping(struct store *store, struct tg_error *e);

/* A transaction around several changes; a savepoint within it can be undone alone. */
int store_begin(struct store *store, struct tg_error *e);
int store_commit(struct store *store, struct tg_error *e);
void store_rollback(struct store *store);
int store_savepoint(struct store *store, struct tg_error *e);
int store_savepoint_keep(struct store *store, struct tg_error *e);
int store_savepoint_undo(struct store *store, struct tg_error *e);

int store_fleet_create(struct store *store, const struct store_fleet *fleet, struct tg_error *e);
int store_fleet_set(struct store *store, const struct store_fleet *fleet, struct tg_error *e);
int store_fleet_get(struct store *store, const char *name, struct store_fleet *ret_fleet, struct tg_error *e);
int store_fleet_each(struct store *store, int (*each)(void *arg, const struct store_fleet *fleet), void *arg,
		     struct tg_error *e);

int store_token_create(struct store *store, const struct store_token *token, struct tg_error *e);
/* By the hash of the secret, compared in constant time. */
int store_token_find(struct store *store, const uint8_t hash[static STORE_HASH_LEN],
		     struct store_token *ret_token, struct tg_error *e);
int store_token_each(struct store *store, int (*each)(void *arg, const struct store_token *token), void *arg,
		     struct tg_error *e);
/* -EALREADY when it was used or revoked before. */
int store_token_revoke(struct store *store, const char *id, int64_t now, struct tg_error *e);
enum token_state store_token_state(const struct store_token *token, int64_t now);

int store_agent_get(struct store *store, const char *id, struct store_agent *ret_agent, struct tg_error *e);
int store_agent_find(struct store *store, const uint8_t identity[static STORE_HASH_LEN],
		     struct store_agent *ret_agent, struct tg_error *e);
int store_agent_each(struct store *store, int (*each)(void *arg, const struct store_agent *agent), void *arg,
		     struct tg_error *e);
/* -EALREADY when it is revoked. */
int store_agent_revoke(struct store *store, const char *id, const char *reason, int64_t now,
		       struct tg_error *e);
/* `labels` as in struct store_agent. */
int store_agent_label(struct store *store, const char *id, const char *labels, struct tg_error *e);
int store_certificate_each(struct store *store, const char *agent,
			   int (*each)(void *arg, const struct store_certificate *certificate), void *arg,
			   struct tg_error *e);

/* ---- policies (policy.c) ---- */

enum { STORE_TARGET_SIZE = 72 };

struct store_policy {
	int64_t version;
	char target[STORE_TARGET_SIZE];
	int64_t kind, not_before, not_after, offline; /* as in struct tg_signed_policy */
	char name[STORE_NAME_SIZE];	/* the policy's own */
	int64_t published, withdrawn;
	int64_t origin;			/* the version that it brings back, or 0 */
};

/* What tells whether anything was published or withdrawn since: *ret_version is the newest one's, 0 for none.
 */
int store_policy_mark(struct store *store, int64_t *ret_version, int64_t *ret_mark, struct tg_error *e);
/* `document`: the signed policy as JSON. -ESTALE unless its version is higher than all others. */
int store_policy_publish(struct store *store, const struct store_policy *policy,
			 const struct tg_bytes *document, struct tg_error *e);
/* Takes all policies of a target back. -ENOENT when there is none. */
int store_policy_withdraw(struct store *store, const char *target, int64_t now, struct tg_error *e);
int store_policy_get(struct store *store, int64_t version, struct store_policy *ret_policy,
		     struct tg_bytes *ret_document, struct tg_error *e);
/* All, the newest first. */
int store_policy_each(struct store *store, int (*each)(void *arg, const struct store_policy *policy),
		      void *arg, struct tg_error *e);
/* The newest of each target that has not been withdrawn, by target; the document is valid during the call. */
int store_policy_current(struct store *store,
			 int (*each)(void *arg, const struct store_policy *policy,
				     const struct tg_bytes *document),
			 void *arg, struct tg_error *e);

/* ---- heartbeats (heartbeat.c) ---- */

/* The last one of an agent. */
struct store_heartbeat {
	char agent[STORE_NAME_SIZE];
	int64_t time;			/* 0: there was none */
	char version[STORE_NAME_SIZE], kernel[STORE_TEXT_SIZE];
	int64_t engine, state;		/* as in struct tg_sync_heartbeat */
	int64_t uptime, real, pad, dummy, violations, restarts;
	char faults[2 * STORE_TEXT_SIZE]; /* with a space between them */
	int64_t policy_version;		/* what the device has; 0: none */
};

int store_heartbeat_put(struct store *store, const struct store_heartbeat *beat, struct tg_error *e);
/* -ENOENT, and zeros, when there was none. */
int store_heartbeat_get(struct store *store, const char *agent, struct store_heartbeat *ret_beat,
			struct tg_error *e);
int store_operator_add(struct store *store, const struct store_operator *operator, struct tg_error * e);
int store_operator_get(struct store *store, const char *serial, struct store_operator *ret_operator,
		       struct tg_error *e);
int store_operator_each(struct store *store, int (*each)(void *arg, const struct store_operator *operator),
			void *arg, struct tg_error *e);
/*
 * All certificates of that name, or with `serial` the one that also has this number. -ENOENT when there is
 * none, -EALREADY when all of them were revoked before.
 */
int store_operator_revoke(struct store *store, const char *name, const char *serial, const char *reason,
			  int64_t now, struct tg_error *e);

/* The EK certificates that an agent enrolled with, as the attestation wants them; empty for one without. */
int store_ek_chain_get(struct store *store, const char *agent, struct tg_bytes *ret_chain,
		       struct tg_error *e);

/* All agents by their id, with what they said last: zeros, if they never did (view.c). Identity and keys are
 * left out. */
int store_fleet_view(struct store *store,
		     int (*each)(void *arg, const struct store_agent *agent,
				 const struct store_heartbeat *beat),
		     void *arg, struct tg_error *e);

/* What an enrolment or a renewal would change; see store_enrol(). */
struct store_enrolment {
	uint8_t token_hash[STORE_HASH_LEN];	/* of an enrolment only */
	struct tg_bytes ek_chain;	/* likewise; the caller's */
	struct store_agent agent;	/* id, identity, fleet, level, keys, not_after */
	struct store_certificate certificate;
	int64_t now;
};

enum store_refusal {
	STORE_ACCEPTED,
	STORE_TOKEN_UNKNOWN,
	STORE_TOKEN_USED,
	STORE_TOKEN_EXPIRED,
	STORE_TOKEN_REVOKED,
	STORE_TOKEN_PINNED,	/* to another EK */
	STORE_TOKEN_FLEET,	/* it is of another fleet */
	STORE_TOKEN_NAME,	/* it is for another agent */
	STORE_LEVEL_REFUSED,	/* the fleet does not allow this level */
	STORE_AGENT_UNKNOWN,
	STORE_AGENT_REVOKED,
	STORE_AGENT_TAKEN,	/* another identity has this id, or this identity another id */
	STORE_AGENT_CHANGED,	/* it has enrolled again since this renewal began: it has another AK */
	STORE_REFUSALS
};
const char *store_refusal_name(enum store_refusal refusal);

/*
 * The step that makes an agent: checks the token once more, consumes it, writes the agent and the
 * certificate, all or nothing, in the transaction that is open. *ret_refusal tells why not when it returns 0
 * and nothing was changed. A caller must not hand out the certificate before store_commit() has returned 0.
 */
int store_enrol(struct store *store, const struct store_enrolment *enrolment, enum store_refusal *ret_refusal,
		struct tg_error *e);
/*
 * The same for a renewal: the agent must exist, with this identity, fleet, level and attestation key, and
 * must not be revoked.
 */
int store_renew(struct store *store, const struct store_enrolment *enrolment, enum store_refusal *ret_refusal,
		struct tg_error *e);

/* Writes a record, into the ledger too (ledger.h); its sequence is the last one plus 1. */
int store_audit_add(struct store *store, const struct store_audit *record, struct tg_error *e);
/* The newest `limit` records, newest first. */
int store_audit_each(struct store *store, int64_t limit,
		     int (*each)(void *arg, const struct store_audit *record), void *arg, struct tg_error *e);
/* The oldest `limit` records behind a sequence, oldest first. */
int store_audit_after(struct store *store, int64_t after, int64_t limit,
		      int (*each)(void *arg, const struct store_audit *record), void *arg,
		      struct tg_error *e);

#endif
