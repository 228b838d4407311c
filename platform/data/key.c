/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <stdlib.h>
#include <string.h>

#include "data/file.h"
#include "data/key.h"
#include "tensorguard/certificate.h"
#include "tensorguard/crypto.h"
#include "tensorguard/file.h"

/* scrypt's cost: 16 MiB and about 50 ms, what OpenSSL's decoder accepts without a setting */
enum { SCRYPT_N = 16384, SCRYPT_R = 8, SCRYPT_P = 1 };

int key_generate(const char *kind, EVP_PKEY **ret_key, struct tg_error *e)
{
	EVP_PKEY *key = !strcmp(kind, "P-256") ? EVP_PKEY_Q_keygen(NULL, NULL, "EC", kind)
					       : EVP_PKEY_Q_keygen(NULL, NULL, kind);

	if (!key)
		return tg_openssl_error(e, -EIO, "cannot make a key");
	*ret_key = key;
	return 0;
}

static X509_SIG *encrypt(PKCS8_PRIV_KEY_INFO *plain, const char *passphrase)
{
	X509_ALGOR *algorithm =
		PKCS5_pbe2_set_scrypt(EVP_aes_256_cbc(), NULL, 0, NULL, SCRYPT_N, SCRYPT_R, SCRYPT_P);
	X509_SIG *sealed = NULL;

	if (algorithm)
		sealed = PKCS8_set0_pbe(passphrase, (int)strlen(passphrase), plain, algorithm);
	if (!sealed)
		X509_ALGOR_free(algorithm);
	return sealed;
}

static int write_private(BIO *out, const EVP_PKEY *key, const char *passphrase)
{
	PKCS8_PRIV_KEY_INFO *plain = EVP_PKEY2PKCS8(key);
	X509_SIG *sealed = NULL;
	int ok = 0;

	if (plain && !passphrase)
		ok = PEM_write_bio_PKCS8_PRIV_KEY_INFO(out, plain);
	if (plain && passphrase)
		sealed = encrypt(plain, passphrase);
	if (sealed)
		ok = PEM_write_bio_PKCS8(out, sealed);
	X509_SIG_free(sealed);
	PKCS8_PRIV_KEY_INFO_free(plain);	/* wipes it */
	return ok ? 0 : -EIO;
}

static int save(const char *path, BIO *pem, struct tg_error *e)
{
	char *data;
	long len = BIO_get_mem_data(pem, &data);

	return tg_file_create(path, data, (size_t)len, 0600, e);
}

int key_save(const char *path, const EVP_PKEY *key, const char *passphrase, struct tg_error *e)
{
	BIO *pem = BIO_new(BIO_s_secmem());
	int ret;

	if (!pem || write_private(pem, key, passphrase))
		ret = tg_openssl_error(e, -EIO, "cannot encode a key");
	else
		ret = save(path, pem, e);
	BIO_free(pem);
	return ret;
}

int key_save_public(const char *path, const EVP_PKEY *key, struct tg_error *e)
{
	BIO *pem = BIO_new(BIO_s_mem());
	int ret;

	if (!pem || !PEM_write_bio_PUBKEY(pem, key))
		ret = tg_openssl_error(e, -EIO, "cannot encode a key");
	else
		ret = save(path, pem, e);
	BIO_free(pem);
	return ret;
}

static int give_passphrase(char *buffer, int size, int rwflag, void *arg)
{
	const char *passphrase = arg;
	size_t len = passphrase ? strlen(passphrase) : 0;

	(void)rwflag;
	if (!len || len > (size_t)size)
		return -1;
	memcpy(buffer, passphrase, len);
	return (int)len;
}

int key_load(const char *path, const char *passphrase, EVP_PKEY **ret_key, struct tg_error *e)
{
	EVP_PKEY *key = NULL;
	size_t len;
	char *data;
	BIO *pem;
	int ret;

	ret = file_read(path, &data, &len, e);
	if (ret)
		return ret;
	pem = BIO_new_mem_buf(data, (int)len);
	if (pem)
		key = PEM_read_bio_PrivateKey(pem, NULL, give_passphrase, (void *)(uintptr_t)passphrase);
	BIO_free(pem);
	if (!key && strstr(data, "ENCRYPTED"))
		ret = tg_error(e, -EKEYREJECTED, "%s: it is encrypted, and %s", path,
			       passphrase ? "the passphrase is wrong" : "there is no --passphrase-fd");
	else if (!key)
		ret = tg_error(e, -EINVAL, "%s: not a private key in PEM", path);
	ERR_clear_error();
	OPENSSL_cleanse(data, len);
	free(data);
	if (!ret)
		*ret_key = key;
	return ret;
}

int cert_save(const char *path, X509 *cert, struct tg_error *e)
{
	struct tg_bytes pem;
	int ret = tg_certificate_pem(cert, &pem, e);

	if (ret)
		return ret;
	ret = tg_file_create(path, pem.data, pem.len, 0600, e);
	tg_bytes_free(&pem);
	return ret;
}

/* What follows the first certificate. */
static STACK_OF(X509) * read_chain(BIO *pem)
{
	STACK_OF(X509) *chain = sk_X509_new_null();
	X509 *cert;

	while (chain && (cert = PEM_read_bio_X509(pem, NULL, NULL, NULL)))
		if (!sk_X509_push(chain, cert)) {
			X509_free(cert);
			break;
		}
	return chain;
}

int cert_load(const char *path, X509 **ret_cert, STACK_OF(X509) * *ret_chain, struct tg_error *e)
{
	X509 *cert = NULL;
	size_t len;
	char *data;
	BIO *pem;
	int ret;

	ret = file_read(path, &data, &len, e);
	if (ret)
		return ret;
	pem = BIO_new_mem_buf(data, (int)len);
	if (pem)
		cert = PEM_read_bio_X509(pem, NULL, NULL, NULL);
	if (cert && ret_chain)
		*ret_chain = read_chain(pem);
	BIO_free(pem);
	free(data);
	ERR_clear_error();
	if (!cert)
		return tg_error(e, -EINVAL, "%s: not a certificate in PEM", path);
	*ret_cert = cert;
	return 0;
}
