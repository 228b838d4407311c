/* SPDX-License-Identifier: BSD-3-Clause */
/* Decoding and encoding of trust documents. */
#ifndef TGSP_TRUST_H
#define TGSP_TRUST_H

#include "tensorguard/tgsp_trust.h"

/*
 * Every document is an array: [1, version, issued, expires, X], where X is
 *	root			[[threshold, [key, ...]], ...], one for each role in its order
 *	targets			[[model, release, manifest hash], ...]
 *	snapshot, timestamp	[version, size, hash] of what they point to
 */
enum { TGSP_TRUST_FORMAT = 1, TGSP_TRUST_PARTS = 5 };

extern const char *const tgsp_content_types[];

/* The order of targets: by model, release, hash. */
int tgsp_target_order(const struct tg_tgsp_target *a, const struct tg_tgsp_target *b);

/* What one document says of another. */
struct tgsp_pointer {
	uint64_t version, size;
	uint8_t sha256[TG_SHA256_LEN];
};

/* Targets, snapshot or timestamp. */
struct tgsp_document {
	struct tg_tgsp_issue issue;
	struct tgsp_pointer pointer; /* of snapshot and timestamp */
	struct tg_tgsp_target *targets; /* of targets; freed by the caller */
	size_t target_count;
};

/* The COSE_Sign of a role's document, its payload still to be decoded. */
int tgsp_document_decode(const struct tg_bytes *document, enum tg_tgsp_role role, struct tg_cose *ret_cose,
			 struct tg_error *e);
int tgsp_root_decode(const struct tg_cose *cose, struct tg_tgsp_root *ret_root, struct tg_error *e);
void tgsp_root_clear(struct tg_tgsp_root *root);
int tgsp_targets_decode(const struct tg_cose *cose, struct tgsp_document *ret, struct tg_error *e);
int tgsp_pointer_decode(const struct tg_cose *cose, struct tgsp_document *ret, struct tg_error *e);
/* Whether `document` is what the pointer says. */
int tgsp_pointer_check(const struct tgsp_pointer *pointer, const struct tg_bytes *document,
		       struct tg_error *e);

#endif
