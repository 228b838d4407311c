/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bytes as text: WireGuard keys (32 bytes in 44 characters) and whatever JSON
 * carries. Both directions take the same time and touch the same memory
 * whatever the bytes are, so that private keys may pass through.
 */
#ifndef TENSORGUARD_BASE64_H
#define TENSORGUARD_BASE64_H

#include <stddef.h>
#include <stdint.h>

#define TG_KEY_BYTES 32
#define TG_KEY_TEXT_LEN 44	/* without the final NUL */

/* Characters of `len` bytes, without the final NUL. */
#define TG_BASE64_LEN(len) (((len) + 2) / 3 * 4)

/*
 * -EINVAL unless the `text_len` characters at `text` are canonical base64:
 * padded, nothing else between them, bits that belong to no byte are 0. They
 * are decoded into `ret_data`, which has room for `room` bytes; -EMSGSIZE when
 * that is too little. What a refused text held is not kept.
 */
int tg_base64_decode(const char *text, size_t text_len, void *ret_data, size_t room, size_t *ret_len);

/* Writes TG_BASE64_LEN(len) characters and a NUL. */
void tg_base64_encode(const void *data, size_t len, char *ret_text);

/* The same for a key: -EINVAL unless `text` is exactly 44 characters of canonical base64 for 32 bytes. */
int tg_key_from_base64(const char *text, uint8_t ret_key[static TG_KEY_BYTES]);

/* Writes 44 characters and a NUL. */
void tg_key_to_base64(const uint8_t key[static TG_KEY_BYTES], char ret_text[static TG_KEY_TEXT_LEN + 1]);

#endif
