/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorguard/crypto.h"
#include "tensorguard/file.h"
#include "tensorguard/softkey.h"

#define BEGIN "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"

enum {
	FILE_MAX = 16384,
	SCRYPT_N = 1 << 14,
	SCRYPT_R = 8,
	SCRYPT_P = 1,
};

static int check_secret(struct tg_bytes *secret, const char *name, struct tg_bytes *ret_secret,
			struct tg_error *e)
{
	if (!secret->len) {
		tg_bytes_free(secret);
		return tg_error(e, -EINVAL, "%s: the secret is empty", name);
	}
	*ret_secret = *secret;
	return 0;
}

int tg_softkey_secret_from_fd(int fd, struct tg_bytes *ret_secret, struct tg_error *e)
{
	struct tg_bytes secret;
	char name[32];
	int r;

	snprintf(name, sizeof(name), "descriptor %d", fd);
	r = tg_file_read_fd(fd, name, TG_SOFTKEY_SECRET_MAX, &secret, e);
	if (r)
		return r;
	if (secret.len && secret.data[secret.len - 1] == '\n')
		secret.data[--secret.len] = 0;
	return check_secret(&secret, name, ret_secret, e);
}

int tg_softkey_secret_from_credential(const char *name, struct tg_bytes *ret_secret, struct tg_error *e)
{
	const char *folder = getenv("CREDENTIALS_DIRECTORY");
	struct tg_bytes secret;
	char *path;
	int r;

	if (!*name || *name == '.' || strchr(name, '/'))
		return tg_error(e, -EINVAL, "credential '%s': not the name of one", name);
	if (!folder || *folder != '/')
		return tg_error(e, -ENOENT, "credential '%s': this service was given none", name);
	if (asprintf(&path, "%s/%s", folder, name) < 0)
		return tg_error(e, -ENOMEM, "out of memory");
	r = tg_file_read(path, TG_SOFTKEY_SECRET_MAX, &secret, e);
	if (!r)
		r = check_secret(&secret, path, ret_secret, e);
	free(path);
	return r;
}

static X509_SIG *encrypt(const EVP_PKEY *key, const struct tg_bytes *secret)
{
	PKCS8_PRIV_KEY_INFO *plain = EVP_PKEY2PKCS8(key);
	X509_ALGOR *algorithm =
		PKCS5_pbe2_set_scrypt(EVP_aes_256_cbc(), NULL, 0, NULL, SCRYPT_N, SCRYPT_R, SCRYPT_P);
	X509_SIG *sealed = NULL;

	if (plain && algorithm)
		sealed = PKCS8_set0_pbe((const char *)secret->data, (int)secret->len, plain, algorithm);
	if (!sealed)
		X509_ALGOR_free(algorithm);
	PKCS8_PRIV_KEY_INFO_free(plain);
	return sealed;
}

/* What is written is encrypted already: nothing here is secret. */
static int write_sealed(X509_SIG *sealed, const char *path, struct tg_error *e)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text;
	long len;
	int r;

	if (!bio || PEM_write_bio_PKCS8(bio, sealed) != 1) {
		r = tg_openssl_error(e, -EIO, "cannot write a private key");
	} else {
		len = BIO_get_mem_data(bio, &text);
		r = tg_file_replace(path, text, (size_t)len, 0600, e);
	}
	BIO_free(bio);
	return r;
}

int tg_softkey_save(const EVP_PKEY *key, const char *path, const struct tg_bytes *secret, struct tg_error *e)
{
	uint8_t point[TG_P256_POINT_LEN];
	X509_SIG *sealed;
	int r;

	if (!secret->len || secret->len > TG_SOFTKEY_SECRET_MAX)
		return tg_error(e, -EINVAL, "%s: a secret has 1 to %d bytes", path, TG_SOFTKEY_SECRET_MAX);
	r = tg_p256_point(key, point, e);
	if (r)
		return r;
	sealed = encrypt(key, secret);
	if (!sealed)
		return tg_openssl_error(e, -EIO, "cannot encrypt a private key");
	r = write_sealed(sealed, path, e);
	X509_SIG_free(sealed);
	return r;
}

int tg_softkey_create(const char *path, const struct tg_bytes *secret, EVP_PKEY **ret_key, struct tg_error *e)
{
	EVP_PKEY *key;
	int r = tg_p256_generate(&key, e);

	if (r)
		return r;
	r = tg_softkey_save(key, path, secret, e);
	if (r)
		EVP_PKEY_free(key);
	else
		*ret_key = key;
	return r;
}

/* One encrypted key in PEM and nothing else. */
static X509_SIG *parse(const struct tg_bytes *text)
{
	X509_SIG *sealed = NULL;
	BIO *bio;

	if (text->len < sizeof(BEGIN) || memcmp(text->data, BEGIN, sizeof(BEGIN) - 1))
		return NULL;
	bio = BIO_new_mem_buf(text->data, (int)text->len);
	if (bio)
		sealed = PEM_read_bio_PKCS8(bio, NULL, NULL, NULL);
	if (sealed && BIO_pending(bio)) {
		X509_SIG_free(sealed);
		sealed = NULL;
	}
	BIO_free(bio);
	return sealed;
}

static EVP_PKEY *decrypt(const X509_SIG *sealed, const struct tg_bytes *secret)
{
	PKCS8_PRIV_KEY_INFO *plain = PKCS8_decrypt(sealed, (const char *)secret->data, (int)secret->len);
	EVP_PKEY *key = plain ? EVP_PKCS82PKEY(plain) : NULL;
	EVP_PKEY_CTX *ctx = key ? EVP_PKEY_CTX_new(key, NULL) : NULL;
	/* CBC does not show what was altered; that the two halves belong together does */
	bool whole = ctx && EVP_PKEY_check(ctx) == 1;

	EVP_PKEY_CTX_free(ctx);
	PKCS8_PRIV_KEY_INFO_free(plain);
	if (whole)
		return key;
	EVP_PKEY_free(key);
	return NULL;
}

static int open_sealed(const struct tg_bytes *text, const char *path, const struct tg_bytes *secret,
		       EVP_PKEY **ret_key, struct tg_error *e)
{
	X509_SIG *sealed = parse(text);
	uint8_t point[TG_P256_POINT_LEN];
	EVP_PKEY *key;

	if (!sealed)
		return tg_error(e, -EBADMSG, "%s: not an encrypted private key in PEM", path);
	key = decrypt(sealed, secret);
	X509_SIG_free(sealed);
	if (!key)
		return tg_error(e, -EACCES, "%s: does not open: another secret, or the file was altered",
				path);
	if (tg_p256_point(key, point, NULL)) {
		EVP_PKEY_free(key);
		return tg_error(e, -EBADMSG, "%s: not a P-256 key", path);
	}
	*ret_key = key;
	return 0;
}

int tg_softkey_load(const char *path, const struct tg_bytes *secret, EVP_PKEY **ret_key, struct tg_error *e)
{
	struct tg_bytes text;
	int r = tg_file_read(path, FILE_MAX, &text, e);

	if (r)
		return r;
	ERR_set_mark();
	r = open_sealed(&text, path, secret, ret_key, e);
	ERR_pop_to_mark();
	tg_bytes_free(&text);
	return r;
}
