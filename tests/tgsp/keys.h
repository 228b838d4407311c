/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_TGSP_KEYS_H
#define TESTS_TGSP_KEYS_H

#include <openssl/types.h>
#include <stddef.h>
#include <stdint.h>

/* The P-256 key with this private number, leading zeros or not; NULL when there is none. */
EVP_PKEY *p256_private(const uint8_t *number, size_t len);

#endif
