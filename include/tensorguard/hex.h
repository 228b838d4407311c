/* SPDX-License-Identifier: BSD-3-Clause */
/* Bytes as hexadecimal digits. */
#ifndef TENSORGUARD_HEX_H
#define TENSORGUARD_HEX_H

#include <stddef.h>
#include <stdint.h>

/* Writes 2 * len lower-case digits and a NUL. */
void tg_hex(const void *data, size_t len, char *ret_text);

/* -EINVAL unless the text is exactly 2 * len digits, lower or upper case. */
int tg_unhex(const char *text, void *ret_data, size_t len);

#endif
