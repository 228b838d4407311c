/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tensorguard/cbor.h"
#include "tgsp/trust.h"

static void put_issue(struct tg_cbor_writer *w, size_t parts, const struct tg_tgsp_issue *issue)
{
	tg_cbor_put_array(w, parts);
	tg_cbor_put_uint(w, TGSP_TRUST_FORMAT);
	tg_cbor_put_uint(w, issue->version);
	tg_cbor_put_uint(w, issue->issued);
	tg_cbor_put_uint(w, issue->expires);
}

/* Signs what `payload` holds, and empties it. */
static int sign(struct tg_cbor_writer *payload, enum tg_tgsp_role role, const struct tg_key_set *signers,
		struct tg_bytes *ret_document, struct tg_error *e)
{
	struct tg_cbor_writer w = { 0 };
	struct tg_bytes document;
	uint8_t *data;
	size_t len;
	int ret = tg_cbor_take(payload, &data, &len);

	if (ret)
		return tg_error(e, ret, "out of memory");
	ret = tg_cose_sign(&w, tgsp_content_types[role], data, len, signers, e);
	free(data);
	if (!ret)
		ret = tg_cbor_take(&w, &document.data, &document.len);
	tg_cbor_writer_clear(&w);
	if (ret)
		return ret;
	if (document.len > TG_TGSP_MAX_TRUST) {
		tg_bytes_free(&document);
		return tg_error(e, -E2BIG, "a document of more than %u bytes", TG_TGSP_MAX_TRUST);
	}
	*ret_document = document;
	return 0;
}

static int check_issue(const struct tg_tgsp_issue *issue, struct tg_error *e)
{
	if (!issue->version || issue->issued >= issue->expires)
		return tg_error(e, -EINVAL, "version 0, or valid at no time");
	return 0;
}

struct known_key {
	uint8_t id[TG_KEY_ID_LEN], der[TG_SPKI_MAX_LEN];
	size_t len;
};

static int by_id(const void *a, const void *b)
{
	return memcmp(((const struct known_key *)a)->id, ((const struct known_key *)b)->id, TG_KEY_ID_LEN);
}

static int put_role(struct tg_cbor_writer *w, enum tg_tgsp_role which, const struct tg_tgsp_role_keys *role,
		    struct tg_error *e)
{
	struct known_key keys[TG_TGSP_MAX_KEYS];

	if (role->count > TG_TGSP_MAX_KEYS || !role->threshold || role->threshold > role->count)
		return tg_error(e, -EINVAL, "role %s: %u of %zu keys is no rule", tg_tgsp_role_name(which),
				role->threshold, role->count);
	for (size_t i = 0; i < role->count; i++) {
		int ret = tg_key_to_spki(role->keys[i], keys[i].der, &keys[i].len, e);

		if (!ret)
			ret = tg_public_key_hash(role->keys[i], keys[i].id, e);
		if (ret)
			return ret;
	}
	qsort(keys, role->count, sizeof(keys[0]), by_id);
	tg_cbor_put_array(w, 2);
	tg_cbor_put_uint(w, role->threshold);
	tg_cbor_put_array(w, role->count);
	for (size_t i = 0; i < role->count; i++) {
		if (i && !by_id(&keys[i - 1], &keys[i]))
			return tg_error(e, -EEXIST, "role %s: a key is there twice",
					tg_tgsp_role_name(which));
		tg_cbor_put_bytes(w, keys[i].der, keys[i].len);
	}
	return 0;
}

int tg_tgsp_root_sign(const struct tg_tgsp_root *root, const struct tg_key_set *signers,
		      struct tg_bytes *ret_document, struct tg_error *e)
{
	struct tg_cbor_writer w = { 0 };
	int ret = check_issue(&root->issue, e);

	put_issue(&w, TGSP_TRUST_PARTS, &root->issue);
	tg_cbor_put_array(&w, TG_TGSP_ROLES);
	for (int role = 0; !ret && role < TG_TGSP_ROLES; role++)
		ret = put_role(&w, (enum tg_tgsp_role)role, &root->roles[role], e);
	if (!ret)
		ret = sign(&w, TG_TGSP_ROOT, signers, ret_document, e);
	tg_cbor_writer_clear(&w);
	return ret;
}

static int by_order(const void *a, const void *b)
{
	return tgsp_target_order(a, b);
}

int tg_tgsp_targets_sign(const struct tg_tgsp_issue *issue, struct tg_tgsp_target *targets, size_t count,
			 const struct tg_key_set *signers, struct tg_bytes *ret_document, struct tg_error *e)
{
	struct tg_cbor_writer w = { 0 };
	int ret = check_issue(issue, e);

	if (ret)
		return ret;
	if (count > TG_TGSP_MAX_TARGETS)
		return tg_error(e, -E2BIG, "%zu targets, at most %d are allowed", count, TG_TGSP_MAX_TARGETS);
	if (count)
		qsort(targets, count, sizeof(*targets), by_order);
	for (size_t i = 1; i < count; i++)
		if (!tgsp_target_order(&targets[i - 1], &targets[i]))
			return tg_error(e, -EEXIST, "a package is there twice");
	put_issue(&w, TGSP_TRUST_PARTS, issue);
	tg_cbor_put_array(&w, count);
	for (size_t i = 0; i < count; i++) {
		tg_cbor_put_array(&w, 3);
		tg_cbor_put_text(&w, targets[i].model);
		tg_cbor_put_uint(&w, targets[i].release);
		tg_cbor_put_bytes(&w, targets[i].manifest, TG_SHA256_LEN);
	}
	return sign(&w, TG_TGSP_TARGETS, signers, ret_document, e);
}

int tg_tgsp_pointer_sign(enum tg_tgsp_role role, const struct tg_tgsp_issue *issue,
			 const struct tg_bytes *pointed, uint64_t pointed_version,
			 const struct tg_key_set *signers, struct tg_bytes *ret_document, struct tg_error *e)
{
	struct tg_cbor_writer w = { 0 };
	uint8_t hash[TG_SHA256_LEN];
	int ret = check_issue(issue, e);

	if (!ret && role != TG_TGSP_SNAPSHOT && role != TG_TGSP_TIMESTAMP)
		ret = tg_error(e, -EINVAL, "only snapshots and timestamps point");
	if (!ret)
		ret = tg_sha256(&(struct tg_piece){ pointed->data, pointed->len }, 1, hash, e);
	if (ret)
		return ret;
	put_issue(&w, TGSP_TRUST_PARTS, issue);
	tg_cbor_put_array(&w, 3);
	tg_cbor_put_uint(&w, pointed_version);
	tg_cbor_put_uint(&w, pointed->len);
	tg_cbor_put_bytes(&w, hash, sizeof(hash));
	return sign(&w, role, signers, ret_document, e);
}
