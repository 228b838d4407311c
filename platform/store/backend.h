/* SPDX-License-Identifier: BSD-3-Clause */
/* What a back-end provides; see db.h for the meaning of each. Only db.c and the back-ends use this. */
#ifndef PLATFORM_STORE_BACKEND_H
#define PLATFORM_STORE_BACKEND_H

#include <stdbool.h>

#include "store/db.h"

struct db {
	const struct db_backend *backend;
};

struct db_row {
	const struct db_backend *backend;
	void *result;
	int index;
};

struct db_backend {
	const char *prefix;	/* of the address; the rest, or all of it, goes to open() */
	bool strip_prefix;
	const char *prelude;	/* run once before the first schema version, or NULL */
	int (*open)(const char *address, struct db **ret_db, struct tg_error *e);
	void (*close)(struct db *db);
	int (*begin)(struct db *db, struct tg_error *e);
	int (*commit)(struct db *db, struct tg_error *e);
	void (*rollback)(struct db *db);
	int64_t (*run)(struct db *db, const char *sql, const struct db_value *values, int count,
		       db_row_fn *each, void *arg, struct tg_error *e);
	int (*script)(struct db *db, const char *sql, struct tg_error *e);
	int64_t (*row_int)(const struct db_row *row, int column);
	/* Bytes of a column, valid during the call of db_row_fn; NULL and 0 for NULL. */
	const void *(*row_bytes)(const struct db_row *row, int column, size_t *ret_len);
};

extern const struct db_backend db_sqlite, db_postgresql;

#endif
