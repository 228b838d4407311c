/* SPDX-License-Identifier: BSD-3-Clause */
/* What the TPM states about the device, in the shape in which the Platform verifies it. */
#include <errno.h>
#include <openssl/crypto.h>
#include <string.h>

#include "tensorguard/certificate.h"
#include "trust/keys.h"

/* Names are the Platform's to give: what the request says is not looked at. */
#define REQUEST_NAME "tensorguard-agent"

static int copy(const struct tg_bytes *from, struct tg_bytes *ret_to, struct tg_error *e)
{
	return tg_bytes_copy(from->data, from->len, ret_to) ? tg_error(e, -ENOMEM, "out of memory") : 0;
}

/* The EK whose certificate the TPM has; P-256 is derived much faster than RSA. Without one any EK will do. */
static int find_ek(struct tg_tpm *tpm, enum tg_tpm_ek *ret_ek, struct tg_bytes *ret_certificate,
		   struct tg_error *e)
{
	static const enum tg_tpm_ek order[] = { TG_TPM_EK_P256, TG_TPM_EK_RSA2048 };

	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		int ret = tg_tpm_ek_certificate(tpm, order[i], ret_certificate, e);

		if (ret && ret != -ENOENT)
			return ret;
		*ret_ek = order[i];
		if (!ret)
			return 0;
	}
	*ret_ek = TG_TPM_EK_P256;
	return 0;
}

static int claim_ek(struct tg_tpm *tpm, struct tg_attest_claim *claim, struct tg_error *e)
{
	enum tg_tpm_ek ek;
	int ret = find_ek(tpm, &ek, &claim->ek_certificates[0], e);

	claim->ek_certificate_count = claim->ek_certificates[0].len > 0;
	return ret ? ret : tg_tpm_ek_public(tpm, ek, &claim->ek_public, e);
}

int trust_claim(const struct trust_keys *keys, bool renewal, struct tg_attest_claim *ret_claim,
		struct tg_error *e)
{
	struct tg_attest_claim claim = { 0 };
	int ret = 0;

	if (keys->tpm && !renewal) {
		ret = claim_ek(keys->tpm, &claim, e);
		if (!ret)
			ret = copy(&keys->ak.public_part, &claim.ak_public, e);
	}
	if (keys->tpm && !ret)
		ret = copy(&keys->tls.public_part, &claim.tls_public, e);
	if (keys->tpm && !ret)
		ret = copy(&keys->hpke.public_part, &claim.hpke_public, e);
	if (ret)
		tg_attest_claim_clear(&claim);
	else
		*ret_claim = claim;
	return ret;
}

/* The claim says which EK it is by its type: find_ek() would read the TPM once more. */
static enum tg_tpm_ek claimed_ek(const struct tg_attest_claim *claim)
{
	const uint8_t *area = claim->ek_public.data;

	return claim->ek_public.len >= 4 && area[2] == 0 && area[3] == TG_TPM_ALG_RSA ? TG_TPM_EK_RSA2048
										      : TG_TPM_EK_P256;
}

/* The proof that this TPM decrypted the secret. A renewal has no credential and no proof. */
static int prove(const struct trust_keys *keys, const struct tg_attest_claim *claim,
		 const struct tg_attest_challenge *challenge, const uint8_t binding[static TG_BINDING_LEN],
		 struct tg_bytes *ret_proof, struct tg_error *e)
{
	uint8_t proof[TG_PROOF_LEN];
	struct tg_bytes secret = { 0 };
	int ret;

	if (!claim->ek_public.len)
		return 0;
	ret = tg_tpm_activate(keys->tpm, claimed_ek(claim), &keys->ak, &challenge->credential,
			      &challenge->secret, &secret, e);
	if (!ret)
		ret = tg_attest_proof(&secret, claim, challenge, binding, proof, e);
	if (!ret)
		ret = copy(&(struct tg_bytes){ proof, sizeof(proof) }, ret_proof, e);
	tg_bytes_free(&secret);
	return ret;
}

static int certify(const struct trust_keys *keys, const struct tg_tpm_key *key,
		   const uint8_t binding[static TG_BINDING_LEN], struct tg_attest_statement *ret_statement,
		   struct tg_error *e)
{
	struct tg_tpm_statement statement = { 0 };
	int ret = tg_tpm_certify(keys->tpm, key, &keys->ak, binding, TG_BINDING_LEN, &statement, e);

	*ret_statement = (struct tg_attest_statement){ statement.attest, statement.signature };
	return ret;
}

static int copy_pcrs(const uint8_t values[static TG_TPM_PCRS][TG_TPM_DIGEST_BYTES], uint32_t mask,
		     struct tg_bytes *ret_pcrs, struct tg_error *e)
{
	uint8_t chosen[TG_TPM_PCRS * TG_TPM_DIGEST_BYTES];
	size_t len = 0;

	for (unsigned i = 0; i < TG_TPM_PCRS; i++) {
		if (!(mask >> i & 1))
			continue;
		memcpy(chosen + len, values[i], TG_TPM_DIGEST_BYTES);
		len += TG_TPM_DIGEST_BYTES;
	}
	return copy(&(struct tg_bytes){ chosen, len }, ret_pcrs, e);
}

static int quote(const struct trust_keys *keys, uint32_t mask, const uint8_t binding[static TG_BINDING_LEN],
		 struct tg_attest_evidence *evidence, struct tg_error *e)
{
	uint8_t values[TG_TPM_PCRS][TG_TPM_DIGEST_BYTES];
	struct tg_tpm_statement statement = { 0 };
	int ret = tg_tpm_pcr_read(keys->tpm, mask, values, e);

	if (!ret)
		ret = copy_pcrs(values, mask, &evidence->pcrs, e);
	if (!ret)
		ret = tg_tpm_quote(keys->tpm, &keys->ak, binding, TG_BINDING_LEN, mask, &statement, e);
	evidence->quote = (struct tg_attest_statement){ statement.attest, statement.signature };
	return ret;
}

/* Firmware without a log is the fleet's to judge. */
static int read_log(const char *path, struct tg_bytes *ret_log, struct tg_error *e)
{
	int ret = path ? tg_tpm_event_log(path, ret_log, e) : 0;

	return ret == -ENOENT ? 0 : ret;
}

static int attest(const struct trust_keys *keys, const struct tg_attest_claim *claim,
		  const struct tg_attest_challenge *challenge, const uint8_t exporter[static TG_EXPORTER_LEN],
		  struct tg_attest_evidence *evidence, struct tg_error *e)
{
	uint8_t name[TG_TPM_NAME_LEN], binding[TG_BINDING_LEN];
	int ret = tg_tpm_key_name(&keys->ak, name, e);

	if (!ret)
		ret = tg_attest_binding(challenge->nonce, &evidence->csr, name, exporter, binding, e);
	if (!ret)
		ret = prove(keys, claim, challenge, binding, &evidence->proof, e);
	if (!ret)
		ret = certify(keys, &keys->tls, binding, &evidence->certify_tls, e);
	if (!ret)
		ret = certify(keys, &keys->hpke, binding, &evidence->certify_hpke, e);
	return ret ? ret : quote(keys, challenge->pcr_mask, binding, evidence, e);
}

int trust_evidence(const struct trust_keys *keys, const struct tg_attest_claim *claim,
		   const struct tg_attest_challenge *challenge,
		   const uint8_t exporter[static TG_EXPORTER_LEN], const char *event_log,
		   struct tg_attest_evidence *ret_evidence, struct tg_error *e)
{
	struct tg_attest_evidence evidence = { 0 };
	int ret = tg_request_make(keys->tls_pkey, REQUEST_NAME, &evidence.csr, e);

	if (!ret && !keys->tpm != !challenge->pcr_mask)
		ret = tg_error(e, -EBADMSG, "the Platform's challenge is for %s TPM",
			       keys->tpm ? "a device without a" : "a device with a");
	if (!ret && keys->tpm)
		ret = attest(keys, claim, challenge, exporter, &evidence, e);
	if (!ret && keys->tpm)
		ret = read_log(event_log, &evidence.event_log, e);
	if (ret)
		tg_attest_evidence_clear(&evidence);
	else
		*ret_evidence = evidence;
	return ret;
}
