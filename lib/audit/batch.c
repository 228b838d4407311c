/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "tensorguard/audit.h"
#include "tensorguard/cbor.h"

/* An array: this text, the records, the signature. */
static const char batch_name[] = "tensorguard-audit-batch-1";
enum { PARTS = 3 };

/* What is signed: an array of this text, source, chain, sequence and hash of the last record. */
static const char statement_name[] = "tensorguard-audit-statement-1";
enum { STATEMENT_PARTS = 5 };

static int take_name(struct tg_cbor *r, const char *name)
{
	const char *text;
	size_t len;
	int ret = tg_cbor_text(r, "format", &text, &len);

	if (!ret && (len != strlen(name) || memcmp(text, name, len)))
		ret = tg_error(r->e, -EBADMSG, "format: not \"%s\"", name);
	return ret;
}

/* The chain as it stands before a batch that begins with this record. */
static int chain_before(const uint8_t *data, size_t len, struct tg_audit_chain *ret_chain, struct tg_error *e)
{
	struct tg_audit_chain chain = { 0 };
	struct tg_audit_record record;
	int ret = tg_audit_decode(data, len, &record, e);

	if (ret)
		return ret;
	memcpy(chain.source, record.source, sizeof(chain.source));
	memcpy(chain.chain, record.chain, sizeof(chain.chain));
	chain.sequence = record.sequence - 1;
	memcpy(chain.hash, record.previous, sizeof(chain.hash));
	*ret_chain = chain;
	return 0;
}

static int take_record(struct tg_cbor *r, struct tg_audit_batch *batch, struct tg_audit_chain *chain)
{
	struct tg_audit_record record;
	const uint8_t *data;
	size_t len;
	int ret = tg_cbor_bytes(r, "record", &data, &len);

	if (!ret && !batch->count)
		ret = chain_before(data, len, chain, r->e);
	if (!ret)
		ret = tg_audit_chain_follow(chain, data, len, &record, r->e);
	if (ret)
		return ret == -ENOMEM || ret == -EIO ? ret : -EBADMSG;
	batch->records[batch->count].data = data;
	batch->records[batch->count++].len = len;
	return 0;
}

static int take_records(struct tg_cbor *r, struct tg_audit_batch *batch)
{
	struct tg_audit_chain chain;
	size_t count;
	int ret = tg_cbor_array(r, "records", &count);

	if (!ret && (!count || count > TG_AUDIT_BATCH_RECORDS))
		ret = tg_error(r->e, -EBADMSG, "records: %zu of them", count);
	for (size_t i = 0; !ret && i < count; i++)
		ret = take_record(r, batch, &chain);
	if (ret)
		return ret;
	memcpy(batch->source, chain.source, sizeof(batch->source));
	memcpy(batch->chain, chain.chain, sizeof(batch->chain));
	memcpy(batch->last_hash, chain.hash, sizeof(batch->last_hash));
	batch->last = chain.sequence;
	batch->first = chain.sequence - count + 1;
	return 0;
}

int tg_audit_batch_decode(const uint8_t *data, size_t len, struct tg_audit_batch *ret_batch,
			  struct tg_error *e)
{
	struct tg_audit_batch batch = { .count = 0 };
	struct tg_cbor r;
	size_t parts;
	int ret;

	if (len > TG_AUDIT_BATCH_MAX)
		return tg_error(e, -EBADMSG, "batch: more than %d bytes", TG_AUDIT_BATCH_MAX);
	tg_cbor_init(&r, data, len, e);
	ret = tg_cbor_array(&r, "batch", &parts);
	if (!ret && parts != PARTS)
		ret = tg_error(e, -EBADMSG, "batch: %zu parts", parts);
	if (!ret)
		ret = take_name(&r, batch_name);
	if (!ret)
		ret = take_records(&r, &batch);
	if (!ret)
		ret = tg_cbor_bytes_fixed(&r, "signature", batch.signature, sizeof(batch.signature));
	if (!ret)
		ret = tg_cbor_done(&r, "batch");
	if (!ret)
		*ret_batch = batch;
	return ret;
}

int tg_audit_statement(const struct tg_audit_chain *end, struct tg_bytes *ret_data, struct tg_error *e)
{
	struct tg_cbor_writer w = { 0 };
	struct tg_bytes data;

	tg_cbor_put_array(&w, STATEMENT_PARTS);
	tg_cbor_put_text(&w, statement_name);
	tg_cbor_put_text(&w, end->source);
	tg_cbor_put_bytes(&w, end->chain, sizeof(end->chain));
	tg_cbor_put_uint(&w, end->sequence);
	tg_cbor_put_bytes(&w, end->hash, sizeof(end->hash));
	if (tg_cbor_take(&w, &data.data, &data.len))
		return tg_error(e, -ENOMEM, "out of memory");
	*ret_data = data;
	return 0;
}

int tg_audit_batch_verify(const struct tg_audit_batch *batch, EVP_PKEY *key, struct tg_error *e)
{
	struct tg_audit_chain end = { .sequence = batch->last };
	struct tg_bytes statement;
	int ret;

	memcpy(end.source, batch->source, sizeof(end.source));
	memcpy(end.chain, batch->chain, sizeof(end.chain));
	memcpy(end.hash, batch->last_hash, sizeof(end.hash));
	ret = tg_audit_statement(&end, &statement, e);
	if (ret)
		return ret;
	ret = tg_key_verify(key, statement.data, statement.len, batch->signature, sizeof(batch->signature),
			    e);
	tg_bytes_free(&statement);
	return ret;
}

static int sign(const struct tg_audit_chain *end, EVP_PKEY *key,
		uint8_t ret_signature[static TG_SIGNATURE_LEN], struct tg_error *e)
{
	struct tg_bytes statement;
	int ret = tg_audit_statement(end, &statement, e);

	if (ret)
		return ret;
	ret = tg_key_sign(key, statement.data, statement.len, ret_signature, e);
	tg_bytes_free(&statement);
	return ret;
}

/* The end of the chain that these records are of. */
static int follow_all(const struct tg_bytes *records, size_t count, struct tg_audit_chain *ret_end,
		      struct tg_error *e)
{
	struct tg_audit_record record;
	struct tg_audit_chain end;
	int ret;

	if (!count || count > TG_AUDIT_BATCH_RECORDS)
		return tg_error(e, -EINVAL, "a batch of %zu records", count);
	ret = chain_before(records[0].data, records[0].len, &end, e);
	for (size_t i = 0; !ret && i < count; i++)
		ret = tg_audit_chain_follow(&end, records[i].data, records[i].len, &record, e);
	if (ret)
		return ret == -ENOMEM || ret == -EIO ? ret : -EINVAL;
	*ret_end = end;
	return 0;
}

int tg_audit_batch_make(const struct tg_bytes *records, size_t count, EVP_PKEY *key,
			struct tg_bytes *ret_data, struct tg_error *e)
{
	uint8_t signature[TG_SIGNATURE_LEN];
	struct tg_cbor_writer w = { 0 };
	struct tg_audit_chain end;
	struct tg_bytes data;
	int ret = follow_all(records, count, &end, e);

	if (!ret)
		ret = sign(&end, key, signature, e);
	if (ret)
		return ret;
	tg_cbor_put_array(&w, PARTS);
	tg_cbor_put_text(&w, batch_name);
	tg_cbor_put_array(&w, count);
	for (size_t i = 0; i < count; i++)
		tg_cbor_put_bytes(&w, records[i].data, records[i].len);
	tg_cbor_put_bytes(&w, signature, sizeof(signature));
	if (tg_cbor_take(&w, &data.data, &data.len))
		return tg_error(e, -ENOMEM, "out of memory");
	if (data.len > TG_AUDIT_BATCH_MAX) {
		tg_bytes_free(&data);
		return tg_error(e, -EINVAL, "a batch of more than %d bytes", TG_AUDIT_BATCH_MAX);
	}
	*ret_data = data;
	return 0;
}
