/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/backend.h"

enum { MAX_STATEMENTS = 64, BUSY_MS = 5000 };

struct sqlite_db {
	struct db base;
	sqlite3 *handle;
	struct {
		const char *sql;
		sqlite3_stmt *statement;
	} cache[MAX_STATEMENTS];
	int cached;
};

static struct sqlite_db *of(struct db *db)
{
	return (struct sqlite_db *)(void *)db;
}

static int error_number(int code)
{
	switch (code & 0xff) {
	case SQLITE_CONSTRAINT:
		return -EEXIST;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_NOMEM:
		return -ENOMEM;
	default:
		return -EIO;
	}
}

static int failed(struct sqlite_db *db, struct tg_error *e)
{
	/* a full disk under the WAL's shared memory is reported as an I/O error */
	int code = sqlite3_extended_errcode(db->handle), err = error_number(code);

	if (err == -EIO && sqlite3_system_errno(db->handle) == ENOSPC)
		err = -ENOSPC;
	return tg_error(e, err, "store: %s", sqlite3_errmsg(db->handle));
}

static void sqlite_close(struct db *base)
{
	struct sqlite_db *db = of(base);

	for (int i = 0; i < db->cached; i++)
		sqlite3_finalize(db->cache[i].statement);
	sqlite3_close(db->handle);
	free(db);
}

static int sqlite_script(struct db *base, const char *sql, struct tg_error *e)
{
	struct sqlite_db *db = of(base);

	return sqlite3_exec(db->handle, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : failed(db, e);
}

/*
 * The file and what SQLite puts beside it, which gets the same mode, are for the owner alone. One that is
 * there must not be opened here: closing it would drop the locks of all of this process's connections
 * (fcntl(2)), and another process that closes the store would take its log away from under them.
 */
static int make_file(const char *path, struct tg_error *e)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		return errno == EEXIST ? 0 : tg_error(e, -errno, "%s: %s", path, strerror(errno));
	close(fd);
	return 0;
}

static int set_up(struct sqlite_db *db, struct tg_error *e)
{
	sqlite3_busy_timeout(db->handle, BUSY_MS);
	return sqlite_script(&db->base,
			     "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; "
			     "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF",
			     e);
}

static int sqlite_open(const char *path, struct db **ret_db, struct tg_error *e)
{
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
	struct sqlite_db *db;
	int ret;

	ret = make_file(path, e);
	if (ret)
		return ret;
	db = calloc(1, sizeof(*db));
	if (!db)
		return tg_error(e, -ENOMEM, "out of memory");
	db->base.backend = &db_sqlite;
	if (sqlite3_open_v2(path, &db->handle, flags, NULL) != SQLITE_OK)
		ret = failed(db, e);
	else
		ret = set_up(db, e);
	if (ret) {
		sqlite_close(&db->base);
		return tg_error_prefix(e, ret, "%s", path);
	}
	*ret_db = &db->base;
	return 0;
}

static int sqlite_begin(struct db *db, struct tg_error *e)
{
	return sqlite_script(db, "BEGIN IMMEDIATE", e);
}

static void sqlite_rollback(struct db *base)
{
	/* some errors have rolled back already */
	if (!sqlite3_get_autocommit(of(base)->handle))
		sqlite_script(base, "ROLLBACK", NULL);
}

static int sqlite_commit(struct db *base, struct tg_error *e)
{
	int ret = sqlite_script(base, "COMMIT", e);

	if (ret)
		sqlite_rollback(base);
	return ret;
}

static int prepare(struct sqlite_db *db, const char *sql, sqlite3_stmt **ret_statement, struct tg_error *e)
{
	for (int i = 0; i < db->cached; i++)
		if (db->cache[i].sql == sql) {
			*ret_statement = db->cache[i].statement;
			return 0;
		}
	if (db->cached == MAX_STATEMENTS)
		return tg_error(e, -ENOBUFS, "store: more than %d statements", MAX_STATEMENTS);
	if (sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, ret_statement, NULL) !=
	    SQLITE_OK)
		return failed(db, e);
	db->cache[db->cached].sql = sql;
	db->cache[db->cached++].statement = *ret_statement;
	return 0;
}

static int bind_one(sqlite3_stmt *statement, int number, const struct db_value *v)
{
	char name[8] = "$";
	int at;

	/* SQLite numbers $2 by its place in the text, not by its name */
	sqlite3_snprintf(sizeof(name), name, "$%d", number);
	at = sqlite3_bind_parameter_index(statement, name);
	switch (v->type) {
	case DB_INT:
		return sqlite3_bind_int64(statement, at, v->number);
	case DB_TEXT:
		return sqlite3_bind_text64(statement, at, v->data, v->len, SQLITE_STATIC, SQLITE_UTF8);
	case DB_BLOB:
		return sqlite3_bind_blob64(statement, at, v->data, v->len, SQLITE_STATIC);
	case DB_NULL:
	default:
		return sqlite3_bind_null(statement, at);
	}
}

static int64_t step_all(struct sqlite_db *db, sqlite3_stmt *statement, db_row_fn *each, void *arg,
			struct tg_error *e)
{
	struct db_row row = { &db_sqlite, statement, 0 };
	int64_t rows = 0;
	int code;

	while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
		rows++;
		if (each && each(arg, &row))
			return rows;
	}
	if (code != SQLITE_DONE)
		return failed(db, e);
	return sqlite3_column_count(statement) ? rows : sqlite3_changes(db->handle);
}

static int64_t sqlite_run(struct db *base, const char *sql, const struct db_value *values, int count,
			  db_row_fn *each, void *arg, struct tg_error *e)
{
	struct sqlite_db *db = of(base);
	sqlite3_stmt *statement;
	int64_t ret;

	ret = prepare(db, sql, &statement, e);
	if (ret)
		return ret;
	for (int i = 0; i < count && !ret; i++)
		if (bind_one(statement, i + 1, &values[i]) != SQLITE_OK)
			ret = failed(db, e);
	if (!ret)
		ret = step_all(db, statement, each, arg, e);
	sqlite3_reset(statement);
	sqlite3_clear_bindings(statement);
	return ret;
}

static int64_t sqlite_row_int(const struct db_row *row, int column)
{
	return sqlite3_column_int64(row->result, column);
}

static const void *sqlite_row_bytes(const struct db_row *row, int column, size_t *ret_len)
{
	const void *data = sqlite3_column_blob(row->result, column);

	*ret_len = (size_t)sqlite3_column_bytes(row->result, column);
	return data;
}

const struct db_backend db_sqlite = {
	.prefix = "sqlite:",
	.strip_prefix = true,
	.open = sqlite_open,
	.close = sqlite_close,
	.begin = sqlite_begin,
	.commit = sqlite_commit,
	.rollback = sqlite_rollback,
	.run = sqlite_run,
	.script = sqlite_script,
	.row_int = sqlite_row_int,
	.row_bytes = sqlite_row_bytes,
};
