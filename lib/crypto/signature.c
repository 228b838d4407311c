/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <string.h>

#include "tensorguard/key.h"

enum { HALF = TG_SIGNATURE_LEN / 2, MAX_DER = 80 };

/* DER, as OpenSSL has it, to r and s of fixed length, as COSE has them. */
static int split_der(const uint8_t *der, size_t len, uint8_t ret_signature[static TG_SIGNATURE_LEN])
{
	ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)len);
	int ret = -EIO;

	if (sig && BN_bn2binpad(ECDSA_SIG_get0_r(sig), ret_signature, HALF) == HALF &&
	    BN_bn2binpad(ECDSA_SIG_get0_s(sig), ret_signature + HALF, HALF) == HALF)
		ret = 0;
	ECDSA_SIG_free(sig);
	return ret;
}

static int join_der(const uint8_t *signature, uint8_t ret_der[static MAX_DER], size_t *ret_len)
{
	ECDSA_SIG *sig = ECDSA_SIG_new();
	BIGNUM *r = BN_bin2bn(signature, HALF, NULL), *s = BN_bin2bn(signature + HALF, HALF, NULL);
	int len;

	if (!sig || !r || !s || ECDSA_SIG_set0(sig, r, s) != 1) {
		BN_free(r);
		BN_free(s);
		ECDSA_SIG_free(sig);
		return -ENOMEM;
	}
	len = i2d_ECDSA_SIG(sig, &ret_der);
	ECDSA_SIG_free(sig);
	if (len <= 0)
		return -ENOMEM;
	*ret_len = (size_t)len;
	return 0;
}

static const EVP_MD *hash_of(enum tg_key_type type)
{
	return type == TG_KEY_ES256 ? EVP_sha256() : NULL;
}

int tg_key_sign(EVP_PKEY *key, const uint8_t *data, size_t len,
		uint8_t ret_signature[static TG_SIGNATURE_LEN], struct tg_error *e)
{
	uint8_t raw[MAX_DER];
	size_t raw_len = sizeof(raw);
	enum tg_key_type type;
	EVP_MD_CTX *ctx;
	int ret = tg_key_type(key, &type, e);

	if (ret)
		return ret;
	ctx = EVP_MD_CTX_new();
	if (!ctx || EVP_DigestSignInit(ctx, NULL, hash_of(type), NULL, key) != 1 ||
	    EVP_DigestSign(ctx, raw, &raw_len, data, len) != 1)
		ret = -EIO;
	else if (type == TG_KEY_ES256)
		ret = split_der(raw, raw_len, ret_signature);
	else if (raw_len == TG_SIGNATURE_LEN)
		memcpy(ret_signature, raw, raw_len);
	else
		ret = -EIO;
	EVP_MD_CTX_free(ctx);
	return ret ? tg_error(e, ret, "OpenSSL cannot sign with this key") : 0;
}

int tg_key_verify(EVP_PKEY *key, const uint8_t *data, size_t len, const uint8_t *signature,
		  size_t signature_len, struct tg_error *e)
{
	uint8_t der[MAX_DER];
	enum tg_key_type type;
	EVP_MD_CTX *ctx;
	int ret = tg_key_type(key, &type, e);

	if (ret)
		return ret;
	if (signature_len != TG_SIGNATURE_LEN)
		return tg_error(e, -EBADMSG, "a signature of %zu bytes", signature_len);
	if (type == TG_KEY_ES256) {
		ret = join_der(signature, der, &signature_len);
		if (ret)
			return tg_error(e, ret, "out of memory");
		signature = der;
	}
	ctx = EVP_MD_CTX_new();
	if (!ctx || EVP_DigestVerifyInit(ctx, NULL, hash_of(type), NULL, key) != 1)
		ret = tg_error(e, -ENOMEM, "OpenSSL cannot verify with this key");
	else if (EVP_DigestVerify(ctx, signature, signature_len, data, len) != 1)
		ret = tg_error(e, -EBADMSG, "the signature does not belong to this");
	EVP_MD_CTX_free(ctx);
	return ret;
}
