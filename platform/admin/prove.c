/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `audit prove`: what somebody else needs to check that a record is in the ledger, that the ledger only grew,
 * and who signed the record, without asking us again. docs/audit.md says how.
 */
#include <errno.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <openssl/ecdsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "admin/admin.h"
#include "data/data.h"
#include "ledger/ledger.h"
#include "ledger/record.h"
#include "tensorguard/base64.h"
#include "tensorguard/cbor.h"
#include "tensorguard/file.h"
#include "tensorguard/merkle.h"

struct proving {
	struct store *store;
	struct ledger_key key;
	uint64_t index, older;	/* size of an earlier tree; 0: none was asked for */
	struct tg_bytes leaf;
	struct tg_audit_record record;
	struct ledger_checkpoint checkpoint;
	struct tg_bytes proof;	/* tlog-proof */
	bool signed_by_agent;
	struct store_batch batch;
	struct tg_bytes statement,
		followers; /* what the agent signed; the records up to it, as a CBOR sequence */
};

static void proving_clear(struct proving *p)
{
	ledger_key_clear(&p->key);
	ledger_checkpoint_clear(&p->checkpoint);
	tg_bytes_free(&p->leaf);
	tg_bytes_free(&p->proof);
	tg_bytes_free(&p->statement);
	tg_bytes_free(&p->followers);
	store_close(p->store);
}

static int keep_leaf(void *arg, const struct store_leaf *leaf)
{
	struct proving *p = arg;
	int ret = leaf->index == p->index ? tg_bytes_copy(leaf->data, leaf->len, &p->leaf) : -ENOENT;

	return ret ? ret : tg_audit_decode(leaf->data, leaf->len, &p->record, NULL) ? -EIO : 0;
}

/* The record, and its place in the tree as it is now. */
static int prove_inclusion(struct proving *p, struct tg_error *e)
{
	const struct store_leaf_query query = { .from = p->index, .limit = 1 };
	const struct tg_tlog_source source = { store_ledger_node, p->store };
	struct tg_tlog_proof proof;
	int ret = ledger_checkpoint(p->store, &p->key, p->older, &p->checkpoint, e);

	if (!ret && p->index >= p->checkpoint.head.size)
		return tg_error(e, -ENOENT, "there is no record %" PRIu64 ": the ledger has %" PRIu64,
				p->index, p->checkpoint.head.size);
	if (!ret && p->older > p->checkpoint.head.size)
		return tg_error(e, -EINVAL, "--older: the ledger has only %" PRIu64 " records",
				p->checkpoint.head.size);
	if (!ret)
		ret = store_ledger_each(p->store, &query, keep_leaf, p, e);
	if (!ret)
		ret = tg_tlog_prove_inclusion(&source, p->index, p->checkpoint.head.size, &proof, e);
	return ret ? ret
		   : tg_tlog_proof_format(&proof, p->index, (const char *)p->checkpoint.note.data, &p->proof,
					  e);
}

struct following {
	const struct proving *p;
	struct tg_cbor_writer writer;
	struct tg_audit_chain end;	/* of what was followed */
};

static int follow(void *arg, const struct store_leaf *leaf)
{
	struct following *f = arg;
	struct tg_audit_record record;

	/* records of another chain of this agent's may lie between them */
	if (tg_audit_decode(leaf->data, leaf->len, &record, NULL))
		return -EIO;
	if (memcmp(record.chain, f->end.chain, sizeof(record.chain)))
		return 0;
	if (tg_audit_chain_follow(&f->end, leaf->data, leaf->len, &record, NULL))
		return -EIO;
	tg_cbor_put_raw(&f->writer, leaf->data, leaf->len);
	return f->end.sequence == f->p->batch.last;
}

/* The signature is on the hash of a batch's last record: all from ours to that one link them. */
static int prove_signature(struct proving *p, struct tg_error *e)
{
	const struct store_leaf_query query = { .source = p->record.source,
						.from = p->index,
						.limit = INT32_MAX };
	struct following f = { .p = p };
	int ret;

	memcpy(f.end.source, p->record.source, sizeof(f.end.source));
	memcpy(f.end.chain, p->record.chain, sizeof(f.end.chain));
	memcpy(f.end.hash, p->record.previous, sizeof(f.end.hash));
	f.end.sequence = p->record.sequence - 1;
	ret = store_ledger_batch(p->store, &f.end, p->record.sequence, &p->batch, e);
	if (!ret)
		ret = store_ledger_each(p->store, &query, follow, &f, e);
	if (!ret && f.end.sequence != p->batch.last)
		ret = tg_error(e, -EIO, "the records of a batch are not whole");
	if (!ret)
		ret = tg_audit_statement(&f.end, &p->statement, e);
	if (!ret)
		ret = tg_cbor_take(&f.writer, &p->followers.data, &p->followers.len);
	tg_cbor_writer_clear(&f.writer);
	p->signed_by_agent = !ret;
	return ret;
}

/* ---- showing ---- */

static json_t *base64(const void *data, size_t len)
{
	char *text = malloc(TG_BASE64_LEN(len) + 1);
	json_t *string = NULL;

	if (text) {
		tg_base64_encode(data, len, text);
		string = json_string(text);
	}
	free(text);
	return string;
}

static json_t *hashes_json(const struct tg_tlog_proof *proof)
{
	json_t *list = json_array();

	for (size_t i = 0; i < proof->count; i++)
		json_array_append_new(list, base64(proof->hashes[i], TG_SHA256_LEN));
	return list;
}

static int proof_json(const struct proving *p, json_t **ret_object, struct tg_error *e)
{
	const struct tg_tlog_source source = { store_ledger_node, p->store };
	uint8_t root[TG_SHA256_LEN];
	json_t *object, *older = json_null(), *batch = json_null();
	int ret = p->older ? tg_tlog_root(&source, p->older, root, e) : 0;

	if (ret)
		return ret;
	if (p->older)
		older = json_pack("{s:I, s:o, s:o}", "size", (json_int_t)p->older, "root",
				  base64(root, sizeof(root)), "proof", hashes_json(&p->checkpoint.proof));
	if (p->signed_by_agent)
		batch = json_pack("{s:I, s:o, s:o, s:o, s:o}", "last", (json_int_t)p->batch.last, "statement",
				  base64(p->statement.data, p->statement.len), "signature",
				  base64(p->batch.signature, sizeof(p->batch.signature)), "public_key",
				  base64(p->batch.public_key, p->batch.public_key_len), "records",
				  base64(p->followers.data, p->followers.len));
	object = json_pack("{s:s, s:I, s:o, s:s, s:s, s:o, s:o}", "key", p->key.text, "index",
			   (json_int_t)p->index, "record", base64(p->leaf.data, p->leaf.len), "proof",
			   p->proof.data, "checkpoint", p->checkpoint.note.data, "consistency", older,
			   "batch", batch);
	if (!object)
		return tg_error(e, -ENOMEM, "out of memory");
	*ret_object = object;
	return 0;
}

static int write_file(const char *folder, const char *name, const void *data, size_t len, struct tg_error *e)
{
	char path[FILE_PATH_SIZE];
	int ret = file_path(folder, name, path, e);

	return ret ? ret : tg_file_create(path, data, len, 0644, e);
}

/* r and s as DER, and the key as PEM, as `openssl dgst -verify` takes them. */
static int write_signature(const struct proving *p, const char *folder, struct tg_error *e)
{
	ECDSA_SIG *sig = ECDSA_SIG_new();
	BIGNUM *r = BN_bin2bn(p->batch.signature, TG_SIGNATURE_LEN / 2, NULL),
	       *s = BN_bin2bn(p->batch.signature + TG_SIGNATURE_LEN / 2, TG_SIGNATURE_LEN / 2, NULL);
	EVP_PKEY *key = NULL;
	uint8_t *der = NULL;
	char *pem = NULL;
	size_t pem_len = 0;
	int ret, len = -1;

	if (sig && r && s && ECDSA_SIG_set0(sig, r, s) == 1) {
		r = s = NULL;
		len = i2d_ECDSA_SIG(sig, &der);
	}
	ret = len > 0 ? write_file(folder, "statement.sig", der, (size_t)len, e)
		      : tg_error(e, -ENOMEM, "out of memory");
	if (!ret)
		ret = tg_key_from_spki(p->batch.public_key, p->batch.public_key_len, &key, e);
	if (!ret)
		ret = tg_key_write_public(key, &pem, &pem_len, e);
	if (!ret)
		ret = write_file(folder, "agent.pem", pem, pem_len, e);
	BN_free(r);
	BN_free(s);
	ECDSA_SIG_free(sig);
	OPENSSL_free(der);
	EVP_PKEY_free(key);
	free(pem);
	return ret;
}

static int write_json(const char *folder, const char *name, json_t *object, struct tg_error *e)
{
	char *text = json_dumps(object, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	int ret = text ? write_file(folder, name, text, strlen(text), e)
		       : tg_error(e, -ENOMEM, "out of memory");

	free(text);
	return ret;
}

static int write_all(const struct proving *p, const char *folder, json_t *object, struct tg_error *e)
{
	char line[TG_TLOG_KEY_SIZE + 1];
	int ret;

	if (mkdir(folder, 0755))
		return tg_error(e, -errno, "%s: %s", folder, strerror(errno));
	snprintf(line, sizeof(line), "%s\n", p->key.text);
	ret = write_file(folder, "log.vkey", line, strlen(line), e);
	if (!ret)
		ret = write_file(folder, "record.cbor", p->leaf.data, p->leaf.len, e);
	if (!ret)
		ret = write_file(folder, "record.tlog-proof", p->proof.data, p->proof.len, e);
	if (!ret)
		ret = write_file(folder, "checkpoint", p->checkpoint.note.data, p->checkpoint.note.len, e);
	if (!ret && p->signed_by_agent)
		ret = write_file(folder, "statement.cbor", p->statement.data, p->statement.len, e);
	if (!ret && p->signed_by_agent)
		ret = write_signature(p, folder, e);
	return ret ? ret : write_json(folder, "proof.json", object, e);
}

static int show(const struct tg_cli *cli, const struct proving *p, struct tg_error *e)
{
	const char *folder = admin_options(cli)->out;
	json_t *object = NULL;
	int ret = proof_json(p, &object, e);

	if (!ret && folder)
		ret = write_all(p, folder, object, e);
	if (!ret && (cli->json || !folder))
		return tg_cli_print_json(object, e);
	json_decref(object);
	if (ret)
		return ret;
	printf("%s/record.tlog-proof proves record %" PRIu64 " to be in the ledger of %" PRIu64 " records\n",
	       folder, p->index, p->checkpoint.head.size);
	return admin_flush(e);
}

static int open_all(const struct tg_cli *cli, struct proving *p, struct tg_error *e)
{
	char passphrase[ADMIN_PASSPHRASE_SIZE];
	bool given;
	int ret = admin_passphrase(cli, passphrase, &given, e);

	if (ret)
		return ret;
	ret = admin_store(cli, &p->store, e);
	if (!ret)
		ret = ledger_key_load(admin_options(cli)->data, given ? passphrase : NULL, &p->key, e);
	OPENSSL_cleanse(passphrase, sizeof(passphrase));
	return ret;
}

/* The tree, the leaf and the batch of one moment. */
static int prove(struct proving *p, struct tg_error *e)
{
	int ret = prove_inclusion(p, e);

	if (!ret && p->record.source[0])
		ret = prove_signature(p, e);
	return ret;
}

int cmd_audit_prove(struct tg_cli *cli, struct tg_error *e)
{
	struct proving p = { .index = 0 };
	unsigned long index = 0, older = 0;
	const char *text;
	int ret = admin_argument(cli, "the record's index in the ledger", &text, e);

	if (!ret)
		ret = tg_cli_parse_number(text, "the record's index", 0, TG_TLOG_LEAVES_MAX, &index, e);
	if (!ret && admin_options(cli)->older)
		ret = tg_cli_parse_number(admin_options(cli)->older, "--older", 1, TG_TLOG_LEAVES_MAX, &older,
					  e);
	p.index = index;
	p.older = older;
	if (!ret)
		ret = open_all(cli, &p, e);
	if (!ret)
		ret = prove(&p, e);
	if (!ret)
		ret = show(cli, &p, e);
	proving_clear(&p);
	return ret;
}
