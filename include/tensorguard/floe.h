/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * FLOE, encryption in segments (specification: the public repository
 * Snowflake-Labs/floe-specification): AES-256-GCM, HKDF-Expand with SHA-384, a
 * 32-byte IV. Committing: a ciphertext opens under one key only. The last
 * segment is marked, so that nothing can be cut off.
 *
 * Segments may be opened in any order; each is bound to its position and to
 * whether it is the last. In-order use is position 0, 1, 2 and so on.
 */
#ifndef TENSORGUARD_FLOE_H
#define TENSORGUARD_FLOE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tensorguard/error.h"

#define TG_FLOE_KEY_LEN 32
#define TG_FLOE_HEADER_LEN 74		/* parameters 10, IV 32, tag 32 */
#define TG_FLOE_OVERHEAD 32		/* of each segment: length 4, IV 12, tag 16 */
#define TG_FLOE_TEXT 16			/* where the text begins in a segment: behind length and IV */
#define TG_FLOE_MIN_SEGMENT (TG_FLOE_OVERHEAD + 1)
#define TG_FLOE_MAX_SEGMENT (16u << 20)
#define TG_FLOE_MAX_SEGMENTS (1ull << 40)
#define TG_FLOE_ROTATION 20		/* 2^20 segments have one AES key */

struct tg_floe_params {
	uint32_t segment;	/* bytes of an encrypted segment, TG_FLOE_MIN_SEGMENT..TG_FLOE_MAX_SEGMENT */
	unsigned rotation;	/* TG_FLOE_ROTATION; test vectors have others */
};

struct tg_floe;

/* A new ciphertext: fresh IV, header in *ret_header. `aad` is copied, at most 1 KiB. */
int tg_floe_encrypt_start(const struct tg_floe_params *params, const uint8_t key[static TG_FLOE_KEY_LEN],
			  const void *aad, size_t aad_len, uint8_t ret_header[static TG_FLOE_HEADER_LEN],
			  struct tg_floe **ret_floe, struct tg_error *e);

/* -EBADMSG when the header does not belong to these parameters, this key and this aad. */
int tg_floe_decrypt_start(const struct tg_floe_params *params, const uint8_t key[static TG_FLOE_KEY_LEN],
			  const void *aad, size_t aad_len, const uint8_t header[static TG_FLOE_HEADER_LEN],
			  struct tg_floe **ret_floe, struct tg_error *e);

/* Wipes. NULL-safe. */
void tg_floe_free(struct tg_floe *floe);

/*
 * `len` is the segment's plaintext: params.segment - 32 bytes, or in the last
 * segment that or fewer. Writes len + 32 bytes. A position is encrypted once.
 */
int tg_floe_encrypt(struct tg_floe *floe, uint64_t position, bool last, const uint8_t *in, size_t len,
		    uint8_t *out, struct tg_error *e);

/*
 * `len` is the encrypted segment's; writes len - 32 bytes. -EBADMSG when it is not
 * authentic, not at its position or not of the length that it should have. `out`
 * may be `in` + TG_FLOE_TEXT, where the text lies in the segment.
 */
int tg_floe_decrypt(struct tg_floe *floe, uint64_t position, bool last, const uint8_t *in, size_t len,
		    uint8_t *out, struct tg_error *e);

/* Segments and bytes of what `plain` bytes become, without the header: 0 bytes are one segment. */
uint64_t tg_floe_segments(uint32_t segment, uint64_t plain);
/* 0 when the result has no 64-bit number or too many segments. */
uint64_t tg_floe_body_len(uint32_t segment, uint64_t plain);

#endif
