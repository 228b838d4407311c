/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of lib/attest share. */
#ifndef LIB_ATTEST_PARTS_H
#define LIB_ATTEST_PARTS_H

#include <openssl/types.h>

#include "tensorguard/attest.h"

struct tg_attest_roots {
	X509_STORE *store;
	_Atomic unsigned users;
	size_t roots;		/* certificates that signed themselves */
	size_t crls;
	int64_t crl_end;	/* when the first of them ends; 0 without one */
};

struct tg_attest_session {
	struct tg_attest_challenge challenge;
	struct tg_attest_claim claim; /* a copy: what was checked is what is used later */
	struct tg_tpm_public ak, tls, hpke;
	enum tg_assurance assurance; /* what the device gets if the second half goes well */
	uint8_t ek_hash[TG_SHA256_LEN];
	uint8_t secret[TG_SHA256_LEN]; /* what the credential holds */
	bool renewal;
	bool used;
	int64_t started;
};

/* TPMS_ATTEST, part 2: 10.12.12; pointers go into what was parsed */
struct statement {
	const uint8_t *extra;
	size_t extra_len;
	uint64_t firmware;
	uint32_t reset_count, restart_count;
	const uint8_t *name;	/* certify: of the object */
	size_t name_len;
	uint32_t pcr_mask; /* quote: of the SHA-256 bank; 0 = another selection than of that bank alone */
	const uint8_t *digest;	/* quote */
	size_t digest_len;
};

enum { STATEMENT_CERTIFY = 0x8017, STATEMENT_QUOTE = 0x8018 };

/* -EINVAL unless the bytes are a statement of that type, made inside a TPM, to the last one. */
int attest_parse(const struct tg_bytes *bytes, unsigned type, struct statement *ret_statement,
		 struct tg_error *e);

/* -EKEYREJECTED unless `signature` is a TPMT_SIGNATURE of the AK, by its own scheme, over `bytes`. */
int attest_check_signature(const struct tg_tpm_public *ak, const struct tg_bytes *signature,
			   const struct tg_bytes *bytes, struct tg_error *e);

/*
 * The EK's own certificate and its chain. -EKEYREJECTED with the reason unless
 * it is an EK certificate below a pinned root at `now`, for `ek_key`.
 */
int attest_check_ek(const struct tg_attest_roots *roots, const struct tg_attest_claim *claim,
		    const EVP_PKEY *ek_key, int64_t now, enum tg_attest_reason *ret_reason,
		    struct tg_error *e);
/* The same for a chain that was kept of an enrolment, which compared it with the EK: all of it in one piece.
 */
int attest_check_kept_ek(const struct tg_attest_roots *roots, const struct tg_bytes *chain, int64_t now,
			 enum tg_attest_reason *ret_reason, struct tg_error *e);

/*
 * Gives `reason` to an error that the device is to blame for (-EINVAL, -EKEYREJECTED), and returns
 * -EKEYREJECTED; leaves other errors and 0 as they are, with TG_ATTEST_INTERNAL.
 */
int attest_blame(int err, enum tg_attest_reason reason, enum tg_attest_reason *ret_reason);

/* A refusal with its reason and message. */
int attest_refuse(enum tg_attest_reason *ret_reason, enum tg_attest_reason reason, struct tg_error *e,
		  const char *format, ...) __attribute__((format(printf, 4, 5)));

#endif
