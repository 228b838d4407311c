/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A TPM's structures. The first byte says which: 'p' a TPM2B_PUBLIC, 'c' what
 * TPM2_Certify gave, 'q' what TPM2_Quote gave, each a TPMS_ATTEST with its length in
 * two bytes before it and the TPMT_SIGNATURE behind, in a renewal whose other
 * evidence is right. No input is attested: its binding is not this session's.
 */
#include <openssl/evp.h>
#include <stdlib.h>

#include "faketpm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t exporter[TG_EXPORTER_LEN];
static struct fake *fake;

static void public_area(const uint8_t *data, size_t size)
{
	struct tg_tpm_public public;
	struct tg_error e;
	EVP_PKEY *key;

	if (tg_tpm_public_parse(data, size, &public, &e))
		return;
	for (int role = TG_TPM_ROLE_EK; role <= TG_TPM_ROLE_HPKE; role++)
		tg_tpm_public_check(&public, (enum tg_tpm_role)role, &e);
	if (!tg_tpm_public_key(&public, &key, &e))
		EVP_PKEY_free(key);
}

static void statement(const uint8_t *data, size_t size, bool quote)
{
	struct tg_attest_policy policy = { .allowed = ~0u, .pcr_mask = 0xff };
	struct tg_attest_device device = { .assurance = TG_ASSURANCE_TPM_UNENDORSED,
					   .ak_public = fake->claim.ak_public };
	struct tg_attest_claim claim = { .tls_public = fake->claim.tls_public,
					 .hpke_public = fake->claim.hpke_public };
	struct tg_attest_evidence evidence;
	struct tg_attest_statement *place = quote ? &evidence.quote : &evidence.certify_tls, honest;
	struct tg_attest_session *session;
	struct tg_attest_result result;
	enum tg_attest_reason reason;
	struct tg_error e;
	size_t len;

	if (size < 2 || (len = (size_t)(data[0] << 8 | data[1])) > size - 2 ||
	    tg_attest_renew_begin(&policy, &device, &claim, FAKE_NOW, &session, &reason, &e))
		return;
	fake_answer(fake, tg_attest_session_challenge(session), exporter, true, &evidence);
	honest = *place;
	place->attest = (struct tg_bytes){ (uint8_t *)data + 2, len };
	place->signature = (struct tg_bytes){ (uint8_t *)data + 2 + len, size - 2 - len };
	if (!tg_attest_verify(&policy, session, &evidence, exporter, FAKE_NOW, &result, &e) ||
	    result.assurance)
		abort();
	*place = honest;
	tg_attest_evidence_clear(&evidence);
	tg_attest_session_free(session);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!fake)
		fake = fake_new(
			&(struct fake_options){ .ek_ecc = true, .certificate = FAKE_CERTIFICATE_NONE });
	if (!size)
		return 0;
	if (data[0] == 'p')
		public_area(data + 1, size - 1);
	else if (data[0] == 'c' || data[0] == 'q')
		statement(data + 1, size - 1, data[0] == 'q');
	return 0;
}
