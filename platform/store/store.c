/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>

#include "store/parts.h"

int store_open(const char *url, struct store **ret_store, struct tg_error *e)
{
	struct store *store = calloc(1, sizeof(*store));
	int ret;

	if (!store)
		return tg_error(e, -ENOMEM, "out of memory");
	ret = db_open(url, &store->db, e);
	if (!ret)
		ret = store_migrate(store, e);
	if (ret) {
		store_close(store);
		return ret;
	}
	*ret_store = store;
	return 0;
}

void store_close(struct store *store)
{
	if (!store)
		return;
	db_close(store->db);
	free(store);
}

int store_ping(struct store *store, struct tg_error *e)
{
	int64_t version;

	return store_schema_version(store, &version, e);
}

int store_begin(struct store *store, struct tg_error *e)
{
	int ret = db_begin(store->db, e);

	store->in_transaction = !ret;
	return ret;
}

int store_commit(struct store *store, struct tg_error *e)
{
	store->in_transaction = false;
	return db_commit(store->db, e);
}

void store_rollback(struct store *store)
{
	store->in_transaction = false;
	db_rollback(store->db);
}

int store_savepoint(struct store *store, struct tg_error *e)
{
	return db_script(store->db, "SAVEPOINT step", e);
}

int store_savepoint_keep(struct store *store, struct tg_error *e)
{
	return db_script(store->db, "RELEASE SAVEPOINT step", e);
}

int store_savepoint_undo(struct store *store, struct tg_error *e)
{
	return db_script(store->db, "ROLLBACK TO SAVEPOINT step; RELEASE SAVEPOINT step", e);
}

int store_change(struct store *store, int (*change)(struct store *store, const void *arg, struct tg_error *e),
		 const void *arg, struct tg_error *e)
{
	int ret;

	if (store->in_transaction)
		return change(store, arg, e);
	ret = store_begin(store, e);
	if (ret)
		return ret;
	ret = change(store, arg, e);
	if (ret)
		store_rollback(store);
	else
		ret = store_commit(store, e);
	return ret;
}

int store_run_one(struct store *store, const char *sql, const struct db_value *values, int count,
		  struct tg_error *e)
{
	int64_t rows = db_run(store->db, sql, values, count, NULL, NULL, e);

	if (rows < 0)
		return (int)rows;
	return rows ? 0 : tg_error(e, -ENOENT, "no such entry");
}
