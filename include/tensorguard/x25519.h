/* SPDX-License-Identifier: BSD-3-Clause */
/* WireGuard's keys: points and scalars of Curve25519 (RFC 7748), 32 bytes each. */
#ifndef TENSORGUARD_X25519_H
#define TENSORGUARD_X25519_H

#include <stdint.h>

#include "tensorguard/error.h"

#define TG_X25519_LEN 32

/* A new private key, as wg(8) writes them (clamped); the caller wipes it. -EIO. */
int tg_x25519_generate(uint8_t ret_private[static TG_X25519_LEN], struct tg_error *e);

/* The public key that belongs to a private one. -EIO. */
int tg_x25519_public(const uint8_t private_key[static TG_X25519_LEN],
		     uint8_t ret_public[static TG_X25519_LEN], struct tg_error *e);

#endif
