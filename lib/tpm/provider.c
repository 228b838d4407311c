/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A provider that lets OpenSSL sign with P-256 keys in the TPM. It lives in a
 * library context of its own: in the program's context nothing changes, so
 * that "EC" means OpenSSL's own implementation for all keys but ours. OpenSSL
 * finds ours through the key, which knows the provider that it came from.
 */
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "provider.h"

static struct {
	pthread_once_t once;
	OSSL_LIB_CTX *libctx;	/* NULL if the provider could not be set up */
} context = { .once = PTHREAD_ONCE_INIT };

static const OSSL_ALGORITHM keymgmt[] = {
	{ "EC:id-ecPublicKey:1.2.840.10045.2.1", "provider=" PROVIDER_NAME, tg_provider_keymgmt,
	  "P-256 in a TPM" },
	{ NULL, NULL, NULL, NULL },
};
static const OSSL_ALGORITHM signature[] = {
	{ "ECDSA", "provider=" PROVIDER_NAME, tg_provider_signature, "ECDSA with SHA-256 in a TPM" },
	{ NULL, NULL, NULL, NULL },
};

int provider_error(const char *message)
{
	ERR_raise_data(ERR_LIB_USER, ERR_R_OPERATION_FAIL, "%s", message);
	return 0;
}

struct provider_key *provider_key_ref(struct provider_key *key)
{
	atomic_fetch_add(&key->holders, 1);
	return key;
}

void provider_key_unref(struct provider_key *key)
{
	if (!key || atomic_fetch_sub(&key->holders, 1) != 1)
		return;
	tg_tpm_close(key->tpm);
	tg_tpm_key_free(&key->key);
	free(key);
}

static const OSSL_ALGORITHM *query(void *provctx, int operation, int *no_cache)
{
	(void)provctx;
	*no_cache = 0;
	switch (operation) {
	case OSSL_OP_KEYMGMT:
		return keymgmt;
	case OSSL_OP_SIGNATURE:
		return signature;
	}
	return NULL;
}

static int provider_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out,
			 void **provctx)
{
	static const OSSL_DISPATCH functions[] = {
		FUNCTION(OSSL_FUNC_PROVIDER_QUERY_OPERATION, query),
		{ 0, NULL },
	};

	(void)in;
	*out = functions;
	*provctx = (void *)(uintptr_t)handle;
	return 1;
}

static void set_up(void)
{
	OSSL_LIB_CTX *libctx = OSSL_LIB_CTX_new();

	/* "base" writes public keys into requests and certificates */
	if (libctx && OSSL_PROVIDER_add_builtin(libctx, PROVIDER_NAME, provider_init) &&
	    OSSL_PROVIDER_load(libctx, PROVIDER_NAME) && OSSL_PROVIDER_load(libctx, "base"))
		context.libctx = libctx;
	else
		OSSL_LIB_CTX_free(libctx);
}

static int make_pkey(struct provider_key *key, EVP_PKEY **ret_pkey, struct tg_error *e)
{
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_octet_string(PROVIDER_KEY_PARAM, &key, sizeof(key)),
		OSSL_PARAM_construct_end(),
	};
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(context.libctx, "EC", NULL);
	EVP_PKEY *pkey = NULL;
	int r = 0;

	if (!ctx || EVP_PKEY_fromdata_init(ctx) != 1 ||
	    EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_KEYPAIR, params) != 1)
		r = tg_error(e, -EIO, "OpenSSL does not take the TPM's key: %s",
			     ERR_reason_error_string(ERR_peek_last_error()));
	else
		*ret_pkey = pkey;
	EVP_PKEY_CTX_free(ctx);
	return r;
}

int tg_tpm_provider_key(struct tg_tpm *tpm, const struct tg_tpm_key *key, EVP_PKEY **ret_pkey,
			struct tg_error *e)
{
	struct provider_key *provided;
	int r;

	pthread_once(&context.once, set_up);
	if (!context.libctx)
		return tg_error(e, -ENOMEM, "OpenSSL does not take the provider for keys in the TPM");
	provided = calloc(1, sizeof(*provided));
	if (!provided)
		return tg_error(e, -ENOMEM, "out of memory");
	provided->holders = 1;
	provided->tpm = tg_tpm_ref(tpm);
	r = tg_tpm_key_copy(key, &provided->key);
	if (!r)
		r = tg_tpm_key_point(key, provided->point, e);
	if (!r)
		r = make_pkey(provided, ret_pkey, e);
	provider_key_unref(provided);
	return r;
}
