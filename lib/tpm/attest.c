/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <openssl/crypto.h>
#include <string.h>
#include <tss2/tss2_mu.h>

#include "parts.h"
#include "rc.h"

void tg_tpm_statement_free(struct tg_tpm_statement *statement)
{
	if (!statement)
		return;
	tg_bytes_free(&statement->attest);
	tg_bytes_free(&statement->signature);
}

static int make_statement(const TPM2B_ATTEST *attest, const TPMT_SIGNATURE *signature,
			  struct tg_tpm_statement *ret_statement, struct tg_error *e)
{
	struct tg_tpm_statement statement = { 0 };
	uint8_t buffer[sizeof(*signature)];
	size_t len = 0;
	TSS2_RC rc = Tss2_MU_TPMT_SIGNATURE_Marshal(signature, buffer, sizeof(buffer), &len);
	int r = rc ? tg_rc_error(e, rc, "write a signature")
		   : tg_bytes_copy(buffer, len, &statement.signature);

	if (!r)
		r = tg_bytes_copy(attest->attestationData, attest->size, &statement.attest);
	if (r)
		tg_tpm_statement_free(&statement);
	else
		*ret_statement = statement;
	return r;
}

static int qualify(const void *data, size_t len, TPM2B_DATA *ret_data, struct tg_error *e)
{
	if (len > TG_TPM_QUALIFY_MAX)
		return tg_error(e, -EINVAL, "TPM: %zu bytes of qualifying data, at most %d fit", len,
				TG_TPM_QUALIFY_MAX);
	ret_data->size = (UINT16)len;
	if (len)
		memcpy(ret_data->buffer, data, len);
	return 0;
}

/* The scheme is the key's own. */
static const TPMT_SIG_SCHEME scheme_of_key = { .scheme = TPM2_ALG_NULL };

static int certify(struct operation *op, const struct tg_tpm_key *key, const struct tg_tpm_key *ak,
		   const TPM2B_DATA *qualifying, struct tg_tpm_statement *ret_statement)
{
	TPM2B_ATTEST *attest = NULL;
	TPMT_SIGNATURE *signature = NULL;
	ESYS_TR object, signer, session;
	int r = op_load(op, key, &object);

	if (!r)
		r = op_load(op, ak, &signer);
	if (r)
		return r;
	session = op_encrypt(op, TPMA_SESSION_DECRYPT | TPMA_SESSION_ENCRYPT);
	/* one session cannot authorise twice in a command; the other key's authorisation value is empty */
	r = OP_RUN(op, "certify a key",
		   Esys_Certify(op->esys, object, signer, session, ESYS_TR_PASSWORD, ESYS_TR_NONE, qualifying,
				&scheme_of_key, &attest, &signature));
	if (!r)
		r = make_statement(attest, signature, ret_statement, op->e);
	Esys_Free(attest);
	Esys_Free(signature);
	return r;
}

int tg_tpm_certify(struct tg_tpm *tpm, const struct tg_tpm_key *key, const struct tg_tpm_key *ak,
		   const void *qualifying, size_t qualifying_len, struct tg_tpm_statement *ret_statement,
		   struct tg_error *e)
{
	TPM2B_DATA data = { 0 };
	struct operation op;
	int r = qualify(qualifying, qualifying_len, &data, e);

	if (!r)
		r = op_begin(&op, tpm, e);
	if (r)
		return r;
	r = certify(&op, key, ak, &data, ret_statement);
	op_end(&op);
	return r;
}

static int quote(struct operation *op, const struct tg_tpm_key *ak, const TPM2B_DATA *qualifying,
		 uint32_t pcrs, struct tg_tpm_statement *ret_statement)
{
	TPML_PCR_SELECTION selection = select_pcrs(pcrs);
	TPM2B_ATTEST *attest = NULL;
	TPMT_SIGNATURE *signature = NULL;
	ESYS_TR signer;
	int r = op_load(op, ak, &signer);

	if (r)
		return r;
	r = OP_RUN(op, "quote",
		   Esys_Quote(op->esys, signer, op_encrypt(op, TPMA_SESSION_DECRYPT | TPMA_SESSION_ENCRYPT),
			      ESYS_TR_NONE, ESYS_TR_NONE, qualifying, &scheme_of_key, &selection, &attest,
			      &signature));
	if (!r)
		r = make_statement(attest, signature, ret_statement, op->e);
	Esys_Free(attest);
	Esys_Free(signature);
	return r;
}

int tg_tpm_quote(struct tg_tpm *tpm, const struct tg_tpm_key *ak, const void *qualifying,
		 size_t qualifying_len, uint32_t pcrs, struct tg_tpm_statement *ret_statement,
		 struct tg_error *e)
{
	TPM2B_DATA data = { 0 };
	struct operation op;
	int r = qualify(qualifying, qualifying_len, &data, e);

	if (!r)
		r = check_pcrs(pcrs, e);
	if (!r)
		r = op_begin(&op, tpm, e);
	if (r)
		return r;
	r = quote(&op, ak, &data, pcrs, ret_statement);
	op_end(&op);
	return r;
}

static int parse_credential(const struct tg_bytes *id_object, const struct tg_bytes *encrypted_secret,
			    TPM2B_ID_OBJECT *ret_object, TPM2B_ENCRYPTED_SECRET *ret_secret,
			    struct tg_error *e)
{
	size_t at = 0;

	if (Tss2_MU_TPM2B_ID_OBJECT_Unmarshal(id_object->data, id_object->len, &at, ret_object) ||
	    at != id_object->len)
		return tg_error(e, -EBADMSG, "TPM: the credential is malformed");
	at = 0;
	if (Tss2_MU_TPM2B_ENCRYPTED_SECRET_Unmarshal(encrypted_secret->data, encrypted_secret->len, &at,
						     ret_secret) ||
	    at != encrypted_secret->len)
		return tg_error(e, -EBADMSG, "TPM: the credential's encrypted secret is malformed");
	return 0;
}

static int activate(struct operation *op, enum tg_tpm_ek ek, const struct tg_tpm_key *ak,
		    const TPM2B_ID_OBJECT *object, const TPM2B_ENCRYPTED_SECRET *encrypted,
		    struct tg_bytes *ret_secret)
{
	TPM2B_DIGEST *secret = NULL;
	ESYS_TR signer, endorsement, policy;
	int r = op_load(op, ak, &signer);

	if (!r)
		r = op_ek(op, ek, &endorsement, NULL);
	if (!r)
		r = op_ek_session(op, &policy);
	if (r)
		return r;
	r = OP_RUN(op, "activate a credential",
		   Esys_ActivateCredential(op->esys, signer, endorsement,
					   op_encrypt(op, TPMA_SESSION_DECRYPT | TPMA_SESSION_ENCRYPT),
					   policy, ESYS_TR_NONE, object, encrypted, &secret));
	if (r)
		return r;
	r = tg_bytes_copy(secret->buffer, secret->size, ret_secret);
	OPENSSL_cleanse(secret, sizeof(*secret));
	Esys_Free(secret);
	return r;
}

int tg_tpm_activate(struct tg_tpm *tpm, enum tg_tpm_ek ek, const struct tg_tpm_key *ak,
		    const struct tg_bytes *id_object, const struct tg_bytes *encrypted_secret,
		    struct tg_bytes *ret_secret, struct tg_error *e)
{
	TPM2B_ID_OBJECT object = { 0 };
	TPM2B_ENCRYPTED_SECRET encrypted = { 0 };
	struct operation op;
	int r = parse_credential(id_object, encrypted_secret, &object, &encrypted, e);

	if (!r)
		r = op_begin(&op, tpm, e);
	if (r)
		return r;
	r = activate(&op, ek, ak, &object, &encrypted, ret_secret);
	op_end(&op);
	return r;
}
