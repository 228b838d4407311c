/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>

#include "store/parts.h"

#define COLUMNS                                                                                     \
	"id, identity, fleet, level, ak_public, hpke_point, enrolled, renewed, not_after, revoked," \
	" reason, labels"

struct each_agent {
	int (*each)(void *arg, const struct store_agent *agent);
	void *arg;
};

struct each_certificate {
	int (*each)(void *arg, const struct store_certificate *certificate);
	void *arg;
};

struct revocation {
	const char *id, *reason;
	int64_t now;
};

static void read_agent(const struct db_row *row, struct store_agent *ret_agent)
{
	struct store_agent *agent = ret_agent;

	db_row_text(row, 0, agent->id, sizeof(agent->id));
	db_row_blob(row, 1, agent->identity, sizeof(agent->identity));
	db_row_text(row, 2, agent->fleet, sizeof(agent->fleet));
	agent->level = db_row_int(row, 3);
	agent->ak_public_len = db_row_blob(row, 4, agent->ak_public, sizeof(agent->ak_public));
	/* none of ours, and nothing is verified by a part of it */
	if (agent->ak_public_len > sizeof(agent->ak_public))
		agent->ak_public_len = 0;
	db_row_blob(row, 5, agent->hpke_point, sizeof(agent->hpke_point));
	agent->enrolled = db_row_int(row, 6);
	agent->renewed = db_row_int(row, 7);
	agent->not_after = db_row_int(row, 8);
	agent->revoked = db_row_int(row, 9);
	db_row_text(row, 10, agent->reason, sizeof(agent->reason));
	db_row_text(row, 11, agent->labels, sizeof(agent->labels));
}

static int take_agent(void *arg, const struct db_row *row)
{
	read_agent(row, arg);
	return 1;
}

static int give_agent(void *arg, const struct db_row *row)
{
	const struct each_agent *each = arg;
	struct store_agent agent = { 0 };

	read_agent(row, &agent);
	return each->each(each->arg, &agent);
}

int store_agent_get(struct store *store, const char *id, struct store_agent *ret_agent, struct tg_error *e)
{
	int64_t rows = db_run(store->db, "SELECT " COLUMNS " FROM agent WHERE id = $1",
			      DB_VALUES(db_text(id)), take_agent, ret_agent, e);

	if (rows < 0)
		return (int)rows;
	return rows ? 0 : tg_error(e, -ENOENT, "no agent '%.*s'", STORE_NAME_SIZE, id);
}

int store_agent_find(struct store *store, const uint8_t identity[static STORE_HASH_LEN],
		     struct store_agent *ret_agent, struct tg_error *e)
{
	int64_t rows = db_run(store->db, "SELECT " COLUMNS " FROM agent WHERE identity = $1",
			      DB_VALUES(db_blob(identity, STORE_HASH_LEN)), take_agent, ret_agent, e);

	if (rows < 0)
		return (int)rows;
	return rows ? 0 : tg_error(e, -ENOENT, "no agent with this identity");
}

int store_agent_each(struct store *store, int (*each)(void *arg, const struct store_agent *agent), void *arg,
		     struct tg_error *e)
{
	struct each_agent give = { each, arg };
	int64_t rows =
		db_run(store->db, "SELECT " COLUMNS " FROM agent ORDER BY id", NULL, 0, give_agent, &give, e);

	return rows < 0 ? (int)rows : 0;
}

static int revoke(struct store *store, const void *arg, struct tg_error *e)
{
	const struct revocation *revocation = arg;
	struct store_agent agent;
	int ret;

	ret = store_agent_get(store, revocation->id, &agent, e);
	if (ret)
		return ret;
	if (agent.revoked)
		return tg_error(e, -EALREADY, "agent '%s' was revoked before", agent.id);
	return store_run_one(
		store, "UPDATE agent SET revoked = $2, reason = $3 WHERE id = $1",
		DB_VALUES(db_text(agent.id), db_int(revocation->now), db_text(revocation->reason)), e);
}

int store_agent_revoke(struct store *store, const char *id, const char *reason, int64_t now,
		       struct tg_error *e)
{
	return store_change(store, revoke, &(struct revocation){ id, reason, now }, e);
}

struct labelling {
	const char *id, *labels;
};

static int set_labels(struct store *store, const void *arg, struct tg_error *e)
{
	const struct labelling *labelling = arg;
	int ret = store_run_one(store, "UPDATE agent SET labels = $2 WHERE id = $1",
				DB_VALUES(db_text(labelling->id), db_text(labelling->labels)), e);

	return ret == -ENOENT ? tg_error(e, ret, "no agent '%.*s'", STORE_NAME_SIZE, labelling->id) : ret;
}

int store_agent_label(struct store *store, const char *id, const char *labels, struct tg_error *e)
{
	return store_change(store, set_labels, &(struct labelling){ id, labels }, e);
}

static int give_certificate(void *arg, const struct db_row *row)
{
	const struct each_certificate *each = arg;
	struct store_certificate certificate = { 0 };

	db_row_text(row, 0, certificate.serial, sizeof(certificate.serial));
	db_row_text(row, 1, certificate.agent, sizeof(certificate.agent));
	certificate.issued = db_row_int(row, 2);
	certificate.not_after = db_row_int(row, 3);
	return each->each(each->arg, &certificate);
}

int store_certificate_each(struct store *store, const char *agent,
			   int (*each)(void *arg, const struct store_certificate *certificate), void *arg,
			   struct tg_error *e)
{
	struct each_certificate give = { each, arg };
	int64_t rows = db_run(store->db,
			      "SELECT serial, agent, issued, not_after FROM certificate"
			      " WHERE agent = $1 ORDER BY issued, serial",
			      DB_VALUES(db_text(agent)), give_certificate, &give, e);

	return rows < 0 ? (int)rows : 0;
}

/* Allocates: its length is known with its row. */
static int take_chain(void *arg, const struct db_row *row)
{
	struct tg_bytes *chain = arg;

	chain->len = db_row_blob(row, 0, NULL, 0);
	chain->data = malloc(chain->len ? chain->len : 1);
	if (chain->data)
		db_row_blob(row, 0, chain->data, chain->len);
	return 1;
}

int store_ek_chain_get(struct store *store, const char *agent, struct tg_bytes *ret_chain, struct tg_error *e)
{
	struct tg_bytes chain = { 0 };
	int64_t rows = db_run(store->db, "SELECT certificates FROM ek_chain WHERE agent = $1",
			      DB_VALUES(db_text(agent)), take_chain, &chain, e);

	if (rows < 0)
		return (int)rows;
	if (rows && !chain.data)
		return tg_error(e, -ENOMEM, "out of memory");
	*ret_chain = chain;
	return 0;
}
