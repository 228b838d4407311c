/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device's keys: attestation, HPKE and TLS key in its TPM, or a TLS key in software that is encrypted
 * wherever it is written to.
 */
#ifndef AGENT_TRUST_KEYS_H
#define AGENT_TRUST_KEYS_H

#include <openssl/types.h>

#include "tensorguard/attest.h"
#include "tensorguard/tpm.h"

/* Where keys live. */
struct trust_store {
	bool software;			/* no TPM */
	const char *tcti;		/* of the TPM; "" is what tpm2-tss finds */
	const struct tg_bytes *secret;	/* of keys in software (softkey.h) */
};

struct trust_keys {
	struct tg_tpm *tpm;	/* NULL: software */
	struct tg_tpm_key ak, hpke, tls; /* in the TPM */
	EVP_PKEY *tls_pkey;	/* the TLS key as OpenSSL takes it */
};

/* All new ones. -EINVAL without a TPM and without a secret. */
int trust_keys_create(const struct trust_store *store, struct trust_keys *ret_keys, struct tg_error *e);
/* The same keys but for a new TLS key. */
int trust_keys_renew(const struct trust_keys *keys, struct trust_keys *ret_keys, struct tg_error *e);
/* Files ak.pem, hpke.pem and tls.pem ("TSS2 PRIVATE KEY"), or tls.pem (encrypted PKCS #8), in `folder`. */
int trust_keys_save(const struct trust_keys *keys, const struct trust_store *store, const char *folder,
		    struct tg_error *e);
int trust_keys_load(const struct trust_store *store, const char *folder, struct trust_keys *ret_keys,
		    struct tg_error *e);
/* Wipes and closes; for zeroed ones too. */
void trust_keys_close(struct trust_keys *keys);

/* What the device says it is; empty for keys in software. tg_attest_claim_clear() frees it. */
int trust_claim(const struct trust_keys *keys, bool renewal, struct tg_attest_claim *ret_claim,
		struct tg_error *e);

/*
 * The answer to a challenge, for the TLS connection that `exporter` is of. `event_log` is a file, or NULL for
 * a device that keeps none. tg_attest_evidence_clear() frees it.
 */
int trust_evidence(const struct trust_keys *keys, const struct tg_attest_claim *claim,
		   const struct tg_attest_challenge *challenge,
		   const uint8_t exporter[static TG_EXPORTER_LEN], const char *event_log,
		   struct tg_attest_evidence *ret_evidence, struct tg_error *e);

#endif
