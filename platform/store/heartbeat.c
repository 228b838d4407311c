/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "store/parts.h"

#define COLUMNS                                                                                    \
	"agent, time, version, kernel, engine, state, uptime, real_bytes, pad_bytes, dummy_bytes," \
	" violations, restarts, faults, policy_version"

static int put(struct store *store, const void *arg, struct tg_error *e)
{
	const struct store_heartbeat *b = arg;

	return store_run_one(
		store,
		"INSERT INTO heartbeat (" COLUMNS ")"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"
		" ON CONFLICT (agent) DO UPDATE SET time = excluded.time, version = excluded.version,"
		" kernel = excluded.kernel, engine = excluded.engine, state = excluded.state,"
		" uptime = excluded.uptime, real_bytes = excluded.real_bytes, pad_bytes = excluded.pad_bytes,"
		" dummy_bytes = excluded.dummy_bytes, violations = excluded.violations,"
		" restarts = excluded.restarts, faults = excluded.faults,"
		" policy_version = excluded.policy_version",
		DB_VALUES(db_text(b->agent), db_int(b->time), db_text(b->version), db_text(b->kernel),
			  db_int(b->engine), db_int(b->state), db_int(b->uptime), db_int(b->real),
			  db_int(b->pad), db_int(b->dummy), db_int(b->violations), db_int(b->restarts),
			  db_text(b->faults), db_int(b->policy_version)),
		e);
}

int store_heartbeat_put(struct store *store, const struct store_heartbeat *beat, struct tg_error *e)
{
	return store_change(store, put, beat, e);
}

static int take(void *arg, const struct db_row *row)
{
	struct store_heartbeat *b = arg;

	db_row_text(row, 0, b->agent, sizeof(b->agent));
	b->time = db_row_int(row, 1);
	db_row_text(row, 2, b->version, sizeof(b->version));
	db_row_text(row, 3, b->kernel, sizeof(b->kernel));
	b->engine = db_row_int(row, 4);
	b->state = db_row_int(row, 5);
	b->uptime = db_row_int(row, 6);
	b->real = db_row_int(row, 7);
	b->pad = db_row_int(row, 8);
	b->dummy = db_row_int(row, 9);
	b->violations = db_row_int(row, 10);
	b->restarts = db_row_int(row, 11);
	db_row_text(row, 12, b->faults, sizeof(b->faults));
	b->policy_version = db_row_int(row, 13);
	return 1;
}

int store_heartbeat_get(struct store *store, const char *agent, struct store_heartbeat *ret_beat,
			struct tg_error *e)
{
	int64_t rows;

	memset(ret_beat, 0, sizeof(*ret_beat));
	rows = db_run(store->db, "SELECT " COLUMNS " FROM heartbeat WHERE agent = $1",
		      DB_VALUES(db_text(agent)), take, ret_beat, e);
	if (rows < 0)
		return (int)rows;
	return rows ? 0 : tg_error(e, -ENOENT, "agent '%.*s' has not been heard of", STORE_NAME_SIZE, agent);
}
