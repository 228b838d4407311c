/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <openssl/crypto.h>
#include <string.h>

#include "store/parts.h"

static const char *const names[] = {
	[STORE_ACCEPTED] = "done",
	[STORE_TOKEN_UNKNOWN] = "token-unknown",
	[STORE_TOKEN_USED] = "token-used",
	[STORE_TOKEN_EXPIRED] = "token-expired",
	[STORE_TOKEN_REVOKED] = "token-revoked",
	[STORE_TOKEN_PINNED] = "token-pinned-to-another-ek",
	[STORE_TOKEN_FLEET] = "token-of-another-fleet",
	[STORE_TOKEN_NAME] = "token-for-another-agent",
	[STORE_LEVEL_REFUSED] = "assurance-level-refused",
	[STORE_AGENT_UNKNOWN] = "agent-unknown",
	[STORE_AGENT_REVOKED] = "agent-revoked",
	[STORE_AGENT_TAKEN] = "agent-has-another-ek",
	[STORE_AGENT_CHANGED] = "agent-enrolled-again",
};

const char *store_refusal_name(enum store_refusal refusal)
{
	return refusal < STORE_REFUSALS ? names[refusal] : "unknown";
}

static enum store_refusal judge_token(const struct store_token *token,
				      const struct store_enrolment *enrolment)
{
	switch (store_token_state(token, enrolment->now)) {
	case TOKEN_USED:
		return STORE_TOKEN_USED;
	case TOKEN_REVOKED:
		return STORE_TOKEN_REVOKED;
	case TOKEN_EXPIRED:
		return STORE_TOKEN_EXPIRED;
	case TOKEN_UNUSED:
		break;
	}
	if (strcmp(token->fleet, enrolment->agent.fleet))
		return STORE_TOKEN_FLEET;
	if (token->pinned && CRYPTO_memcmp(token->ek_hash, enrolment->agent.identity, STORE_HASH_LEN))
		return STORE_TOKEN_PINNED;
	if (token->name[0] && strcmp(token->name, enrolment->agent.id))
		return STORE_TOKEN_NAME;
	return STORE_ACCEPTED;
}

/* An id has one EK and an EK one id, for ever. *ret_known: the agent enrols again. */
static int judge_agent(struct store *store, const struct store_agent *wanted, bool *ret_known,
		       enum store_refusal *ret_refusal, struct tg_error *e)
{
	struct store_agent by_id = { 0 }, by_identity = { 0 };
	int id = store_agent_get(store, wanted->id, &by_id, e);
	int identity = store_agent_find(store, wanted->identity, &by_identity, e);

	if ((id && id != -ENOENT) || (identity && identity != -ENOENT))
		return id && id != -ENOENT ? id : identity;
	*ret_refusal = STORE_ACCEPTED;
	*ret_known = !id && !identity;
	if (id != identity || (*ret_known && strcmp(by_id.id, by_identity.id)))
		*ret_refusal = STORE_AGENT_TAKEN;
	else if (*ret_known && by_id.revoked)
		*ret_refusal = STORE_AGENT_REVOKED;
	return 0;
}

static int judge_level(struct store *store, const struct store_agent *agent, enum store_refusal *ret_refusal,
		       struct tg_error *e)
{
	struct store_fleet fleet;
	int ret = store_fleet_get(store, agent->fleet, &fleet, e);

	if (ret)
		return ret;
	*ret_refusal = fleet.levels >> agent->level & 1 ? STORE_ACCEPTED : STORE_LEVEL_REFUSED;
	return 0;
}

static int write_agent(struct store *store, const struct store_enrolment *enrolment, bool known,
		       struct tg_error *e)
{
	const struct store_agent *agent = &enrolment->agent;
	static const char insert[] =
		"INSERT INTO agent (id, identity, fleet, level, ak_public, enrolled, renewed, not_after,"
		" hpke_point, revoked, reason) VALUES ($1, $2, $3, $4, $5, $6, $6, $7, $8, 0, '')";
	static const char update[] =
		"UPDATE agent SET fleet = $3, level = $4, ak_public = $5, enrolled = $6, renewed = $6,"
		" not_after = $7, hpke_point = $8 WHERE id = $1 AND identity = $2 AND revoked = 0";

	return store_run_one(store, known ? update : insert,
			     DB_VALUES(db_text(agent->id), db_blob(agent->identity, STORE_HASH_LEN),
				       db_text(agent->fleet), db_int(agent->level),
				       db_blob(agent->ak_public, agent->ak_public_len),
				       db_int(enrolment->now), db_int(agent->not_after),
				       db_blob(agent->hpke_point, sizeof(agent->hpke_point))),
			     e);
}

/* For the check at each renewal. */
static int write_ek_chain(struct store *store, const struct store_enrolment *enrolment, struct tg_error *e)
{
	const struct tg_bytes *chain = &enrolment->ek_chain;
	int64_t rows = db_run(store->db, "DELETE FROM ek_chain WHERE agent = $1",
			      DB_VALUES(db_text(enrolment->agent.id)), NULL, NULL, e);

	if (rows < 0 || !chain->len)
		return rows < 0 ? (int)rows : 0;
	return store_run_one(store, "INSERT INTO ek_chain (agent, certificates) VALUES ($1, $2)",
			     DB_VALUES(db_text(enrolment->agent.id), db_blob(chain->data, chain->len)), e);
}

/* Expired certificates of renewals go: only the one of the token is kept for ever. */
static int write_certificate(struct store *store, const struct store_enrolment *enrolment, const char *token,
			     struct tg_error *e)
{
	const struct store_certificate *certificate = &enrolment->certificate;
	int64_t rows;

	rows = db_run(store->db,
		      "DELETE FROM certificate WHERE agent = $1 AND token IS NULL AND not_after < $2",
		      DB_VALUES(db_text(enrolment->agent.id), db_int(enrolment->now)), NULL, NULL, e);
	if (rows < 0)
		return (int)rows;
	return store_run_one(store,
			     "INSERT INTO certificate (serial, agent, token, issued, not_after)"
			     " VALUES ($1, $2, $3, $4, $5)",
			     DB_VALUES(db_text(certificate->serial), db_text(enrolment->agent.id),
				       db_text(token), db_int(enrolment->now),
				       db_int(certificate->not_after)),
			     e);
}

static int consume_token(struct store *store, const struct store_token *token,
			 const struct store_enrolment *enrolment, struct tg_error *e)
{
	return store_run_one(
		store, "UPDATE token SET used = $2, agent = $3 WHERE id = $1 AND used = 0 AND revoked = 0",
		DB_VALUES(db_text(token->id), db_int(enrolment->now), db_text(enrolment->agent.id)), e);
}

int store_enrol(struct store *store, const struct store_enrolment *enrolment, enum store_refusal *ret_refusal,
		struct tg_error *e)
{
	enum store_refusal refusal = STORE_TOKEN_UNKNOWN;
	struct store_token token;
	bool known = false;
	int ret;

	ret = store_token_find(store, enrolment->token_hash, &token, e);
	if (!ret)
		refusal = judge_token(&token, enrolment);
	else if (ret == -ENOENT)
		ret = 0;
	if (!ret && !refusal)
		ret = judge_level(store, &enrolment->agent, &refusal, e);
	if (!ret && !refusal)
		ret = judge_agent(store, &enrolment->agent, &known, &refusal, e);
	if (!ret && !refusal)
		ret = write_agent(store, enrolment, known, e);
	if (!ret && !refusal)
		ret = write_ek_chain(store, enrolment, e);
	if (!ret && !refusal)
		ret = consume_token(store, &token, enrolment, e);
	if (!ret && !refusal)
		ret = write_certificate(store, enrolment, token.id, e);
	if (!ret)
		*ret_refusal = refusal;
	return ret;
}

static enum store_refusal judge_renewal(const struct store_agent *agent, const struct store_agent *wanted)
{
	if (agent->revoked)
		return STORE_AGENT_REVOKED;
	if (CRYPTO_memcmp(agent->identity, wanted->identity, STORE_HASH_LEN) ||
	    strcmp(agent->fleet, wanted->fleet) || agent->level != wanted->level)
		return STORE_AGENT_TAKEN;
	if (agent->ak_public_len != wanted->ak_public_len ||
	    memcmp(agent->ak_public, wanted->ak_public, wanted->ak_public_len))
		return STORE_AGENT_CHANGED;
	return STORE_ACCEPTED;
}

int store_renew(struct store *store, const struct store_enrolment *enrolment, enum store_refusal *ret_refusal,
		struct tg_error *e)
{
	const struct store_agent *wanted = &enrolment->agent;
	enum store_refusal refusal = STORE_AGENT_UNKNOWN;
	struct store_agent agent;
	int ret;

	ret = store_agent_get(store, wanted->id, &agent, e);
	if (!ret)
		refusal = judge_renewal(&agent, wanted);
	else if (ret == -ENOENT)
		ret = 0;
	if (!ret && !refusal)
		ret = judge_level(store, wanted, &refusal, e);
	if (!ret && !refusal)
		ret = store_run_one(
			store, "UPDATE agent SET renewed = $2, not_after = $3, hpke_point = $4 WHERE id = $1",
			DB_VALUES(db_text(wanted->id), db_int(enrolment->now), db_int(wanted->not_after),
				  db_blob(wanted->hpke_point, sizeof(wanted->hpke_point))),
			e);
	if (!ret && !refusal)
		ret = write_certificate(store, enrolment, NULL, e);
	if (!ret)
		*ret_refusal = refusal;
	return ret;
}
