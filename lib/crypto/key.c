/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/x509.h>
#include <string.h>

#include "tensorguard/crypto.h"

static const char p256[] = "prime256v1";

int tg_p256_generate(EVP_PKEY **ret_key, struct tg_error *e)
{
	EVP_PKEY *key = EVP_EC_gen(p256);

	if (!key)
		return tg_openssl_error(e, -EIO, "no P-256 key could be made");
	*ret_key = key;
	return 0;
}

int tg_p256_from_point(const uint8_t point[static TG_P256_POINT_LEN], EVP_PKEY **ret_key, struct tg_error *e)
{
	uint8_t copy[TG_P256_POINT_LEN];
	char group[sizeof(p256)];
	OSSL_PARAM params[] = {
		OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof(group) - 1),
		OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, copy, sizeof(copy)),
		OSSL_PARAM_END,
	};
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	EVP_PKEY *key = NULL;
	int done;

	memcpy(copy, point, sizeof(copy));
	memcpy(group, p256, sizeof(group));
	done = copy[0] == POINT_CONVERSION_UNCOMPRESSED && context && EVP_PKEY_fromdata_init(context) == 1 &&
	       EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, params) == 1;
	EVP_PKEY_CTX_free(context);
	if (!done) {
		EVP_PKEY_free(key);
		return tg_openssl_error(e, -EINVAL, "not a point of P-256");
	}
	*ret_key = key;
	return 0;
}

static bool is_p256(const EVP_PKEY *key)
{
	char group[sizeof(p256) + 1] = "";

	return EVP_PKEY_is_a(key, "EC") && EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) == 1 &&
	       !strcmp(group, p256);
}

int tg_p256_point(const EVP_PKEY *key, uint8_t ret_point[static TG_P256_POINT_LEN], struct tg_error *e)
{
	uint8_t x[32], y[32];
	BIGNUM *bx = NULL, *by = NULL;
	int ret = 0;

	if (!is_p256(key))
		return tg_openssl_error(e, -EINVAL, "not a P-256 key");
	if (EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_EC_PUB_X, &bx) != 1 ||
	    EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_EC_PUB_Y, &by) != 1 || BN_bn2binpad(bx, x, 32) != 32 ||
	    BN_bn2binpad(by, y, 32) != 32)
		ret = tg_openssl_error(e, -EIO, "the key's point cannot be read");
	BN_free(bx);
	BN_free(by);
	if (ret)
		return ret;
	ret_point[0] = POINT_CONVERSION_UNCOMPRESSED;
	memcpy(ret_point + 1, x, 32);
	memcpy(ret_point + 33, y, 32);
	return 0;
}

int tg_public_key_hash(const EVP_PKEY *key, uint8_t ret_hash[static TG_SHA256_LEN], struct tg_error *e)
{
	unsigned char *der = NULL;
	int len = i2d_PUBKEY(key, &der), ret;

	if (len <= 0)
		return tg_openssl_error(e, -EIO, "the key cannot be encoded");
	ret = tg_sha256(&(struct tg_piece){ der, (size_t)len }, 1, ret_hash, e);
	OPENSSL_free(der);
	return ret;
}
