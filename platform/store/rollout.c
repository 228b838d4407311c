/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "store/parts.h"
#include "store/release.h"

#define COLUMNS                                                                                       \
	"fleet, model, base, candidate, state, stages, stage, failures, quorum, soak, told, healthy," \
	" failed, begun, changed, reason"

static const char *const names[ROLLOUT_STATES] = { "running", "paused", "stopped", "rolled-back", "done" };

struct each_rollout {
	int (*each)(void *arg, const struct store_rollout *rollout);
	void *arg;
};

const char *rollout_state_name(enum rollout_state state)
{
	return state < ROLLOUT_STATES ? names[state] : "unknown";
}

/* Who changed the store behind our back has made a roll-out that stands still, not one that runs wild. */
static void read_stages(const struct db_row *row, struct store_rollout *rollout)
{
	struct stages *stages = &rollout->stages;
	size_t len = db_row_blob(row, 5, stages->buckets, sizeof(stages->buckets));

	stages->count = len / sizeof(stages->buckets[0]);
	stages->now = (size_t)db_row_int(row, 6);
	if (!len || len > sizeof(stages->buckets) || stages->now >= stages->count) {
		*stages = (struct stages){ .buckets = { 0 }, .count = 1 };
		rollout->state = ROLLOUT_PAUSED;
	}
}

static void read_rollout(const struct db_row *row, struct store_rollout *rollout)
{
	db_row_text(row, 0, rollout->fleet, sizeof(rollout->fleet));
	db_row_text(row, 1, rollout->model, sizeof(rollout->model));
	rollout->base = db_row_int(row, 2);
	rollout->candidate = db_row_int(row, 3);
	rollout->state = (enum rollout_state)db_row_int(row, 4);
	rollout->rule.failures = (uint32_t)db_row_int(row, 7);
	rollout->rule.quorum = (uint32_t)db_row_int(row, 8);
	rollout->rule.soak = db_row_int(row, 9);
	rollout->counts.told = db_row_int(row, 10);
	rollout->counts.healthy = db_row_int(row, 11);
	rollout->counts.failed = db_row_int(row, 12);
	rollout->begun = db_row_int(row, 13);
	rollout->changed = db_row_int(row, 14);
	db_row_text(row, 15, rollout->reason, sizeof(rollout->reason));
	read_stages(row, rollout);
}

static int take_rollout(void *arg, const struct db_row *row)
{
	read_rollout(row, arg);
	return 1;
}

static int give_rollout(void *arg, const struct db_row *row)
{
	const struct each_rollout *each = arg;
	struct store_rollout rollout = { 0 };

	read_rollout(row, &rollout);
	return each->each(each->arg, &rollout);
}

int store_rollout_get(struct store *store, const char *model, const char *fleet,
		      struct store_rollout *ret_rollout, struct tg_error *e)
{
	struct store_rollout rollout = { 0 };
	int64_t rows;

	rows = db_run(store->db, "SELECT " COLUMNS " FROM rollout WHERE fleet = $1 AND model = $2",
		      DB_VALUES(db_text(fleet), db_text(model)), take_rollout, &rollout, e);
	if (rows < 0)
		return (int)rows;
	if (!rows)
		return tg_error(e, -ENOENT, "model '%s' is not rolled out in fleet '%s'", model, fleet);
	*ret_rollout = rollout;
	return 0;
}

int store_rollout_each(struct store *store, const char *fleet,
		       int (*each)(void *arg, const struct store_rollout *rollout), void *arg,
		       struct tg_error *e)
{
	struct each_rollout give = { each, arg };
	int64_t rows;

	if (fleet)
		rows = db_run(store->db, "SELECT " COLUMNS " FROM rollout WHERE fleet = $1 ORDER BY model",
			      DB_VALUES(db_text(fleet)), give_rollout, &give, e);
	else
		rows = db_run(store->db, "SELECT " COLUMNS " FROM rollout ORDER BY fleet, model", NULL, 0,
			      give_rollout, &give, e);
	return rows < 0 ? (int)rows : 0;
}

static int put(struct store *store, const void *arg, struct tg_error *e)
{
	const struct store_rollout *r = arg;

	return store_run_one(
		store,
		"INSERT INTO rollout (" COLUMNS
		") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13,"
		" $14, $15, $16) ON CONFLICT (fleet, model) DO UPDATE SET base = $3, candidate = $4, state = "
		"$5,"
		" stages = $6, stage = $7, failures = $8, quorum = $9, soak = $10, told = $11, healthy = $12,"
		" failed = $13, begun = $14, changed = $15, reason = $16",
		DB_VALUES(db_text(r->fleet), db_text(r->model), db_int(r->base), db_int(r->candidate),
			  db_int(r->state),
			  db_blob(r->stages.buckets, r->stages.count * sizeof(r->stages.buckets[0])),
			  db_int((int64_t)r->stages.now), db_int(r->rule.failures), db_int(r->rule.quorum),
			  db_int(r->rule.soak), db_int(r->counts.told), db_int(r->counts.healthy),
			  db_int(r->counts.failed), db_int(r->begun), db_int(r->changed), db_text(r->reason)),
		e);
}

int store_rollout_put(struct store *store, const struct store_rollout *rollout, struct tg_error *e)
{
	return store_change(store, put, rollout, e);
}
