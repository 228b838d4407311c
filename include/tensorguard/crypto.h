/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What lib/ needs of OpenSSL, in its error contract. No algorithm is ours.
 * All functions may be called from several threads.
 */
#ifndef TENSORGUARD_CRYPTO_H
#define TENSORGUARD_CRYPTO_H

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tensorguard/bytes.h"
#include "tensorguard/error.h"

#define TG_SHA256_LEN 32
#define TG_P256_POINT_LEN 65 /* 4, x, y */

/*
 * "WHAT: OpenSSL's reason" into `e`; OpenSSL's queue of errors is empty
 * afterwards. Only the reason is taken, never its additional data. Returns
 * -ENOMEM if that was the reason, else `err`.
 */
int tg_openssl_error(struct tg_error *e, int err, const char *what);

/* Random bytes for keys, nonces and serial numbers. -EIO. */
int tg_random(void *ret_data, size_t len, struct tg_error *e);

/* Whether two buffers of one length are equal, in a time that depends on the length alone. */
bool tg_equal(const void *a, const void *b, size_t len);

/* One piece of what is digested. */
struct tg_piece {
	const void *data;
	size_t len;
};

/* SHA-256 of the pieces, one behind the other. -EIO, -ENOMEM. */
int tg_sha256(const struct tg_piece *pieces, size_t count, uint8_t ret_digest[static TG_SHA256_LEN],
	      struct tg_error *e);

/* HMAC-SHA256 of the pieces, one behind the other. -EIO, -ENOMEM. */
int tg_hmac_sha256(const void *key, size_t key_len, const struct tg_piece *pieces, size_t count,
		   uint8_t ret_mac[static TG_SHA256_LEN], struct tg_error *e);

/* A new P-256 key pair in memory; the caller frees it with EVP_PKEY_free(). -EIO, -ENOMEM. */
int tg_p256_generate(EVP_PKEY **ret_key, struct tg_error *e);

/* A public key from an uncompressed point. -EINVAL unless it is on P-256. The caller frees it. */
int tg_p256_from_point(const uint8_t point[static TG_P256_POINT_LEN], EVP_PKEY **ret_key, struct tg_error *e);

/* The uncompressed point of a key. -EINVAL unless it is a P-256 key. */
int tg_p256_point(const EVP_PKEY *key, uint8_t ret_point[static TG_P256_POINT_LEN], struct tg_error *e);

/* SHA-256 of the key's SubjectPublicKeyInfo in DER. */
int tg_public_key_hash(const EVP_PKEY *key, uint8_t ret_hash[static TG_SHA256_LEN], struct tg_error *e);

/*
 * Has OpenSSL wipe whatever memory it frees: its decoders of private keys leave
 * copies. For a program's beginning: -EBUSY once OpenSSL has allocated something.
 */
int tg_crypto_wipe_freed(void);

#endif
