/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "tensorguard/cbor.h"
#include "tgsp/field.h"
#include "tgsp/trust.h"

const char *const tgsp_content_types[] = {
	[TG_TGSP_ROOT] = "application/vnd.tensorguard.tgsp-root",
	[TG_TGSP_TARGETS] = "application/vnd.tensorguard.tgsp-targets",
	[TG_TGSP_SNAPSHOT] = "application/vnd.tensorguard.tgsp-snapshot",
	[TG_TGSP_TIMESTAMP] = "application/vnd.tensorguard.tgsp-timestamp",
};

int tgsp_document_decode(const struct tg_bytes *document, enum tg_tgsp_role role, struct tg_cose *ret_cose,
			 struct tg_error *e)
{
	struct tg_cbor r;
	int ret;

	if (document->len > TG_TGSP_MAX_TRUST)
		return tg_error(e, -EBADMSG, "a document of %zu bytes, %u are allowed", document->len,
				TG_TGSP_MAX_TRUST);
	tg_cbor_init(&r, document->data, document->len, e);
	ret = tg_cose_decode(&r, tgsp_content_types[role], ret_cose);
	return ret ? ret : tg_cbor_done(&r, "document");
}

/* The array's head and what all documents begin with. */
static int read_issue(struct tg_cbor *r, size_t parts, struct tg_tgsp_issue *ret)
{
	uint64_t format;
	size_t count;
	int err = tg_cbor_array(r, "document", &count);

	if (!err && count != parts)
		return tg_error(r->e, -EBADMSG, "a document of %zu parts, expected %zu", count, parts);
	if (!err)
		err = tg_cbor_uint(r, "format", &format);
	if (!err && format != TGSP_TRUST_FORMAT)
		return tg_error(r->e, -EBADMSG, "format %llu is not known", (unsigned long long)format);
	if (!err)
		err = tg_cbor_uint(r, "version", &ret->version);
	if (!err)
		err = tg_cbor_uint(r, "issued", &ret->issued);
	if (!err)
		err = tg_cbor_uint(r, "expires", &ret->expires);
	if (!err && (!ret->version || ret->issued >= ret->expires))
		return tg_error(r->e, -EBADMSG, "version 0, or valid at no time");
	return err;
}

static int read_key(struct tg_cbor *r, struct tg_tgsp_role_keys *role)
{
	uint8_t id[TG_KEY_ID_LEN], other[TG_KEY_ID_LEN];
	const uint8_t *der;
	size_t len;
	int ret = tg_cbor_bytes(r, "key", &der, &len);

	if (!ret)
		ret = tg_key_from_spki(der, len, &role->keys[role->count], r->e);
	if (ret)
		return ret;
	role->count++;
	if (role->count == 1)
		return 0;
	/* in order and none twice: one key must not count as two */
	ret = tg_public_key_hash(role->keys[role->count - 2], other, r->e);
	if (!ret)
		ret = tg_public_key_hash(role->keys[role->count - 1], id, r->e);
	if (!ret && memcmp(other, id, sizeof(id)) >= 0)
		ret = tg_error(r->e, -EBADMSG, "keys out of order or twice");
	return ret;
}

static int read_role(struct tg_cbor *r, struct tg_tgsp_role_keys *role)
{
	uint64_t threshold;
	size_t count;
	int ret = tg_cbor_array(r, "role", &count);

	if (!ret && count != 2)
		return tg_error(r->e, -EBADMSG, "a role of %zu parts, expected 2", count);
	if (!ret)
		ret = tg_cbor_uint(r, "threshold", &threshold);
	if (!ret)
		ret = tg_cbor_array(r, "keys", &count);
	if (ret)
		return ret;
	if (!threshold || threshold > count || count > TG_TGSP_MAX_KEYS)
		return tg_error(r->e, -EBADMSG, "%llu of %zu keys is no rule", (unsigned long long)threshold,
				count);
	role->threshold = (unsigned)threshold;
	while (!ret && role->count < count)
		ret = read_key(r, role);
	return ret;
}

void tgsp_root_clear(struct tg_tgsp_root *root)
{
	for (int role = 0; role < TG_TGSP_ROLES; role++)
		for (size_t i = 0; i < root->roles[role].count; i++)
			EVP_PKEY_free(root->roles[role].keys[i]);
	*root = (struct tg_tgsp_root){ .issue = { 0 } };
}

int tgsp_root_decode(const struct tg_cose *cose, struct tg_tgsp_root *ret_root, struct tg_error *e)
{
	struct tg_tgsp_root root = { .issue = { 0 } };
	struct tg_cbor r;
	size_t count;
	int ret;

	tg_cbor_init(&r, cose->payload, cose->payload_len, e);
	ret = read_issue(&r, TGSP_TRUST_PARTS, &root.issue);
	if (!ret)
		ret = tg_cbor_array(&r, "roles", &count);
	if (!ret && count != TG_TGSP_ROLES)
		ret = tg_error(e, -EBADMSG, "%zu roles, expected %d", count, TG_TGSP_ROLES);
	for (int role = 0; !ret && role < TG_TGSP_ROLES; role++)
		ret = read_role(&r, &root.roles[role]);
	if (!ret)
		ret = tg_cbor_done(&r, "root");
	if (ret)
		tgsp_root_clear(&root);
	else
		*ret_root = root;
	return ret;
}

int tgsp_target_order(const struct tg_tgsp_target *a, const struct tg_tgsp_target *b)
{
	int by_model = strcmp(a->model, b->model);

	if (by_model || a->release != b->release)
		return by_model ? by_model : a->release < b->release ? -1 : 1;
	return memcmp(a->manifest, b->manifest, TG_SHA256_LEN);
}

static int read_target(struct tg_cbor *r, struct tg_tgsp_target *t)
{
	const char *model;
	size_t count, len;
	int ret = tg_cbor_array(r, "target", &count);

	if (!ret && count != 3)
		return tg_error(r->e, -EBADMSG, "a target of %zu parts, expected 3", count);
	if (!ret)
		ret = tg_cbor_text(r, "model", &model, &len);
	if (ret)
		return ret;
	if (!tgsp_name_valid(model, len))
		return tg_error(r->e, -EBADMSG, "a model's name is not one");
	memcpy(t->model, model, len);
	ret = tg_cbor_uint(r, "release", &t->release);
	return ret ? ret : tg_cbor_bytes_fixed(r, "manifest", t->manifest, sizeof(t->manifest));
}

int tgsp_targets_decode(const struct tg_cose *cose, struct tgsp_document *ret, struct tg_error *e)
{
	struct tgsp_document d = { .target_count = 0 };
	struct tg_cbor r;
	size_t count;
	int err;

	tg_cbor_init(&r, cose->payload, cose->payload_len, e);
	err = read_issue(&r, TGSP_TRUST_PARTS, &d.issue);
	if (!err)
		err = tg_cbor_array(&r, "targets", &count);
	if (err)
		return err;
	if (count > TG_TGSP_MAX_TARGETS)
		return tg_error(e, -EBADMSG, "%zu targets, at most %d are allowed", count,
				TG_TGSP_MAX_TARGETS);
	d.targets = calloc(count ? count : 1, sizeof(*d.targets));
	if (!d.targets)
		return tg_error(e, -ENOMEM, "out of memory");
	for (; !err && d.target_count < count; d.target_count++) {
		err = read_target(&r, &d.targets[d.target_count]);
		if (!err && d.target_count &&
		    tgsp_target_order(&d.targets[d.target_count - 1], &d.targets[d.target_count]) >= 0)
			err = tg_error(e, -EBADMSG, "targets out of order or twice");
	}
	if (!err)
		err = tg_cbor_done(&r, "targets");
	if (err)
		free(d.targets);
	else
		*ret = d;
	return err;
}

int tgsp_pointer_decode(const struct tg_cose *cose, struct tgsp_document *ret, struct tg_error *e)
{
	struct tgsp_document d = { .target_count = 0 };
	struct tg_cbor r;
	size_t count;
	int err;

	tg_cbor_init(&r, cose->payload, cose->payload_len, e);
	err = read_issue(&r, TGSP_TRUST_PARTS, &d.issue);
	if (!err)
		err = tg_cbor_array(&r, "pointer", &count);
	if (!err && count != 3)
		return tg_error(e, -EBADMSG, "a pointer of %zu parts, expected 3", count);
	if (!err)
		err = tg_cbor_uint(&r, "version", &d.pointer.version);
	if (!err)
		err = tg_cbor_uint(&r, "size", &d.pointer.size);
	if (!err)
		err = tg_cbor_bytes_fixed(&r, "hash", d.pointer.sha256, sizeof(d.pointer.sha256));
	if (!err)
		err = tg_cbor_done(&r, "document");
	if (!err)
		*ret = d;
	return err;
}

int tgsp_pointer_check(const struct tgsp_pointer *pointer, const struct tg_bytes *document,
		       struct tg_error *e)
{
	uint8_t hash[TG_SHA256_LEN];
	int ret;

	if (document->len != pointer->size)
		return tg_error(e, -EBADMSG, "another size than the one that is pointed to");
	ret = tg_sha256(&(struct tg_piece){ document->data, document->len }, 1, hash, e);
	if (!ret && memcmp(hash, pointer->sha256, sizeof(hash)))
		ret = tg_error(e, -EBADMSG, "not the one that is pointed to");
	return ret;
}
