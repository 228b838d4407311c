/* SPDX-License-Identifier: BSD-3-Clause */
/* The server's key and certificate: made, taken over, renewed. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "data/data.h"
#include "data/key.h"
#include "tensorguard/certificate.h"
#include "tensorguard/file.h"

enum { YEAR = 365 * 86400, MAX_NAMES = 16, NAMES_SIZE = MAX_NAMES * 256 };

static bool name_valid(const char *name)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789-.";
	size_t len = strlen(name);
	uint8_t address[16];

	if (inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1)
		return true;
	return len && len < 254 && strspn(name, allowed) == len;
}

/* "a.example,192.0.2.1", cut into its names in place. */
static int cut_names(char *text, const char *ret_names[static MAX_NAMES], size_t *ret_count,
		     struct tg_error *e)
{
	size_t count = 0;
	char *name;

	while ((name = strsep(&text, ","))) {
		if (count == MAX_NAMES)
			return tg_error(e, -EINVAL, "--names: more than %d", MAX_NAMES);
		if (!name_valid(name))
			return tg_error(e, -EINVAL,
					"--names: '%.60s' is neither a host name nor an IP address", name);
		ret_names[count++] = name;
	}
	*ret_count = count;
	return 0;
}

int data_server_issue(EVP_PKEY *ca_key, X509 *ca_cert, EVP_PKEY *key, const char *names, X509 **ret_cert,
		      struct tg_error *e)
{
	char *text = strdup(names);
	const char *each[MAX_NAMES];
	size_t count = 0;
	int ret;

	if (!text)
		return tg_error(e, -ENOMEM, "out of memory");
	ret = cut_names(text, each, &count, e);
	if (!ret)
		ret = tg_server_certificate(ca_key, ca_cert, key, each, count, time(NULL), YEAR, ret_cert, e);
	free(text);
	return ret;
}

int data_server_take(const char *cert_path, const char *key_path, EVP_PKEY **ret_key, char **ret_chain,
		     size_t *ret_len, struct tg_error *e)
{
	EVP_PKEY *key = NULL;
	X509 *cert = NULL;
	int ret;

	ret = cert_load(cert_path, &cert, NULL, e);
	if (!ret)
		ret = key_load(key_path, NULL, &key, e);
	if (!ret && X509_check_private_key(cert, key) != 1)
		ret = tg_error(e, -EINVAL, "%s is not the key of %s", key_path, cert_path);
	if (!ret)
		ret = file_read(cert_path, ret_chain, ret_len, e);
	X509_free(cert);
	if (ret)
		EVP_PKEY_free(key);
	else
		*ret_key = key;
	return ret;
}

/* ---- renewal ---- */

/* One name of a certificate as text; false for kinds that we do not make. */
static bool name_text(const GENERAL_NAME *name, char *ret_text, socklen_t size)
{
	const ASN1_OCTET_STRING *address = name->d.iPAddress;

	if (name->type == GEN_DNS)
		return snprintf(ret_text, size, "%.*s", ASN1_STRING_length(name->d.dNSName),
				(const char *)ASN1_STRING_get0_data(name->d.dNSName)) < (int)size;
	return name->type == GEN_IPADD && inet_ntop(ASN1_STRING_length(address) == 4 ? AF_INET : AF_INET6,
						    ASN1_STRING_get0_data(address), ret_text, size);
}

static int names_of(X509 *cert, char ret_names[static NAMES_SIZE], struct tg_error *e)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	size_t len = 0;
	bool whole = names != NULL;

	for (int i = 0; whole && i < sk_GENERAL_NAME_num(names); i++) {
		char text[256];

		whole = name_text(sk_GENERAL_NAME_value(names, i), text, sizeof(text)) &&
			len + strlen(text) + 2 < NAMES_SIZE;
		if (whole)
			len += (size_t)sprintf(ret_names + len, "%s%s", len ? "," : "", text);
	}
	GENERAL_NAMES_free(names);
	return whole && len ? 0
			    : tg_error(e, -EINVAL, "server.crt has no names that can be kept: use --names");
}

/* What is made, while it is. */
struct renewing {
	const struct data_renewal *renewal;
	struct data_keys keys;	/* of now */
	char key_path[FILE_PATH_SIZE], next_path[FILE_PATH_SIZE], cert_path[FILE_PATH_SIZE];
	EVP_PKEY *key;
	char *chain;
	size_t len;
};

static int issue(struct renewing *renewing, struct tg_error *e)
{
	const struct data_renewal *renewal = renewing->renewal;
	struct data_keys *keys = &renewing->keys;
	char names[NAMES_SIZE];
	struct tg_bytes pem = { 0 };
	X509 *cert = NULL;
	int ret = 0;

	if (!renewal->names && X509_verify(keys->server_cert, X509_get0_pubkey(keys->ca_cert)) != 1)
		return tg_error(e, -EINVAL,
				"server.crt is of another CA: give the new one by --server-cert and "
				"--server-key, or --names for one of this CA");
	if (!renewal->names)
		ret = names_of(keys->server_cert, names, e);
	if (!ret)
		ret = key_generate("P-256", &renewing->key, e);
	if (!ret)
		ret = data_server_issue(keys->ca_key, keys->ca_cert, renewing->key,
					renewal->names ? renewal->names : names, &cert, e);
	if (!ret)
		ret = tg_certificate_pem(cert, &pem, e);
	renewing->chain = (char *)pem.data;
	renewing->len = pem.len;
	X509_free(cert);
	return ret;
}

/* The key under another name first: the moment of the change is that of server.crt, which says whose it is.
 */
static int replace(struct renewing *renewing, struct tg_error *e)
{
	int ret = key_save(renewing->next_path, renewing->key, renewing->renewal->passphrase, e);

	if (!ret)
		ret = tg_file_replace(renewing->cert_path, renewing->chain, renewing->len, 0600, e);
	if (ret) {
		unlink(renewing->next_path);
		return ret;
	}
	if (rename(renewing->next_path, renewing->key_path))
		return tg_error(e, -errno, "%s: %s", renewing->key_path, strerror(errno));
	return 0;
}

/* What a renewal that broke off has left: the key of the certificate that is there, or of one that never was.
 */
static int settle(struct renewing *renewing, struct tg_error *e)
{
	EVP_PKEY *key = NULL;
	int ret;

	if (access(renewing->next_path, F_OK))
		return 0;
	ret = key_load(renewing->next_path, renewing->renewal->passphrase, &key, e);
	if (ret)
		return ret;
	if (X509_check_private_key(renewing->keys.server_cert, key) == 1)
		ret = rename(renewing->next_path, renewing->key_path);
	else
		ret = unlink(renewing->next_path);
	EVP_PKEY_free(key);
	return ret ? tg_error(e, -errno, "%s: %s", renewing->next_path, strerror(errno)) : 0;
}

static int renew(struct renewing *renewing, struct tg_error *e)
{
	const struct data_renewal *renewal = renewing->renewal;
	const char *directory = renewal->directory;
	int ret;

	ret = file_path(directory, "server.key", renewing->key_path, e);
	if (!ret)
		ret = file_path(directory, "server.key.next", renewing->next_path, e);
	if (!ret)
		ret = file_path(directory, "server.crt", renewing->cert_path, e);
	if (!ret)
		ret = data_keys_load(directory, renewal->passphrase, &renewing->keys, e);
	if (!ret)
		ret = settle(renewing, e);
	if (!ret)
		ret = renewal->server_cert
			      ? data_server_take(renewal->server_cert, renewal->server_key, &renewing->key,
						 &renewing->chain, &renewing->len, e)
			      : issue(renewing, e);
	return ret ? ret : replace(renewing, e);
}

int data_server_renew(const struct data_renewal *renewal, struct tg_error *e)
{
	struct renewing renewing = { .renewal = renewal };
	int lock = open(renewal->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC), ret;

	if (lock < 0)
		return tg_error(e, -errno, "%s: %s", renewal->directory, strerror(errno));
	if (flock(lock, LOCK_EX | LOCK_NB))
		ret = tg_error(e, -EBUSY, "%s: another renewal is under way", renewal->directory);
	else
		ret = renew(&renewing, e);
	data_keys_free(&renewing.keys);
	EVP_PKEY_free(renewing.key);
	free(renewing.chain);
	close(lock);
	return ret;
}
