/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "store/parts.h"

_Static_assert(sizeof(struct store_pcr) == 1 + STORE_HASH_LEN, "no padding in what is stored");

#define COLUMNS "name, levels, pcr_mask, pcrs, event_log_optional, created, grace, grace_software"

struct each_fleet {
	int (*each)(void *arg, const struct store_fleet *fleet);
	void *arg;
};

static void read_fleet(const struct db_row *row, struct store_fleet *ret_fleet)
{
	size_t len;

	db_row_text(row, 0, ret_fleet->name, sizeof(ret_fleet->name));
	ret_fleet->levels = (uint32_t)db_row_int(row, 1);
	ret_fleet->pcr_mask = (uint32_t)db_row_int(row, 2);
	/* struct store_pcr is bytes only: it is kept as it is */
	len = db_row_blob(row, 3, ret_fleet->pcrs, sizeof(ret_fleet->pcrs));
	ret_fleet->pcr_count = len / sizeof(ret_fleet->pcrs[0]);
	/* who changed the store behind our back has made a fleet that takes nobody, not one that expects less
	 */
	if (len > sizeof(ret_fleet->pcrs) || len % sizeof(ret_fleet->pcrs[0]))
		ret_fleet->levels = ret_fleet->pcr_count = 0;
	ret_fleet->event_log_optional = db_row_int(row, 4);
	ret_fleet->created = db_row_int(row, 5);
	ret_fleet->grace = db_row_int(row, 6);
	ret_fleet->grace_software = db_row_int(row, 7);
}

static int take_fleet(void *arg, const struct db_row *row)
{
	read_fleet(row, arg);
	return 1;
}

static int give_fleet(void *arg, const struct db_row *row)
{
	const struct each_fleet *each = arg;
	struct store_fleet fleet;

	read_fleet(row, &fleet);
	return each->each(each->arg, &fleet);
}

static struct db_value pcrs_value(const struct store_fleet *fleet)
{
	return db_blob(fleet->pcrs, fleet->pcr_count * sizeof(fleet->pcrs[0]));
}

static int create(struct store *store, const void *arg, struct tg_error *e)
{
	const struct store_fleet *fleet = arg;
	int ret;

	ret = store_run_one(store, "INSERT INTO fleet (" COLUMNS ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
			    DB_VALUES(db_text(fleet->name), db_int(fleet->levels), db_int(fleet->pcr_mask),
				      pcrs_value(fleet), db_int(fleet->event_log_optional),
				      db_int(fleet->created), db_int(fleet->grace),
				      db_int(fleet->grace_software)),
			    e);
	if (ret == -EEXIST)
		return tg_error(e, ret, "fleet '%s' exists already", fleet->name);
	return ret;
}

int store_fleet_create(struct store *store, const struct store_fleet *fleet, struct tg_error *e)
{
	return store_change(store, create, fleet, e);
}

static int set(struct store *store, const void *arg, struct tg_error *e)
{
	const struct store_fleet *fleet = arg;
	int ret;

	ret = store_run_one(store,
			    "UPDATE fleet SET levels = $2, pcr_mask = $3, pcrs = $4, event_log_optional = $5,"
			    " grace = $6, grace_software = $7 WHERE name = $1",
			    DB_VALUES(db_text(fleet->name), db_int(fleet->levels), db_int(fleet->pcr_mask),
				      pcrs_value(fleet), db_int(fleet->event_log_optional),
				      db_int(fleet->grace), db_int(fleet->grace_software)),
			    e);
	if (ret == -ENOENT)
		return tg_error(e, ret, "no fleet '%s'", fleet->name);
	return ret;
}

int store_fleet_set(struct store *store, const struct store_fleet *fleet, struct tg_error *e)
{
	return store_change(store, set, fleet, e);
}

int store_fleet_get(struct store *store, const char *name, struct store_fleet *ret_fleet, struct tg_error *e)
{
	int64_t rows = db_run(store->db, "SELECT " COLUMNS " FROM fleet WHERE name = $1",
			      DB_VALUES(db_text(name)), take_fleet, ret_fleet, e);

	if (rows < 0)
		return (int)rows;
	return rows ? 0 : tg_error(e, -ENOENT, "no fleet '%s'", name);
}

int store_fleet_each(struct store *store, int (*each)(void *arg, const struct store_fleet *fleet), void *arg,
		     struct tg_error *e)
{
	struct each_fleet give = { each, arg };
	int64_t rows = db_run(store->db, "SELECT " COLUMNS " FROM fleet ORDER BY name", NULL, 0, give_fleet,
			      &give, e);

	return rows < 0 ? (int)rows : 0;
}
