/* SPDX-License-Identifier: BSD-3-Clause */
/* The second half. Each check is a function that refuses with its own reason; the result is filled in last.
 */
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <string.h>

#include "attest/parts.h"
#include "tensorguard/certificate.h"

/* What one call works on. */
struct verification {
	const struct tg_attest_policy *policy;
	const struct tg_attest_session *session;
	const struct tg_attest_evidence *evidence;
	uint8_t binding[TG_BINDING_LEN];
	EVP_PKEY *key;		/* of the request */
	struct tg_attest_result result;
};

static int refuse(struct verification *v, enum tg_attest_reason reason, struct tg_error *e, const char *text)
{
	return attest_refuse(&v->result.reason, reason, e, "%s", text);
}

static int blame(struct verification *v, int err, enum tg_attest_reason reason)
{
	return attest_blame(err, reason, &v->result.reason);
}

static int check_time(struct verification *v, int64_t now, struct tg_error *e)
{
	int64_t started = v->session->started;

	if (now < started || now - started > TG_SESSION_SECONDS)
		return refuse(v, TG_ATTEST_EXPIRED, e, "the nonce has expired");
	return 0;
}

static int check_request(struct verification *v, struct tg_error *e)
{
	const struct tg_bytes *csr = &v->evidence->csr;
	int ret = blame(v, tg_request_parse(csr->data, csr->len, &v->key, e), TG_ATTEST_CSR);

	if (ret)
		return ret;
	return blame(v, tg_public_key_hash(v->key, v->result.tls_key_hash, e), TG_ATTEST_CSR);
}

static int check_request_key(struct verification *v, struct tg_error *e)
{
	uint8_t point[TG_P256_POINT_LEN];
	int ret = blame(v, tg_p256_point(v->key, point, e), TG_ATTEST_CSR);

	if (ret)
		return ret;
	if (!tg_equal(point, v->session->tls.point, sizeof(point)))
		return refuse(v, TG_ATTEST_CSR_KEY, e, "the request is not for the TLS key of this session");
	return 0;
}

static int check_proof(struct verification *v, struct tg_error *e)
{
	const struct tg_attest_session *session = v->session;
	struct tg_bytes secret = { (uint8_t *)session->secret, sizeof(session->secret) };
	const struct tg_bytes *proof = &v->evidence->proof;
	uint8_t expected[TG_PROOF_LEN];
	int ret;

	if (session->renewal)
		return proof->len ? refuse(v, TG_ATTEST_MALFORMED, e, "a renewal has no proof") : 0;
	ret = blame(v,
		    tg_attest_proof(&secret, &session->claim, &session->challenge, v->binding, expected, e),
		    TG_ATTEST_INTERNAL);
	if (!ret && (proof->len != sizeof(expected) || !tg_equal(proof->data, expected, sizeof(expected))))
		ret = refuse(v, TG_ATTEST_PROOF, e, "the proof is not that of the secret and this session");
	OPENSSL_cleanse(expected, sizeof(expected));
	return ret;
}

/* A statement of the AK over this binding. */
static int check_statement(struct verification *v, const struct tg_attest_statement *signed_by_ak,
			   unsigned type, enum tg_attest_reason reason, struct statement *ret_statement,
			   struct tg_error *e)
{
	int ret = blame(v, attest_parse(&signed_by_ak->attest, type, ret_statement, e), reason);

	if (!ret)
		ret = blame(v,
			    attest_check_signature(&v->session->ak, &signed_by_ak->signature,
						   &signed_by_ak->attest, e),
			    reason);
	if (ret)
		return ret;
	if (ret_statement->extra_len != sizeof(v->binding) ||
	    !tg_equal(ret_statement->extra, v->binding, sizeof(v->binding)))
		return refuse(v, reason, e, "a statement of the AK over another binding");
	return 0;
}

static int check_certify(struct verification *v, const struct tg_attest_statement *certify,
			 const struct tg_tpm_public *object, enum tg_attest_reason reason, struct tg_error *e)
{
	struct statement statement;
	int ret = check_statement(v, certify, STATEMENT_CERTIFY, reason, &statement, e);

	if (ret)
		return ret;
	if (statement.name_len != sizeof(object->name) ||
	    !tg_equal(statement.name, object->name, sizeof(object->name)))
		return refuse(v, reason, e, "the AK vouches for another key");
	return 0;
}

/* The values that were sent give the digest that was quoted. */
static int check_values(struct verification *v, const struct statement *quote, struct tg_error *e)
{
	const struct tg_bytes *values = &v->evidence->pcrs;
	uint8_t digest[TG_SHA256_LEN];
	size_t at = 0;
	int ret;

	if (values->len != (size_t)__builtin_popcount(quote->pcr_mask) * TG_SHA256_LEN)
		return refuse(v, TG_ATTEST_PCR_DIGEST, e, "there is not one value for each PCR");
	ret = blame(v, tg_sha256(&(struct tg_piece){ values->data, values->len }, 1, digest, e),
		    TG_ATTEST_INTERNAL);
	if (ret)
		return ret;
	if (quote->digest_len != sizeof(digest) || !tg_equal(quote->digest, digest, sizeof(digest)))
		return refuse(v, TG_ATTEST_PCR_DIGEST, e, "the PCR values are not those that were quoted");
	v->result.pcr_mask = quote->pcr_mask;
	for (unsigned i = 0; i < TG_PCR_COUNT; i++) {
		if (!(quote->pcr_mask >> i & 1))
			continue;
		memcpy(v->result.pcrs[i], values->data + at, TG_SHA256_LEN);
		at += TG_SHA256_LEN;
	}
	return 0;
}

static int check_log(struct verification *v, struct tg_error *e)
{
	const struct tg_bytes *log = &v->evidence->event_log;
	struct tg_event_log_pcrs replayed;
	int ret;

	if (!log->len && v->policy->event_log_optional)
		return 0;
	ret = blame(v, tg_event_log_replay(log->data, log->len, &replayed, e), TG_ATTEST_EVENT_LOG);
	if (ret)
		return ret;
	for (unsigned i = 0; i < TG_PCR_COUNT; i++)
		if (v->result.pcr_mask >> i & 1 &&
		    memcmp(replayed.values[i], v->result.pcrs[i], TG_SHA256_LEN))
			return attest_refuse(&v->result.reason, TG_ATTEST_EVENT_LOG, e,
					     "the event log gives another value for PCR %u", i);
	v->result.log_replayed = true;
	return 0;
}

/* What the fleet expects. A PCR that was not quoted is not what is expected. */
static int check_expected(struct verification *v, struct tg_error *e)
{
	for (size_t i = 0; i < v->policy->pcr_count; i++) {
		const struct tg_attest_pcr *pcr = &v->policy->pcrs[i];

		if (pcr->index >= TG_PCR_COUNT || !(v->result.pcr_mask >> pcr->index & 1) ||
		    memcmp(v->result.pcrs[pcr->index], pcr->value, TG_SHA256_LEN) != 0)
			return attest_refuse(&v->result.reason, TG_ATTEST_PCR_VALUE, e,
					     "PCR %u is not what the fleet expects", pcr->index);
	}
	return 0;
}

static int check_quote(struct verification *v, struct tg_error *e)
{
	struct statement quote;
	int ret = check_statement(v, &v->evidence->quote, STATEMENT_QUOTE, TG_ATTEST_QUOTE, &quote, e);

	if (ret)
		return ret;
	if (!quote.pcr_mask || quote.pcr_mask != v->session->challenge.pcr_mask)
		return refuse(v, TG_ATTEST_PCR_SELECTION, e, "a quote over other PCRs than those asked for");
	ret = check_values(v, &quote, e);
	if (!ret)
		ret = check_log(v, e);
	if (!ret)
		ret = check_expected(v, e);
	v->result.firmware = quote.firmware;
	v->result.reset_count = quote.reset_count;
	v->result.restart_count = quote.restart_count;
	return ret;
}

static int check_tpm(struct verification *v, const uint8_t exporter[static TG_EXPORTER_LEN],
		     struct tg_error *e)
{
	const struct tg_attest_session *session = v->session;
	int ret = check_request_key(v, e);

	if (!ret)
		ret = blame(v,
			    tg_attest_binding(session->challenge.nonce, &v->evidence->csr, session->ak.name,
					      exporter, v->binding, e),
			    TG_ATTEST_INTERNAL);
	if (!ret)
		ret = check_proof(v, e);
	if (!ret)
		ret = check_certify(v, &v->evidence->certify_tls, &session->tls, TG_ATTEST_CERTIFY_TLS, e);
	if (!ret)
		ret = check_certify(v, &v->evidence->certify_hpke, &session->hpke, TG_ATTEST_CERTIFY_HPKE, e);
	if (!ret)
		ret = check_quote(v, e);
	if (ret)
		return ret;
	memcpy(v->result.ek_hash, session->ek_hash, sizeof(v->result.ek_hash));
	memcpy(v->result.ak_name, session->ak.name, sizeof(v->result.ak_name));
	memcpy(v->result.hpke_point, session->hpke.point, sizeof(v->result.hpke_point));
	return 0;
}

/* Evidence that this device cannot have is a mistake or a trick. */
static int check_software(struct verification *v, struct tg_error *e)
{
	const struct tg_attest_evidence *evidence = v->evidence;

	if (evidence->proof.len || evidence->certify_tls.attest.len || evidence->certify_hpke.attest.len ||
	    evidence->quote.attest.len || evidence->pcrs.len || evidence->event_log.len)
		return refuse(v, TG_ATTEST_MALFORMED, e, "evidence of a TPM from a device without one");
	return 0;
}

static int verify(struct verification *v, const uint8_t exporter[static TG_EXPORTER_LEN], int64_t now,
		  struct tg_error *e)
{
	enum tg_assurance assurance = v->session->assurance;
	int ret;

	if (assurance == TG_ASSURANCE_NONE || !(v->policy->allowed & TG_ALLOW(assurance)))
		return refuse(v, TG_ATTEST_NOT_ALLOWED, e, "the fleet no longer takes this assurance");
	ret = check_time(v, now, e);
	if (!ret)
		ret = check_request(v, e);
	if (!ret)
		ret = assurance == TG_ASSURANCE_SOFTWARE ? check_software(v, e) : check_tpm(v, exporter, e);
	return ret;
}

int tg_attest_verify(const struct tg_attest_policy *policy, struct tg_attest_session *session,
		     const struct tg_attest_evidence *evidence,
		     const uint8_t exporter[static TG_EXPORTER_LEN], int64_t now,
		     struct tg_attest_result *ret_result, struct tg_error *e)
{
	struct verification v = { .policy = policy, .session = session, .evidence = evidence };
	int ret;

	*ret_result = (struct tg_attest_result){ 0 };
	ERR_clear_error();
	if (session->used) {
		ret_result->reason = TG_ATTEST_USED;
		return tg_error(e, -EKEYREJECTED, "the nonce was used before");
	}
	session->used = true;
	ret = verify(&v, exporter, now, e);
	OPENSSL_cleanse(session->secret, sizeof(session->secret));
	EVP_PKEY_free(v.key);
	if (ret) {
		ret_result->reason = v.result.reason;
		return ret;
	}
	*ret_result = v.result;
	ret_result->reason = TG_ATTEST_ACCEPTED;
	ret_result->assurance = session->assurance;
	return 0;
}
