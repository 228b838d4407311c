/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The messages of enrolment and renewal as JSON, for both sides (docs/api-enrolment.md):
 *
 *	POST /v1/enrol/start   tg_enrol_start   ->  tg_attest_challenge
 *	POST /v1/enrol/finish  tg_enrol_finish  ->  tg_enrol_issued
 *	POST /v1/renew/start, /v1/renew/finish  the same, over mutual TLS, without token, EK, AK and proof
 *
 * Decoders take what is described there and nothing else: duplicate and unknown
 * keys, wrong types, sizes beyond those of attest.h, base64 that is not canonical
 * and bytes behind the end are -EINVAL, with the place in the message and never a
 * value. -ENOMEM. Encoders give text with a NUL that is not in its length.
 */
#ifndef TENSORGUARD_ENROL_H
#define TENSORGUARD_ENROL_H

#include <stddef.h>
#include <stdint.h>

#include "tensorguard/attest.h"
#include "tensorguard/bytes.h"
#include "tensorguard/certificate.h"
#include "tensorguard/error.h"

#define TG_TOKEN_LEN 128	/* of a registration token, with the final NUL */
#define TG_ENROL_BODY_MAX (1024 * 1024) /* bytes of a message */
#define TG_ENROL_ROOT_MAX (48 * 1024)	/* of the first root of models */

enum tg_enrol_kind { TG_ENROL, TG_RENEW };

struct tg_enrol_start {
	char token[TG_TOKEN_LEN]; /* "" when renewing */
	struct tg_attest_claim claim; /* all empty: without a TPM */
};

struct tg_enrol_finish {
	uint8_t session[TG_SESSION_ID_LEN];
	struct tg_attest_evidence evidence;
};

struct tg_enrol_issued {
	char agent[TG_ID_LEN], fleet[TG_ID_LEN];
	enum tg_assurance assurance;
	int64_t not_after;	/* seconds since 1970 */
	struct tg_bytes certificate, ca; /* PEM text, with a NUL that is not in its length */
	struct tg_bytes policy_key; /* what policies are signed with: Ed25519, SubjectPublicKeyInfo in DER */
	struct tg_bytes model_root; /* the first root of models (tgsp_trust.h); empty: none is published */
};

int tg_enrol_start_decode(const void *text, size_t len, enum tg_enrol_kind kind,
			  struct tg_enrol_start *ret_start, struct tg_error *e);
int tg_enrol_start_encode(const struct tg_enrol_start *start, enum tg_enrol_kind kind,
			  struct tg_bytes *ret_text, struct tg_error *e);
/* Wipes the token. NULL-safe, as the others. */
void tg_enrol_start_clear(struct tg_enrol_start *start);

/* Cleared with tg_attest_challenge_clear(). */
int tg_enrol_challenge_decode(const void *text, size_t len, struct tg_attest_challenge *ret_challenge,
			      struct tg_error *e);
int tg_enrol_challenge_encode(const struct tg_attest_challenge *challenge, struct tg_bytes *ret_text,
			      struct tg_error *e);

int tg_enrol_finish_decode(const void *text, size_t len, struct tg_enrol_finish *ret_finish,
			   struct tg_error *e);
int tg_enrol_finish_encode(const struct tg_enrol_finish *finish, struct tg_bytes *ret_text,
			   struct tg_error *e);
void tg_enrol_finish_clear(struct tg_enrol_finish *finish);

int tg_enrol_issued_decode(const void *text, size_t len, struct tg_enrol_issued *ret_issued,
			   struct tg_error *e);
int tg_enrol_issued_encode(const struct tg_enrol_issued *issued, struct tg_bytes *ret_text,
			   struct tg_error *e);
void tg_enrol_issued_clear(struct tg_enrol_issued *issued);

#endif
