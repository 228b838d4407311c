/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

#include "tensorguard/enrol.h"
#include "tensorguard/key.h"
#include "wire/fields.h"

enum { PEM_MAX = 16384 };

static const struct wire_field claim_fields[] = {
	{ WIRE_FIELD("ek_certificates", WIRE_LIST, struct tg_attest_claim, ek_certificates,
		     TG_EK_CERTIFICATE_MAX),
	  .optional = true, .list_max = TG_EK_CERTIFICATES_MAX,
	  .count_offset = offsetof(struct tg_attest_claim, ek_certificate_count) },
	{ WIRE_FIELD("ek_public", WIRE_BYTES, struct tg_attest_claim, ek_public, TG_TPM_PUBLIC_MAX) },
	{ WIRE_FIELD("ak_public", WIRE_BYTES, struct tg_attest_claim, ak_public, TG_TPM_PUBLIC_MAX) },
	{ WIRE_FIELD("tls_public", WIRE_BYTES, struct tg_attest_claim, tls_public, TG_TPM_PUBLIC_MAX) },
	{ WIRE_FIELD("hpke_public", WIRE_BYTES, struct tg_attest_claim, hpke_public, TG_TPM_PUBLIC_MAX) },
	{ 0 },
};

static const struct wire_field new_claim_fields[] = {
	{ WIRE_FIELD("tls_public", WIRE_BYTES, struct tg_attest_claim, tls_public, TG_TPM_PUBLIC_MAX) },
	{ WIRE_FIELD("hpke_public", WIRE_BYTES, struct tg_attest_claim, hpke_public, TG_TPM_PUBLIC_MAX) },
	{ 0 },
};

static const struct wire_field enrol_start_fields[] = {
	{ WIRE_FIELD("token", WIRE_TEXT, struct tg_enrol_start, token, TG_TOKEN_LEN) },
	{ WIRE_FIELD("tpm", WIRE_OBJECT, struct tg_enrol_start, claim, 0), .optional = true,
	  .fields = claim_fields },
	{ 0 },
};

static const struct wire_field renew_start_fields[] = {
	{ WIRE_FIELD("tpm", WIRE_OBJECT, struct tg_enrol_start, claim, 0), .optional = true,
	  .fields = new_claim_fields },
	{ 0 },
};

static const struct wire_field challenge_tpm_fields[] = {
	{ WIRE_FIELD("pcrs", WIRE_PCRS, struct tg_attest_challenge, pcr_mask, 0) },
	{ WIRE_FIELD("credential", WIRE_BYTES, struct tg_attest_challenge, credential, TG_CREDENTIAL_MAX),
	  .optional = true },
	{ WIRE_FIELD("secret", WIRE_BYTES, struct tg_attest_challenge, secret, TG_CREDENTIAL_MAX),
	  .optional = true },
	{ 0 },
};

static const struct wire_field challenge_fields[] = {
	{ WIRE_FIELD("session", WIRE_FIXED, struct tg_attest_challenge, session, TG_SESSION_ID_LEN) },
	{ WIRE_FIELD("nonce", WIRE_FIXED, struct tg_attest_challenge, nonce, TG_NONCE_LEN) },
	{ .name = "tpm", .kind = WIRE_OBJECT, .optional = true, .fields = challenge_tpm_fields },
	{ 0 },
};

static const struct wire_field statement_fields[] = {
	{ WIRE_FIELD("attest", WIRE_BYTES, struct tg_attest_statement, attest, TG_ATTEST_MAX) },
	{ WIRE_FIELD("signature", WIRE_BYTES, struct tg_attest_statement, signature, TG_SIGNATURE_MAX) },
	{ 0 },
};

static const struct wire_field evidence_fields[] = {
	{ WIRE_FIELD("proof", WIRE_BYTES, struct tg_attest_evidence, proof, TG_PROOF_LEN), .optional = true },
	{ WIRE_FIELD("certify_tls", WIRE_OBJECT, struct tg_attest_evidence, certify_tls, 0),
	  .fields = statement_fields },
	{ WIRE_FIELD("certify_hpke", WIRE_OBJECT, struct tg_attest_evidence, certify_hpke, 0),
	  .fields = statement_fields },
	{ WIRE_FIELD("quote", WIRE_OBJECT, struct tg_attest_evidence, quote, 0), .fields = statement_fields },
	{ WIRE_FIELD("pcr_values", WIRE_BYTES, struct tg_attest_evidence, pcrs,
		     TG_PCR_COUNT *TG_SHA256_LEN) },
	{ WIRE_FIELD("event_log", WIRE_BYTES, struct tg_attest_evidence, event_log, TG_EVENT_LOG_MAX),
	  .optional = true },
	{ 0 },
};

static const struct wire_field finish_fields[] = {
	{ WIRE_FIELD("session", WIRE_FIXED, struct tg_enrol_finish, session, TG_SESSION_ID_LEN) },
	{ WIRE_FIELD("csr", WIRE_BYTES, struct tg_enrol_finish, evidence.csr, TG_CSR_MAX) },
	{ WIRE_FIELD("tpm", WIRE_OBJECT, struct tg_enrol_finish, evidence, 0), .optional = true,
	  .fields = evidence_fields },
	{ 0 },
};

static const struct wire_field issued_fields[] = {
	{ WIRE_FIELD("agent", WIRE_TEXT, struct tg_enrol_issued, agent, TG_ID_LEN) },
	{ WIRE_FIELD("fleet", WIRE_TEXT, struct tg_enrol_issued, fleet, TG_ID_LEN) },
	{ WIRE_FIELD("assurance", WIRE_ASSURANCE, struct tg_enrol_issued, assurance, 0) },
	{ WIRE_FIELD("not_after", WIRE_SECONDS, struct tg_enrol_issued, not_after, 0) },
	{ WIRE_FIELD("certificate", WIRE_PEM, struct tg_enrol_issued, certificate, PEM_MAX) },
	{ WIRE_FIELD("ca", WIRE_PEM, struct tg_enrol_issued, ca, PEM_MAX) },
	{ WIRE_FIELD("policy_key", WIRE_BYTES, struct tg_enrol_issued, policy_key, TG_SPKI_MAX_LEN) },
	{ WIRE_FIELD("model_root", WIRE_BYTES, struct tg_enrol_issued, model_root, TG_ENROL_ROOT_MAX),
	  .optional = true },
	{ 0 },
};

static const struct wire_field *start_fields(enum tg_enrol_kind kind)
{
	return kind == TG_ENROL ? enrol_start_fields : renew_start_fields;
}

int tg_enrol_start_decode(const void *text, size_t len, enum tg_enrol_kind kind,
			  struct tg_enrol_start *ret_start, struct tg_error *e)
{
	struct tg_enrol_start start = { 0 };
	int ret = wire_decode(text, len, TG_ENROL_BODY_MAX, start_fields(kind), &start, e);

	if (ret)
		tg_enrol_start_clear(&start);
	else
		*ret_start = start;
	explicit_bzero(start.token, sizeof(start.token));
	return ret;
}

int tg_enrol_start_encode(const struct tg_enrol_start *start, enum tg_enrol_kind kind,
			  struct tg_bytes *ret_text, struct tg_error *e)
{
	return wire_encode(start, start_fields(kind), ret_text, e);
}

void tg_enrol_start_clear(struct tg_enrol_start *start)
{
	if (!start)
		return;
	explicit_bzero(start->token, sizeof(start->token));
	tg_attest_claim_clear(&start->claim);
}

int tg_enrol_challenge_decode(const void *text, size_t len, struct tg_attest_challenge *ret_challenge,
			      struct tg_error *e)
{
	struct tg_attest_challenge challenge = { 0 };
	int ret = wire_decode(text, len, TG_ENROL_BODY_MAX, challenge_fields, &challenge, e);

	if (ret)
		tg_attest_challenge_clear(&challenge);
	else
		*ret_challenge = challenge;
	return ret;
}

int tg_enrol_challenge_encode(const struct tg_attest_challenge *challenge, struct tg_bytes *ret_text,
			      struct tg_error *e)
{
	return wire_encode(challenge, challenge_fields, ret_text, e);
}

int tg_enrol_finish_decode(const void *text, size_t len, struct tg_enrol_finish *ret_finish,
			   struct tg_error *e)
{
	struct tg_enrol_finish finish = { 0 };
	int ret = wire_decode(text, len, TG_ENROL_BODY_MAX, finish_fields, &finish, e);

	if (ret)
		tg_enrol_finish_clear(&finish);
	else
		*ret_finish = finish;
	return ret;
}

int tg_enrol_finish_encode(const struct tg_enrol_finish *finish, struct tg_bytes *ret_text,
			   struct tg_error *e)
{
	return wire_encode(finish, finish_fields, ret_text, e);
}

void tg_enrol_finish_clear(struct tg_enrol_finish *finish)
{
	if (finish)
		tg_attest_evidence_clear(&finish->evidence);
}

static int check_policy_key(const struct tg_bytes *spki, struct tg_error *e)
{
	EVP_PKEY *key = NULL;
	enum tg_key_type type = TG_KEY_ES256;
	bool good = !tg_key_from_spki(spki->data, spki->len, &key, NULL) && !tg_key_type(key, &type, NULL) &&
		    type == TG_KEY_EDDSA;

	EVP_PKEY_free(key);
	return good ? 0 : tg_error(e, -EINVAL, "policy_key: not an Ed25519 key");
}

/* Names that could not stand in a certificate come from no Platform. */
static int check_issued(const struct tg_enrol_issued *issued, struct tg_error *e)
{
	if (!tg_id_valid(issued->agent) || !tg_id_valid(issued->fleet))
		return tg_error(e, -EINVAL, "agent, fleet: not well formed");
	return check_policy_key(&issued->policy_key, e);
}

int tg_enrol_issued_decode(const void *text, size_t len, struct tg_enrol_issued *ret_issued,
			   struct tg_error *e)
{
	struct tg_enrol_issued issued = { 0 };
	int ret = wire_decode(text, len, TG_ENROL_BODY_MAX, issued_fields, &issued, e);

	if (!ret)
		ret = check_issued(&issued, e);
	if (ret)
		tg_enrol_issued_clear(&issued);
	else
		*ret_issued = issued;
	return ret;
}

int tg_enrol_issued_encode(const struct tg_enrol_issued *issued, struct tg_bytes *ret_text,
			   struct tg_error *e)
{
	return wire_encode(issued, issued_fields, ret_text, e);
}

void tg_enrol_issued_clear(struct tg_enrol_issued *issued)
{
	if (!issued)
		return;
	tg_bytes_free(&issued->certificate);
	tg_bytes_free(&issued->ca);
	tg_bytes_free(&issued->policy_key);
	tg_bytes_free(&issued->model_root);
}
