/* SPDX-License-Identifier: BSD-3-Clause */
/* HKDF (RFC 5869), its two halves apart as HPKE and FLOE need them. */
#ifndef TENSORGUARD_HKDF_H
#define TENSORGUARD_HKDF_H

#include <stddef.h>
#include <stdint.h>

#include "tensorguard/error.h"

enum tg_hkdf_hash { TG_HKDF_SHA256, TG_HKDF_SHA384, TG_HKDF_SHA512 };

#define TG_HKDF_MAX_LEN 64	/* of a pseudorandom key */

/* 32, 48 or 64. */
size_t tg_hkdf_len(enum tg_hkdf_hash hash);

/* ret_prk: tg_hkdf_len() bytes. An empty salt is that of RFC 5869. */
int tg_hkdf_extract(enum tg_hkdf_hash hash, const uint8_t *salt, size_t salt_len, const uint8_t *ikm,
		    size_t ikm_len, uint8_t *ret_prk, struct tg_error *e);

/* Writes `len` bytes, at most 255 * tg_hkdf_len(); -EINVAL beyond that. */
int tg_hkdf_expand(enum tg_hkdf_hash hash, const uint8_t *prk, size_t prk_len, const uint8_t *info,
		   size_t info_len, uint8_t *ret_okm, size_t len, struct tg_error *e);

#endif
