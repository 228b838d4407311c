/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>

#include "tensorguard/hkdf.h"

static const struct {
	const char *name;
	size_t len;
} hashes[] = {
	[TG_HKDF_SHA256] = { "SHA256", 32 },
	[TG_HKDF_SHA384] = { "SHA384", 48 },
	[TG_HKDF_SHA512] = { "SHA512", 64 },
};

size_t tg_hkdf_len(enum tg_hkdf_hash hash)
{
	return hashes[hash].len;
}

/* One half of HKDF: `mode` says which, `name` and `text` are its second input. */
static int derive(enum tg_hkdf_hash hash, int mode, const uint8_t *key, size_t key_len, const char *name,
		  const uint8_t *text, size_t text_len, uint8_t *out, size_t len, struct tg_error *e)
{
	OSSL_PARAM params[5], *p = params;
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, OSSL_KDF_NAME_HKDF, NULL);
	EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
	int ret = -ENOMEM;

	*p++ = OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode);
	*p++ = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)hashes[hash].name, 0);
	*p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)key, key_len);
	if (text_len)
		*p++ = OSSL_PARAM_construct_octet_string(name, (void *)text, text_len);
	*p = OSSL_PARAM_construct_end();
	if (ctx)
		ret = EVP_KDF_derive(ctx, out, len, params) == 1 ? 0 : -EIO;
	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(kdf);
	return ret ? tg_error(e, ret, "OpenSSL cannot derive a key") : 0;
}

int tg_hkdf_extract(enum tg_hkdf_hash hash, const uint8_t *salt, size_t salt_len, const uint8_t *ikm,
		    size_t ikm_len, uint8_t *ret_prk, struct tg_error *e)
{
	return derive(hash, EVP_KDF_HKDF_MODE_EXTRACT_ONLY, ikm, ikm_len, OSSL_KDF_PARAM_SALT, salt, salt_len,
		      ret_prk, hashes[hash].len, e);
}

int tg_hkdf_expand(enum tg_hkdf_hash hash, const uint8_t *prk, size_t prk_len, const uint8_t *info,
		   size_t info_len, uint8_t *ret_okm, size_t len, struct tg_error *e)
{
	if (!len || len > 255 * hashes[hash].len)
		return tg_error(e, -EINVAL, "HKDF gives 1 to %zu bytes", 255 * hashes[hash].len);
	return derive(hash, EVP_KDF_HKDF_MODE_EXPAND_ONLY, prk, prk_len, OSSL_KDF_PARAM_INFO, info, info_len,
		      ret_okm, len, e);
}
