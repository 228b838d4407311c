/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * COSE_Sign (RFC 9052), as much as TGSP has of it: the payload inside, one or
 * more signatures of ES256 or EdDSA keys that are named by their ids, nothing
 * in the unprotected headers, no external data. The content type in the
 * protected header of the body says what was signed, so that a signature on one
 * kind of document is none on another.
 */
#ifndef TENSORGUARD_COSE_H
#define TENSORGUARD_COSE_H

#include "tensorguard/cbor.h"
#include "tensorguard/key.h"

#define TG_COSE_MAX_SIGNATURES 16

struct tg_cose_signature {
	uint8_t key_id[TG_KEY_ID_LEN];
	enum tg_key_type type;
	const uint8_t *protected;	/* the header as it was signed */
	size_t protected_len;
	const uint8_t *signature;	/* TG_SIGNATURE_LEN */
};

/* A decoded one; it points into its input. */
struct tg_cose {
	const uint8_t *protected;
	size_t protected_len;
	const uint8_t *payload;
	size_t payload_len;
	struct tg_cose_signature signatures[TG_COSE_MAX_SIGNATURES]; /* by ascending key id */
	size_t count;			/* at least 1 */
};

/* Keys that may sign. */
struct tg_key_set {
	EVP_PKEY *const *keys;
	size_t count;
};

/* Reads one from `r`. Nothing of it is verified yet. */
int tg_cose_decode(struct tg_cbor *r, const char *content_type, struct tg_cose *ret_cose);

/*
 * Whether at least `threshold` of the set's keys signed it. A wrong signature
 * that claims to be one of theirs is -EBADMSG however many others are right;
 * signatures of keys outside the set do not count; too few are -EKEYREJECTED.
 */
int tg_cose_verify(const struct tg_cose *cose, const struct tg_key_set *set, unsigned threshold,
		   struct tg_error *e);

/* Writes one, signed by each of the keys; no key twice. */
int tg_cose_sign(struct tg_cbor_writer *w, const char *content_type, const uint8_t *payload, size_t len,
		 const struct tg_key_set *signers, struct tg_error *e);

#endif
