/* SPDX-License-Identifier: BSD-3-Clause */
/* The first half: who is this, are its keys of the right kind, and a challenge that only its TPM can meet. */
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "attest/parts.h"

static int copy_claim(const struct tg_attest_claim *claim, struct tg_attest_claim *ret_claim)
{
	struct tg_attest_claim copy = { 0 };
	int ret = 0;

	if (claim->ek_certificate_count > TG_EK_CERTIFICATES_MAX)
		return -EINVAL;
	for (size_t i = 0; !ret && i < claim->ek_certificate_count; i++) {
		const struct tg_bytes *certificate = &claim->ek_certificates[i];

		ret = tg_bytes_copy(certificate->data, certificate->len, &copy.ek_certificates[i]);
		copy.ek_certificate_count = i + 1;
	}
	if (!ret)
		ret = tg_bytes_copy(claim->ek_public.data, claim->ek_public.len, &copy.ek_public);
	if (!ret)
		ret = tg_bytes_copy(claim->ak_public.data, claim->ak_public.len, &copy.ak_public);
	if (!ret)
		ret = tg_bytes_copy(claim->tls_public.data, claim->tls_public.len, &copy.tls_public);
	if (!ret)
		ret = tg_bytes_copy(claim->hpke_public.data, claim->hpke_public.len, &copy.hpke_public);
	if (ret)
		tg_attest_claim_clear(&copy);
	else
		*ret_claim = copy;
	return ret;
}

/* A session with its claim, id and nonce, and nothing checked. */
static int session_new(const struct tg_attest_claim *claim, int64_t now,
		       struct tg_attest_session **ret_session, enum tg_attest_reason *ret_reason,
		       struct tg_error *e)
{
	struct tg_attest_session *session = calloc(1, sizeof(*session));
	int ret = session ? copy_claim(claim, &session->claim) : -ENOMEM;

	if (ret)
		tg_error(e, ret, "%s", ret == -EINVAL ? "too many EK certificates" : "out of memory");
	if (!ret)
		ret = tg_random(session->challenge.session, sizeof(session->challenge.session), e);
	if (!ret)
		ret = tg_random(session->challenge.nonce, sizeof(session->challenge.nonce), e);
	if (ret) {
		tg_attest_session_free(session);
		return attest_blame(ret, TG_ATTEST_MALFORMED, ret_reason);
	}
	session->started = now;
	*ret_session = session;
	return 0;
}

static int load_public(const struct tg_bytes *bytes, enum tg_tpm_role role, enum tg_attest_reason reason,
		       struct tg_tpm_public *ret_public, enum tg_attest_reason *ret_reason,
		       struct tg_error *e)
{
	int ret = tg_tpm_public_parse(bytes->data, bytes->len, ret_public, e);

	if (ret)
		return attest_blame(ret, TG_ATTEST_MALFORMED, ret_reason);
	return attest_blame(tg_tpm_public_check(ret_public, role, e), reason, ret_reason);
}

/* The AK and the two keys that it is to vouch for. */
static int load_keys(struct tg_attest_session *session, const struct tg_bytes *ak,
		     enum tg_attest_reason *ret_reason, struct tg_error *e)
{
	const struct tg_attest_claim *claim = &session->claim;
	int ret = load_public(ak, TG_TPM_ROLE_AK, TG_ATTEST_AK_TEMPLATE, &session->ak, ret_reason, e);

	if (!ret)
		ret = load_public(&claim->tls_public, TG_TPM_ROLE_TLS, TG_ATTEST_KEY_TEMPLATE, &session->tls,
				  ret_reason, e);
	if (!ret)
		ret = load_public(&claim->hpke_public, TG_TPM_ROLE_HPKE, TG_ATTEST_KEY_TEMPLATE,
				  &session->hpke, ret_reason, e);
	return ret;
}

static int load_ek(const struct tg_attest_policy *policy, struct tg_attest_session *session, int64_t now,
		   struct tg_tpm_public *ret_ek, enum tg_attest_reason *ret_reason, struct tg_error *e)
{
	EVP_PKEY *key = NULL;
	int ret = load_public(&session->claim.ek_public, TG_TPM_ROLE_EK, TG_ATTEST_EK_TEMPLATE, ret_ek,
			      ret_reason, e);

	if (ret)
		return ret;
	ret = attest_blame(tg_tpm_public_key(ret_ek, &key, e), TG_ATTEST_MALFORMED, ret_reason);
	if (!ret && session->claim.ek_certificate_count)
		ret = attest_check_ek(policy->roots, &session->claim, key, now, ret_reason, e);
	if (!ret)
		ret = attest_blame(tg_public_key_hash(key, session->ek_hash, e), TG_ATTEST_MALFORMED,
				   ret_reason);
	EVP_PKEY_free(key);
	return ret;
}

static int make_challenge(struct tg_attest_session *session, const struct tg_tpm_public *ek,
			  enum tg_attest_reason *ret_reason, struct tg_error *e)
{
	int ret = tg_random(session->secret, sizeof(session->secret), e);

	if (!ret)
		ret = tg_attest_make_credential(ek, session->ak.name, session->secret,
						&session->challenge.credential, &session->challenge.secret,
						e);
	return attest_blame(ret, TG_ATTEST_MALFORMED, ret_reason);
}

static bool claims_nothing(const struct tg_attest_claim *claim)
{
	return !claim->ek_certificate_count && !claim->ek_public.len && !claim->ak_public.len &&
	       !claim->tls_public.len && !claim->hpke_public.len;
}

static int check_allowed(const struct tg_attest_policy *policy, enum tg_assurance assurance,
			 enum tg_attest_reason *ret_reason, struct tg_error *e)
{
	if (assurance != TG_ASSURANCE_NONE && policy->allowed & TG_ALLOW(assurance))
		return 0;
	return attest_refuse(ret_reason, TG_ATTEST_NOT_ALLOWED, e,
			     "the fleet does not take the assurance '%s'", tg_assurance_name(assurance));
}

/* A mask of no PCR, or of one that does not exist, is the Platform's mistake. */
static int set_mask(const struct tg_attest_policy *policy, struct tg_attest_session *session,
		    enum tg_attest_reason *ret_reason, struct tg_error *e)
{
	if (!policy->pcr_mask || policy->pcr_mask >> TG_PCR_COUNT) {
		*ret_reason = TG_ATTEST_INTERNAL;
		return tg_error(e, -ERANGE, "PCR mask %#x: no such PCRs", policy->pcr_mask);
	}
	session->challenge.pcr_mask = policy->pcr_mask;
	return 0;
}

static int begin_tpm(const struct tg_attest_policy *policy, struct tg_attest_session *session, int64_t now,
		     enum tg_attest_reason *ret_reason, struct tg_error *e)
{
	struct tg_tpm_public ek;
	int ret = set_mask(policy, session, ret_reason, e);

	if (!ret)
		ret = load_ek(policy, session, now, &ek, ret_reason, e);
	if (!ret)
		ret = load_keys(session, &session->claim.ak_public, ret_reason, e);
	if (!ret)
		ret = make_challenge(session, &ek, ret_reason, e);
	return ret;
}

int tg_attest_enrol_begin(const struct tg_attest_policy *policy, const struct tg_attest_claim *claim,
			  int64_t now, struct tg_attest_session **ret_session,
			  enum tg_attest_reason *ret_reason, struct tg_error *e)
{
	struct tg_attest_session *session = NULL;
	int ret;

	ERR_clear_error();
	ret = session_new(claim, now, &session, ret_reason, e);
	if (ret)
		return ret;
	if (claims_nothing(claim))
		session->assurance = TG_ASSURANCE_SOFTWARE;
	else if (!claim->ek_certificate_count)
		session->assurance = TG_ASSURANCE_TPM_UNENDORSED;
	else
		session->assurance = TG_ASSURANCE_TPM_ATTESTED;
	ret = check_allowed(policy, session->assurance, ret_reason, e);
	if (!ret && session->assurance != TG_ASSURANCE_SOFTWARE)
		ret = begin_tpm(policy, session, now, ret_reason, e);
	if (ret) {
		tg_attest_session_free(session);
		return ret;
	}
	*ret_session = session;
	*ret_reason = TG_ATTEST_ACCEPTED;
	return 0;
}

/* A device cannot come back as another kind of device, nor after its TPM's vendor has lost our trust. */
static int begin_again(const struct tg_attest_policy *policy, const struct tg_attest_device *device,
		       struct tg_attest_session *session, int64_t now, enum tg_attest_reason *ret_reason,
		       struct tg_error *e)
{
	const struct tg_attest_claim *claim = &session->claim;
	bool software = device->assurance == TG_ASSURANCE_SOFTWARE;
	int ret = check_allowed(policy, device->assurance, ret_reason, e);

	if (ret)
		return ret;
	if (claim->ek_certificate_count || claim->ek_public.len || claim->ak_public.len ||
	    software != claims_nothing(claim))
		return attest_refuse(ret_reason, TG_ATTEST_MALFORMED, e,
				     "a renewal has other keys than a device of '%s' has",
				     tg_assurance_name(device->assurance));
	session->assurance = device->assurance;
	memcpy(session->ek_hash, device->ek_hash, sizeof(session->ek_hash));
	if (software)
		return 0;
	if (device->assurance == TG_ASSURANCE_TPM_ATTESTED)
		ret = attest_check_kept_ek(policy->roots, &device->ek_chain, now, ret_reason, e);
	if (!ret)
		ret = set_mask(policy, session, ret_reason, e);
	return ret ? ret : load_keys(session, &device->ak_public, ret_reason, e);
}

int tg_attest_renew_begin(const struct tg_attest_policy *policy, const struct tg_attest_device *device,
			  const struct tg_attest_claim *claim, int64_t now,
			  struct tg_attest_session **ret_session, enum tg_attest_reason *ret_reason,
			  struct tg_error *e)
{
	struct tg_attest_session *session = NULL;
	int ret;

	ERR_clear_error();
	ret = session_new(claim, now, &session, ret_reason, e);
	if (ret)
		return ret;
	session->renewal = true;
	ret = begin_again(policy, device, session, now, ret_reason, e);
	if (ret) {
		tg_attest_session_free(session);
		return ret;
	}
	*ret_session = session;
	*ret_reason = TG_ATTEST_ACCEPTED;
	return 0;
}

const struct tg_attest_challenge *tg_attest_session_challenge(const struct tg_attest_session *session)
{
	return &session->challenge;
}

int tg_attest_session_ek_chain(const struct tg_attest_session *session, struct tg_bytes *ret_chain,
			       struct tg_error *e)
{
	const struct tg_attest_claim *claim = &session->claim;
	struct tg_bytes chain = { 0 };
	size_t len = 0;

	for (size_t i = 0; i < claim->ek_certificate_count; i++)
		len += claim->ek_certificates[i].len;
	if (len) {
		chain.data = malloc(len);
		if (!chain.data)
			return tg_error(e, -ENOMEM, "out of memory");
	}
	for (size_t i = 0; i < claim->ek_certificate_count; i++) {
		const struct tg_bytes *certificate = &claim->ek_certificates[i];

		memcpy(chain.data + chain.len, certificate->data, certificate->len);
		chain.len += certificate->len;
	}
	*ret_chain = chain;
	return 0;
}

const uint8_t *tg_attest_session_ek_hash(const struct tg_attest_session *session)
{
	return session->ek_hash;
}

void tg_attest_session_free(struct tg_attest_session *session)
{
	if (!session)
		return;
	tg_attest_claim_clear(&session->claim);
	tg_attest_challenge_clear(&session->challenge);
	OPENSSL_cleanse(session, sizeof(*session));
	free(session);
}

void tg_attest_claim_clear(struct tg_attest_claim *claim)
{
	for (size_t i = 0; i < TG_EK_CERTIFICATES_MAX; i++)
		tg_bytes_free(&claim->ek_certificates[i]);
	tg_bytes_free(&claim->ek_public);
	tg_bytes_free(&claim->ak_public);
	tg_bytes_free(&claim->tls_public);
	tg_bytes_free(&claim->hpke_public);
	claim->ek_certificate_count = 0;
}

void tg_attest_challenge_clear(struct tg_attest_challenge *challenge)
{
	tg_bytes_free(&challenge->credential);
	tg_bytes_free(&challenge->secret);
	*challenge = (struct tg_attest_challenge){ 0 };
}

static void statement_clear(struct tg_attest_statement *statement)
{
	tg_bytes_free(&statement->attest);
	tg_bytes_free(&statement->signature);
}

void tg_attest_evidence_clear(struct tg_attest_evidence *evidence)
{
	tg_bytes_free(&evidence->csr);
	tg_bytes_free(&evidence->proof);
	statement_clear(&evidence->certify_tls);
	statement_clear(&evidence->certify_hpke);
	statement_clear(&evidence->quote);
	tg_bytes_free(&evidence->pcrs);
	tg_bytes_free(&evidence->event_log);
}
