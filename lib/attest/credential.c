/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * TPM2_MakeCredential without a TPM (TPM 2.0 Library, part 1: 24, 11.4.10, B.10.4, C.6.4).
 *
 *	TPM2B_ID_OBJECT         size, TPM2B_DIGEST outer HMAC, encrypted TPM2B_DIGEST of the secret
 *	TPM2B_ENCRYPTED_SECRET  size, the seed: by OAEP, or the ephemeral point that it was derived with
 */
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>

#include "tensorguard/attest.h"

enum { SEED_LEN = TG_SHA256_LEN, AES_KEY_LEN = 16, X_LEN = 32, ROUNDS_MAX = 64 };
enum { INNER_LEN = 2 + TG_SHA256_LEN, CREDENTIAL_LEN = 2 + 2 + TG_SHA256_LEN + INNER_LEN };

static const char identity[] = "IDENTITY"; /* these labels count with their NUL */
static const char storage[] = "STORAGE";
static const char integrity[] = "INTEGRITY";

/* KDFa, part 1: 11.4.10.2, for one digest's worth of bits at most and an empty contextV */
static int kdf_a(const uint8_t seed[static SEED_LEN], const char *label, const void *context,
		 size_t context_len, unsigned bits, uint8_t ret_key[static TG_SHA256_LEN], struct tg_error *e)
{
	const uint8_t counter[4] = { 0, 0, 0, 1 };
	const uint8_t length[4] = { 0, 0, (uint8_t)(bits >> 8), (uint8_t)bits };
	const struct tg_piece pieces[] = {
		{ counter, sizeof(counter) },
		{ label, strlen(label) + 1 },
		{ context, context_len },
		{ length, sizeof(length) },
	};

	return tg_hmac_sha256(seed, SEED_LEN, pieces, sizeof(pieces) / sizeof(pieces[0]), ret_key, e);
}

static int encrypt_cfb(const uint8_t *key, uint8_t data[static INNER_LEN], struct tg_error *e)
{
	const uint8_t iv[16] = { 0 };
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	int len = 0, tail = 0;
	bool done = context && EVP_EncryptInit_ex(context, EVP_aes_128_cfb128(), NULL, key, iv) == 1 &&
		    EVP_EncryptUpdate(context, data, &len, data, INNER_LEN) == 1 &&
		    EVP_EncryptFinal_ex(context, data + len, &tail) == 1 && len + tail == INNER_LEN;

	EVP_CIPHER_CTX_free(context);
	return done ? 0 : tg_openssl_error(e, -EIO, "AES-128-CFB failed");
}

/* Fills a whole TPM2B_ID_OBJECT. */
static int make_id_object(const uint8_t seed[static SEED_LEN], const uint8_t name[static TG_TPM_NAME_LEN],
			  const uint8_t secret[static TG_SHA256_LEN], uint8_t out[static CREDENTIAL_LEN],
			  struct tg_error *e)
{
	uint8_t *mac = out + 4, *inner = mac + TG_SHA256_LEN, key[TG_SHA256_LEN];
	const struct tg_piece covered[] = { { inner, INNER_LEN }, { name, TG_TPM_NAME_LEN } };
	int ret = kdf_a(seed, storage, name, TG_TPM_NAME_LEN, 8 * AES_KEY_LEN, key, e);

	if (ret)
		goto out;
	memcpy(out, (const uint8_t[]){ 0, CREDENTIAL_LEN - 2, 0, TG_SHA256_LEN }, 4);
	memcpy(inner, (const uint8_t[]){ 0, TG_SHA256_LEN }, 2);
	memcpy(inner + 2, secret, TG_SHA256_LEN);
	ret = encrypt_cfb(key, inner, e);
	if (!ret)
		ret = kdf_a(seed, integrity, NULL, 0, 8 * TG_SHA256_LEN, key, e);
	if (!ret)
		ret = tg_hmac_sha256(key, sizeof(key), covered, 2, mac, e);
out:
	if (ret)
		OPENSSL_cleanse(out, CREDENTIAL_LEN);
	OPENSSL_cleanse(key, sizeof(key));
	return ret;
}

/* TPM2B with room for `len` bytes. */
static int make_sized(size_t len, struct tg_bytes *ret_bytes)
{
	uint8_t *data = calloc(1, 2 + len);

	if (!data)
		return -ENOMEM;
	data[0] = (uint8_t)(len >> 8);
	data[1] = (uint8_t)len;
	*ret_bytes = (struct tg_bytes){ data, 2 + len };
	return 0;
}

static bool oaep_init(EVP_PKEY_CTX *context)
{
	char *label;

	if (!context || EVP_PKEY_encrypt_init(context) != 1 ||
	    EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_OAEP_PADDING) != 1 ||
	    EVP_PKEY_CTX_set_rsa_oaep_md(context, EVP_sha256()) != 1 ||
	    EVP_PKEY_CTX_set_rsa_mgf1_md(context, EVP_sha256()) != 1)
		return false;
	label = OPENSSL_memdup(identity, sizeof(identity));
	if (!label)
		return false;
	if (EVP_PKEY_CTX_set0_rsa_oaep_label(context, label, sizeof(identity)) == 1)
		return true;
	OPENSSL_free(label);
	return false;
}

static int share_seed_rsa(EVP_PKEY *ek, uint8_t seed[static SEED_LEN], struct tg_bytes *ret_secret,
			  struct tg_error *e)
{
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(ek, NULL);
	size_t len = (size_t)EVP_PKEY_get_size(ek);
	struct tg_bytes secret = { 0 };
	int ret = tg_random(seed, SEED_LEN, e);

	if (!ret)
		ret = make_sized(len, &secret);
	if (!ret &&
	    (!oaep_init(context) || EVP_PKEY_encrypt(context, secret.data + 2, &len, seed, SEED_LEN) != 1 ||
	     len + 2 != secret.len))
		ret = tg_openssl_error(e, -EIO, "RSA-OAEP failed");
	EVP_PKEY_CTX_free(context);
	if (ret)
		tg_bytes_free(&secret);
	else
		*ret_secret = secret;
	return ret;
}

static int agree(EVP_PKEY *own, EVP_PKEY *peer, uint8_t ret_z[static X_LEN], struct tg_error *e)
{
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(own, NULL);
	size_t len = X_LEN;
	bool done = context && EVP_PKEY_derive_init(context) == 1 &&
		    EVP_PKEY_derive_set_peer(context, peer) == 1 &&
		    EVP_PKEY_derive(context, ret_z, &len) == 1 && len == X_LEN;

	EVP_PKEY_CTX_free(context);
	return done ? 0 : tg_openssl_error(e, -EIO, "ECDH failed");
}

/*
 * An ephemeral key whose X coordinate, and that of the agreed point, have no
 * leading zero: TPMs differ in whether they hash such zeros.
 */
static int agree_plain(EVP_PKEY *ek, uint8_t ret_point[static TG_P256_POINT_LEN], uint8_t ret_z[static X_LEN],
		       struct tg_error *e)
{
	for (int round = 0; round < ROUNDS_MAX; round++) {
		EVP_PKEY *own = NULL;
		int ret = tg_p256_generate(&own, e);

		if (!ret)
			ret = tg_p256_point(own, ret_point, e);
		if (!ret)
			ret = agree(own, ek, ret_z, e);
		EVP_PKEY_free(own);
		if (ret || (ret_point[1] && ret_z[0]))
			return ret;
	}
	return tg_error(e, -EIO, "no ephemeral key without leading zeros");
}

/* KDFe, part 1: 11.4.10.3, for one digest */
static int kdf_e(const uint8_t z[static X_LEN], const uint8_t *ephemeral_x, const struct tg_tpm_public *ek,
		 uint8_t ret_seed[static SEED_LEN], struct tg_error *e)
{
	const uint8_t counter[4] = { 0, 0, 0, 1 };
	const struct tg_piece pieces[] = {
		{ counter, sizeof(counter) }, { z, X_LEN },         { identity, sizeof(identity) },
		{ ephemeral_x, X_LEN },       { ek->x, ek->x_len },
	};

	return tg_sha256(pieces, sizeof(pieces) / sizeof(pieces[0]), ret_seed, e);
}

static int share_seed_ecc(EVP_PKEY *ek_key, const struct tg_tpm_public *ek, uint8_t seed[static SEED_LEN],
			  struct tg_bytes *ret_secret, struct tg_error *e)
{
	uint8_t point[TG_P256_POINT_LEN], z[X_LEN];
	int ret = agree_plain(ek_key, point, z, e);

	if (!ret)
		ret = kdf_e(z, point + 1, ek, seed, e);
	if (!ret)
		ret = make_sized(2 * (2 + X_LEN), ret_secret);
	if (!ret) {
		uint8_t *x = ret_secret->data + 2, *y = x + 2 + X_LEN;

		x[1] = y[1] = X_LEN;
		memcpy(x + 2, point + 1, X_LEN);
		memcpy(y + 2, point + 1 + X_LEN, X_LEN);
	}
	OPENSSL_cleanse(z, sizeof(z));
	return ret;
}

int tg_attest_make_credential(const struct tg_tpm_public *ek, const uint8_t name[static TG_TPM_NAME_LEN],
			      const uint8_t secret[static TG_SHA256_LEN], struct tg_bytes *ret_credential,
			      struct tg_bytes *ret_secret, struct tg_error *e)
{
	uint8_t id_object[CREDENTIAL_LEN], seed[SEED_LEN];
	struct tg_bytes credential = { 0 }, shared = { 0 };
	EVP_PKEY *key = NULL;
	int ret = tg_tpm_public_key(ek, &key, e);

	if (!ret)
		ret = ek->type == TG_TPM_ALG_RSA ? share_seed_rsa(key, seed, &shared, e)
						 : share_seed_ecc(key, ek, seed, &shared, e);
	if (!ret)
		ret = make_id_object(seed, name, secret, id_object, e);
	if (!ret)
		ret = tg_bytes_copy(id_object, sizeof(id_object), &credential);
	if (!ret) {
		*ret_credential = credential;
		*ret_secret = shared;
	} else {
		tg_bytes_free(&shared);
	}
	OPENSSL_cleanse(seed, sizeof(seed));
	EVP_PKEY_free(key);
	return ret;
}
