/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "tensorguard/audit_sync.h"
#include "wire/audit.h"

#define FIELD(key, type, structure, member, size) \
	.name = (key), .kind = (type), .offset = offsetof(structure, member), .max = (size)

const struct wire_field wire_audit_push[] = {
	{ FIELD("batch", WIRE_BYTES, struct tg_audit_push, batch, TG_AUDIT_BATCH_MAX), .optional = true },
	{ FIELD("checkpoint", WIRE_NUMBER, struct tg_audit_push, checkpoint, 0) },
	{ 0 },
};

const struct wire_field wire_audit_pull[] = {
	{ FIELD("stored", WIRE_NUMBER, struct tg_audit_pull, stored, 0) },
	{ FIELD("refused", WIRE_TEXT, struct tg_audit_pull, refused, TG_AUDIT_REASON_SIZE),
	  .optional = true },
	{ FIELD("key", WIRE_TEXT, struct tg_audit_pull, key, TG_TLOG_KEY_SIZE) },
	{ FIELD("checkpoint", WIRE_PEM, struct tg_audit_pull, checkpoint, TG_TLOG_NOTE_MAX) },
	{ FIELD("proof", WIRE_BYTES, struct tg_audit_pull, proof, TG_TLOG_PROOF_MAX *TG_SHA256_LEN),
	  .optional = true },
	{ 0 },
};

int tg_audit_pull_check(const struct tg_audit_pull *pull, struct tg_error *e)
{
	return pull->proof.len % TG_SHA256_LEN ? tg_error(e, -EINVAL, "audit.proof: not hashes") : 0;
}

void tg_audit_pull_proof(const struct tg_audit_pull *pull, struct tg_tlog_proof *ret_proof)
{
	ret_proof->count = pull->proof.len / TG_SHA256_LEN;
	if (ret_proof->count)
		memcpy(ret_proof->hashes, pull->proof.data, ret_proof->count * TG_SHA256_LEN);
}

int tg_audit_pull_set_proof(struct tg_audit_pull *pull, const struct tg_tlog_proof *proof, struct tg_error *e)
{
	return proof->count && tg_bytes_copy(proof->hashes, proof->count * TG_SHA256_LEN, &pull->proof)
		       ? tg_error(e, -ENOMEM, "out of memory")
		       : 0;
}

void tg_audit_push_clear(struct tg_audit_push *push)
{
	if (push)
		tg_bytes_free(&push->batch);
}

void tg_audit_pull_clear(struct tg_audit_pull *pull)
{
	if (!pull)
		return;
	tg_bytes_free(&pull->checkpoint);
	tg_bytes_free(&pull->proof);
}
