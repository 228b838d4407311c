/* SPDX-License-Identifier: BSD-3-Clause */
/* The two digests that both sides compute. */
#include "tensorguard/attest.h"

int tg_attest_binding(const uint8_t nonce[static TG_NONCE_LEN], const struct tg_bytes *csr,
		      const uint8_t ak_name[static TG_TPM_NAME_LEN],
		      const uint8_t exporter[static TG_EXPORTER_LEN],
		      uint8_t ret_binding[static TG_BINDING_LEN], struct tg_error *e)
{
	uint8_t csr_digest[TG_SHA256_LEN];
	const struct tg_piece pieces[] = {
		{ nonce, TG_NONCE_LEN },
		{ csr_digest, sizeof(csr_digest) },
		{ ak_name, TG_TPM_NAME_LEN },
		{ exporter, TG_EXPORTER_LEN },
	};
	int ret = tg_sha256(&(struct tg_piece){ csr->data, csr->len }, 1, csr_digest, e);

	return ret ? ret : tg_sha256(pieces, sizeof(pieces) / sizeof(pieces[0]), ret_binding, e);
}

static const char proof_label[] = "tensorguard enrolment proof 1";
/* label, session, nonce, mask, count of certificates, certificates, four areas, two of the credential,
 * binding */
enum { FIELDS_MAX = 5 + TG_EK_CERTIFICATES_MAX + 7 };

struct transcript {
	uint8_t lengths[FIELDS_MAX][4];
	struct tg_piece pieces[2 * FIELDS_MAX];
	size_t fields;
};

static void put_be32(uint8_t out[static 4], size_t value)
{
	for (int i = 0; i < 4; i++)
		out[i] = (uint8_t)(value >> (24 - 8 * i));
}

static void add(struct transcript *t, const void *data, size_t len)
{
	put_be32(t->lengths[t->fields], len);
	t->pieces[2 * t->fields] = (struct tg_piece){ t->lengths[t->fields], 4 };
	t->pieces[2 * t->fields + 1] = (struct tg_piece){ data, len };
	t->fields++;
}

static void add_bytes(struct transcript *t, const struct tg_bytes *bytes)
{
	add(t, bytes->data, bytes->len);
}

int tg_attest_proof(const struct tg_bytes *secret, const struct tg_attest_claim *claim,
		    const struct tg_attest_challenge *challenge, const uint8_t binding[static TG_BINDING_LEN],
		    uint8_t ret_proof[static TG_PROOF_LEN], struct tg_error *e)
{
	size_t count = claim->ek_certificate_count < TG_EK_CERTIFICATES_MAX ? claim->ek_certificate_count
									    : TG_EK_CERTIFICATES_MAX;
	struct transcript t = { .fields = 0 };
	uint8_t mask[4], number[4];

	put_be32(mask, challenge->pcr_mask);
	put_be32(number, count);
	add(&t, proof_label, sizeof(proof_label));
	add(&t, challenge->session, sizeof(challenge->session));
	add(&t, challenge->nonce, sizeof(challenge->nonce));
	add(&t, mask, sizeof(mask));
	add(&t, number, sizeof(number));
	for (size_t i = 0; i < count; i++)
		add_bytes(&t, &claim->ek_certificates[i]);
	add_bytes(&t, &claim->ek_public);
	add_bytes(&t, &claim->ak_public);
	add_bytes(&t, &claim->tls_public);
	add_bytes(&t, &claim->hpke_public);
	add_bytes(&t, &challenge->credential);
	add_bytes(&t, &challenge->secret);
	add(&t, binding, TG_BINDING_LEN);
	return tg_hmac_sha256(secret->data, secret->len, t.pieces, 2 * t.fields, ret_proof, e);
}
