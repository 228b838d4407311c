/* SPDX-License-Identifier: BSD-3-Clause */
/* ECDSA: the digest is made here, the signature in the TPM. */
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdlib.h>
#include <string.h>

#include "provider.h"

struct signing {
	struct provider_key *key;
	EVP_MD_CTX *digest;	/* NULL unless the message is digested here */
};

/* AlgorithmIdentifier { ecdsa-with-SHA256 } (RFC 5758, 3.2) */
static const uint8_t algorithm_id[] = {
	0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02
};

static void *signing_new(void *provctx, const char *properties)
{
	(void)provctx;
	(void)properties;
	return calloc(1, sizeof(struct signing));
}

static void signing_free(void *data)
{
	struct signing *signing = data;

	if (!signing)
		return;
	provider_key_unref(signing->key);
	EVP_MD_CTX_free(signing->digest);
	free(signing);
}

static void *signing_dup(void *data)
{
	const struct signing *from = data;
	struct signing *to = signing_new(NULL, NULL);

	if (!to)
		return NULL;
	if (from->key)
		to->key = provider_key_ref(from->key);
	if (!from->digest)
		return to;
	to->digest = EVP_MD_CTX_new();
	if (to->digest && EVP_MD_CTX_copy_ex(to->digest, from->digest))
		return to;
	signing_free(to);
	return NULL;
}

static int is_sha256(const char *name)
{
	return !strcasecmp(name, "SHA256") || !strcasecmp(name, "SHA2-256") || !strcasecmp(name, "SHA-256");
}

static int set_params(void *data, const OSSL_PARAM params[])
{
	const OSSL_PARAM *digest =
		params ? OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_DIGEST) : NULL;
	const char *name;

	(void)data;
	if (!digest)
		return 1;
	if (!OSSL_PARAM_get_utf8_string_ptr(digest, &name) || !is_sha256(name))
		return provider_error("keys in the TPM sign SHA-256 digests only");
	return 1;
}

static const OSSL_PARAM *settable_params(void *data, void *provctx)
{
	static const OSSL_PARAM types[] = {
		OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, NULL, 0),
		OSSL_PARAM_END,
	};

	(void)data;
	(void)provctx;
	return types;
}

static int get_params(void *data, OSSL_PARAM params[])
{
	OSSL_PARAM *id = OSSL_PARAM_locate(params, OSSL_SIGNATURE_PARAM_ALGORITHM_ID);
	OSSL_PARAM *digest = OSSL_PARAM_locate(params, OSSL_SIGNATURE_PARAM_DIGEST);

	(void)data;
	return (!id || OSSL_PARAM_set_octet_string(id, algorithm_id, sizeof(algorithm_id))) &&
	       (!digest || OSSL_PARAM_set_utf8_string(digest, "SHA256"));
}

static const OSSL_PARAM *gettable_params(void *data, void *provctx)
{
	static const OSSL_PARAM types[] = {
		OSSL_PARAM_octet_string(OSSL_SIGNATURE_PARAM_ALGORITHM_ID, NULL, 0),
		OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, NULL, 0),
		OSSL_PARAM_END,
	};

	(void)data;
	(void)provctx;
	return types;
}

/* OpenSSL gives no key when it begins again with the one that it gave before. */
static int sign_init(void *data, void *key_data, const OSSL_PARAM params[])
{
	struct signing *signing = data;
	struct provider_key *key = key_data ? provider_key_of(key_data) : signing->key;

	if (!key || !key->tpm)
		return provider_error("this key cannot sign: it has no private half");
	if (key != signing->key) {
		provider_key_unref(signing->key);
		signing->key = provider_key_ref(key);
	}
	return set_params(signing, params);
}

static int sign(void *data, unsigned char *out, size_t *len, size_t room, const unsigned char *digest,
		size_t digest_len)
{
	const struct signing *signing = data;
	struct tg_error e = { "" };
	struct tg_bytes der;
	bool fits;

	if (!signing->key)
		return provider_error("no key to sign with");
	if (!out) {
		*len = SIGNATURE_MAX;
		return 1;
	}
	if (digest_len != TG_TPM_DIGEST_BYTES)
		return provider_error("keys in the TPM sign SHA-256 digests only");
	if (tg_tpm_sign(signing->key->tpm, &signing->key->key, digest, &der, &e))
		return provider_error(e.message);
	fits = der.len <= room;
	if (fits) {
		memcpy(out, der.data, der.len);
		*len = der.len;
	}
	tg_bytes_free(&der);
	return fits ? 1 : provider_error("no room for the signature");
}

static int digest_sign_init(void *data, const char *digest, void *key_data, const OSSL_PARAM params[])
{
	struct signing *signing = data;

	if (digest && *digest && !is_sha256(digest))
		return provider_error("keys in the TPM sign SHA-256 digests only");
	if (!sign_init(signing, key_data, params))
		return 0;
	if (!signing->digest)
		signing->digest = EVP_MD_CTX_new();
	return signing->digest && EVP_DigestInit_ex2(signing->digest, EVP_sha256(), NULL);
}

static int digest_sign_update(void *data, const unsigned char *message, size_t len)
{
	struct signing *signing = data;

	return signing->digest && EVP_DigestUpdate(signing->digest, message, len);
}

static int digest_sign_final(void *data, unsigned char *out, size_t *len, size_t room)
{
	struct signing *signing = data;
	uint8_t digest[TG_TPM_DIGEST_BYTES];

	if (!signing->digest)
		return 0;
	if (!out)
		return sign(signing, NULL, len, 0, NULL, 0);
	return EVP_DigestFinal_ex(signing->digest, digest, NULL) &&
	       sign(signing, out, len, room, digest, sizeof(digest));
}

const OSSL_DISPATCH tg_provider_signature[] = {
	FUNCTION(OSSL_FUNC_SIGNATURE_NEWCTX, signing_new),
	FUNCTION(OSSL_FUNC_SIGNATURE_FREECTX, signing_free),
	FUNCTION(OSSL_FUNC_SIGNATURE_DUPCTX, signing_dup),
	FUNCTION(OSSL_FUNC_SIGNATURE_SIGN_INIT, sign_init),
	FUNCTION(OSSL_FUNC_SIGNATURE_SIGN, sign),
	FUNCTION(OSSL_FUNC_SIGNATURE_DIGEST_SIGN_INIT, digest_sign_init),
	FUNCTION(OSSL_FUNC_SIGNATURE_DIGEST_SIGN_UPDATE, digest_sign_update),
	FUNCTION(OSSL_FUNC_SIGNATURE_DIGEST_SIGN_FINAL, digest_sign_final),
	FUNCTION(OSSL_FUNC_SIGNATURE_SET_CTX_PARAMS, set_params),
	FUNCTION(OSSL_FUNC_SIGNATURE_SETTABLE_CTX_PARAMS, settable_params),
	FUNCTION(OSSL_FUNC_SIGNATURE_GET_CTX_PARAMS, get_params),
	FUNCTION(OSSL_FUNC_SIGNATURE_GETTABLE_CTX_PARAMS, gettable_params),
	{ 0, NULL },
};
