/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whom a device trusts, in the manner of TUF (The Update Framework): a root
 * that names the keys of each role, and three short documents under it.
 *
 *	root       keys and thresholds of all roles; the next one is signed by this one's keys and its own
 *	targets    which packages there are: model, release, manifest hash
 *	snapshot   which targets document is the current one
 *	timestamp  which snapshot is the current one; expires soon, so that nobody can hold a device back
 *
 * The role `package` signs manifests. Each document is a COSE_Sign of
 * deterministic CBOR (docs/tgsp.md).
 */
#ifndef TENSORGUARD_TGSP_TRUST_H
#define TENSORGUARD_TGSP_TRUST_H

#include "tensorguard/bytes.h"
#include "tensorguard/cose.h"
#include "tensorguard/floor.h"
#include "tensorguard/tgsp_manifest.h"

enum tg_tgsp_role {
	TG_TGSP_ROOT,
	TG_TGSP_TARGETS,
	TG_TGSP_SNAPSHOT,
	TG_TGSP_TIMESTAMP,
	TG_TGSP_PACKAGE,
	TG_TGSP_ROLES,
};

const char *tg_tgsp_role_name(enum tg_tgsp_role role);

#define TG_TGSP_MAX_TRUST (1u << 20)	/* bytes of a trust document */
#define TG_TGSP_MAX_KEYS 16		/* of a role */
#define TG_TGSP_MAX_TARGETS 8192
#define TG_TGSP_CLOCK_SKEW 300		/* seconds that a document may have been issued ahead of our clock */

/* What the documents have in common. */
struct tg_tgsp_issue {
	uint64_t version;	/* 1, 2, 3 and so on */
	uint64_t issued, expires;
};

struct tg_tgsp_role_keys {
	unsigned threshold;
	EVP_PKEY *keys[TG_TGSP_MAX_KEYS];
	size_t count;
};

struct tg_tgsp_target {
	char model[TG_TGSP_MAX_NAME + 1];
	uint64_t release;
	uint8_t manifest[TG_SHA256_LEN];
};

/* Documents to be made; each is signed by `signers` and returned in *ret_document. */
struct tg_tgsp_root {
	struct tg_tgsp_issue issue;
	struct tg_tgsp_role_keys roles[TG_TGSP_ROLES];
};

int tg_tgsp_root_sign(const struct tg_tgsp_root *root, const struct tg_key_set *signers,
		      struct tg_bytes *ret_document, struct tg_error *e);
/* `targets` are put in order; one that is there twice is -EEXIST. */
int tg_tgsp_targets_sign(const struct tg_tgsp_issue *issue, struct tg_tgsp_target *targets, size_t count,
			 const struct tg_key_set *signers, struct tg_bytes *ret_document, struct tg_error *e);
/* `role` is TG_TGSP_SNAPSHOT (of a targets document) or TG_TGSP_TIMESTAMP (of a snapshot). */
int tg_tgsp_pointer_sign(enum tg_tgsp_role role, const struct tg_tgsp_issue *issue,
			 const struct tg_bytes *pointed, uint64_t pointed_version,
			 const struct tg_key_set *signers, struct tg_bytes *ret_document, struct tg_error *e);

struct tg_tgsp_trust;

/*
 * From a root that was handed over by a way that is trusted. Only its own
 * signatures are checked: an old root may have expired and still lead to its
 * successors. -EBADMSG, -EKEYREJECTED.
 */
int tg_tgsp_trust_new(const struct tg_bytes *root, struct tg_tgsp_trust **ret_trust, struct tg_error *e);
/* From keys alone, with no root: whoever gives them vouches for them. Borrows nothing. */
int tg_tgsp_trust_keys(const struct tg_key_set *package_keys, unsigned threshold,
		       struct tg_tgsp_trust **ret_trust, struct tg_error *e);
void tg_tgsp_trust_free(struct tg_tgsp_trust *trust);

/* The next root: exactly one version higher, signed by enough keys of both. */
int tg_tgsp_trust_rotate(struct tg_tgsp_trust *trust, const struct tg_bytes *root, struct tg_error *e);

/*
 * The current documents, all three or none: signatures, expiry and issue time
 * against `now`, each named by size and hash by the one above, no version below
 * the one of `floor` (may be NULL). -EKEYREJECTED, -EBADMSG, -EKEYEXPIRED,
 * -ESTALE.
 */
int tg_tgsp_trust_update(struct tg_tgsp_trust *trust, const struct tg_bytes *timestamp,
			 const struct tg_bytes *snapshot, const struct tg_bytes *targets, uint64_t now,
			 struct tg_floor *floor, struct tg_error *e);

/*
 * Raises the floor to the versions of what is in force; nothing where it is
 * there already. Whoever keeps documents keeps them first: a floor above those
 * that are kept refuses them after the next start. tg_floor_raise()'s errors.
 */
int tg_tgsp_trust_raise(const struct tg_tgsp_trust *trust, struct tg_floor *floor, struct tg_error *e);

uint64_t tg_tgsp_trust_root_version(const struct tg_tgsp_trust *trust);
/* What tg_tgsp_trust_update() brought; no targets before. */
const struct tg_tgsp_target *tg_tgsp_trust_targets(const struct tg_tgsp_trust *trust, size_t *ret_count);
const struct tg_tgsp_issue *tg_tgsp_trust_issue(const struct tg_tgsp_trust *trust, enum tg_tgsp_role role);
/* Keys and thresholds of the root in force. */
const struct tg_tgsp_root *tg_tgsp_trust_root(const struct tg_tgsp_trust *trust);

/* The version of a timestamp that its role's keys signed, whether in force or not: for who makes the next
 * one. */
int tg_tgsp_trust_timestamp_version(const struct tg_tgsp_trust *trust, const struct tg_bytes *timestamp,
				    uint64_t *ret_version, struct tg_error *e);

/*
 * Whether a package is trusted: signed by enough keys of the role `package`, the
 * root not expired, and `listed`: named by the targets. Once targets were given,
 * a package that they do not name is refused in any case.
 */
int tg_tgsp_trust_check(const struct tg_tgsp_trust *trust, const struct tg_cose *signatures,
			const struct tg_tgsp_manifest *manifest,
			const uint8_t manifest_hash[static TG_SHA256_LEN], bool listed, uint64_t now,
			struct tg_error *e);

#endif
