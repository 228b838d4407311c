/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ledger/ledger.h"
#include "tensorguard/hex.h"

static const char *const names[LEDGER_REFUSALS] = {
	[LEDGER_TAKEN] = "done",
	[LEDGER_MALFORMED] = "audit-malformed",
	[LEDGER_STRANGER] = "audit-stranger",
	[LEDGER_SIGNATURE] = "audit-signature",
	[LEDGER_GAP] = "audit-gap",
	[LEDGER_FORK] = "audit-fork",
	[LEDGER_ENDED] = "audit-ended",
};

const char *ledger_refusal_name(enum ledger_refusal refusal)
{
	return names[refusal];
}

static int own_record(struct store *store, const struct ledger_batch *batch, const char *action,
		      const char *outcome, const char *detail, struct tg_error *e)
{
	char actor[STORE_TEXT_SIZE];
	const struct store_audit record = { .time = batch->now,
					    .actor = actor,
					    .action = action,
					    .target = batch->agent,
					    .outcome = outcome,
					    .detail = detail };

	snprintf(actor, sizeof(actor), "agent %s", batch->agent);
	return store_audit_add(store, &record, e);
}

static void refuse(struct ledger_result *result, enum ledger_refusal refusal, const char *detail)
{
	result->refusal = refusal;
	snprintf(result->detail, sizeof(result->detail), "%s", detail);
}

/* What needs no store. */
static int check(const struct ledger_batch *batch, struct tg_audit_batch *ret_decoded,
		 struct ledger_result *result)
{
	struct tg_error why = { "" };
	int ret = tg_audit_batch_decode(batch->data, batch->len, ret_decoded, &why);

	if (!ret && strcmp(ret_decoded->source, batch->agent))
		refuse(result, LEDGER_STRANGER, "the records are of another agent");
	else if (!ret) {
		ret = tg_audit_batch_verify(ret_decoded, batch->key, &why);
		if (ret == -EBADMSG || ret == -EINVAL)
			refuse(result, LEDGER_SIGNATURE, why.message);
	} else if (ret == -EBADMSG) {
		refuse(result, LEDGER_MALFORMED, why.message);
	}
	return ret == -EBADMSG || ret == -EINVAL ? 0 : ret;
}

/*
 * The chain's end as it is stored, or its beginning for a new chain. Refused: one that is unknown and does
 * not begin here, and one that the agent has given up, unless all of the batch is stored.
 */
static int find_chain(struct store *store, const struct tg_audit_batch *decoded,
		      struct tg_audit_chain *ret_chain, bool *ret_new, struct ledger_result *result,
		      struct tg_error *e)
{
	struct tg_audit_chain newest;
	int ret = store_ledger_chain(store, decoded->source, decoded->chain, ret_chain, e);

	*ret_new = ret == -ENOENT;
	if (*ret_new) {
		memset(ret_chain, 0, sizeof(*ret_chain));
		memcpy(ret_chain->source, decoded->source, sizeof(ret_chain->source));
		memcpy(ret_chain->chain, decoded->chain, sizeof(ret_chain->chain));
		if (decoded->first != 1)
			refuse(result, LEDGER_GAP, "a chain that is not known and does not begin at 1");
		return 0;
	}
	if (ret || decoded->last <= ret_chain->sequence)
		return ret;
	ret = store_ledger_chain(store, decoded->source, NULL, &newest, e);
	if (!ret && memcmp(newest.chain, decoded->chain, sizeof(newest.chain)))
		refuse(result, LEDGER_ENDED, "the agent has begun another chain since");
	return ret;
}

/* Whether what is stored already is what the batch says. */
static int check_stored(struct store *store, const struct tg_audit_batch *decoded,
			const struct tg_audit_chain *chain, struct ledger_result *result, struct tg_error *e)
{
	uint64_t last = decoded->last < chain->sequence ? decoded->last : chain->sequence;
	uint8_t stored[TG_SHA256_LEN], sent[TG_SHA256_LEN];
	size_t at = (size_t)(last - decoded->first);
	char detail[STORE_TEXT_SIZE];
	int ret;

	if (decoded->first > chain->sequence + 1) {
		snprintf(detail, sizeof(detail), "record %llu does not follow record %llu",
			 (unsigned long long)decoded->first, (unsigned long long)chain->sequence);
		refuse(result, LEDGER_GAP, detail);
		return 0;
	}
	/* the first record says itself what it follows; of an overlap the last record says all */
	if (last < decoded->first) {
		struct tg_audit_chain next = *chain;
		struct tg_audit_record record;

		ret = tg_audit_chain_follow(&next, decoded->records[0].data, decoded->records[0].len, &record,
					    NULL);
		if (ret == -EILSEQ)
			refuse(result, LEDGER_FORK, "the first record does not continue what is stored");
		return ret == -EILSEQ ? 0 : ret;
	}
	ret = store_ledger_record_hash(store, chain, last, stored, e);
	if (!ret)
		ret = tg_audit_hash(decoded->records[at].data, decoded->records[at].len, sent, e);
	if (!ret && memcmp(stored, sent, sizeof(sent))) {
		snprintf(detail, sizeof(detail), "another record %llu is stored", (unsigned long long)last);
		refuse(result, LEDGER_FORK, detail);
	}
	return ret;
}

static int add_batch(struct store *store, const struct ledger_batch *batch,
		     const struct tg_audit_batch *decoded, const struct tg_audit_chain *end,
		     struct tg_error *e)
{
	struct store_batch added = { .last = decoded->last };
	int ret = tg_key_to_spki(batch->key, added.public_key, &added.public_key_len, e);

	memcpy(added.signature, decoded->signature, sizeof(added.signature));
	return ret ? ret : store_ledger_batch_add(store, end, &added, e);
}

/* Those that are not stored yet. */
static int append(struct store *store, const struct ledger_batch *batch, const struct tg_audit_batch *decoded,
		  const struct tg_audit_chain *chain, struct tg_error *e)
{
	struct store_leaf_new leaves[TG_AUDIT_BATCH_RECORDS];
	struct tg_audit_chain end = *chain;
	size_t skip = (size_t)(chain->sequence + 1 - decoded->first), count = 0;
	uint64_t first = 0;
	int ret;

	for (size_t i = skip; i < decoded->count; i++)
		leaves[count++] = (struct store_leaf_new){ decoded->records[i].data, decoded->records[i].len,
							   decoded->first + i };
	ret = store_ledger_append(store, decoded->source, leaves, count, batch->now, &first, e);
	end.sequence = decoded->last;
	memcpy(end.hash, decoded->last_hash, sizeof(end.hash));
	if (!ret)
		ret = store_ledger_chain_set(store, &end, first, e);
	return ret ? ret : add_batch(store, batch, decoded, &end, e);
}

/* An agent that begins anew leaves what it did not hand over behind: that is worth a record. */
static int note_chain(struct store *store, const struct ledger_batch *batch,
		      const struct tg_audit_batch *decoded, struct tg_error *e)
{
	char old[2 * TG_AUDIT_CHAIN_LEN + 1], new[2 * TG_AUDIT_CHAIN_LEN + 1], detail[STORE_TEXT_SIZE];
	struct tg_audit_chain before;
	int ret = store_ledger_chain(store, decoded->source, NULL, &before, e);

	if (ret)
		return ret == -ENOENT ? 0 : ret;
	tg_hex(before.chain, sizeof(before.chain), old);
	tg_hex(decoded->chain, sizeof(decoded->chain), new);
	snprintf(detail, sizeof(detail), "chain %s ended at %llu, chain %s begins", old,
		 (unsigned long long)before.sequence, new);
	return own_record(store, batch, "audit-chain", "restarted", detail, e);
}

static int take(struct store *store, const struct ledger_batch *batch, struct ledger_result *result,
		struct tg_error *e)
{
	struct tg_audit_batch decoded;
	struct tg_audit_chain chain;
	bool new = false;
	int ret = check(batch, &decoded, result);

	if (ret || result->refusal)
		return ret;
	ret = find_chain(store, &decoded, &chain, &new, result, e);
	if (!ret && !result->refusal)
		ret = check_stored(store, &decoded, &chain, result, e);
	if (ret)
		return ret;
	result->stored = chain.sequence;
	if (result->refusal || decoded.last <= chain.sequence)
		return 0;
	if (new)
		ret = note_chain(store, batch, &decoded, e);
	if (!ret)
		ret = append(store, batch, &decoded, &chain, e);
	if (!ret)
		result->stored = decoded.last;
	return ret;
}

/* Records stay for ever: an agent that is refused again and again must not fill the disk with them. */
static bool is_recorded(const struct ledger_batch *batch, enum ledger_refusal refusal)
{
	return refusal && (!batch->may_record || batch->may_record(batch->arg, refusal));
}

int ledger_take(struct store *store, const struct ledger_batch *batch, struct ledger_result *ret_result,
		struct tg_error *e)
{
	struct ledger_result result = { .refusal = LEDGER_TAKEN };
	int ret = take(store, batch, &result, e);

	if (!ret && is_recorded(batch, result.refusal))
		ret = own_record(store, batch, "audit", names[result.refusal], result.detail, e);
	if (!ret)
		*ret_result = result;
	return ret;
}
