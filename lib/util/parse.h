/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Text to values: whole strings only, no blanks, no trailing text. All return
 * 0, or -EINVAL when the text has another form, or -ERANGE when the form is
 * right and the value is not; they write their outputs only on success.
 */
#ifndef UTIL_PARSE_H
#define UTIL_PARSE_H

#include "tensorguard/policy.h"

/* "5ms", "0.5s", "2min": a decimal number with at most three places and a unit of us, ms, s, min, h, d. */
int tg_parse_duration(const char *text, uint64_t *ret_ns);

/* The reverse, in the largest unit that needs no fraction. */
#define TG_DURATION_TEXT_LEN 24
const char *tg_duration_text(uint64_t ns, char text[static TG_DURATION_TEXT_LEN]);

/* Decimal digits only. */
int tg_parse_u32(const char *text, uint32_t *ret_value);

/* "7" or "7-9", both within [min, max], ascending. */
int tg_parse_range(const char *text, uint32_t min, uint32_t max, uint32_t *ret_lo, uint32_t *ret_hi);

/* "0x10", "16", "0x10/0xff" with a non-zero mask that covers the value. */
int tg_parse_mark(const char *text, uint32_t *ret_mark, uint32_t *ret_mask);

/* "10.0.0.0/8", "2001:db8::/32"; without a length the address alone. Bits beyond the length are kept. */
int tg_parse_cidr(const char *text, struct tg_cidr *ret_cidr);

/* "192.0.2.1:51820" or "[2001:db8::1]:51820". -EINVAL also for host names. */
int tg_parse_endpoint(const char *text, struct tg_endpoint *ret_endpoint);

/* Lower-case DNS host name without a final dot; not an address. */
bool tg_host_name_valid(const char *text);

#endif
