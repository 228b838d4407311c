/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <string.h>

#include "tensorguard/key.h"

static const char P256[] = "prime256v1";

int tg_key_generate(enum tg_key_type type, EVP_PKEY **ret_key, struct tg_error *e)
{
	EVP_PKEY *key;

	if (type == TG_KEY_ES256)
		return tg_p256_generate(ret_key, e);
	key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	if (!key)
		return tg_error(e, -EIO, "OpenSSL cannot make a key");
	*ret_key = key;
	return 0;
}

int tg_key_type(const EVP_PKEY *key, enum tg_key_type *ret_type, struct tg_error *e)
{
	char group[32] = "";

	if (EVP_PKEY_is_a(key, "ED25519")) {
		*ret_type = TG_KEY_EDDSA;
		return 0;
	}
	if (!EVP_PKEY_is_a(key, "EC") || EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) != 1 ||
	    strcmp(group, P256))
		return tg_error(e, -EINVAL, "a key is neither P-256 nor Ed25519");
	*ret_type = TG_KEY_ES256;
	return 0;
}

/*
 * What stands before the point of every P-256 key: SEQUENCE of 89 bytes { SEQUENCE { OID id-ecPublicKey, OID
 * prime256v1 }, BIT STRING of 66 bytes, none unused }. OpenSSL 3 looks for an encoder anew for each key,
 * which takes longer than to verify a signature with it.
 */
static const uint8_t p256_head[] = { 0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48,
				     0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
				     0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00 };
_Static_assert(sizeof(p256_head) + TG_P256_POINT_LEN <= TG_SPKI_MAX_LEN, "a P-256 key has room");

static int p256_to_spki(const EVP_PKEY *key, uint8_t ret_der[static TG_SPKI_MAX_LEN], size_t *ret_len,
			struct tg_error *e)
{
	uint8_t point[TG_P256_POINT_LEN];
	int ret = tg_p256_point(key, point, e);

	if (ret)
		return ret;
	memcpy(ret_der, p256_head, sizeof(p256_head));
	memcpy(ret_der + sizeof(p256_head), point, sizeof(point));
	*ret_len = sizeof(p256_head) + sizeof(point);
	return 0;
}

int tg_key_to_spki(const EVP_PKEY *key, uint8_t ret_der[static TG_SPKI_MAX_LEN], size_t *ret_len,
		   struct tg_error *e)
{
	uint8_t *der = NULL;
	enum tg_key_type type;
	int len, ret = tg_key_type(key, &type, e);

	if (ret)
		return ret;
	if (type == TG_KEY_ES256)
		return p256_to_spki(key, ret_der, ret_len, e);
	len = i2d_PUBKEY(key, &der);
	if (len <= 0 || len > TG_SPKI_MAX_LEN) {
		ret = tg_error(e, -EINVAL, "a public key cannot be encoded");
	} else {
		memcpy(ret_der, der, (size_t)len);
		*ret_len = (size_t)len;
	}
	OPENSSL_free(der);
	return ret;
}

int tg_key_from_spki(const uint8_t *der, size_t len, EVP_PKEY **ret_key, struct tg_error *e)
{
	uint8_t again[TG_SPKI_MAX_LEN];
	const uint8_t *end = der;
	size_t again_len;
	EVP_PKEY *key;

	if (!len || len > sizeof(again))
		return tg_error(e, -EBADMSG, "a public key of %zu bytes", len);
	key = d2i_PUBKEY(NULL, &end, (long)len);
	/* one encoding only: two for a key would be two ids for it */
	if (!key || tg_key_to_spki(key, again, &again_len, NULL) || again_len != len ||
	    memcmp(again, der, len)) {
		EVP_PKEY_free(key);
		return tg_error(e, -EBADMSG, "a public key is not a P-256 or Ed25519 key in canonical DER");
	}
	*ret_key = key;
	return 0;
}

int tg_key_ecdh(EVP_PKEY *key, const uint8_t point[static TG_P256_POINT_LEN],
		uint8_t ret_x[static TG_P256_X_LEN], struct tg_error *e)
{
	EVP_PKEY *peer = NULL;
	EVP_PKEY_CTX *ctx = NULL;
	size_t len = TG_P256_X_LEN;
	int ret = tg_p256_from_point(point, &peer, e);

	if (ret)
		return ret;
	ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
	if (!ctx || EVP_PKEY_derive_init(ctx) != 1 || EVP_PKEY_derive_set_peer(ctx, peer) != 1 ||
	    EVP_PKEY_derive(ctx, ret_x, &len) != 1 || len != TG_P256_X_LEN)
		ret = tg_error(e, -EINVAL, "ECDH is not possible with this key");
	EVP_PKEY_CTX_free(ctx);
	EVP_PKEY_free(peer);
	return ret;
}
