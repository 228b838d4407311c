/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * AEAD ciphers of OpenSSL with a 12-byte nonce and a 16-byte tag behind the
 * ciphertext. One object holds one key; it may serve any number of messages,
 * one at a time.
 */
#ifndef TENSORGUARD_AEAD_H
#define TENSORGUARD_AEAD_H

#include <stddef.h>
#include <stdint.h>

#include "tensorguard/error.h"

#define TG_AEAD_NONCE_LEN 12
#define TG_AEAD_TAG_LEN 16
#define TG_AEAD_MAX_KEY_LEN 32

/* The numbers are those of HPKE (RFC 9180, section 7.3). */
enum tg_aead_cipher {
	TG_AES_128_GCM = 1,
	TG_AES_256_GCM = 2,
	TG_CHACHA20_POLY1305 = 3,
};

struct tg_aead;

/* 16 or 32; 0 for a number that is no cipher. */
size_t tg_aead_key_len(enum tg_aead_cipher cipher);

/* `key` has tg_aead_key_len() bytes and is copied. Errors: -EINVAL, -ENOMEM. */
int tg_aead_new(enum tg_aead_cipher cipher, const uint8_t *key, struct tg_aead **ret_aead,
		struct tg_error *e);

/* Wipes the key. NULL-safe. */
void tg_aead_free(struct tg_aead *aead);

/* Writes `len` + 16 bytes to `out`, which may be `in`. `len` is at most 1 GiB. */
int tg_aead_seal(struct tg_aead *aead, const uint8_t nonce[static TG_AEAD_NONCE_LEN], const uint8_t *aad,
		 size_t aad_len, const uint8_t *in, size_t len, uint8_t *out, struct tg_error *e);

/*
 * The reverse: `len` includes the tag, and `len` - 16 bytes are written. -EBADMSG
 * when key, nonce, aad, text and tag do not belong together; then `out` is zeros.
 */
int tg_aead_open(struct tg_aead *aead, const uint8_t nonce[static TG_AEAD_NONCE_LEN], const uint8_t *aad,
		 size_t aad_len, const uint8_t *in, size_t len, uint8_t *out, struct tg_error *e);

#endif
