/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/data.h"
#include "data/key.h"
#include "tensorguard/key.h"

int data_store_url(const char *directory, char *ret_url, size_t size, struct tg_error *e)
{
	char path[FILE_PATH_SIZE], *text;
	size_t len;
	int ret, n;

	ret = file_path(directory, "store", path, e);
	if (!ret)
		ret = file_read(path, &text, &len, e);
	if (ret == -ENOENT)
		return tg_error(e, ret, "%s: there is no Platform here; make one with 'init'", directory);
	if (ret)
		return ret;
	text[strcspn(text, "\n")] = '\0';
	n = strcmp(text, "sqlite") ? snprintf(ret_url, size, "%s", text)
				   : snprintf(ret_url, size, "sqlite:%s/platform.db", directory);
	free(text);
	if (n < 0 || (size_t)n >= size)
		return tg_error(e, -ENAMETOOLONG, "%s: the address is too long", path);
	return 0;
}

static int load_key(const char *directory, const char *name, const char *passphrase, EVP_PKEY **ret_key,
		    struct tg_error *e)
{
	char path[FILE_PATH_SIZE];
	int ret = file_path(directory, name, path, e);

	return ret ? ret : key_load(path, passphrase, ret_key, e);
}

static int load_cert(const char *directory, const char *name, X509 **ret_cert, STACK_OF(X509) * *ret_chain,
		     struct tg_error *e)
{
	char path[FILE_PATH_SIZE];
	int ret = file_path(directory, name, path, e);

	return ret ? ret : cert_load(path, ret_cert, ret_chain, e);
}

int data_policy_key_load(const char *directory, const char *passphrase, EVP_PKEY **ret_key,
			 struct tg_error *e)
{
	return load_key(directory, "policy.key", passphrase, ret_key, e);
}

int data_policy_public_load(const char *directory, struct tg_bytes *ret_spki, struct tg_error *e)
{
	char path[FILE_PATH_SIZE], *pem;
	uint8_t der[TG_SPKI_MAX_LEN];
	EVP_PKEY *key = NULL;
	size_t len;
	int ret;

	ret = file_path(directory, "policy.pub", path, e);
	if (!ret)
		ret = file_read(path, &pem, &len, e);
	if (ret)
		return ret;
	ret = tg_key_read_public(pem, len, &key, e);
	free(pem);
	if (!ret)
		ret = tg_key_to_spki(key, der, &len, e);
	EVP_PKEY_free(key);
	if (ret)
		return tg_error_prefix(e, ret, "%s", path);
	return tg_bytes_copy(der, len, ret_spki) ? tg_error(e, -ENOMEM, "out of memory") : 0;
}

/*
 * The key of the server's certificate. A renewal changes first the certificate and then the key's name:
 * between the two, and after a crash there, it has another one.
 */
static int load_server_key(const char *directory, const char *passphrase, struct data_keys *keys,
			   struct tg_error *e)
{
	static const char *const names[] = { "server.key", "server.key.next", "server.key" };
	int ret;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		EVP_PKEY *key = NULL;

		ret = load_key(directory, names[i], passphrase, &key, e);
		if (ret && !(i == 1 && ret == -ENOENT))
			return ret;
		if (!ret && X509_check_private_key(keys->server_cert, key) == 1) {
			keys->server_key = key;
			return 0;
		}
		EVP_PKEY_free(key);
	}
	return tg_error(e, -EINVAL, "%s: server.key is not the key of server.crt", directory);
}

int data_keys_load(const char *directory, const char *passphrase, struct data_keys *ret_keys,
		   struct tg_error *e)
{
	struct data_keys keys = { 0 };
	int ret;

	ret = load_key(directory, "ca.key", passphrase, &keys.ca_key, e);
	if (!ret)
		ret = load_cert(directory, "ca.crt", &keys.ca_cert, NULL, e);
	if (!ret)
		ret = load_cert(directory, "server.crt", &keys.server_cert, &keys.server_chain, e);
	if (!ret)
		ret = load_server_key(directory, passphrase, &keys, e);
	if (!ret)
		ret = data_policy_public_load(directory, &keys.policy_key, e);
	if (!ret && X509_check_private_key(keys.ca_cert, keys.ca_key) != 1)
		ret = tg_error(e, -EINVAL, "%s: ca.key is not the key of ca.crt", directory);
	if (ret)
		data_keys_free(&keys);
	else
		*ret_keys = keys;
	return ret;
}

void data_keys_free(struct data_keys *keys)
{
	EVP_PKEY_free(keys->ca_key);
	EVP_PKEY_free(keys->server_key);
	X509_free(keys->ca_cert);
	X509_free(keys->server_cert);
	sk_X509_pop_free(keys->server_chain, X509_free);
	tg_bytes_free(&keys->policy_key);
	memset(keys, 0, sizeof(*keys));
}
