/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>

#include "tensorguard/softkey.h"
#include "trust/keys.h"

/* A TPM's keys are made under the owner's hierarchy, whose storage root key most machines have ready. */
static int create_tpm(struct trust_keys *keys, struct tg_error *e)
{
	int ret = tg_tpm_key_create(keys->tpm, TG_TPM_AK, TG_TPM_OWNER, &keys->ak, e);

	if (!ret)
		ret = tg_tpm_key_create(keys->tpm, TG_TPM_HPKE, TG_TPM_OWNER, &keys->hpke, e);
	if (!ret)
		ret = tg_tpm_key_create(keys->tpm, TG_TPM_TLS, TG_TPM_OWNER, &keys->tls, e);
	return ret ? ret : tg_tpm_provider_key(keys->tpm, &keys->tls, &keys->tls_pkey, e);
}

static int check_secret(const struct trust_store *store, struct tg_error *e)
{
	if (store->secret && store->secret->len)
		return 0;
	return tg_error(e, -EINVAL, "without a TPM the key is kept encrypted, and there is no secret for it");
}

int trust_keys_create(const struct trust_store *store, struct trust_keys *ret_keys, struct tg_error *e)
{
	struct trust_keys keys = { 0 };
	int ret;

	if (store->software) {
		ret = check_secret(store, e);
		if (!ret)
			ret = tg_p256_generate(&keys.tls_pkey, e);
	} else {
		ret = tg_tpm_open(store->tcti, &keys.tpm, e);
		if (!ret)
			ret = create_tpm(&keys, e);
	}
	if (ret)
		trust_keys_close(&keys);
	else
		*ret_keys = keys;
	return ret;
}

static int renew_tpm(const struct trust_keys *old, struct trust_keys *keys, struct tg_error *e)
{
	int ret;

	keys->tpm = tg_tpm_ref(old->tpm);
	ret = tg_tpm_key_copy(&old->ak, &keys->ak);
	if (!ret)
		ret = tg_tpm_key_copy(&old->hpke, &keys->hpke);
	if (ret)
		return tg_error(e, ret, "out of memory");
	ret = tg_tpm_key_create(keys->tpm, TG_TPM_TLS, TG_TPM_OWNER, &keys->tls, e);
	return ret ? ret : tg_tpm_provider_key(keys->tpm, &keys->tls, &keys->tls_pkey, e);
}

int trust_keys_renew(const struct trust_keys *old, struct trust_keys *ret_keys, struct tg_error *e)
{
	struct trust_keys keys = { 0 };
	int ret = old->tpm ? renew_tpm(old, &keys, e) : tg_p256_generate(&keys.tls_pkey, e);

	if (ret)
		trust_keys_close(&keys);
	else
		*ret_keys = keys;
	return ret;
}

static const char *key_path(const char *folder, const char *name, char path[static PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/%s", folder, name);
	return path;
}

int trust_keys_save(const struct trust_keys *keys, const struct trust_store *store, const char *folder,
		    struct tg_error *e)
{
	char path[PATH_MAX];
	int ret;

	if (!keys->tpm)
		return tg_softkey_save(keys->tls_pkey, key_path(folder, "tls.pem", path), store->secret, e);
	ret = tg_tpm_key_save(&keys->ak, key_path(folder, "ak.pem", path), e);
	if (!ret)
		ret = tg_tpm_key_save(&keys->hpke, key_path(folder, "hpke.pem", path), e);
	return ret ? ret : tg_tpm_key_save(&keys->tls, key_path(folder, "tls.pem", path), e);
}

static int load_tpm(const char *folder, struct trust_keys *keys, struct tg_error *e)
{
	char path[PATH_MAX];
	int ret = tg_tpm_key_load(key_path(folder, "ak.pem", path), &keys->ak, e);

	if (!ret)
		ret = tg_tpm_key_load(key_path(folder, "hpke.pem", path), &keys->hpke, e);
	if (!ret)
		ret = tg_tpm_key_load(key_path(folder, "tls.pem", path), &keys->tls, e);
	return ret ? ret : tg_tpm_provider_key(keys->tpm, &keys->tls, &keys->tls_pkey, e);
}

int trust_keys_load(const struct trust_store *store, const char *folder, struct trust_keys *ret_keys,
		    struct tg_error *e)
{
	struct trust_keys keys = { 0 };
	char path[PATH_MAX];
	int ret;

	if (store->software) {
		ret = check_secret(store, e);
		if (!ret)
			ret = tg_softkey_load(key_path(folder, "tls.pem", path), store->secret,
					      &keys.tls_pkey, e);
	} else {
		ret = tg_tpm_open(store->tcti, &keys.tpm, e);
		if (!ret)
			ret = load_tpm(folder, &keys, e);
	}
	if (ret)
		trust_keys_close(&keys);
	else
		*ret_keys = keys;
	return ret;
}

void trust_keys_close(struct trust_keys *keys)
{
	EVP_PKEY_free(keys->tls_pkey);
	tg_tpm_key_free(&keys->ak);
	tg_tpm_key_free(&keys->hpke);
	tg_tpm_key_free(&keys->tls);
	tg_tpm_close(keys->tpm);
	*keys = (struct trust_keys){ 0 };
}
