/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "tensorguard/hpke.h"

enum {
	KEM_ID = 0x0010,	/* DHKEM(P-256, HKDF-SHA256) */
	MODE_BASE = 0,
	SHARED_LEN = 32,
	MAX_INFO = 1024,	/* of what a caller passes as info, context or input key */
	MAX_LABELLED = MAX_INFO + 64,
};

struct tg_hpke {
	struct tg_aead *aead;
	enum tg_hkdf_hash hash;
	uint8_t suite_id[10];
	uint8_t base_nonce[TG_AEAD_NONCE_LEN];
	uint8_t exporter[TG_HKDF_MAX_LEN];
	uint64_t sequence;
};

/* What a derivation is bound to: the KEM alone, or the whole suite. */
struct binding {
	enum tg_hkdf_hash hash;
	const uint8_t *id;
	size_t id_len;
};

struct labelled {
	uint8_t data[MAX_LABELLED];
	size_t len;
};

/* Callers keep within MAX_LABELLED: labels and ids are short, the rest is checked by tg_hpke_*(). */
static void append(struct labelled *l, const void *data, size_t len)
{
	if (len)
		memcpy(l->data + l->len, data, len);
	l->len += len;
}

static void append_label(struct labelled *l, const struct binding *b, const char *label)
{
	append(l, "HPKE-v1", 7);
	append(l, b->id, b->id_len);
	append(l, label, strlen(label));
}

static int labelled_extract(const struct binding *b, const uint8_t *salt, size_t salt_len, const char *label,
			    const void *ikm, size_t ikm_len, uint8_t *ret_prk, struct tg_error *e)
{
	struct labelled l = { .len = 0 };
	int ret;

	append_label(&l, b, label);
	append(&l, ikm, ikm_len);
	ret = tg_hkdf_extract(b->hash, salt, salt_len, l.data, l.len, ret_prk, e);
	OPENSSL_cleanse(&l, sizeof(l));
	return ret;
}

static int labelled_expand(const struct binding *b, const uint8_t *prk, const char *label, const void *info,
			   size_t info_len, uint8_t *out, size_t len, struct tg_error *e)
{
	uint8_t be_len[2] = { (uint8_t)(len >> 8), (uint8_t)len };
	struct labelled l = { .len = 0 };

	append(&l, be_len, sizeof(be_len));
	append_label(&l, b, label);
	append(&l, info, info_len);
	return tg_hkdf_expand(b->hash, prk, tg_hkdf_len(b->hash), l.data, l.len, out, len, e);
}

/* ExtractAndExpand of the KEM, on X and both public keys. */
static int shared_secret(const uint8_t x[static TG_P256_X_LEN], const uint8_t *enc, const uint8_t *receiver,
			 uint8_t ret_secret[static SHARED_LEN], struct tg_error *e)
{
	static const uint8_t id[] = { 'K', 'E', 'M', KEM_ID >> 8, KEM_ID & 0xff };
	const struct binding kem = { TG_HKDF_SHA256, id, sizeof(id) };
	uint8_t context[2 * TG_P256_POINT_LEN], prk[TG_HKDF_MAX_LEN];
	int ret;

	memcpy(context, enc, TG_P256_POINT_LEN);
	memcpy(context + TG_P256_POINT_LEN, receiver, TG_P256_POINT_LEN);
	ret = labelled_extract(&kem, NULL, 0, "eae_prk", x, TG_P256_X_LEN, prk, e);
	if (!ret)
		ret = labelled_expand(&kem, prk, "shared_secret", context, sizeof(context), ret_secret,
				      SHARED_LEN, e);
	OPENSSL_cleanse(prk, sizeof(prk));
	return ret;
}

static int hash_of(enum tg_hpke_kdf kdf, enum tg_hkdf_hash *ret_hash, struct tg_error *e)
{
	switch (kdf) {
	case TG_HPKE_HKDF_SHA256:
		*ret_hash = TG_HKDF_SHA256;
		return 0;
	case TG_HPKE_HKDF_SHA512:
		*ret_hash = TG_HKDF_SHA512;
		return 0;
	}
	return tg_error(e, -EINVAL, "HPKE key derivation %d is not known", kdf);
}

/* KeySchedule of RFC 9180, section 5.1, in base mode: psk and psk_id are empty. */
static int derive_keys(struct tg_hpke *hpke, const struct binding *b, enum tg_aead_cipher cipher,
		       const uint8_t shared[static SHARED_LEN], const uint8_t *context, size_t context_len,
		       struct tg_error *e)
{
	uint8_t secret[TG_HKDF_MAX_LEN], key[TG_AEAD_MAX_KEY_LEN];
	size_t key_len = tg_aead_key_len(cipher);
	int ret = labelled_extract(b, shared, SHARED_LEN, "secret", NULL, 0, secret, e);

	if (!ret)
		ret = labelled_expand(b, secret, "key", context, context_len, key, key_len, e);
	if (!ret)
		ret = labelled_expand(b, secret, "base_nonce", context, context_len, hpke->base_nonce,
				      sizeof(hpke->base_nonce), e);
	if (!ret)
		ret = labelled_expand(b, secret, "exp", context, context_len, hpke->exporter,
				      tg_hkdf_len(b->hash), e);
	if (!ret)
		ret = tg_aead_new(cipher, key, &hpke->aead, e);
	OPENSSL_cleanse(secret, sizeof(secret));
	OPENSSL_cleanse(key, sizeof(key));
	return ret;
}

static int key_schedule(struct tg_hpke *hpke, const struct tg_hpke_suite *suite,
			const uint8_t shared[static SHARED_LEN], const void *info, size_t info_len,
			struct tg_error *e)
{
	uint8_t context[1 + 2 * TG_HKDF_MAX_LEN] = { MODE_BASE };
	struct binding b = { .id = hpke->suite_id, .id_len = sizeof(hpke->suite_id) };
	const uint8_t id[sizeof(hpke->suite_id)] = {
		'H', 'P', 'K', 'E', 0, KEM_ID, 0, (uint8_t)suite->kdf, 0, (uint8_t)suite->aead
	};
	size_t len;
	int ret = hash_of(suite->kdf, &b.hash, e);

	if (ret)
		return ret;
	memcpy(hpke->suite_id, id, sizeof(id));
	hpke->hash = b.hash;
	len = tg_hkdf_len(b.hash);
	ret = labelled_extract(&b, NULL, 0, "psk_id_hash", NULL, 0, context + 1, e);
	if (!ret)
		ret = labelled_extract(&b, NULL, 0, "info_hash", info, info_len, context + 1 + len, e);
	return ret ? ret : derive_keys(hpke, &b, suite->aead, shared, context, 1 + 2 * len, e);
}

static int hpke_new(const struct tg_hpke_suite *suite, const uint8_t shared[static SHARED_LEN],
		    const void *info, size_t info_len, struct tg_hpke **ret_hpke, struct tg_error *e)
{
	struct tg_hpke *hpke;
	int ret;

	if (info_len > MAX_INFO)
		return tg_error(e, -E2BIG, "HPKE info of %zu bytes, %d are allowed", info_len, MAX_INFO);
	if (!tg_aead_key_len(suite->aead))
		return tg_error(e, -EINVAL, "AEAD cipher %d is not known", suite->aead);
	hpke = calloc(1, sizeof(*hpke));
	if (!hpke)
		return tg_error(e, -ENOMEM, "out of memory");
	ret = key_schedule(hpke, suite, shared, info, info_len, e);
	if (ret) {
		tg_hpke_free(hpke);
		return ret;
	}
	*ret_hpke = hpke;
	return 0;
}

static int key_ecdh(void *ctx, const uint8_t peer[static TG_P256_POINT_LEN],
		    uint8_t ret_x[static TG_P256_X_LEN], struct tg_error *e)
{
	return tg_key_ecdh(ctx, peer, ret_x, e);
}

int tg_hpke_private_from_key(EVP_PKEY *key, struct tg_hpke_private *ret_private, struct tg_error *e)
{
	struct tg_hpke_private private = { .ecdh = key_ecdh, .ctx = key };
	int ret = tg_p256_point(key, private.point, e);

	if (!ret)
		*ret_private = private;
	return ret;
}

/* The same on both sides but for whose private key it is and whose public one. */
static int set_up(const struct tg_hpke_suite *suite, const struct tg_hpke_private *own, const uint8_t *peer,
		  const uint8_t *enc, const uint8_t *receiver, const void *info, size_t info_len,
		  struct tg_hpke **ret_hpke, struct tg_error *e)
{
	uint8_t x[TG_P256_X_LEN], shared[SHARED_LEN];
	int ret = own->ecdh(own->ctx, peer, x, e);

	if (!ret)
		ret = shared_secret(x, enc, receiver, shared, e);
	if (!ret)
		ret = hpke_new(suite, shared, info, info_len, ret_hpke, e);
	OPENSSL_cleanse(x, sizeof(x));
	OPENSSL_cleanse(shared, sizeof(shared));
	return ret;
}

int tg_hpke_sender(const struct tg_hpke_suite *suite, const uint8_t receiver[static TG_P256_POINT_LEN],
		   const void *info, size_t info_len, const struct tg_hpke_private *ephemeral,
		   uint8_t ret_enc[static TG_HPKE_ENC_LEN], struct tg_hpke **ret_hpke, struct tg_error *e)
{
	struct tg_hpke_private own;
	EVP_PKEY *key = NULL;
	int ret = 0;

	if (!ephemeral) {
		ret = tg_p256_generate(&key, e);
		if (!ret)
			ret = tg_hpke_private_from_key(key, &own, e);
		ephemeral = &own;
	}
	if (!ret)
		ret = set_up(suite, ephemeral, receiver, ephemeral->point, receiver, info, info_len, ret_hpke,
			     e);
	if (!ret)
		memcpy(ret_enc, ephemeral->point, TG_HPKE_ENC_LEN);
	EVP_PKEY_free(key);
	return ret;
}

int tg_hpke_receiver(const struct tg_hpke_suite *suite, const struct tg_hpke_private *receiver,
		     const uint8_t enc[static TG_HPKE_ENC_LEN], const void *info, size_t info_len,
		     struct tg_hpke **ret_hpke, struct tg_error *e)
{
	EVP_PKEY *peer = NULL;
	/* a key elsewhere, such as a TPM's, must not be shown a point that is not on the curve */
	int ret = tg_p256_from_point(enc, &peer, e);

	EVP_PKEY_free(peer);
	if (ret)
		return ret;
	return set_up(suite, receiver, enc, enc, receiver->point, info, info_len, ret_hpke, e);
}

void tg_hpke_free(struct tg_hpke *hpke)
{
	if (!hpke)
		return;
	tg_aead_free(hpke->aead);
	OPENSSL_cleanse(hpke, sizeof(*hpke));
	free(hpke);
}

static void nonce_of(const struct tg_hpke *hpke, uint8_t ret_nonce[static TG_AEAD_NONCE_LEN])
{
	memcpy(ret_nonce, hpke->base_nonce, TG_AEAD_NONCE_LEN);
	for (int i = 0; i < 8; i++)
		ret_nonce[TG_AEAD_NONCE_LEN - 1 - i] ^= (uint8_t)(hpke->sequence >> (8 * i));
}

typedef int aead_call(struct tg_aead *aead, const uint8_t *nonce, const uint8_t *aad, size_t aad_len,
		      const uint8_t *in, size_t len, uint8_t *out, struct tg_error *e);

static int next_message(struct tg_hpke *hpke, aead_call *call, const void *aad, size_t aad_len,
			const uint8_t *in, size_t len, uint8_t *out, struct tg_error *e)
{
	uint8_t nonce[TG_AEAD_NONCE_LEN];
	int ret;

	if (hpke->sequence == UINT64_MAX)
		return tg_error(e, -EOVERFLOW, "no message is left under this HPKE key");
	nonce_of(hpke, nonce);
	ret = call(hpke->aead, nonce, aad, aad_len, in, len, out, e);
	if (!ret)
		hpke->sequence++;
	return ret;
}

int tg_hpke_seal(struct tg_hpke *hpke, const void *aad, size_t aad_len, const uint8_t *in, size_t len,
		 uint8_t *out, struct tg_error *e)
{
	return next_message(hpke, tg_aead_seal, aad, aad_len, in, len, out, e);
}

int tg_hpke_open(struct tg_hpke *hpke, const void *aad, size_t aad_len, const uint8_t *in, size_t len,
		 uint8_t *out, struct tg_error *e)
{
	return next_message(hpke, tg_aead_open, aad, aad_len, in, len, out, e);
}

int tg_hpke_export(const struct tg_hpke *hpke, const void *context, size_t context_len, uint8_t *ret_secret,
		   size_t len, struct tg_error *e)
{
	const struct binding b = { hpke->hash, hpke->suite_id, sizeof(hpke->suite_id) };

	if (context_len > MAX_INFO)
		return tg_error(e, -E2BIG, "an exporter context of %zu bytes, %d are allowed", context_len,
				MAX_INFO);
	return labelled_expand(&b, hpke->exporter, "sec", context, context_len, ret_secret, len, e);
}
