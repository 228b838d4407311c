/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One connection to a database, SQLite or PostgreSQL. Both take the same SQL text: placeholders $1, $2, ...,
 * and the column types BIGINT, TEXT and BLOB only (PostgreSQL gets a domain "blob" over bytea). A connection
 * belongs to one thread at a time.
 *
 * Errors: -EEXIST a unique or foreign key refused it, -ENOSPC the disk is full, -EBUSY another process holds
 * the database for too long, -EIO everything else; each with a message.
 */
#ifndef PLATFORM_STORE_DB_H
#define PLATFORM_STORE_DB_H

#include <stddef.h>
#include <stdint.h>

#include "tensorguard/error.h"

enum { DB_MAX_PARAMS = 16 };

struct db;
struct db_row;

struct db_value {
	enum { DB_NULL, DB_INT, DB_TEXT, DB_BLOB } type;
	int64_t number;
	const void *data;
	size_t len;
};

struct db_value db_int(int64_t number);
struct db_value db_text(const char *text);		  /* NULL is NULL */
struct db_value db_blob(const void *data, size_t len);	  /* NULL is NULL */

/* Called once for each row; not 0 ends the query without an error. The row is valid during the call. */
typedef int db_row_fn(void *arg, const struct db_row *row);

/* Opens "sqlite:FILE", or "postgresql://..." as libpq takes it. Messages never contain the address, which may
 * hold a password. */
int db_open(const char *url, struct db **ret_db, struct tg_error *e);
void db_close(struct db *db);

/* A write transaction excludes all other writers, of other processes too, until it ends. */
int db_begin(struct db *db, struct tg_error *e);
int db_commit(struct db *db, struct tg_error *e);
void db_rollback(struct db *db);

/*
 * Runs one statement. `each` may be NULL. Returns the number of rows that were given to `each`, or that were
 * changed by a statement that returns none, or a negative errno. `sql` must be a string constant: statements
 * are kept prepared by its address.
 */
int64_t db_run(struct db *db, const char *sql, const struct db_value *values, int count, db_row_fn *each,
	       void *arg, struct tg_error *e);
/* Statements that return no rows and take no values, separated by ";"; not kept prepared. */
int db_script(struct db *db, const char *sql, struct tg_error *e);

/* Columns of a row, from 0. A text that does not fit is cut; of a blob the real length is returned. */
int64_t db_row_int(const struct db_row *row, int column);
void db_row_text(const struct db_row *row, int column, char *ret_text, size_t size);
size_t db_row_blob(const struct db_row *row, int column, void *ret_data, size_t size);

#define DB_VALUES(...)                            \
	(const struct db_value[]){ __VA_ARGS__ }, \
		(int)(sizeof((struct db_value[]){ __VA_ARGS__ }) / sizeof(struct db_value))

#endif
