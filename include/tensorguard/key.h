/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Public and private keys for signatures (ECDSA with P-256 and SHA-256, called
 * ES256, and Ed25519, called EdDSA) and for ECDH with P-256, as OpenSSL objects,
 * with strict encodings around them.
 *
 * A key's id is the SHA-256 of its SubjectPublicKeyInfo in DER, tg_public_key_hash().
 */
#ifndef TENSORGUARD_KEY_H
#define TENSORGUARD_KEY_H

#include <openssl/types.h>
#include <stddef.h>
#include <stdint.h>

#include "tensorguard/crypto.h"

#define TG_KEY_ID_LEN TG_SHA256_LEN
#define TG_P256_X_LEN 32
#define TG_SIGNATURE_LEN 64
#define TG_SPKI_MAX_LEN 128	/* P-256: 91, Ed25519: 44 */

/* The numbers are those of COSE (RFC 9053). */
enum tg_key_type { TG_KEY_ES256 = -7, TG_KEY_EDDSA = -8 };

int tg_key_generate(enum tg_key_type type, EVP_PKEY **ret_key, struct tg_error *e);

/* -EINVAL unless the key is P-256 or Ed25519. */
int tg_key_type(const EVP_PKEY *key, enum tg_key_type *ret_type, struct tg_error *e);

/*
 * A SubjectPublicKeyInfo in DER, exactly as this library would write it: named
 * curve, uncompressed point on it. Anything else is -EBADMSG.
 */
int tg_key_from_spki(const uint8_t *der, size_t len, EVP_PKEY **ret_key, struct tg_error *e);
int tg_key_to_spki(const EVP_PKEY *key, uint8_t ret_der[static TG_SPKI_MAX_LEN], size_t *ret_len,
		   struct tg_error *e);

/* The X coordinate of the P-256 private key times the point. -EINVAL when that is not on the curve. */
int tg_key_ecdh(EVP_PKEY *key, const uint8_t point[static TG_P256_POINT_LEN],
		uint8_t ret_x[static TG_P256_X_LEN], struct tg_error *e);

/* Signatures are 64 bytes: r and s of ECDSA (RFC 9053), or those of Ed25519. */
int tg_key_sign(EVP_PKEY *key, const uint8_t *data, size_t len,
		uint8_t ret_signature[static TG_SIGNATURE_LEN], struct tg_error *e);
/* -EBADMSG when the signature is not the key's on this. */
int tg_key_verify(EVP_PKEY *key, const uint8_t *data, size_t len, const uint8_t *signature,
		  size_t signature_len, struct tg_error *e);

/*
 * PEM files, at most 64 KiB. A private key (PKCS #8) may be encrypted with
 * `passphrase` (NULL: it is not). tg_key_write_private() returns the text, which
 * the caller wipes and frees.
 */
int tg_key_read_private(const char *pem, size_t len, const char *passphrase, EVP_PKEY **ret_key,
			struct tg_error *e);
int tg_key_read_public(const char *pem, size_t len, EVP_PKEY **ret_key, struct tg_error *e);
int tg_key_write_private(const EVP_PKEY *key, const char *passphrase, char **ret_pem, size_t *ret_len,
			 struct tg_error *e);
int tg_key_write_public(const EVP_PKEY *key, char **ret_pem, size_t *ret_len, struct tg_error *e);

#endif
