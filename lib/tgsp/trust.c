/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorguard/cbor.h"
#include "tensorguard/tgsp_trust.h"
#include "tgsp/trust.h"

static const char *const names[] = {
	[TG_TGSP_ROOT] = "root",           [TG_TGSP_TARGETS] = "targets", [TG_TGSP_SNAPSHOT] = "snapshot",
	[TG_TGSP_TIMESTAMP] = "timestamp", [TG_TGSP_PACKAGE] = "package",
};

struct tg_tgsp_trust {
	struct tg_tgsp_root root;
	bool has_root;		/* false: keys were given, there is no document */
	bool updated;
	struct tg_tgsp_issue issues[TG_TGSP_ROLES]; /* of the documents in force */
	struct tg_tgsp_target *targets;
	size_t target_count;
};

const char *tg_tgsp_role_name(enum tg_tgsp_role role)
{
	return names[role];
}

void tg_tgsp_trust_free(struct tg_tgsp_trust *trust)
{
	if (!trust)
		return;
	tgsp_root_clear(&trust->root);
	free(trust->targets);
	free(trust);
}

uint64_t tg_tgsp_trust_root_version(const struct tg_tgsp_trust *trust)
{
	return trust->root.issue.version;
}

const struct tg_tgsp_root *tg_tgsp_trust_root(const struct tg_tgsp_trust *trust)
{
	return &trust->root;
}

const struct tg_tgsp_target *tg_tgsp_trust_targets(const struct tg_tgsp_trust *trust, size_t *ret_count)
{
	*ret_count = trust->target_count;
	return trust->targets;
}

const struct tg_tgsp_issue *tg_tgsp_trust_issue(const struct tg_tgsp_trust *trust, enum tg_tgsp_role role)
{
	return role == TG_TGSP_ROOT ? &trust->root.issue : &trust->issues[role];
}

/* Whether the role's keys signed the document. */
static int signed_by(const struct tg_cose *cose, const struct tg_tgsp_role_keys *role, struct tg_error *e)
{
	const struct tg_key_set set = { role->keys, role->count };

	return tg_cose_verify(cose, &set, role->threshold, e);
}

static int decode_root(const struct tg_bytes *document, struct tg_cose *ret_cose,
		       struct tg_tgsp_root *ret_root, struct tg_error *e)
{
	int ret = tgsp_document_decode(document, TG_TGSP_ROOT, ret_cose, e);

	return ret ? ret : tgsp_root_decode(ret_cose, ret_root, e);
}

int tg_tgsp_trust_new(const struct tg_bytes *root, struct tg_tgsp_trust **ret_trust, struct tg_error *e)
{
	struct tg_tgsp_trust *trust = calloc(1, sizeof(*trust));
	struct tg_cose cose;
	int ret;

	if (!trust)
		return tg_error(e, -ENOMEM, "out of memory");
	trust->has_root = true;
	ret = decode_root(root, &cose, &trust->root, e);
	if (!ret)
		ret = signed_by(&cose, &trust->root.roles[TG_TGSP_ROOT], e);
	if (ret) {
		tg_tgsp_trust_free(trust);
		return tg_error_prefix(e, ret, "root");
	}
	*ret_trust = trust;
	return 0;
}

int tg_tgsp_trust_keys(const struct tg_key_set *package_keys, unsigned threshold,
		       struct tg_tgsp_trust **ret_trust, struct tg_error *e)
{
	struct tg_tgsp_trust *trust;
	struct tg_tgsp_role_keys *role;

	if (!package_keys->count || package_keys->count > TG_TGSP_MAX_KEYS || !threshold ||
	    threshold > package_keys->count)
		return tg_error(e, -EINVAL, "%u of %zu keys is no rule", threshold, package_keys->count);
	trust = calloc(1, sizeof(*trust));
	if (!trust)
		return tg_error(e, -ENOMEM, "out of memory");
	role = &trust->root.roles[TG_TGSP_PACKAGE];
	role->threshold = threshold;
	for (; role->count < package_keys->count; role->count++) {
		EVP_PKEY_up_ref(package_keys->keys[role->count]);
		role->keys[role->count] = package_keys->keys[role->count];
	}
	*ret_trust = trust;
	return 0;
}

int tg_tgsp_trust_rotate(struct tg_tgsp_trust *trust, const struct tg_bytes *root, struct tg_error *e)
{
	struct tg_tgsp_root next = { 0 };
	struct tg_cose cose;
	int ret = trust->has_root ? decode_root(root, &cose, &next, e)
				  : tg_error(e, -EINVAL, "there is no root to follow");

	if (!ret && next.issue.version != trust->root.issue.version + 1)
		ret = tg_error(e, -ESTALE, "version %" PRIu64 " cannot follow %" PRIu64, next.issue.version,
			       trust->root.issue.version);
	if (!ret)
		ret = signed_by(&cose, &trust->root.roles[TG_TGSP_ROOT], e);
	if (!ret)
		ret = signed_by(&cose, &next.roles[TG_TGSP_ROOT], e);
	if (ret) {
		tgsp_root_clear(&next);
		return tg_error_prefix(e, ret, "next root");
	}
	tgsp_root_clear(&trust->root);
	trust->root = next;
	/* what the old root's keys signed is not known to be what the new one's would */
	free(trust->targets);
	trust->targets = NULL;
	trust->target_count = 0;
	trust->updated = false;
	return 0;
}

/* Neither expired nor from a future that our clock does not know: a clock that was set back is noticed. */
static int check_times(const struct tg_tgsp_issue *issue, uint64_t now, struct tg_error *e)
{
	if (now >= issue->expires)
		return tg_error(e, -EKEYEXPIRED, "expired");
	if (issue->issued > now && issue->issued - now > TG_TGSP_CLOCK_SKEW)
		return tg_error(e, -EKEYEXPIRED, "issued in the future: the clock is wrong");
	return 0;
}

static void floor_name(enum tg_tgsp_role role, char ret_name[static TG_FLOOR_MAX_NAME + 1])
{
	/* no model's name has a colon */
	snprintf(ret_name, TG_FLOOR_MAX_NAME + 1, "trust:%s", names[role]);
}

static int check_floor(struct tg_floor *floor, enum tg_tgsp_role role, uint64_t version, struct tg_error *e)
{
	char name[TG_FLOOR_MAX_NAME + 1];
	uint64_t lowest;

	floor_name(role, name);
	lowest = floor ? tg_floor_get(floor, name) : 0;
	if (version < lowest)
		return tg_error(e, -ESTALE,
				"version %" PRIu64 " is older than %" PRIu64 ", which was seen before",
				version, lowest);
	return 0;
}

/* One of the three: `pointer` is what the document above says of it, NULL for the timestamp. */
static int check_document(const struct tg_tgsp_trust *trust, enum tg_tgsp_role role,
			  const struct tg_bytes *document, const struct tgsp_pointer *pointer, uint64_t now,
			  struct tg_floor *floor, struct tgsp_document *ret, struct tg_error *e)
{
	struct tg_cose cose;
	int r = pointer ? tgsp_pointer_check(pointer, document, e) : 0;

	if (!r)
		r = tgsp_document_decode(document, role, &cose, e);
	if (!r)
		r = signed_by(&cose, &trust->root.roles[role], e);
	if (!r)
		r = role == TG_TGSP_TARGETS ? tgsp_targets_decode(&cose, ret, e)
					    : tgsp_pointer_decode(&cose, ret, e);
	if (!r && pointer && ret->issue.version != pointer->version)
		r = tg_error(e, -EBADMSG, "another version than the one that is pointed to");
	if (!r)
		r = check_times(&ret->issue, now, e);
	if (!r)
		r = check_floor(floor, role, ret->issue.version, e);
	return r ? tg_error_prefix(e, r, "%s", names[role]) : 0;
}

int tg_tgsp_trust_raise(const struct tg_tgsp_trust *trust, struct tg_floor *floor, struct tg_error *e)
{
	static const enum tg_tgsp_role roles[] = { TG_TGSP_ROOT, TG_TGSP_TARGETS, TG_TGSP_SNAPSHOT,
						   TG_TGSP_TIMESTAMP };
	char texts[sizeof(roles) / sizeof(roles[0])][TG_FLOOR_MAX_NAME + 1];
	struct tg_floor_entry entries[sizeof(roles) / sizeof(roles[0])];
	size_t count = sizeof(roles) / sizeof(roles[0]);

	for (size_t i = 0; i < count; i++) {
		floor_name(roles[i], texts[i]);
		entries[i] =
			(struct tg_floor_entry){ texts[i], tg_tgsp_trust_issue(trust, roles[i])->version };
	}
	return tg_floor_raise(floor, entries, count, e);
}

/* The root must be in force: neither expired nor older than one that was seen. */
static int check_root(const struct tg_tgsp_trust *trust, uint64_t now, struct tg_floor *floor,
		      struct tg_error *e)
{
	int ret;

	if (!trust->has_root)
		return tg_error(e, -EINVAL, "there is no root that could name keys for the documents");
	ret = check_times(&trust->root.issue, now, e);
	if (!ret)
		ret = check_floor(floor, TG_TGSP_ROOT, trust->root.issue.version, e);
	return ret ? tg_error_prefix(e, ret, "root") : 0;
}

int tg_tgsp_trust_update(struct tg_tgsp_trust *trust, const struct tg_bytes *timestamp,
			 const struct tg_bytes *snapshot, const struct tg_bytes *targets, uint64_t now,
			 struct tg_floor *floor, struct tg_error *e)
{
	struct tgsp_document time = { 0 }, snap = { 0 }, target = { 0 };
	int ret = check_root(trust, now, floor, e);

	if (!ret)
		ret = check_document(trust, TG_TGSP_TIMESTAMP, timestamp, NULL, now, floor, &time, e);
	if (!ret)
		ret = check_document(trust, TG_TGSP_SNAPSHOT, snapshot, &time.pointer, now, floor, &snap, e);
	if (!ret)
		ret = check_document(trust, TG_TGSP_TARGETS, targets, &snap.pointer, now, floor, &target, e);
	if (ret) {
		free(target.targets);
		return ret;
	}
	free(trust->targets);
	trust->targets = target.targets;
	trust->target_count = target.target_count;
	trust->issues[TG_TGSP_TIMESTAMP] = time.issue;
	trust->issues[TG_TGSP_SNAPSHOT] = snap.issue;
	trust->issues[TG_TGSP_TARGETS] = target.issue;
	trust->updated = true;
	return 0;
}

int tg_tgsp_trust_timestamp_version(const struct tg_tgsp_trust *trust, const struct tg_bytes *timestamp,
				    uint64_t *ret_version, struct tg_error *e)
{
	struct tgsp_document document = { 0 };
	struct tg_cose cose;
	int ret = tgsp_document_decode(timestamp, TG_TGSP_TIMESTAMP, &cose, e);

	if (!ret)
		ret = signed_by(&cose, &trust->root.roles[TG_TGSP_TIMESTAMP], e);
	if (!ret)
		ret = tgsp_pointer_decode(&cose, &document, e);
	if (ret)
		return tg_error_prefix(e, ret, "timestamp");
	*ret_version = document.issue.version;
	return 0;
}

/* Named as this model, this release, this manifest, by documents that are still in force. */
static int check_listed(const struct tg_tgsp_trust *trust, const struct tg_tgsp_manifest *m,
			const uint8_t *hash, uint64_t now, struct tg_error *e)
{
	for (int role = TG_TGSP_TARGETS; role <= TG_TGSP_TIMESTAMP; role++) {
		int ret = check_times(&trust->issues[role], now, e);

		if (ret)
			return tg_error_prefix(e, ret, "%s", names[role]);
	}
	for (size_t i = 0; i < trust->target_count; i++) {
		const struct tg_tgsp_target *t = &trust->targets[i];

		if (!strcmp(t->model, m->model) && t->release == m->release &&
		    !memcmp(t->manifest, hash, TG_SHA256_LEN))
			return 0;
	}
	return tg_error(e, -EKEYREJECTED,
			"the targets do not name release %" PRIu64 " of %s with this manifest", m->release,
			m->model);
}

static bool author_signed(const struct tg_cose *signatures, const struct tg_tgsp_manifest *m)
{
	for (size_t i = 0; i < signatures->count; i++)
		if (!memcmp(signatures->signatures[i].key_id, m->author, TG_KEY_ID_LEN))
			return true;
	return false;
}

/* The author's signature is one of those that were verified: only signatures by the role's keys were. */
static int check_author(const struct tg_tgsp_role_keys *role, const struct tg_cose *signatures,
			const struct tg_tgsp_manifest *m, struct tg_error *e)
{
	if (!author_signed(signatures, m))
		return tg_error(e, -EKEYREJECTED, "the author that the manifest names did not sign it");
	for (size_t i = 0; i < role->count; i++) {
		uint8_t id[TG_KEY_ID_LEN];
		int ret = tg_public_key_hash(role->keys[i], id, e);

		if (ret)
			return ret;
		if (!memcmp(id, m->author, sizeof(id)))
			return 0;
	}
	return tg_error(e, -EKEYREJECTED, "the author's key is none of the trusted keys");
}

int tg_tgsp_trust_check(const struct tg_tgsp_trust *trust, const struct tg_cose *signatures,
			const struct tg_tgsp_manifest *manifest,
			const uint8_t manifest_hash[static TG_SHA256_LEN], bool listed, uint64_t now,
			struct tg_error *e)
{
	int ret = trust->has_root ? check_root(trust, now, NULL, e) : 0;

	if (!ret)
		ret = signed_by(signatures, &trust->root.roles[TG_TGSP_PACKAGE], e);
	if (!ret)
		ret = check_author(&trust->root.roles[TG_TGSP_PACKAGE], signatures, manifest, e);
	if (ret)
		return ret;
	if (listed && !trust->updated)
		return tg_error(e, -EKEYREJECTED, "there are no targets that could name the package");
	return trust->updated ? check_listed(trust, manifest, manifest_hash, now, e) : 0;
}
