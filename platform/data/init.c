/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "data/data.h"
#include "data/key.h"
#include "ledger/key.h"
#include "store/store.h"
#include "tensorguard/certificate.h"
#include "tensorguard/file.h"

enum { YEAR = 365 * 86400 };

/* In the order in which they are made; taken back in the other one. */
static const char *const files[] = { "ca.key",     "ca.crt",       "server.key",   "server.key.next",
				     "server.crt", "operator.key", "operator.crt", "policy.key",
				     "policy.pub", "audit.key",    "audit.vkey",   "platform.db",
				     "store" };

/* What is made, while it is. */
struct making {
	const struct data_init *init;
	EVP_PKEY *ca_key;
	X509 *ca_cert;
	struct store_operator operator;
	time_t now;
};

static int check_nothing(const char *directory, struct tg_error *e)
{
	char path[FILE_PATH_SIZE];
	struct stat st;

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		int ret = file_path(directory, files[i], path, e);

		if (ret)
			return ret;
		if (!lstat(path, &st))
			return tg_error(e, -EEXIST, "%s: there is a '%s' already; nothing was changed",
					directory, files[i]);
		if (errno != ENOENT)
			return tg_error(e, -errno, "%s: %s", path, strerror(errno));
	}
	return 0;
}

static void take_back(const char *directory)
{
	static const char *const beside[] = { "platform.db-wal", "platform.db-shm" };
	char path[FILE_PATH_SIZE];

	for (size_t i = sizeof(files) / sizeof(files[0]); i-- > 0;)
		if (!file_path(directory, files[i], path, NULL))
			unlink(path);
	for (size_t i = 0; i < 2; i++)
		if (!file_path(directory, beside[i], path, NULL))
			unlink(path);
}

static int save_key(const struct making *making, const char *name, const EVP_PKEY *key,
		    const char *passphrase, struct tg_error *e)
{
	char path[FILE_PATH_SIZE];
	int ret = file_path(making->init->directory, name, path, e);

	return ret ? ret : key_save(path, key, passphrase, e);
}

static int save_cert(const struct making *making, const char *name, X509 *cert, struct tg_error *e)
{
	char path[FILE_PATH_SIZE];
	int ret = file_path(making->init->directory, name, path, e);

	return ret ? ret : cert_save(path, cert, e);
}

static int make_ca(struct making *making, struct tg_error *e)
{
	int ret = key_generate("P-256", &making->ca_key, e);

	if (!ret)
		ret = tg_ca_make(making->ca_key, "TensorGuard Platform CA", making->now, 10ll * YEAR,
				 &making->ca_cert, e);
	if (!ret)
		ret = save_key(making, "ca.key", making->ca_key, making->init->passphrase, e);
	return ret ? ret : save_cert(making, "ca.crt", making->ca_cert, e);
}

static int make_server(struct making *making, struct tg_error *e)
{
	EVP_PKEY *key = NULL;
	X509 *cert = NULL;
	int ret = key_generate("P-256", &key, e);

	if (!ret)
		ret = data_server_issue(making->ca_key, making->ca_cert, key, making->init->names, &cert, e);
	if (!ret)
		ret = save_key(making, "server.key", key, making->init->passphrase, e);
	if (!ret)
		ret = save_cert(making, "server.crt", cert, e);
	X509_free(cert);
	EVP_PKEY_free(key);
	return ret;
}

/* The given certificate, with its chain as it is, and its key, encrypted like the others. */
static int take_server(struct making *making, struct tg_error *e)
{
	const struct data_init *init = making->init;
	char path[FILE_PATH_SIZE], *chain = NULL;
	EVP_PKEY *key = NULL;
	size_t len;
	int ret;

	ret = data_server_take(init->server_cert, init->server_key, &key, &chain, &len, e);
	if (!ret)
		ret = save_key(making, "server.key", key, init->passphrase, e);
	if (!ret)
		ret = file_path(init->directory, "server.crt", path, e);
	if (!ret)
		ret = tg_file_create(path, chain, len, 0600, e);
	free(chain);
	EVP_PKEY_free(key);
	return ret;
}

static int describe_operator(X509 *cert, const char *name, struct store_operator *ret_operator,
			     struct tg_error *e)
{
	int ret = tg_certificate_serial(cert, ret_operator->serial, e);

	if (!ret)
		ret = tg_certificate_end(cert, &ret_operator->not_after, e);
	snprintf(ret_operator->name, sizeof(ret_operator->name), "%s", name);
	ret_operator->issued = time(NULL);
	return ret;
}

int data_operator_make(EVP_PKEY *ca_key, X509 *ca_cert, const char *name, const char *key_path,
		       const char *cert_path, struct store_operator *ret_operator, struct tg_error *e)
{
	struct tg_client client = { .kind = TG_CLIENT_OPERATOR };
	struct store_operator operator= { 0 };
	EVP_PKEY *key = NULL;
	X509 *cert = NULL;
	int ret = key_generate("P-256", &key, e);

	snprintf(client.id, sizeof(client.id), "%s", name);
	if (!ret)
		ret = tg_client_certificate(ca_key, ca_cert, key, &client, time(NULL), YEAR, &cert, e);
	if (!ret)
		ret = describe_operator(cert, name, &operator, e);
	if (!ret)
		ret = key_save(key_path, key, NULL, e);
	if (!ret) {
		ret = cert_save(cert_path, cert, e);
		if (ret)
			unlink(key_path);
	}
	if (!ret)
		*ret_operator = operator;
	X509_free(cert);
	EVP_PKEY_free(key);
	return ret;
}

/* The store learns of it when it is made. */
static int make_operator(struct making *making, struct tg_error *e)
{
	char key_path[FILE_PATH_SIZE], cert_path[FILE_PATH_SIZE];
	int ret = file_path(making->init->directory, "operator.key", key_path, e);

	if (!ret)
		ret = file_path(making->init->directory, "operator.crt", cert_path, e);
	return ret ? ret
		   : data_operator_make(making->ca_key, making->ca_cert, "operator", key_path, cert_path,
					&making->operator, e);
}

static int make_policy_key(struct making *making, struct tg_error *e)
{
	char path[FILE_PATH_SIZE];
	EVP_PKEY *key = NULL;
	int ret;

	ret = key_generate("ED25519", &key, e);
	if (!ret)
		ret = save_key(making, "policy.key", key, making->init->passphrase, e);
	if (!ret)
		ret = file_path(making->init->directory, "policy.pub", path, e);
	if (!ret)
		ret = key_save_public(path, key, e);
	EVP_PKEY_free(key);
	return ret;
}

static int make_store(const struct making *making, struct tg_error *e)
{
	const char *directory = making->init->directory, *address = making->init->store;
	char path[FILE_PATH_SIZE], url[FILE_PATH_SIZE + 16], line[FILE_PATH_SIZE * 2];
	struct store *store;
	int ret, len;

	snprintf(url, sizeof(url), "sqlite:%s/platform.db", directory);
	ret = store_open(address ? address : url, &store, e);
	if (ret)
		return ret;
	ret = store_operator_add(store, &making->operator, e);
	store_close(store);
	if (ret)
		return ret;
	ret = file_path(directory, "store", path, e);
	len = snprintf(line, sizeof(line), "%s\n", address ? address : "sqlite");
	if (!ret && len >= (int)sizeof(line))
		ret = tg_error(e, -ENAMETOOLONG, "the store's address is too long");
	return ret ? ret : tg_file_create(path, line, (size_t)len, 0600, e);
}

static int make_folders(const char *directory, struct tg_error *e)
{
	char path[FILE_PATH_SIZE];
	int ret = file_path(directory, "ek-roots", path, e);

	if (ret)
		return ret;
	if (mkdir(directory, 0700) && errno != EEXIST)
		return tg_error(e, -errno, "%s: %s", directory, strerror(errno));
	if (mkdir(path, 0700) && errno != EEXIST)
		return tg_error(e, -errno, "%s: %s", path, strerror(errno));
	return 0;
}

static int make_all(struct making *making, struct tg_error *e)
{
	int ret = make_ca(making, e);

	if (!ret)
		ret = making->init->server_cert ? take_server(making, e) : make_server(making, e);
	if (!ret)
		ret = make_operator(making, e);
	if (!ret)
		ret = make_policy_key(making, e);
	if (!ret)
		ret = ledger_key_make(making->init->directory, making->init->passphrase, e);
	if (!ret)
		ret = make_store(making, e);
	return ret;
}

int data_init(const struct data_init *init, struct tg_error *e)
{
	struct making making = { .init = init, .now = time(NULL) };
	int ret;

	ret = make_folders(init->directory, e);
	if (!ret)
		ret = check_nothing(init->directory, e);
	if (ret)
		return ret;
	ret = make_all(&making, e);
	/* a name that another init took in the meantime is not ours to remove */
	if (ret && ret != -EEXIST)
		take_back(init->directory);
	X509_free(making.ca_cert);
	EVP_PKEY_free(making.ca_key);
	return ret;
}
