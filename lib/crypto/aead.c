/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "tensorguard/aead.h"

enum { MAX_LEN = 1 << 30 };

/* A context per direction: setting a nonce keeps the expanded key, turning round would not. */
struct tg_aead {
	EVP_CIPHER_CTX *seal, *open;
};

static const EVP_CIPHER *cipher_of(enum tg_aead_cipher cipher)
{
	switch (cipher) {
	case TG_AES_128_GCM:
		return EVP_aes_128_gcm();
	case TG_AES_256_GCM:
		return EVP_aes_256_gcm();
	case TG_CHACHA20_POLY1305:
		return EVP_chacha20_poly1305();
	}
	return NULL;
}

size_t tg_aead_key_len(enum tg_aead_cipher cipher)
{
	const EVP_CIPHER *evp = cipher_of(cipher);

	return evp ? (size_t)EVP_CIPHER_get_key_length(evp) : 0;
}

void tg_aead_free(struct tg_aead *aead)
{
	if (!aead)
		return;
	EVP_CIPHER_CTX_free(aead->seal);
	EVP_CIPHER_CTX_free(aead->open);
	free(aead);
}

int tg_aead_new(enum tg_aead_cipher cipher, const uint8_t *key, struct tg_aead **ret_aead, struct tg_error *e)
{
	const EVP_CIPHER *evp = cipher_of(cipher);
	struct tg_aead *aead;

	if (!evp)
		return tg_error(e, -EINVAL, "AEAD cipher %d is not known", cipher);
	aead = calloc(1, sizeof(*aead));
	if (!aead)
		return tg_error(e, -ENOMEM, "out of memory");
	aead->seal = EVP_CIPHER_CTX_new();
	aead->open = EVP_CIPHER_CTX_new();
	if (!aead->seal || !aead->open || EVP_EncryptInit_ex2(aead->seal, evp, key, NULL, NULL) != 1 ||
	    EVP_DecryptInit_ex2(aead->open, evp, key, NULL, NULL) != 1) {
		tg_aead_free(aead);
		return tg_error(e, -ENOMEM, "OpenSSL cannot set up the AEAD cipher");
	}
	*ret_aead = aead;
	return 0;
}

int tg_aead_seal(struct tg_aead *aead, const uint8_t nonce[static TG_AEAD_NONCE_LEN], const uint8_t *aad,
		 size_t aad_len, const uint8_t *in, size_t len, uint8_t *out, struct tg_error *e)
{
	EVP_CIPHER_CTX *ctx = aead->seal;
	int n, tail;

	if (len > MAX_LEN || aad_len > MAX_LEN)
		return tg_error(e, -E2BIG, "a message longer than 1 GiB");
	if (EVP_EncryptInit_ex2(ctx, NULL, NULL, nonce, NULL) != 1 ||
	    (aad_len && EVP_EncryptUpdate(ctx, NULL, &n, aad, (int)aad_len) != 1) ||
	    (len && EVP_EncryptUpdate(ctx, out, &n, in, (int)len) != 1) ||
	    EVP_EncryptFinal_ex(ctx, out + len, &tail) != 1 ||
	    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TG_AEAD_TAG_LEN, out + len) != 1) {
		OPENSSL_cleanse(out, len + TG_AEAD_TAG_LEN);
		return tg_error(e, -EIO, "OpenSSL cannot encrypt");
	}
	return 0;
}

int tg_aead_open(struct tg_aead *aead, const uint8_t nonce[static TG_AEAD_NONCE_LEN], const uint8_t *aad,
		 size_t aad_len, const uint8_t *in, size_t len, uint8_t *out, struct tg_error *e)
{
	EVP_CIPHER_CTX *ctx = aead->open;
	uint8_t tag[TG_AEAD_TAG_LEN], none[1];
	int n, tail;

	if (len < TG_AEAD_TAG_LEN)
		return tg_error(e, -EBADMSG, "a ciphertext shorter than its tag");
	len -= TG_AEAD_TAG_LEN;
	if (len > MAX_LEN || aad_len > MAX_LEN)
		return tg_error(e, -E2BIG, "a message longer than 1 GiB");
	memcpy(tag, in + len, sizeof(tag));
	if (EVP_DecryptInit_ex2(ctx, NULL, NULL, nonce, NULL) != 1 ||
	    (aad_len && EVP_DecryptUpdate(ctx, NULL, &n, aad, (int)aad_len) != 1) ||
	    (len && EVP_DecryptUpdate(ctx, out, &n, in, (int)len) != 1) ||
	    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, sizeof(tag), tag) != 1 ||
	    EVP_DecryptFinal_ex(ctx, len ? out + len : none, &tail) != 1) {
		if (len)
			OPENSSL_cleanse(out, len);
		return tg_error(e, -EBADMSG, "the text is not authentic: wrong key, or it was changed");
	}
	return 0;
}
