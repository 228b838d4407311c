/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device's side of identity: keys that never leave the TPM, and what the
 * TPM states about them and about what booted. What is handed out is what the
 * TPM itself says, byte by byte (TPM 2.0 Library Specification, part 2), so
 * that the verifying side (attest.h) parses the TPM's structures and not ours:
 *
 *   EK certificate      DER
 *   public area         TPM2B_PUBLIC, marshalled, with its size in front
 *   attestation         TPMS_ATTEST, without a size in front
 *   signature           TPMT_SIGNATURE
 *   event log           as the firmware wrote it
 *
 * Keys are kept as their wrapped parts and loaded for one operation at a time:
 * between two calls nothing of ours is in the TPM. Each call holds the context
 * for as long as it needs the TPM's few slots, so that threads may share one.
 *
 * Commands whose parameters are worth protecting run in an HMAC session that is
 * salted to a key of the TPM and encrypts them in both directions, against a
 * listener on the bus. (Against somebody who answers in the TPM's place it
 * protects only once the platform has verified the endorsement key.) Hierarchies
 * are expected to have the empty authorisation value.
 *
 * Errors, beside -EINVAL for bad arguments and -ENOMEM: -ENODEV no TPM behind
 * that name, -EIO the TPM or the way to it failed, -EBADMSG an answer or a blob
 * that is not what it should be, -EACCES authorisation refused, -EAGAIN the TPM
 * asks to come back later (dictionary attack lockout, wear protection),
 * -ENOSPC no room in it, -ENOENT nothing at that handle. Messages hold the
 * TPM's code in words.
 */
#ifndef TENSORGUARD_TPM_H
#define TENSORGUARD_TPM_H

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tensorguard/bytes.h"
#include "tensorguard/error.h"

#define TG_TPM_PCRS 24
#define TG_TPM_DIGEST_BYTES 32		/* SHA-256, the only hash used here */
#define TG_TPM_POINT_BYTES 65		/* an uncompressed P-256 point: 4, X, Y */
#define TG_TPM_QUALIFY_MAX 64		/* qualifying data of an attestation */

struct tg_tpm;
struct TSS2_TCTI_OPAQUE_CONTEXT_BLOB;

/*
 * Opens the TPM behind a TCTI string of tpm2-tss: "device:/dev/tpmrm0",
 * "swtpm:host=127.0.0.1,port=2321", "tabrmd". NULL or "" is tpm2-tss's own
 * choice of what the machine has.
 */
int tg_tpm_open(const char *tcti, struct tg_tpm **ret_tpm, struct tg_error *e);
/* The same over a TCTI context that stays the caller's, who finalises it after the last tg_tpm_close. */
int tg_tpm_open_tcti(struct TSS2_TCTI_OPAQUE_CONTEXT_BLOB *tcti, struct tg_tpm **ret_tpm, struct tg_error *e);
/* Another holder of the same context; each one closes it once. */
struct tg_tpm *tg_tpm_ref(struct tg_tpm *tpm);
/* NULL is fine. */
void tg_tpm_close(struct tg_tpm *tpm);

/* Endorsement keys, by the low-range templates of the TCG EK Credential Profile. */
enum tg_tpm_ek {
	TG_TPM_EK_RSA2048,	/* template L-1, certificate at NV index 0x01c00002 */
	TG_TPM_EK_P256,		/* template L-2, certificate at NV index 0x01c0000a */
};

/* TPM2B_PUBLIC of the endorsement key, which is derived anew unless it is persistent. */
int tg_tpm_ek_public(struct tg_tpm *tpm, enum tg_tpm_ek ek, struct tg_bytes *ret_public, struct tg_error *e);
/* The certificate's DER alone, without what fills the NV index behind it. -ENOENT: the TPM has none. */
int tg_tpm_ek_certificate(struct tg_tpm *tpm, enum tg_tpm_ek ek, struct tg_bytes *ret_der,
			  struct tg_error *e);

enum tg_tpm_use {
	TG_TPM_AK,	/* restricted, ECDSA with SHA-256: signs only what the TPM itself made */
	TG_TPM_TLS,	/* ECDSA with SHA-256 */
	TG_TPM_HPKE,	/* ECDH */
};

enum tg_tpm_hierarchy {
	TG_TPM_OWNER,       /* parent: the storage root key, the persistent one at 0x81000001 if there is */
	TG_TPM_ENDORSEMENT, /* parent: a primary storage key of the endorsement hierarchy */
};

/* A P-256 key as its parent wrapped it. Plain data; tg_tpm_key_free wipes it. */
struct tg_tpm_key {
	uint32_t parent; /* a hierarchy (its primary P-256 storage key) or a persistent handle */
	struct tg_bytes public_part;	/* TPM2B_PUBLIC */
	struct tg_bytes private_part;	/* TPM2B_PRIVATE */
};

/* A new key: fixedTPM, fixedParent, sensitiveDataOrigin, not subject to dictionary attack lockout. */
int tg_tpm_key_create(struct tg_tpm *tpm, enum tg_tpm_use use, enum tg_tpm_hierarchy hierarchy,
		      struct tg_tpm_key *ret_key, struct tg_error *e);
int tg_tpm_key_copy(const struct tg_tpm_key *key, struct tg_tpm_key *ret_key);
void tg_tpm_key_free(struct tg_tpm_key *key);
/* The name: 0x000b and the SHA-256 of the public area. */
int tg_tpm_key_name(const struct tg_tpm_key *key, uint8_t ret_name[static 2 + TG_TPM_DIGEST_BYTES],
		    struct tg_error *e);
/* -EBADMSG unless it is a P-256 key. */
int tg_tpm_key_point(const struct tg_tpm_key *key, uint8_t ret_point[static TG_TPM_POINT_BYTES],
		     struct tg_error *e);

/*
 * Keys as files: "TSS2 PRIVATE KEY" in PEM, as tpm2-openssl reads and writes it.
 * -EBADMSG: anything but one P-256 key in DER, with no authorisation value, no
 * policy and nothing before or behind it. Saving is atomic, with mode 0600.
 */
int tg_tpm_key_to_pem(const struct tg_tpm_key *key, struct tg_bytes *ret_pem, struct tg_error *e);
int tg_tpm_key_from_pem(const void *pem, size_t len, struct tg_tpm_key *ret_key, struct tg_error *e);
int tg_tpm_key_save(const struct tg_tpm_key *key, const char *path, struct tg_error *e);
int tg_tpm_key_load(const char *path, struct tg_tpm_key *ret_key, struct tg_error *e);

/* ECDSA over a SHA-256 digest by a key that is not restricted; DER, as X.509 and TLS have it. */
int tg_tpm_sign(struct tg_tpm *tpm, const struct tg_tpm_key *key,
		const uint8_t digest[static TG_TPM_DIGEST_BYTES], struct tg_bytes *ret_der,
		struct tg_error *e);
/* The X coordinate of key * point, for DHKEM(P-256). A point that is not on the curve is refused by the TPM.
 */
int tg_tpm_ecdh(struct tg_tpm *tpm, const struct tg_tpm_key *key,
		const uint8_t point[static TG_TPM_POINT_BYTES], uint8_t ret_x[static 32], struct tg_error *e);

/*
 * The secret in a credential that was made for this TPM's endorsement key and
 * the name of `ak` (TPM2_ActivateCredential). `id_object` is TPM2B_ID_OBJECT and
 * `encrypted_secret` TPM2B_ENCRYPTED_SECRET, each with its size in front.
 */
int tg_tpm_activate(struct tg_tpm *tpm, enum tg_tpm_ek ek, const struct tg_tpm_key *ak,
		    const struct tg_bytes *id_object, const struct tg_bytes *encrypted_secret,
		    struct tg_bytes *ret_secret, struct tg_error *e);

/* What the TPM states, and the attestation key's signature over it. */
struct tg_tpm_statement {
	struct tg_bytes attest;		/* TPMS_ATTEST */
	struct tg_bytes signature;	/* TPMT_SIGNATURE */
};
void tg_tpm_statement_free(struct tg_tpm_statement *statement);

/* TPM2_Certify: `key` is in this TPM and has this name. At most TG_TPM_QUALIFY_MAX bytes of qualifying data.
 */
int tg_tpm_certify(struct tg_tpm *tpm, const struct tg_tpm_key *key, const struct tg_tpm_key *ak,
		   const void *qualifying, size_t qualifying_len, struct tg_tpm_statement *ret_statement,
		   struct tg_error *e);
/* TPM2_Quote over the PCRs of the SHA-256 bank whose bits are set in `pcrs`, at least one. */
int tg_tpm_quote(struct tg_tpm *tpm, const struct tg_tpm_key *ak, const void *qualifying,
		 size_t qualifying_len, uint32_t pcrs, struct tg_tpm_statement *ret_statement,
		 struct tg_error *e);

/* Reads the PCRs of `pcrs`; the other elements of `ret_values` are left alone. -ENOENT: no SHA-256 bank. */
int tg_tpm_pcr_read(struct tg_tpm *tpm, uint32_t pcrs,
		    uint8_t ret_values[static TG_TPM_PCRS][TG_TPM_DIGEST_BYTES], struct tg_error *e);
#define TG_TPM_EVENT_LOG "/sys/kernel/security/tpm0/binary_bios_measurements"
#define TG_TPM_EVENT_LOG_MAX (4u << 20)
/* The firmware's event log from `path`, or from TG_TPM_EVENT_LOG if NULL. -EFBIG above TG_TPM_EVENT_LOG_MAX.
 */
int tg_tpm_event_log(const char *path, struct tg_bytes *ret_log, struct tg_error *e);

/*
 * A counter in the TPM that only goes up, against the return of an old state: a
 * counter that is defined anew begins above all that this TPM ever counted.
 * `index` is one of TG_TPM_COUNTER_FIRST to TG_TPM_COUNTER_LAST; the
 * authorisation value of at most 32 bytes, which may be empty, is never sent in
 * clear. Each increment wears the TPM's memory: count events, not packets.
 */
#define TG_TPM_COUNTER_FIRST 0x01800000u
#define TG_TPM_COUNTER_LAST 0x01bfffffu
/* Defines it and counts once, so that it can be read. -EEXIST: there is something at that index. */
int tg_tpm_counter_define(struct tg_tpm *tpm, uint32_t index, const void *auth, size_t auth_len,
			  struct tg_error *e);
/* -ENOENT: nothing there. -EBADMSG: what is there is no counter. */
int tg_tpm_counter_increment(struct tg_tpm *tpm, uint32_t index, const void *auth, size_t auth_len,
			     struct tg_error *e);
int tg_tpm_counter_read(struct tg_tpm *tpm, uint32_t index, const void *auth, size_t auth_len,
			uint64_t *ret_value, struct tg_error *e);
int tg_tpm_counter_remove(struct tg_tpm *tpm, uint32_t index, struct tg_error *e);

/*
 * `key` as OpenSSL takes it for X509_REQ_sign or SSL_CTX_use_PrivateKey, by a
 * provider of ours that loads, signs (SHA-256 only) and flushes for each
 * signature. Threads may share it. It holds `tpm` open; what a TPM refuses is
 * on OpenSSL's error queue. Free it with EVP_PKEY_free.
 */
int tg_tpm_provider_key(struct tg_tpm *tpm, const struct tg_tpm_key *key, EVP_PKEY **ret_pkey,
			struct tg_error *e);

#endif
