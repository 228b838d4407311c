/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * HPKE (RFC 9180), base mode, DHKEM(P-256, HKDF-SHA256), with HKDF-SHA256 or
 * HKDF-SHA512 and any AEAD of aead.h. The receiver's private key stays behind a
 * callback, so that it can be a TPM's: TPM2_ECDH_ZGen gives the X coordinate,
 * which is all that is needed.
 */
#ifndef TENSORGUARD_HPKE_H
#define TENSORGUARD_HPKE_H

#include "tensorguard/aead.h"
#include "tensorguard/hkdf.h"
#include "tensorguard/key.h"

#define TG_HPKE_ENC_LEN TG_P256_POINT_LEN

/* RFC 9180, section 7.2. */
enum tg_hpke_kdf { TG_HPKE_HKDF_SHA256 = 1, TG_HPKE_HKDF_SHA512 = 3 };

struct tg_hpke_suite {
	enum tg_hpke_kdf kdf;
	enum tg_aead_cipher aead;
};

/* A P-256 private key, wherever it is. */
struct tg_hpke_private {
	uint8_t point[TG_P256_POINT_LEN]; /* its public key */
	/* The X coordinate of the private key times `peer`. */
	int (*ecdh)(void *ctx, const uint8_t peer[static TG_P256_POINT_LEN],
		    uint8_t ret_x[static TG_P256_X_LEN], struct tg_error *e);
	void *ctx;
};

/* One in memory; *ret_private borrows `key`. */
int tg_hpke_private_from_key(EVP_PKEY *key, struct tg_hpke_private *ret_private, struct tg_error *e);

struct tg_hpke;

/*
 * The sender's side: *ret_enc goes to the receiver. `ephemeral` is NULL, for a
 * key of its own; test vectors give one.
 */
int tg_hpke_sender(const struct tg_hpke_suite *suite, const uint8_t receiver[static TG_P256_POINT_LEN],
		   const void *info, size_t info_len, const struct tg_hpke_private *ephemeral,
		   uint8_t ret_enc[static TG_HPKE_ENC_LEN], struct tg_hpke **ret_hpke, struct tg_error *e);

/* The receiver's side. -EINVAL when `enc` is not a point on the curve. */
int tg_hpke_receiver(const struct tg_hpke_suite *suite, const struct tg_hpke_private *receiver,
		     const uint8_t enc[static TG_HPKE_ENC_LEN], const void *info, size_t info_len,
		     struct tg_hpke **ret_hpke, struct tg_error *e);

/* Wipes. NULL-safe. */
void tg_hpke_free(struct tg_hpke *hpke);

/*
 * The next message, as in tg_aead_seal() and tg_aead_open(); only success
 * advances the sequence number.
 */
int tg_hpke_seal(struct tg_hpke *hpke, const void *aad, size_t aad_len, const uint8_t *in, size_t len,
		 uint8_t *out, struct tg_error *e);
int tg_hpke_open(struct tg_hpke *hpke, const void *aad, size_t aad_len, const uint8_t *in, size_t len,
		 uint8_t *out, struct tg_error *e);

/* A secret that both sides know (RFC 9180, section 5.3), for keys beside the messages. */
int tg_hpke_export(const struct tg_hpke *hpke, const void *context, size_t context_len, uint8_t *ret_secret,
		   size_t len, struct tg_error *e);

#endif
