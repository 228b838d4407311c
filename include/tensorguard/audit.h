/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Audit records, their chains and the signed batches in which agents hand them over (docs/audit.md).
 *
 * A record is deterministic CBOR. It names its source (an agent, or the Platform), the chain of that source,
 * its sequence in it, from 1 without gaps, and the SHA-256 of the record before: whoever knows the hash of
 * the last one knows all of them.
 *
 * Texts are UTF-8 without control characters. Nothing here looks at a clock, a disk or a network.
 */
#ifndef TENSORGUARD_AUDIT_H
#define TENSORGUARD_AUDIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tensorguard/bytes.h"
#include "tensorguard/certificate.h"
#include "tensorguard/crypto.h"
#include "tensorguard/error.h"
#include "tensorguard/key.h"

enum {
	TG_AUDIT_CHAIN_LEN = 16,
	TG_AUDIT_ACTOR_SIZE = 256,	/* sizes of texts with their NUL */
	TG_AUDIT_ACTION_SIZE = 64,
	TG_AUDIT_TARGET_SIZE = 256,
	TG_AUDIT_OUTCOME_SIZE = 64,
	TG_AUDIT_DETAIL_SIZE = 1024,
	TG_AUDIT_RECORD_MAX = 2048,	/* bytes of an encoded record */
	TG_AUDIT_BATCH_RECORDS = 256,	/* at most */
	TG_AUDIT_BATCH_MAX = 128 * 1024, /* bytes of an encoded batch */
};

/*
 * What agents record: number in messages between the agent's processes, symbol, actor, action, outcome, names
 * of the two numbers that come with it ("" is none), meaning. Numbers are never used again for something
 * else. The senders that may report a code are in agent/supervise/message.c.
 */
#define TG_AUDIT_CODES(X)                                                                                    \
	X(1, ENROLLED, "trust", "enrol", "done", "", "", "the device has an identity")                       \
	X(2, RENEWED, "trust", "renew", "done", "", "", "the certificate was renewed")                       \
	X(3, RENEWAL_FAILED, "trust", "renew", "failed", "failures", "", "a renewal failed")                 \
	X(4, IDENTITY_REFUSED, "trust", "renew", "refused", "", "", "the Platform refuses this device")      \
	X(5, PROCESS_ENDED, "supervisor", "process-restart", "ended", "status", "restarts",                  \
	  "a process ended and is started again")                                                            \
	X(6, PROCESS_KILLED, "supervisor", "process-restart", "killed", "reason", "restarts",                \
	  "a process said nonsense (1), hung (2) or was not ready in time (3): killed, started again")       \
	X(7, AGENT_STARTED, "supervisor", "agent-start", "done", "", "", "the agent was started")            \
	X(8, POLICY_LOADED, "guard", "policy", "done", "version", "", "a policy was loaded and is in force") \
	X(9, POLICY_REFUSED, "guard", "policy", "refused", "error", "", "a policy was not taken")            \
	X(10, POLICY_APPLIED, "trust", "policy-apply", "done", "version", "",                                \
	  "a policy of the Platform's was applied")                                                          \
	X(11, POLICY_REJECTED, "trust", "policy-apply", "refused", "version", "error",                       \
	  "a policy of the Platform's was refused or could not be applied")                                  \
	X(12, POLICY_OFFLINE, "trust", "policy-offline", "done", "version", "",                              \
	  "a policy ended while there was no Platform")                                                      \
	X(13, VIOLATION_OVERFLOW, "guard", "violation", "overflow", "class", "",                             \
	  "real packets found the delay budget used up")                                                     \
	X(14, VIOLATION_DELAY, "guard", "violation", "delay", "class", "",                                   \
	  "real cells waited longer than the policy allows")                                                 \
	X(15, VIOLATION_BUDGET, "guard", "violation", "budget", "class", "",                                 \
	  "dummies went beyond their budget or were held back by it")                                        \
	X(16, DUMMY_FAILED, "guard", "dummy", "failed", "class", "", "dummies could not be sent")            \
	X(17, PEER_FAILED, "guard", "peer", "failed", "peer", "", "a peer does not answer")                  \
	X(18, DATAPLANE_REPAIRED, "guard", "repair", "done", "faults", "", "the data plane was mended")      \
	X(19, DATAPLANE_BROKEN, "guard", "repair", "failed", "faults", "error",                              \
	  "the data plane could not be mended")                                                              \
	X(20, TUNNEL_ROTATED, "keys", "tunnel-rotate", "done", "epoch", "waited_ms",                         \
	  "a tunnel has a new key; so long packets waited")                                                  \
	X(21, TUNNEL_ROTATION_FAILED, "keys", "tunnel-rotate", "failed", "error", "",                        \
	  "a tunnel's key could not be changed")                                                             \
	X(22, MODEL_OPENED, "vault", "model-open", "done", "release", "", "a model package was opened")      \
	X(23, MODEL_REFUSED, "vault", "model-open", "refused", "release", "error",                           \
	  "a model package was refused")                                                                     \
	X(24, SYNC_REFUSED, "trust", "sync", "refused", "status", "", "the Platform refused a sync")         \
	X(25, SYNC_RECOVERED, "trust", "sync", "done", "failures", "",                                       \
	  "the Platform answers again after failures")                                                       \
	X(26, CHECKPOINT_REFUSED, "trust", "checkpoint", "refused", "kept", "offered",                       \
	  "the ledger's checkpoint does not continue the one that is kept")                                  \
	X(27, EVENTS_LIMITED, "trust", "audit-limit", "counted", "code", "",                                 \
	  "events came faster than they are recorded one by one: count says how many")                       \
	X(28, RECORDS_LOST, "trust", "audit-lost", "lost", "", "",                                           \
	  "the queue was full: count says how many records could not be kept")                               \
	X(29, QUEUE_CUT, "trust", "audit-queue", "cut", "", "",                                              \
	  "an unfinished or damaged record was cut off the queue's end")                                     \
	X(30, QUEUE_DAMAGED, "trust", "audit-queue", "damaged", "missing", "rescued",                        \
	  "the queue's file was damaged: moved aside, what could be read comes behind this record")          \
	X(31, CHAIN_RESTARTED, "trust", "audit-chain", "restarted", "last", "",                              \
	  "a new chain begins; detail has the old one and why")                                              \
	X(32, MODEL_CLOSED, "vault", "model-close", "done", "release", "error",                              \
	  "a model package was revoked, came to its end or may not be used any more: closed")                \
	X(33, MODEL_INSTALLED, "vault", "model-install", "done", "release", "",                              \
	  "a model package was verified and is on the device; detail has its lineage")                       \
	X(34, MODEL_WITHDRAWN, "vault", "model-withdraw", "done", "release", "",                             \
	  "the Platform has revoked a model package or does not mean it for the device: closed, removed")    \
	X(35, MODEL_TRUST_REFUSED, "vault", "model-trust", "refused", "", "error",                           \
	  "trust documents for models were refused")                                                         \
	X(36, TUNNEL_KEY_MADE, "keys", "tunnel-key", "made", "epoch", "", "a key was made for a tunnel")     \
	X(37, TUNNEL_KEY_PUBLISHED, "keys", "tunnel-key", "published", "epoch", "",                          \
	  "the Platform has a tunnel's public keys")                                                         \
	X(38, TUNNEL_PEER_CHANGED, "keys", "tunnel-peer", "changed", "has_key", "",                          \
	  "a peer of a tunnel has another key, or none any more")

enum tg_audit_code {
#define X(number, symbol, actor, action, outcome, a, b, text) TG_AUDIT_##symbol = (number),
	TG_AUDIT_CODES(X)
#undef X
		TG_AUDIT_CODES_END,
};

/* What a code stands for. NULL for a number that is none. */
struct tg_audit_meaning {
	const char *actor, *action, *outcome, *a, *b, *text;
};
const struct tg_audit_meaning *tg_audit_meaning(unsigned code);

/* What happened, before it has a place in a chain. Texts of any kind: what a record may not hold is replaced
 * by '?', what is too long is cut. */
struct tg_audit_event {
	uint64_t time_ms;	/* since 1970 */
	uint64_t count;		/* of equal events that this stands for, from 1; 0 is taken for 1 */
	const char *actor, *action, *target, *outcome, *detail; /* NULL is "" */
};

/*
 * An event of a code; `target` may be "". `room` holds the detail, "text; a=1; b=2", and must live as long as
 * the event. -EINVAL for a number that is no code.
 */
int tg_audit_event_of(unsigned code, uint64_t time_ms, uint64_t count, const char *target, uint64_t a,
		      uint64_t b, const char *text, char room[static TG_AUDIT_DETAIL_SIZE],
		      struct tg_audit_event *ret_event);

struct tg_audit_record {
	char source[TG_ID_LEN];	/* agent; "" is the Platform */
	uint8_t chain[TG_AUDIT_CHAIN_LEN];
	uint64_t sequence;	/* from 1 */
	uint8_t previous[TG_SHA256_LEN]; /* of the record before; 0 for the first */
	uint64_t time_ms, count;
	char actor[TG_AUDIT_ACTOR_SIZE], action[TG_AUDIT_ACTION_SIZE], target[TG_AUDIT_TARGET_SIZE];
	char outcome[TG_AUDIT_OUTCOME_SIZE], detail[TG_AUDIT_DETAIL_SIZE];
};

/* -EBADMSG unless `data` is exactly one record. */
int tg_audit_decode(const uint8_t *data, size_t len, struct tg_audit_record *ret_record, struct tg_error *e);
int tg_audit_encode(const struct tg_audit_record *record, struct tg_bytes *ret_data, struct tg_error *e);
/* As an event again; it points into the record. */
struct tg_audit_event tg_audit_event_again(const struct tg_audit_record *record);
/* SHA-256 of an encoded record, which the next one carries. */
int tg_audit_hash(const uint8_t *data, size_t len, uint8_t ret_hash[static TG_SHA256_LEN],
		  struct tg_error *e);

/* The end of a chain. All zero but for source and chain: nothing is in it yet. */
struct tg_audit_chain {
	char source[TG_ID_LEN];
	uint8_t chain[TG_AUDIT_CHAIN_LEN];
	uint64_t sequence;
	uint8_t hash[TG_SHA256_LEN];
};

/* An empty chain with a random name. */
int tg_audit_chain_begin(const char *source, struct tg_audit_chain *ret_chain, struct tg_error *e);
/* Makes the event the next record. `chain` moves on only on success; the caller frees the record. */
int tg_audit_chain_add(struct tg_audit_chain *chain, const struct tg_audit_event *event,
		       struct tg_bytes *ret_data, struct tg_error *e);
/*
 * Whether an encoded record is the next one of the chain, which then moves on. -EBADMSG: not a record;
 * -EXDEV: of another source or chain; -ENODATA: records before it are missing; -EALREADY: an earlier one or a
 * second one with that sequence; -EILSEQ: the hash of the one before is another.
 */
int tg_audit_chain_follow(struct tg_audit_chain *chain, const uint8_t *data, size_t len,
			  struct tg_audit_record *ret_record, struct tg_error *e);

/*
 * A batch: records that follow one another in one chain, and one signature over the hash of the last of them,
 * which covers them all and everything before. Decoded, it points into its input.
 */
struct tg_audit_batch {
	char source[TG_ID_LEN];
	uint8_t chain[TG_AUDIT_CHAIN_LEN];
	uint64_t first, last;	/* sequences */
	uint8_t last_hash[TG_SHA256_LEN];
	size_t count;
	struct {
		const uint8_t *data;
		size_t len;
	} records[TG_AUDIT_BATCH_RECORDS];
	uint8_t signature[TG_SIGNATURE_LEN];
};

/* `key` signs: P-256 or Ed25519. -EINVAL for none, too many, or records that do not follow one another. */
int tg_audit_batch_make(const struct tg_bytes *records, size_t count, EVP_PKEY *key,
			struct tg_bytes *ret_data, struct tg_error *e);
/* -EBADMSG unless it is one batch of records that follow one another. The signature is not looked at. */
int tg_audit_batch_decode(const uint8_t *data, size_t len, struct tg_audit_batch *ret_batch,
			  struct tg_error *e);
/* -EBADMSG unless `key` signed it. */
int tg_audit_batch_verify(const struct tg_audit_batch *batch, EVP_PKEY *key, struct tg_error *e);
/* The signed statement itself, for who verifies it later without the batch: see docs/audit.md. */
int tg_audit_statement(const struct tg_audit_chain *end, struct tg_bytes *ret_data, struct tg_error *e);

#endif
