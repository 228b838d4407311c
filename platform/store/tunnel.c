/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "store/parts.h"
#include "store/tunnel.h"

struct each_tunnel {
	int (*each)(void *arg, const struct store_tunnel *tunnel);
	void *arg;
};

static void read_keys(const struct db_row *row, struct tg_tunnel_keys *keys)
{
	db_row_text(row, 0, keys->tunnel, sizeof(keys->tunnel));
	db_row_blob(row, 1, keys->current, sizeof(keys->current));
	keys->has_next = db_row_blob(row, 2, keys->next, sizeof(keys->next)) == sizeof(keys->next);
}

static int give(void *arg, const struct db_row *row)
{
	const struct each_tunnel *each = arg;
	struct store_tunnel tunnel = { .since = db_row_int(row, 3) };

	read_keys(row, &tunnel.keys);
	return each->each(each->arg, &tunnel);
}

int store_tunnel_each(struct store *store, const char *agent,
		      int (*each)(void *arg, const struct store_tunnel *tunnel), void *arg,
		      struct tg_error *e)
{
	struct each_tunnel all = { each, arg };
	int64_t rows = db_run(store->db,
			      "SELECT tunnel, current_key, next_key, since FROM tunnel_key"
			      " WHERE agent = $1 ORDER BY tunnel",
			      DB_VALUES(db_text(agent)), give, &all, e);

	return rows < 0 ? (int)rows : 0;
}

static int take_keys(void *arg, const struct db_row *row)
{
	read_keys(row, arg);
	return 1;
}

int store_tunnel_find(struct store *store, const char *fleet, const struct tg_keys_wanted *wanted,
		      struct tg_tunnel_keys *ret_keys, struct tg_error *e)
{
	struct tg_tunnel_keys keys = { .has_next = false };
	int64_t rows = db_run(store->db,
			      "SELECT t.tunnel, t.current_key, t.next_key FROM tunnel_key t"
			      " JOIN agent a ON a.id = t.agent"
			      " WHERE t.agent = $1 AND t.tunnel = $2 AND a.fleet = $3 AND a.revoked = 0",
			      DB_VALUES(db_text(wanted->agent), db_text(wanted->tunnel), db_text(fleet)),
			      take_keys, &keys, e);

	if (rows < 0)
		return (int)rows;
	if (!rows)
		return tg_error(e, -ENOENT, "agent '%.*s' has no such tunnel here", TG_ID_LEN, wanted->agent);
	*ret_keys = keys;
	return 0;
}

/* ---- writing ---- */

struct putting {
	const char *agent;
	const struct tg_tunnel_keys *tunnels;
	size_t count;
	int64_t now;
	bool taken;
};

static struct db_value next_of(const struct tg_tunnel_keys *keys)
{
	return db_blob(keys->has_next ? keys->next : NULL, TG_KEY_LEN);
}

/* The rows of others that hold one of these keys. */
static int64_t count_taken(struct store *store, const struct putting *p, const struct tg_tunnel_keys *keys,
			   struct tg_error *e)
{
	return db_run(
		store->db,
		"SELECT 1 FROM tunnel_public WHERE (public_key = $1 OR public_key = $2) AND agent <> $3",
		DB_VALUES(db_blob(keys->current, TG_KEY_LEN), next_of(keys), db_text(p->agent)), NULL, NULL,
		e);
}

static int64_t put_one(struct store *store, const struct putting *p, const struct tg_tunnel_keys *keys,
		       struct tg_error *e)
{
	static const char sql[] = "INSERT INTO tunnel_public (public_key, agent, tunnel) VALUES ($1, $2, $3)";
	int64_t rows = db_run(
		store->db, sql,
		DB_VALUES(db_blob(keys->current, TG_KEY_LEN), db_text(p->agent), db_text(keys->tunnel)), NULL,
		NULL, e);

	if (rows >= 0 && keys->has_next)
		rows = db_run(store->db, sql,
			      DB_VALUES(next_of(keys), db_text(p->agent), db_text(keys->tunnel)), NULL, NULL,
			      e);
	if (rows < 0)
		return rows;
	return db_run(store->db,
		      "INSERT INTO tunnel_key (agent, tunnel, current_key, next_key, since)"
		      " VALUES ($1, $2, $3, $4, $5) ON CONFLICT (agent, tunnel) DO UPDATE SET since ="
		      " CASE WHEN tunnel_key.current_key = excluded.current_key THEN tunnel_key.since"
		      " ELSE excluded.since END,"
		      " current_key = excluded.current_key, next_key = excluded.next_key",
		      DB_VALUES(db_text(p->agent), db_text(keys->tunnel), db_blob(keys->current, TG_KEY_LEN),
				next_of(keys), db_int(p->now)),
		      NULL, NULL, e);
}

static int has_name(void *arg, const struct db_row *row)
{
	struct putting *p = arg;
	char name[TG_TUNNEL_NAME_LEN];

	db_row_text(row, 0, name, sizeof(name));
	for (size_t i = 0; i < p->count; i++)
		if (!strcmp(p->tunnels[i].tunnel, name))
			return 0;
	/* one is enough: all go, and those that are named come again with a new time */
	p->taken = true;
	return 1;
}

/* Tunnels that are not named any more. */
static int64_t drop_others(struct store *store, const struct putting *p, struct tg_error *e)
{
	struct putting look = { .tunnels = p->tunnels, .count = p->count };
	int64_t rows = db_run(store->db, "SELECT tunnel FROM tunnel_key WHERE agent = $1",
			      DB_VALUES(db_text(p->agent)), has_name, &look, e);

	if (rows < 0 || !look.taken)
		return rows;
	return db_run(store->db, "DELETE FROM tunnel_key WHERE agent = $1", DB_VALUES(db_text(p->agent)),
		      NULL, NULL, e);
}

static int put(struct store *store, const void *arg, struct tg_error *e)
{
	struct putting *p = *(struct putting *const *)arg;
	int64_t rows = 0;

	for (size_t i = 0; i < p->count && !rows; i++)
		rows = count_taken(store, p, &p->tunnels[i], e);
	if (rows) {
		p->taken = rows > 0;
		return rows < 0 ? (int)rows : 0;
	}
	rows = drop_others(store, p, e);
	if (rows >= 0)
		rows = db_run(store->db, "DELETE FROM tunnel_public WHERE agent = $1",
			      DB_VALUES(db_text(p->agent)), NULL, NULL, e);
	for (size_t i = 0; i < p->count && rows >= 0; i++)
		rows = put_one(store, p, &p->tunnels[i], e);
	return rows < 0 ? (int)rows : 0;
}

int store_tunnel_put(struct store *store, const char *agent, const struct tg_tunnel_keys *tunnels,
		     size_t count, int64_t now, bool *ret_taken, struct tg_error *e)
{
	struct putting putting = { .agent = agent, .tunnels = tunnels, .count = count, .now = now };
	struct putting *const arg = &putting;
	int ret = store_change(store, put, &arg, e);

	if (!ret)
		*ret_taken = putting.taken;
	return ret;
}
