/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A TPM in software that lies on demand, with a vendor that certifies its EK. It
 * makes evidence for tests that refuse it, for fault injection, fuzzing seeds and
 * benchmarks. That the verifier understands real TPMs is shown elsewhere
 * (tests/tpm): here both sides come from the same reading of the specification,
 * but for the key derivations, which are OpenSSL's KBKDF and SSKDF.
 */
#ifndef TESTS_ATTEST_FAKETPM_H
#define TESTS_ATTEST_FAKETPM_H

#include <openssl/types.h>
#include <stdbool.h>

#include "tensorguard/attest.h"

enum {
	FAKE_EK_ATTRIBUTES = 0x000300b2,
	FAKE_AK_ATTRIBUTES = 0x00050072,
	FAKE_TLS_ATTRIBUTES = 0x00040072,
	FAKE_HPKE_ATTRIBUTES = 0x00020072,
};
#define FAKE_NOW 1800000000	/* when all this happens, in seconds since 1970 */

/* How the EK's certificate is wrong. */
enum fake_certificate {
	FAKE_CERTIFICATE_GOOD,
	FAKE_CERTIFICATE_NONE,
	FAKE_CERTIFICATE_OTHER_ROOT, /* all right, but below a root that nobody pinned */
	FAKE_CERTIFICATE_CA,
	FAKE_CERTIFICATE_NO_PURPOSE,
	FAKE_CERTIFICATE_NO_NAME,
	FAKE_CERTIFICATE_OTHER_KEY,
	FAKE_CERTIFICATE_EXPIRED,
	FAKE_CERTIFICATE_FUTURE,
	FAKE_CERTIFICATE_UNKNOWN_CRITICAL,
	FAKE_CERTIFICATE_WRONG_USAGE,
	FAKE_CERTIFICATE_LEAF_ISSUER, /* issued by a certificate that is no CA's */
	FAKE_CERTIFICATE_SHA1,
	FAKE_CERTIFICATE_TRAILING,
	FAKE_CERTIFICATE_GARBAGE,
};

/* What a fake makes; all zero is an honest TPM with an RSA EK and a P-256 AK. Set before use. */
struct fake_options {
	bool ek_ecc, ak_rsa, ak_pss;
	bool ek_short_x;	/* an EK whose X begins with a zero, which it leaves out */
	enum fake_certificate certificate;
	int64_t now;		/* around which certificates are valid; 0: FAKE_NOW */
	uint32_t ek_attributes, ak_attributes, tls_attributes, hpke_attributes; /* 0: the right ones */
	uint16_t ak_scheme;	/* 0: the right one */
	uint32_t magic;		/* 0: TPM_GENERATED_VALUE */
	uint16_t certify_type, quote_type; /* 0: the right ones */
	uint16_t quote_bank;	/* 0: SHA-256 */
	uint32_t quote_mask;	/* 0: as asked */
	bool quote_two_banks;
	bool wrong_digest;
};

struct fake {
	struct fake_options options;
	EVP_PKEY *root_key, *issuer_key, *ek, *ak, *tls, *hpke, *other;
	X509 *root, *issuer;
	struct tg_attest_claim claim;
	uint8_t ak_name[TG_TPM_NAME_LEN], tls_name[TG_TPM_NAME_LEN], hpke_name[TG_TPM_NAME_LEN];
	uint8_t pcrs[TG_PCR_COUNT][TG_SHA256_LEN];
	struct tg_bytes event_log; /* gives these PCRs */
};

/* Aborts when OpenSSL fails: a test cannot go on without. */
struct fake *fake_new(const struct fake_options *options);
void fake_free(struct fake *fake);

/* Pins the fake's vendor. */
struct tg_attest_roots *fake_roots(const struct fake *fake);

/* A vendor's revocation list. */
struct fake_list {
	bool of_root; /* of the root, about its issuer; else of the issuer, about the EK's certificate */
	bool revokes, foreign_key, no_end;
	int64_t until;		/* its end; 0: a day from now */
};
/* The same with revocation lists. */
struct tg_attest_roots *fake_roots_with(const struct fake *fake, const struct fake_list *lists, size_t count);
/* One of them in DER, into a new file. */
void fake_list_write(const struct fake *fake, const struct fake_list *list, const char *path);

/* What TPM2_ActivateCredential gives out; false when it refuses. */
bool fake_activate(const struct fake *fake, const struct tg_attest_challenge *challenge,
		   const uint8_t name[static TG_TPM_NAME_LEN], uint8_t ret_secret[static TG_SHA256_LEN]);

/* Honest evidence for a challenge, but for the options. The caller clears it. */
void fake_answer(const struct fake *fake, const struct tg_attest_challenge *challenge,
		 const uint8_t exporter[static TG_EXPORTER_LEN], bool renewal,
		 struct tg_attest_evidence *ret_evidence);

/* Single statements, for evidence that is put together by hand. */
struct tg_attest_statement fake_certify(const struct fake *fake, EVP_PKEY *ak,
					const uint8_t name[static TG_TPM_NAME_LEN],
					const uint8_t binding[static TG_BINDING_LEN]);
struct tg_attest_statement fake_quote(const struct fake *fake, EVP_PKEY *ak, uint32_t mask,
				      const uint8_t binding[static TG_BINDING_LEN]);
void fake_statement_free(struct tg_attest_statement *statement);

/* A TPM2B_PUBLIC. `key` RSA or P-256; the rest as in part 2: 12.2.4. */
struct tg_bytes fake_public(EVP_PKEY *key, uint32_t attributes, bool ek, uint16_t scheme, bool short_x);

/* A crypto-agile log that extends digests into PCRs 0 to 7, and what they become. */
struct tg_bytes fake_event_log(uint8_t ret_pcrs[static TG_PCR_COUNT][TG_SHA256_LEN]);

#endif
