/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "tensorguard/key.h"

enum { MAX_PEM = 64 << 10 };

/* OpenSSL would ask the terminal; with no passphrase at hand an encrypted key is an error. */
static int give_passphrase(char *buf, int size, int writing, void *ctx)
{
	const char *passphrase = ctx;
	size_t len = passphrase ? strlen(passphrase) : 0;

	(void)writing;
	if (!len || len > (size_t)size)
		return -1;
	memcpy(buf, passphrase, len);
	return (int)len;
}

static int read_key(const char *pem, size_t len, const char *passphrase, bool private, EVP_PKEY **ret_key,
		    struct tg_error *e)
{
	BIO *bio = len && len <= MAX_PEM ? BIO_new_mem_buf(pem, (int)len) : NULL;
	enum tg_key_type type;
	EVP_PKEY *key = NULL;
	int ret = 0;

	if (bio && private)
		key = PEM_read_bio_PrivateKey(bio, NULL, give_passphrase, (void *)passphrase);
	else if (bio)
		key = PEM_read_bio_PUBKEY(bio, NULL, give_passphrase, NULL);
	if (!key)
		ret = tg_error(e, -EBADMSG, "no %s key in PEM%s", private ? "private" : "public",
			       !private     ? ""
			       : passphrase ? ", or the passphrase is wrong"
					    : ", or it needs a passphrase");
	else
		ret = tg_key_type(key, &type, e);
	if (ret)
		EVP_PKEY_free(key);
	else
		*ret_key = key;
	BIO_free(bio);
	return ret;
}

int tg_key_read_private(const char *pem, size_t len, const char *passphrase, EVP_PKEY **ret_key,
			struct tg_error *e)
{
	return read_key(pem, len, passphrase, true, ret_key, e);
}

int tg_key_read_public(const char *pem, size_t len, EVP_PKEY **ret_key, struct tg_error *e)
{
	return read_key(pem, len, NULL, false, ret_key, e);
}

/* What a memory BIO holds, as memory of the caller's. */
static int take_text(BIO *bio, char **ret_pem, size_t *ret_len)
{
	char *data, *pem;
	long len = BIO_get_mem_data(bio, &data);

	if (len <= 0)
		return -EIO;
	pem = malloc((size_t)len);
	if (!pem)
		return -ENOMEM;
	memcpy(pem, data, (size_t)len);
	*ret_pem = pem;
	*ret_len = (size_t)len;
	return 0;
}

int tg_key_write_private(const EVP_PKEY *key, const char *passphrase, char **ret_pem, size_t *ret_len,
			 struct tg_error *e)
{
	/* a BIO that wipes what it held */
	BIO *bio = BIO_new(BIO_s_secmem());
	int ret = -EIO, len = passphrase ? (int)strlen(passphrase) : 0;

	if (bio && PEM_write_bio_PKCS8PrivateKey(bio, key, passphrase ? EVP_aes_256_cbc() : NULL, passphrase,
						 len, NULL, NULL) == 1)
		ret = take_text(bio, ret_pem, ret_len);
	BIO_free(bio);
	return ret ? tg_error(e, ret, "OpenSSL cannot write the private key") : 0;
}

int tg_key_write_public(const EVP_PKEY *key, char **ret_pem, size_t *ret_len, struct tg_error *e)
{
	BIO *bio = BIO_new(BIO_s_mem());
	int ret = -EIO;

	if (bio && PEM_write_bio_PUBKEY(bio, key) == 1)
		ret = take_text(bio, ret_pem, ret_len);
	BIO_free(bio);
	return ret ? tg_error(e, ret, "OpenSSL cannot write the public key") : 0;
}
