/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of store/ share, and nobody else uses. */
#ifndef PLATFORM_STORE_PARTS_H
#define PLATFORM_STORE_PARTS_H

#include "store/db.h"
#include "store/store.h"

struct store {
	struct db *db;
	bool in_transaction;
};

/* Brings the schema up to date. */
int store_migrate(struct store *store, struct tg_error *e);

/* Runs `change` in the caller's transaction, or in one of its own. */
int store_change(struct store *store, int (*change)(struct store *store, const void *arg, struct tg_error *e),
		 const void *arg, struct tg_error *e);
/* One statement as such a change. -ENOENT unless it changed a row. */
int store_run_one(struct store *store, const char *sql, const struct db_value *values, int count,
		  struct tg_error *e);

#endif
