/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device's audit trail, in STATE_DIR/audit (docs/audit.md):
 *
 *	queue		records that the Platform does not have yet (tensorguard/audit_queue.h)
 *	log.vkey	the ledger's key, as the Platform said it the first time
 *	checkpoint	the newest checkpoint of the ledger that was right
 *
 * For trust's event loop; what signs and sends is in the worker's thread, with copies.
 */
#ifndef AGENT_TRUST_AUDIT_H
#define AGENT_TRUST_AUDIT_H

#include "supervise/message.h"
#include "tensorguard/audit_queue.h"
#include "tensorguard/tlog.h"

#define AUDIT_FOLDER "audit"

struct audit_log;

struct audit_log_conf {
	const char *directory;	/* STATE_DIR */
	/* The event that the supervisor told is on the disk. */
	void (*recorded)(void *ctx, uint16_t number);
	void (*log)(const char *line);
	void *ctx;
};

/* -ENOMEM. Nothing is opened before audit_log_identity(). */
int audit_log_new(const struct audit_log_conf *conf, struct audit_log **ret_log);
void audit_log_free(struct audit_log *log); /* NULL-safe */

/*
 * Whose trail it is, with the generation of the identity and whether it came by a renewal of this process: a
 * generation that has no record yet gets one. Cheap when nothing has changed; tries again what failed.
 */
void audit_log_identity(struct audit_log *log, const char *agent, unsigned generation, bool renewed);
/* An event of trust's own. */
void audit_log_add(struct audit_log *log, unsigned code, const char *target, uint64_t a, uint64_t b,
		   const char *text);
/* One that the supervisor told, with what else is known of it. */
void audit_log_event(struct audit_log *log, const struct message_event *event, const char *text);

/* The oldest records that the Platform does not have; none without an identity. The caller frees each. */
int audit_log_peek(struct audit_log *log, struct tg_bytes ret_records[static TG_AUDIT_BATCH_RECORDS],
		   size_t *ret_count);
/* It has all up to this sequence. */
void audit_log_stored(struct audit_log *log, uint64_t sequence);
/* It will not go on with this chain: another begins. */
void audit_log_refused(struct audit_log *log, const char *reason);
/* Nothing for the Platform to take is left on the disk or in memory. */
bool audit_log_is_empty(const struct audit_log *log);

/* ---- what is kept of the ledger; paths are in STATE_DIR/audit ---- */

struct audit_kept {
	bool has_key, has_checkpoint;
	struct tg_tlog_key key;
	struct tg_tlog_head head;	/* size 0 without a checkpoint */
};
/* -EBADMSG when what is there is damaged or not signed by the key. */
int audit_kept_load(const char *directory, struct audit_kept *ret_kept, struct tg_error *e);
/*
 * The same, or `unsaved` if that is newer: one that was right and that the disk did not take, or all 0.
 * -EKEYREJECTED: what is there is damaged, and nothing can be shown to continue it.
 */
int audit_kept_newest(const char *directory, const struct audit_kept *unsaved, struct audit_kept *ret_kept,
		      struct tg_error *e);
/*
 * A checkpoint that the Platform gave: signed by the key that is kept (or `key`, if there is none yet), and,
 * by `proof`, one that continues what is kept. Then it takes its place. -EKEYREJECTED: it does not, and *kept
 * stays.
 */
int audit_kept_advance(struct audit_kept *kept, const char *key, const char *note, size_t note_len,
		       const struct tg_tlog_proof *proof, struct tg_error *e);
/* The note that *kept is of, and the key if there is none on the disk. */
int audit_kept_save(const char *directory, const struct audit_kept *kept, const char *note, size_t note_len,
		    struct tg_error *e);

#endif
