/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "store/backend.h"

static const struct db_backend *const backends[] = { &db_sqlite, &db_postgresql };

struct db_value db_int(int64_t number)
{
	return (struct db_value){ .type = DB_INT, .number = number };
}

struct db_value db_text(const char *text)
{
	if (!text)
		return (struct db_value){ .type = DB_NULL };
	return (struct db_value){ .type = DB_TEXT, .data = text, .len = strlen(text) };
}

struct db_value db_blob(const void *data, size_t len)
{
	if (!data)
		return (struct db_value){ .type = DB_NULL };
	return (struct db_value){ .type = DB_BLOB, .data = data, .len = len };
}

int db_open(const char *url, struct db **ret_db, struct tg_error *e)
{
	for (size_t i = 0; i < sizeof(backends) / sizeof(backends[0]); i++) {
		const struct db_backend *backend = backends[i];
		size_t len = strlen(backend->prefix);

		if (!strncmp(url, backend->prefix, len))
			return backend->open(backend->strip_prefix ? url + len : url, ret_db, e);
	}
	return tg_error(e, -EINVAL, "the store's address must begin with 'sqlite:' or 'postgresql:'");
}

void db_close(struct db *db)
{
	if (db)
		db->backend->close(db);
}

int db_begin(struct db *db, struct tg_error *e)
{
	return db->backend->begin(db, e);
}

int db_commit(struct db *db, struct tg_error *e)
{
	return db->backend->commit(db, e);
}

void db_rollback(struct db *db)
{
	db->backend->rollback(db);
}

int64_t db_run(struct db *db, const char *sql, const struct db_value *values, int count, db_row_fn *each,
	       void *arg, struct tg_error *e)
{
	if (count > DB_MAX_PARAMS)
		return tg_error(e, -E2BIG, "a statement with %d values", count);
	return db->backend->run(db, sql, values, count, each, arg, e);
}

int db_script(struct db *db, const char *sql, struct tg_error *e)
{
	return db->backend->script(db, sql, e);
}

int64_t db_row_int(const struct db_row *row, int column)
{
	return row->backend->row_int(row, column);
}

void db_row_text(const struct db_row *row, int column, char *ret_text, size_t size)
{
	size_t len;
	const void *data = row->backend->row_bytes(row, column, &len);

	if (len >= size)
		len = size - 1;
	if (len)
		memcpy(ret_text, data, len);
	ret_text[len] = '\0';
}

size_t db_row_blob(const struct db_row *row, int column, void *ret_data, size_t size)
{
	size_t len;
	const void *data = row->backend->row_bytes(row, column, &len);

	if (len && size)
		memcpy(ret_data, data, len < size ? len : size);
	return len;
}
