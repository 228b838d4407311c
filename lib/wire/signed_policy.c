/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "tensorguard/hex.h"
#include "tensorguard/signed_policy.h"
#include "wire/fields.h"

static const char *const kinds[] = { "policy", "lockdown", NULL };
static const char *const actions[] = { "hold", "open", "closed", NULL };
static const char *const ranks[] = { "fleet:", "label:", "agent:" };

enum { RANKS = sizeof(ranks) / sizeof(ranks[0]), RANK_FLEET = 0, RANK_AGENT = 2 };

const struct wire_field wire_signed_policy[] = {
	{ WIRE_FIELD("kind", WIRE_NAME, struct tg_signed_policy, kind, 0), .names = kinds },
	{ WIRE_FIELD("target", WIRE_TEXT, struct tg_signed_policy, target, TG_TARGET_LEN) },
	{ WIRE_FIELD("version", WIRE_NUMBER, struct tg_signed_policy, version, 0) },
	{ WIRE_FIELD("not_before", WIRE_SECONDS, struct tg_signed_policy, not_before, 0) },
	{ WIRE_FIELD("not_after", WIRE_SECONDS, struct tg_signed_policy, not_after, 0) },
	{ WIRE_FIELD("offline", WIRE_NAME, struct tg_signed_policy, offline, 0), .names = actions },
	{ WIRE_FIELD("signature", WIRE_FIXED, struct tg_signed_policy, signature, TG_SIGNATURE_LEN) },
	{ WIRE_FIELD("text", WIRE_PEM, struct tg_signed_policy, text, TG_POLICY_TEXT_MAX) },
	{ 0 },
};

const char *tg_policy_kind_name(enum tg_policy_kind kind)
{
	return kinds[kind];
}

const char *tg_offline_name(enum tg_offline offline)
{
	return actions[offline];
}

int tg_offline_from_name(const char *name, enum tg_offline *ret_offline)
{
	for (int i = 0; actions[i]; i++)
		if (!strcmp(name, actions[i])) {
			*ret_offline = (enum tg_offline)i;
			return 0;
		}
	return -EINVAL;
}

int tg_target_rank(const char *target)
{
	for (int i = 0; i < RANKS; i++)
		if (!strncmp(target, ranks[i], strlen(ranks[i])))
			return i;
	return -EINVAL;
}

bool tg_target_valid(const char *target)
{
	int rank = tg_target_rank(target);

	return rank >= 0 && tg_id_valid(target + strlen(ranks[rank]));
}

int wire_signed_policy_check(const struct tg_signed_policy *policy, struct tg_error *e)
{
	if (!tg_target_valid(policy->target))
		return tg_error(e, -EINVAL, "target: expected fleet:NAME, label:NAME or agent:ID");
	if (policy->version < 1)
		return tg_error(e, -EINVAL, "version: expected 1 or more");
	if (policy->not_after <= policy->not_before)
		return tg_error(e, -EINVAL, "not_after: it ends before it begins");
	return 0;
}

int tg_signed_policy_decode(const void *text, size_t len, struct tg_signed_policy *ret_policy,
			    struct tg_error *e)
{
	struct tg_signed_policy policy = { 0 };
	int ret = wire_decode(text, len, TG_SIGNED_POLICY_MAX, wire_signed_policy, &policy, e);

	if (!ret)
		ret = wire_signed_policy_check(&policy, e);
	if (ret)
		tg_signed_policy_clear(&policy);
	else
		*ret_policy = policy;
	return ret;
}

int tg_signed_policy_encode(const struct tg_signed_policy *policy, struct tg_bytes *ret_text,
			    struct tg_error *e)
{
	return wire_encode(policy, wire_signed_policy, ret_text, e);
}

int tg_signed_policy_copy(const struct tg_signed_policy *policy, struct tg_signed_policy *ret_policy,
			  struct tg_error *e)
{
	struct tg_signed_policy copy = *policy;

	/* the NUL behind it comes along */
	if (tg_bytes_copy(policy->text.data, policy->text.len + 1, &copy.text))
		return tg_error(e, -ENOMEM, "out of memory");
	copy.text.len--;
	*ret_policy = copy;
	return 0;
}

void tg_signed_policy_clear(struct tg_signed_policy *policy)
{
	if (policy)
		tg_bytes_free(&policy->text);
}

/* ---- the statement ---- */

int tg_signed_policy_statement(const struct tg_signed_policy *policy, char ret_text[static TG_STATEMENT_MAX],
			       size_t *ret_len, struct tg_error *e)
{
	char hash_text[2 * TG_SHA256_LEN + 1];
	uint8_t hash[TG_SHA256_LEN];
	int len, ret;

	ret = tg_sha256(&(struct tg_piece){ policy->text.data, policy->text.len }, 1, hash, e);
	if (ret)
		return ret;
	tg_hex(hash, sizeof(hash), hash_text);
	len = snprintf(ret_text, TG_STATEMENT_MAX,
		       "tensorguard policy statement 1\nkind %s\ntarget %s\nversion %" PRId64
		       "\nnot_before %" PRId64 "\nnot_after %" PRId64 "\noffline %s\nsha256 %s\n",
		       kinds[policy->kind], policy->target, policy->version, policy->not_before,
		       policy->not_after, actions[policy->offline], hash_text);
	if (len < 0 || len >= TG_STATEMENT_MAX)
		return tg_error(e, -EINVAL, "the policy's statement is too long");
	*ret_len = (size_t)len;
	return 0;
}

int tg_signed_policy_hash(const struct tg_signed_policy *policy, uint8_t ret_hash[static TG_SHA256_LEN],
			  struct tg_error *e)
{
	char statement[TG_STATEMENT_MAX];
	size_t len;
	int ret = tg_signed_policy_statement(policy, statement, &len, e);

	return ret ? ret : tg_sha256(&(struct tg_piece){ statement, len }, 1, ret_hash, e);
}

int tg_signed_policy_sign(struct tg_signed_policy *policy, EVP_PKEY *key, struct tg_error *e)
{
	char statement[TG_STATEMENT_MAX];
	enum tg_key_type type;
	size_t len;
	int ret = tg_key_type(key, &type, e);

	if (!ret && type != TG_KEY_EDDSA)
		ret = tg_error(e, -EINVAL, "the policy key is not Ed25519");
	if (!ret)
		ret = wire_signed_policy_check(policy, e);
	if (!ret)
		ret = tg_signed_policy_statement(policy, statement, &len, e);
	return ret ? ret : tg_key_sign(key, (const uint8_t *)statement, len, policy->signature, e);
}

/* ---- verification ---- */

const char *tg_policy_refusal_name(enum tg_policy_refusal refusal)
{
	static const char *const names[TG_POLICY_REFUSALS] = {
		[TG_POLICY_ACCEPTED] = "accepted",      [TG_POLICY_BAD_SIGNATURE] = "bad-signature",
		[TG_POLICY_FOREIGN] = "foreign-target", [TG_POLICY_OLD] = "not-newer",
		[TG_POLICY_TOO_EARLY] = "too-early",    [TG_POLICY_EXPIRED] = "expired",
	};

	return names[refusal];
}

static int verify_signature(const struct tg_signed_policy *policy, const struct tg_bytes *spki,
			    struct tg_error *e)
{
	char statement[TG_STATEMENT_MAX];
	EVP_PKEY *key = NULL;
	enum tg_key_type type;
	size_t len;
	int ret = tg_key_from_spki(spki->data, spki->len, &key, e);

	if (!ret)
		ret = tg_key_type(key, &type, e);
	if (!ret && type != TG_KEY_EDDSA)
		ret = tg_error(e, -EBADMSG, "the pinned policy key is not Ed25519");
	if (!ret)
		ret = tg_signed_policy_statement(policy, statement, &len, e);
	if (!ret)
		ret = tg_key_verify(key, (const uint8_t *)statement, len, policy->signature, TG_SIGNATURE_LEN,
				    e);
	EVP_PKEY_free(key);
	return ret;
}

static bool is_for(const struct tg_signed_policy *policy, const struct tg_policy_holder *holder)
{
	const char *name = policy->target + strlen(ranks[0]);

	switch (tg_target_rank(policy->target)) {
	case RANK_FLEET:
		return !strcmp(name, holder->fleet);
	case RANK_AGENT:
		return !strcmp(name, holder->agent);
	default:
		return true;
	}
}

enum tg_policy_refusal tg_signed_policy_verify(const struct tg_signed_policy *policy,
					       const struct tg_policy_holder *holder, struct tg_error *e)
{
	if (wire_signed_policy_check(policy, e) || verify_signature(policy, holder->key, e)) {
		tg_error_prefix(e, -EBADMSG, "policy version %" PRId64 " is not the Platform's",
				policy->version);
		return TG_POLICY_BAD_SIGNATURE;
	}
	if (is_for(policy, holder))
		return TG_POLICY_ACCEPTED;
	tg_error(e, -EPERM, "policy version %" PRId64 " is for %s, this is agent %s of fleet %s",
		 policy->version, policy->target, holder->agent, holder->fleet);
	return TG_POLICY_FOREIGN;
}

enum tg_policy_refusal tg_signed_policy_admit(const struct tg_signed_policy *policy,
					      const struct tg_policy_holder *holder, int64_t now,
					      struct tg_error *e)
{
	enum tg_policy_refusal refusal = tg_signed_policy_verify(policy, holder, e);

	if (refusal)
		return refusal;
	if (policy->version <= holder->floor) {
		tg_error(e, -ESTALE,
			 "policy version %" PRId64 " is not newer than %" PRId64 ", which this device has",
			 policy->version, holder->floor);
		return TG_POLICY_OLD;
	}
	if (policy->not_before > now + TG_CLOCK_SKEW_SECONDS) {
		tg_error(e, -EAGAIN, "policy version %" PRId64 " begins in %" PRId64 " s", policy->version,
			 policy->not_before - now);
		return TG_POLICY_TOO_EARLY;
	}
	if (policy->not_after <= now) {
		tg_error(e, -ETIME, "policy version %" PRId64 " ended %" PRId64 " s ago", policy->version,
			 now - policy->not_after);
		return TG_POLICY_EXPIRED;
	}
	return TG_POLICY_ACCEPTED;
}
