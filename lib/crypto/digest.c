/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <string.h>

#include "tensorguard/crypto.h"

int tg_openssl_error(struct tg_error *e, int err, const char *what)
{
	const char *reason = NULL;
	unsigned long code;

	/* the first is the cause, the others say what failed because of it */
	while ((code = ERR_get_error())) {
		if (!reason)
			reason = ERR_reason_error_string(code);
		if (ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE)
			err = -ENOMEM;
	}
	return reason ? tg_error(e, err, "%s: %s", what, reason) : tg_error(e, err, "%s", what);
}

int tg_random(void *ret_data, size_t len, struct tg_error *e)
{
	if (RAND_priv_bytes_ex(NULL, ret_data, len, 0) != 1)
		return tg_openssl_error(e, -EIO, "no random numbers");
	return 0;
}

bool tg_equal(const void *a, const void *b, size_t len)
{
	return !CRYPTO_memcmp(a, b, len);
}

int tg_sha256(const struct tg_piece *pieces, size_t count, uint8_t ret_digest[static TG_SHA256_LEN],
	      struct tg_error *e)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	uint8_t digest[TG_SHA256_LEN];
	int done = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1;

	for (size_t i = 0; done && i < count; i++)
		done = EVP_DigestUpdate(context, pieces[i].data, pieces[i].len) == 1;
	done = done && EVP_DigestFinal_ex(context, digest, NULL) == 1;
	EVP_MD_CTX_free(context);
	if (done)
		memcpy(ret_digest, digest, sizeof(digest));
	OPENSSL_cleanse(digest, sizeof(digest));
	return done ? 0 : tg_openssl_error(e, -EIO, "SHA-256 failed");
}

static int hmac_run(EVP_MAC_CTX *context, const void *key, size_t key_len, const struct tg_piece *pieces,
		    size_t count, uint8_t ret_mac[static TG_SHA256_LEN])
{
	char name[] = "SHA256";
	OSSL_PARAM params[] = { OSSL_PARAM_utf8_string("digest", name, sizeof(name) - 1), OSSL_PARAM_END };
	size_t len;

	if (EVP_MAC_init(context, key, key_len, params) != 1)
		return -EIO;
	for (size_t i = 0; i < count; i++)
		if (EVP_MAC_update(context, pieces[i].data, pieces[i].len) != 1)
			return -EIO;
	return EVP_MAC_final(context, ret_mac, &len, TG_SHA256_LEN) == 1 && len == TG_SHA256_LEN ? 0 : -EIO;
}

int tg_hmac_sha256(const void *key, size_t key_len, const struct tg_piece *pieces, size_t count,
		   uint8_t ret_mac[static TG_SHA256_LEN], struct tg_error *e)
{
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	EVP_MAC_CTX *context = mac ? EVP_MAC_CTX_new(mac) : NULL;
	uint8_t value[TG_SHA256_LEN];
	int ret = -EIO;

	if (context)
		ret = hmac_run(context, key, key_len, pieces, count, value);
	if (!ret)
		memcpy(ret_mac, value, sizeof(value));
	OPENSSL_cleanse(value, sizeof(value));
	EVP_MAC_CTX_free(context);
	EVP_MAC_free(mac);
	return ret ? tg_openssl_error(e, ret, "HMAC-SHA256 failed") : 0;
}
