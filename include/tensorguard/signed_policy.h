/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A policy as the Platform gives it out: the text, and a detached Ed25519 signature of the Platform's policy
 *key over a statement that says for whom the text is, in which version, from when until when, and what a
 *device that is offline at its end shall do. The same JSON object is the file that `tensorguard-platform
 *policy sign` makes, the member `policy` of a sync answer, and what a device keeps on its disk
 *(docs/policy-distribution.md).
 *
 * The statement is text, so that anybody can verify it with a tool of his own:
 *
 *	tensorguard policy statement 1
 *	kind policy
 *	target fleet:lab
 *	version 7
 *	not_before 1764428400
 *	not_after 1764514800
 *	offline hold
 *	sha256 64 hexadecimal digits
 *
 * each line ended by a newline. Whoever takes a signed policy verifies it each time that he uses it.
 */
#ifndef TENSORGUARD_SIGNED_POLICY_H
#define TENSORGUARD_SIGNED_POLICY_H

#include <openssl/types.h>
#include <stdbool.h>
#include <stdint.h>

#include "tensorguard/bytes.h"
#include "tensorguard/certificate.h"
#include "tensorguard/crypto.h"
#include "tensorguard/error.h"
#include "tensorguard/key.h"

#define TG_TARGET_LEN (TG_ID_LEN + 8)	/* "agent:" and an id, with the final NUL */
#define TG_POLICY_TEXT_MAX (256 * 1024)
/* Of the whole object: the text may be twice as long when it is quoted. */
#define TG_SIGNED_POLICY_MAX (2 * TG_POLICY_TEXT_MAX + 4096)
#define TG_STATEMENT_MAX 512

/* What it is for: to be put in force; or to stop everything that it matches, until a newer one comes. */
enum tg_policy_kind { TG_POLICY_NORMAL, TG_POLICY_LOCKDOWN };

/* At its end: go on with it; take it away, so that packets leave as if it had never been; stop what it
 * matches. */
enum tg_offline { TG_OFFLINE_HOLD, TG_OFFLINE_OPEN, TG_OFFLINE_CLOSED };

struct tg_signed_policy {
	enum tg_policy_kind kind;
	char target[TG_TARGET_LEN];	/* "fleet:NAME", "label:NAME" or "agent:ID" */
	int64_t version; /* from 1 on; rises with every policy of a Platform, whoever it is for */
	int64_t not_before, not_after;	/* seconds since 1970 */
	enum tg_offline offline;
	uint8_t signature[TG_SIGNATURE_LEN];
	struct tg_bytes text;		/* with a NUL that is not in its length */
};

const char *tg_policy_kind_name(enum tg_policy_kind kind);
const char *tg_offline_name(enum tg_offline offline);
int tg_offline_from_name(const char *name, enum tg_offline *ret_offline);

/* Whether it is "fleet:", "label:" or "agent:" and a well-formed name. */
bool tg_target_valid(const char *target);
/* 0 for a fleet, 1 for a label, 2 for an agent: the higher one wins. */
int tg_target_rank(const char *target);

/* -EINVAL as of the other decoders of lib/wire; what it decodes is not verified. -ENOMEM. */
int tg_signed_policy_decode(const void *text, size_t len, struct tg_signed_policy *ret_policy,
			    struct tg_error *e);
int tg_signed_policy_encode(const struct tg_signed_policy *policy, struct tg_bytes *ret_text,
			    struct tg_error *e);
int tg_signed_policy_copy(const struct tg_signed_policy *policy, struct tg_signed_policy *ret_policy,
			  struct tg_error *e);
void tg_signed_policy_clear(struct tg_signed_policy *policy);

/* The statement's text, with a final NUL; *ret_len without it. */
int tg_signed_policy_statement(const struct tg_signed_policy *policy, char ret_text[static TG_STATEMENT_MAX],
			       size_t *ret_len, struct tg_error *e);
/* SHA-256 of the statement: two policies with one hash are the same. */
int tg_signed_policy_hash(const struct tg_signed_policy *policy, uint8_t ret_hash[static TG_SHA256_LEN],
			  struct tg_error *e);

/* Fills in the signature by `key`, Ed25519. */
int tg_signed_policy_sign(struct tg_signed_policy *policy, EVP_PKEY *key, struct tg_error *e);

/* For whom and against what it is verified. */
struct tg_policy_holder {
	const struct tg_bytes *key;	/* the policy key, SubjectPublicKeyInfo in DER */
	const char *agent, *fleet;	/* who this device is */
	int64_t floor;			/* the version that it has */
};

enum tg_policy_refusal {
	TG_POLICY_ACCEPTED,
	TG_POLICY_BAD_SIGNATURE,
	TG_POLICY_FOREIGN,	/* for another fleet or agent */
	TG_POLICY_OLD,		/* not newer than the floor */
	TG_POLICY_TOO_EARLY,	/* its not_before is to come */
	TG_POLICY_EXPIRED,
	TG_POLICY_REFUSALS
};
const char *tg_policy_refusal_name(enum tg_policy_refusal refusal);

/*
 * Signature and target: what holds for as long as it is kept. A label is the Platform's word, not the policy
 * key's: a policy for a label is taken by whoever is given it.
 */
enum tg_policy_refusal tg_signed_policy_verify(const struct tg_signed_policy *policy,
					       const struct tg_policy_holder *holder, struct tg_error *e);
/* That, and whether it may replace what the device has at `now`. */
enum tg_policy_refusal tg_signed_policy_admit(const struct tg_signed_policy *policy,
					      const struct tg_policy_holder *holder, int64_t now,
					      struct tg_error *e);

#endif
