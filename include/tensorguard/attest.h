/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The verifying side of TPM attestation: does this TLS key live in a genuine TPM,
 * together with this attestation key, on a machine that booted what its quote says?
 * No TPM is needed here.
 *
 * The ceremony has two halves, because the Platform has to hear twice from the device:
 *
 *	start  ->  tg_attest_enrol_begin()   checks EK, AK and the kinds of the device's keys;
 *	<-         the challenge             a nonce, and a secret that only this EK beside this AK decrypts
 *	finish ->  tg_attest_verify()        checks proof, CSR, both certify statements, quote and event log
 *
 * Only tg_attest_verify() tells an assurance above none, and only at its very end; whatever goes wrong
 *before, a failure of memory or of OpenSSL included, leaves a result whose assurance is none.
 *
 * The nonce goes out together with the secret, after the keys came in, and not before them: nothing in the
 * start message has to be fresh. What has to be (proof, CSR, certify statements, quote) is made afterwards
 * and covers the nonce, by the binding and by the transcript.
 */
#ifndef TENSORGUARD_ATTEST_H
#define TENSORGUARD_ATTEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tensorguard/bytes.h"
#include "tensorguard/crypto.h"
#include "tensorguard/error.h"
#include "tensorguard/tpm_public.h"

#define TG_NONCE_LEN 32
#define TG_SESSION_ID_LEN 16
#define TG_BINDING_LEN TG_SHA256_LEN
#define TG_PROOF_LEN TG_SHA256_LEN
#define TG_PCR_COUNT 24
#define TG_SESSION_SECONDS 60	/* how long a nonce lives */

/* SSL_export_keying_material() with this label, no context and this length (RFC 9266) */
#define TG_EXPORTER_LABEL "EXPORTER-Channel-Binding"
#define TG_EXPORTER_LEN 32

/* The largest that are taken, in bytes. */
#define TG_EK_CERTIFICATE_MAX 4096
#define TG_EK_CERTIFICATES_MAX 5	/* the EK's own and its intermediates */
#define TG_CSR_MAX 4096
#define TG_ATTEST_MAX 1024
#define TG_SIGNATURE_MAX 1024
#define TG_CREDENTIAL_MAX 512
#define TG_EVENT_LOG_MAX (512 * 1024)

/* What a certificate rests on, in rising order. */
enum tg_assurance {
	TG_ASSURANCE_NONE,	/* refused, or not verified */
	TG_ASSURANCE_SOFTWARE,	/* the token and a key in software */
	TG_ASSURANCE_TPM_UNENDORSED, /* keys in a TPM that nobody vouches for */
	TG_ASSURANCE_TPM_ATTESTED, /* keys in a TPM of a pinned vendor */
};

/* "none", "software", "tpm-unendorsed", "tpm-attested" */
const char *tg_assurance_name(enum tg_assurance assurance);
/* -EINVAL for a name that is none of these. */
int tg_assurance_from_name(const char *name, enum tg_assurance *ret_assurance);

/* Bit of an assurance in tg_attest_policy.allowed */
#define TG_ALLOW(assurance) (1u << (assurance))

/* Why evidence was refused: name for the audit record, and what it means. 0 is no decision. */
#define TG_ATTEST_REASONS(X)                                                              \
	X(INTERNAL, "internal", "nothing was decided: memory or a library failed")        \
	X(ACCEPTED, "accepted", "everything was checked and is right")                    \
	X(MALFORMED, "malformed", "a structure is not what it should be")                 \
	X(NOT_ALLOWED, "assurance-not-allowed", "the fleet does not take this assurance") \
	X(EK_CHAIN, "ek-chain", "the EK certificate does not end at a pinned root")       \
	X(EK_CERTIFICATE, "ek-certificate", "the certificate is none for an EK")          \
	X(EK_KEY, "ek-key", "the EK is not the key of its certificate")                   \
	X(EK_TEMPLATE, "ek-template", "the EK is not of the TCG's template")              \
	X(AK_TEMPLATE, "ak-template", "the AK is no restricted signing key of a TPM")     \
	X(KEY_TEMPLATE, "key-template", "the TLS or HPKE key has other attributes")       \
	X(EXPIRED, "session-expired", "the nonce is older than its 60 seconds")           \
	X(USED, "session-used", "the nonce was used before")                              \
	X(CSR, "csr", "the request is not signed by its own P-256 key")                   \
	X(CSR_KEY, "csr-key", "the request is for another key than the certified one")    \
	X(PROOF, "proof", "the secret was not decrypted by this EK for this AK")          \
	X(CERTIFY_TLS, "certify-tls", "the AK does not vouch for the TLS key")            \
	X(CERTIFY_HPKE, "certify-hpke", "the AK does not vouch for the HPKE key")         \
	X(QUOTE, "quote", "the quote is not the AK's over this binding")                  \
	X(PCR_SELECTION, "pcr-selection", "the quote is over other PCRs")                 \
	X(PCR_DIGEST, "pcr-digest", "the PCR values are not those of the quote")          \
	X(PCR_VALUE, "pcr-value", "a PCR is not what the fleet expects")                  \
	X(EVENT_LOG, "event-log", "the event log is missing, broken or gives other PCRs")

enum tg_attest_reason {
#define X(symbol, name, text) TG_ATTEST_##symbol,
	TG_ATTEST_REASONS(X)
#undef X
};

/* The name for the audit record; "internal" for what is no reason. */
const char *tg_attest_reason_name(enum tg_attest_reason reason);
/* What it means, in a few words. */
const char *tg_attest_reason_text(enum tg_attest_reason reason);

/*
 * The certificates of TPM vendors that an EK's chain may end at, and the vendors' revocation lists. May be
 * used by several threads.
 */
struct tg_attest_roots;

/*
 * Loads a file with certificates in PEM, or all files *.pem and *.crt of a
 * folder. Those that signed themselves are pinned roots, the others help to
 * build chains. A folder's *.crl are revocation lists, one in each file, in DER or
 * PEM: a certificate of a chain whose issuer has one there must not be listed, and
 * the list must be signed by its issuer and not have ended. -EINVAL when a file
 * cannot be read as such, a list names no end, or there is no root.
 */
int tg_attest_roots_load(const char *path, struct tg_attest_roots **ret_roots, struct tg_error *e);
/* One more that must be freed. Returns `roots`; NULL is fine. */
struct tg_attest_roots *tg_attest_roots_ref(struct tg_attest_roots *roots);
void tg_attest_roots_free(struct tg_attest_roots *roots);
/* When the first of the revocation lists ends, in seconds since 1970; 0 when there is none. */
int64_t tg_attest_roots_crl_end(const struct tg_attest_roots *roots);

/* What a PCR of the SHA-256 bank has to be. */
struct tg_attest_pcr {
	unsigned index;		/* below TG_PCR_COUNT, and in pcr_mask */
	uint8_t value[TG_SHA256_LEN];
};

/* What a fleet demands. All zero refuses everything. */
struct tg_attest_policy {
	const struct tg_attest_roots *roots; /* NULL: no EK is endorsed */
	unsigned allowed;	/* TG_ALLOW() of each assurance that is taken */
	uint32_t pcr_mask;	/* bit n: PCR n of the SHA-256 bank is quoted; not 0 */
	const struct tg_attest_pcr *pcrs;
	size_t pcr_count;
	bool event_log_optional; /* for firmware that keeps no log; a log that is sent has to fit even then */
};

/* What a device says it is. All empty: a device without a TPM. */
struct tg_attest_claim {
	struct tg_bytes ek_certificates[TG_EK_CERTIFICATES_MAX]; /* DER; the EK's own first */
	size_t ek_certificate_count; /* 0: unendorsed */
	struct tg_bytes ek_public, ak_public, tls_public, hpke_public; /* TPM2B_PUBLIC, size in front */
};

/* What the device is asked. */
struct tg_attest_challenge {
	uint8_t session[TG_SESSION_ID_LEN];
	uint8_t nonce[TG_NONCE_LEN];
	uint32_t pcr_mask;	/* 0: no quote is wanted (no TPM) */
	struct tg_bytes credential,
		secret; /* TPM2B_ID_OBJECT, TPM2B_ENCRYPTED_SECRET, sizes in front; or empty */
};

/* TPMS_ATTEST without a size in front, and TPMT_SIGNATURE. */
struct tg_attest_statement {
	struct tg_bytes attest, signature;
};

/* What the device answers. Without a TPM only the CSR. */
struct tg_attest_evidence {
	struct tg_bytes csr;	/* PKCS #10 in DER, signed by the TLS key */
	struct tg_bytes proof;	/* TG_PROOF_LEN bytes; empty when renewing */
	struct tg_attest_statement certify_tls, certify_hpke, quote;
	struct tg_bytes pcrs;	/* 32 bytes for each PCR of the mask, in their order */
	struct tg_bytes event_log; /* TCG PC Client, crypto-agile; may be empty */
};

/* Who enrolled before, as the Platform has it in its store. */
struct tg_attest_device {
	enum tg_assurance assurance; /* a renewal never gives another */
	uint8_t ek_hash[TG_SHA256_LEN];
	struct tg_bytes ak_public; /* TPM2B_PUBLIC; empty for TG_ASSURANCE_SOFTWARE */
	struct tg_bytes ek_chain; /* of tg_attest_session_ek_chain(), for TG_ASSURANCE_TPM_ATTESTED */
};

/* What was found. Owns nothing. All zero unless tg_attest_verify() returned 0, except for `reason`. */
struct tg_attest_result {
	enum tg_assurance assurance;
	enum tg_attest_reason reason;
	uint8_t ek_hash[TG_SHA256_LEN];	/* of the EK's SubjectPublicKeyInfo; 0 without a TPM */
	uint8_t tls_key_hash[TG_SHA256_LEN]; /* of the CSR's SubjectPublicKeyInfo */
	uint8_t hpke_point[TG_P256_POINT_LEN]; /* 0 without a TPM */
	uint8_t ak_name[TG_TPM_NAME_LEN];
	uint32_t pcr_mask;
	uint8_t pcrs[TG_PCR_COUNT][TG_SHA256_LEN]; /* those of pcr_mask */
	bool log_replayed;
	uint64_t firmware;	/* of the TPM, as obscured for this AK; equal values mean no change */
	uint32_t reset_count, restart_count; /* likewise */
};

/* One enrolment or renewal between its two messages. For one thread at a time. */
struct tg_attest_session;

/*
 * First half. `now`: seconds since 1970. On success the caller frees the session
 * with tg_attest_session_free(). Refusal is -EKEYREJECTED, with the reason in
 * *ret_reason; everything else (-ENOMEM, -EIO, ...) has TG_ATTEST_INTERNAL.
 */
int tg_attest_enrol_begin(const struct tg_attest_policy *policy, const struct tg_attest_claim *claim,
			  int64_t now, struct tg_attest_session **ret_session,
			  enum tg_attest_reason *ret_reason, struct tg_error *e);

/*
 * The same for a device that is known and came with its certificate over mutual
 * TLS: the claim has only the new TLS key and the HPKE key, no credential is
 * made, since the AK is known to live beside the EK, and evidence has no proof.
 * The EK's chain is checked again, against today's roots and revocation lists.
 */
int tg_attest_renew_begin(const struct tg_attest_policy *policy, const struct tg_attest_device *device,
			  const struct tg_attest_claim *claim, int64_t now,
			  struct tg_attest_session **ret_session, enum tg_attest_reason *ret_reason,
			  struct tg_error *e);

void tg_attest_session_free(struct tg_attest_session *session);

/* Lives as long as the session. */
const struct tg_attest_challenge *tg_attest_session_challenge(const struct tg_attest_session *session);

/*
 * The EK certificates of an enrolment as the store is to keep them: in DER, one behind the other, the EK's
 * own first. Empty for a device that has none. The caller frees it.
 */
int tg_attest_session_ek_chain(const struct tg_attest_session *session, struct tg_bytes *ret_chain,
			       struct tg_error *e);

/* SHA-256 of the EK's SubjectPublicKeyInfo, for tokens that are pinned to an EK; 0 without a TPM. */
const uint8_t *tg_attest_session_ek_hash(const struct tg_attest_session *session);

/*
 * Second half, once per session: the nonce is used up by the call, whatever comes
 * out of it. `exporter` is from this end of the TLS connection that brought the
 * evidence. Returns 0 only with an assurance in *ret_result; otherwise its
 * assurance is TG_ASSURANCE_NONE, and what is returned is as above.
 */
int tg_attest_verify(const struct tg_attest_policy *policy, struct tg_attest_session *session,
		     const struct tg_attest_evidence *evidence,
		     const uint8_t exporter[static TG_EXPORTER_LEN], int64_t now,
		     struct tg_attest_result *ret_result, struct tg_error *e);

/*
 * What qualifies the certify statements and the quote, for both sides:
 * SHA-256(nonce, SHA-256(CSR), Name of the AK, TLS exporter), all of fixed length.
 */
int tg_attest_binding(const uint8_t nonce[static TG_NONCE_LEN], const struct tg_bytes *csr,
		      const uint8_t ak_name[static TG_TPM_NAME_LEN],
		      const uint8_t exporter[static TG_EXPORTER_LEN],
		      uint8_t ret_binding[static TG_BINDING_LEN], struct tg_error *e);

/*
 * The proof that the secret was decrypted, for both sides: HMAC-SHA256 with the
 * secret as its key over all that was said: session, nonce, PCR mask, EK
 * certificates, the four public areas, both parts of the credential and the
 * binding, each with its length in front.
 */
int tg_attest_proof(const struct tg_bytes *secret, const struct tg_attest_claim *claim,
		    const struct tg_attest_challenge *challenge, const uint8_t binding[static TG_BINDING_LEN],
		    uint8_t ret_proof[static TG_PROOF_LEN], struct tg_error *e);

/*
 * TPM2_MakeCredential in software (part 1: 24): `secret` encrypted for the EK so
 * that TPM2_ActivateCredential gives it out only beside an object of that Name.
 * The caller frees both outputs.
 */
int tg_attest_make_credential(const struct tg_tpm_public *ek, const uint8_t name[static TG_TPM_NAME_LEN],
			      const uint8_t secret[static TG_SHA256_LEN], struct tg_bytes *ret_credential,
			      struct tg_bytes *ret_secret, struct tg_error *e);

/* PCRs 0..23 of the SHA-256 bank as a log says that they were extended. */
struct tg_event_log_pcrs {
	uint8_t values[TG_PCR_COUNT][TG_SHA256_LEN];
	unsigned events;	/* that extended one */
};

/*
 * Replays a crypto-agile event log (TCG PC Client Platform Firmware Profile 1.05, 10).
 * -EINVAL unless it is well formed to its last byte, all events have one digest of
 * each bank that its head names, and one of these is SHA-256.
 */
int tg_event_log_replay(const void *data, size_t len, struct tg_event_log_pcrs *ret_pcrs, struct tg_error *e);

/* Empties what wire.h's decoders filled; not for views of others' memory. */
void tg_attest_claim_clear(struct tg_attest_claim *claim);
void tg_attest_challenge_clear(struct tg_attest_challenge *challenge);
void tg_attest_evidence_clear(struct tg_attest_evidence *evidence);

#endif
