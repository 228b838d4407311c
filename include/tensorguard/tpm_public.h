/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * TPM 2.0 public areas (TPM 2.0 Library, part 2: 12.2.4) as the verifying side reads
 * them; no TPM is needed. Only what a device's identity uses is taken: RSA and
 * P-256 keys whose Name is made with SHA-256.
 */
#ifndef TENSORGUARD_TPM_PUBLIC_H
#define TENSORGUARD_TPM_PUBLIC_H

#include <openssl/types.h>
#include <stddef.h>
#include <stdint.h>

#include "tensorguard/bytes.h"
#include "tensorguard/crypto.h"
#include "tensorguard/error.h"

#define TG_TPM_NAME_LEN (2 + TG_SHA256_LEN) /* TPM_ALG_SHA256 and a digest */
#define TG_TPM_RSA_MAX 512		    /* bytes of a modulus */
#define TG_TPM_PUBLIC_MAX 1024		    /* bytes of a TPM2B_PUBLIC */

/* TPM_ALG_ID, part 2: 6.3 */
enum {
	TG_TPM_ALG_RSA = 0x0001,
	TG_TPM_ALG_AES = 0x0006,
	TG_TPM_ALG_SHA256 = 0x000b,
	TG_TPM_ALG_NULL = 0x0010,
	TG_TPM_ALG_RSASSA = 0x0014,
	TG_TPM_ALG_RSAPSS = 0x0016,
	TG_TPM_ALG_ECDSA = 0x0018,
	TG_TPM_ALG_ECDH = 0x0019,
	TG_TPM_ALG_ECC = 0x0023,
	TG_TPM_ALG_CFB = 0x0043,
};

/* TPMA_OBJECT, part 2: 8.3 */
enum {
	TG_TPMA_FIXED_TPM = 1 << 1,
	TG_TPMA_FIXED_PARENT = 1 << 4,
	TG_TPMA_SENSITIVE_DATA_ORIGIN = 1 << 5,
	TG_TPMA_USER_WITH_AUTH = 1 << 6,
	TG_TPMA_ADMIN_WITH_POLICY = 1 << 7,
	TG_TPMA_NO_DA = 1 << 10,
	TG_TPMA_RESTRICTED = 1 << 16,
	TG_TPMA_DECRYPT = 1 << 17,
	TG_TPMA_SIGN = 1 << 18,
};

/* What a key of a device is for. */
enum tg_tpm_role { TG_TPM_ROLE_EK, TG_TPM_ROLE_AK, TG_TPM_ROLE_TLS, TG_TPM_ROLE_HPKE };

struct tg_tpm_public {
	uint16_t type;		/* TG_TPM_ALG_RSA or TG_TPM_ALG_ECC */
	uint32_t attributes;	/* TG_TPMA_* */
	uint8_t policy[TG_SHA256_LEN];
	size_t policy_len;	/* 0 or TG_SHA256_LEN */
	uint16_t symmetric, symmetric_bits, symmetric_mode; /* TG_TPM_ALG_NULL, 0, 0 or AES, its bits, mode */
	uint16_t scheme, scheme_hash; /* TG_TPM_ALG_NULL, 0 or a scheme and its digest; ECDH also has one */
	unsigned rsa_bits;
	uint32_t exponent;	/* as given; 0 stands for 65537 */
	uint8_t modulus[TG_TPM_RSA_MAX]; /* rsa_bits / 8 bytes used */
	uint8_t point[TG_P256_POINT_LEN]; /* ECC: 4, x, y; shorter coordinates padded */
	uint8_t x[32];		/* as given: x_len bytes, not padded */
	size_t x_len;
	uint8_t name[TG_TPM_NAME_LEN]; /* computed from the area as given */
};

/*
 * Parses a TPM2B_PUBLIC with its size in front, all of it. -EINVAL for anything
 * that is not such a structure to its last byte, and for kinds of keys other
 * than those above.
 */
int tg_tpm_public_parse(const void *data, size_t len, struct tg_tpm_public *ret_public, struct tg_error *e);

/* The key for OpenSSL; the caller frees it. -EINVAL for a point off the curve or a bad modulus. */
int tg_tpm_public_key(const struct tg_tpm_public *public, EVP_PKEY **ret_key, struct tg_error *e);

/*
 * -EKEYREJECTED unless the public area is one of its role:
 * EK: TCG EK Credential Profile 2.5, default templates L-1 (RSA 2048) or L-2 (P-256).
 * AK: restricted, signs, does not decrypt, fixedTPM, fixedParent, sensitiveDataOrigin,
 *     an explicit scheme: ECDSA (P-256) or RSASSA or RSAPSS (2048 bits or more) with SHA-256.
 * TLS key: P-256, signs, not restricted, does not decrypt, fixed as the AK is.
 * HPKE key: P-256, decrypts, not restricted, does not sign, fixed as the AK is.
 */
int tg_tpm_public_check(const struct tg_tpm_public *public, enum tg_tpm_role role, struct tg_error *e);

#endif
