/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * WireGuard keys as text: 32 bytes in 44 characters of base64. Both directions
 * take the same time and touch the same memory whatever the key is, so that
 * private keys may pass through.
 */
#ifndef TENSORGUARD_BASE64_H
#define TENSORGUARD_BASE64_H

#include <stdint.h>

#define TG_KEY_BYTES 32
#define TG_KEY_TEXT_LEN 44	/* without the final NUL */

/*
 * -EINVAL unless `text` is exactly 44 characters of canonical base64 (bits that
 * do not belong to the key are 0). What a refused text held is not kept.
 */
int tg_key_from_base64(const char *text, uint8_t ret_key[static TG_KEY_BYTES]);

/* Writes 44 characters and a NUL. */
void tg_key_to_base64(const uint8_t key[static TG_KEY_BYTES], char ret_text[static TG_KEY_TEXT_LEN + 1]);

#endif
