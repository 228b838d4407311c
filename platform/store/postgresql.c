/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <errno.h>
#include <libpq-fe.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/backend.h"

enum { MAX_STATEMENTS = 64 };

/* Writers of all processes queue at this advisory lock, as SQLite's queue at the file. */
#define WRITE_LOCK "SELECT pg_advisory_xact_lock(6072317)"

struct pg_db {
	struct db base;
	PGconn *connection;
	const char *prepared[MAX_STATEMENTS];
	int prepared_count;
	bool in_transaction; /* as its user sees it: a lost connection has none, and this must not pass
				unnoticed */
};

/* The values of one call in the form that libpq takes. */
struct pg_params {
	const char *values[DB_MAX_PARAMS];
	int lengths[DB_MAX_PARAMS], formats[DB_MAX_PARAMS];
	uint64_t numbers[DB_MAX_PARAMS];
};

static struct pg_db *of(struct db *db)
{
	return (struct pg_db *)(void *)db;
}

/* SQLSTATE 23: integrity constraint; 53100: disk full; 55P03, 57014, 40: lock, time limit, serialization. */
static int error_number(const char *state)
{
	if (!state)
		return -EIO;
	if (!strncmp(state, "23", 2))
		return -EEXIST;
	if (!strcmp(state, "53100"))
		return -ENOSPC;
	if (!strcmp(state, "55P03") || !strcmp(state, "57014") || !strncmp(state, "40", 2))
		return -EBUSY;
	return -EIO;
}

/* The primary message only: a detail may quote the row. */
static int failed(struct pg_db *db, const PGresult *result, struct tg_error *e)
{
	const char *text = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
	const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;

	if (!text)
		text = PQstatus(db->connection) == CONNECTION_OK ? "PostgreSQL gave no answer"
								 : "connection to PostgreSQL lost";
	return tg_error(e, error_number(state), "store: %s", text);
}

static int pg_script(struct db *base, const char *sql, struct tg_error *e)
{
	struct pg_db *db = of(base);
	PGresult *result = PQexec(db->connection, sql);
	ExecStatusType status = PQresultStatus(result);
	int ret = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK ? 0 : failed(db, result, e);

	PQclear(result);
	return ret;
}

static void pg_close(struct db *base)
{
	struct pg_db *db = of(base);

	PQfinish(db->connection);
	free(db);
}

static void ignore_notice(void *arg, const PGresult *result)
{
	(void)arg;
	(void)result;
}

/* A server that hangs must not hang the Platform with it. */
static int set_up(struct pg_db *db, struct tg_error *e)
{
	PQsetNoticeReceiver(db->connection, ignore_notice, NULL);
	db->prepared_count = 0;
	return pg_script(&db->base, "SET statement_timeout = '10s'; SET client_encoding = 'UTF8'", e);
}

static int pg_open(const char *address, struct db **ret_db, struct tg_error *e)
{
	const char *const keys[] = { "dbname", "connect_timeout", "tcp_user_timeout", "application_name",
				     NULL };
	const char *const values[] = { address, "10", "10000", "tensorguard-platform", NULL };
	struct pg_db *db = calloc(1, sizeof(*db));
	int ret;

	if (!db)
		return tg_error(e, -ENOMEM, "out of memory");
	db->base.backend = &db_postgresql;
	db->connection = PQconnectdbParams(keys, values, 1);
	if (PQstatus(db->connection) != CONNECTION_OK)
		ret = tg_error(e, -ECONNREFUSED, "store: cannot connect to PostgreSQL as the address says");
	else
		ret = set_up(db, e);
	if (ret) {
		pg_close(&db->base);
		return ret;
	}
	*ret_db = &db->base;
	return 0;
}

/* A lost connection is made anew, once; not in a transaction, of which only the rest would be done then. */
static int revive(struct pg_db *db, struct tg_error *e)
{
	if (PQstatus(db->connection) == CONNECTION_OK)
		return 0;
	if (db->in_transaction)
		return tg_error(e, -EIO, "store: connection to PostgreSQL lost in a transaction");
	PQreset(db->connection);
	if (PQstatus(db->connection) != CONNECTION_OK)
		return tg_error(e, -EIO, "store: connection to PostgreSQL lost");
	return set_up(db, e);
}

static void pg_rollback(struct db *base)
{
	of(base)->in_transaction = false;
	if (PQtransactionStatus(of(base)->connection) != PQTRANS_IDLE)
		pg_script(base, "ROLLBACK", NULL);
}

static int pg_begin(struct db *base, struct tg_error *e)
{
	int ret;

	of(base)->in_transaction = false;
	ret = revive(of(base), e);
	if (!ret)
		ret = pg_script(base, "BEGIN", e);
	of(base)->in_transaction = !ret;
	if (!ret)
		ret = pg_script(base, WRITE_LOCK, e);
	if (ret)
		pg_rollback(base);
	return ret;
}

/* COMMIT of a transaction that failed is answered with ROLLBACK and no error. */
static int pg_commit(struct db *base, struct tg_error *e)
{
	struct pg_db *db = of(base);
	PGresult *result = PQexec(db->connection, "COMMIT");
	int ret = 0;

	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		ret = failed(db, result, e);
	else if (strcmp(PQcmdStatus(result), "COMMIT"))
		ret = tg_error(e, -EIO, "store: the transaction was rolled back");
	PQclear(result);
	db->in_transaction = false;
	if (ret)
		pg_rollback(base);
	return ret;
}

static void fill_params(struct pg_params *params, const struct db_value *values, int count)
{
	for (int i = 0; i < count; i++) {
		params->formats[i] = 1;
		params->lengths[i] = (int)values[i].len;
		params->values[i] = values[i].data;
		if (values[i].type == DB_INT) {
			params->numbers[i] = htobe64((uint64_t)values[i].number);
			params->values[i] = (const char *)&params->numbers[i];
			params->lengths[i] = sizeof(params->numbers[i]);
		}
	}
}

/* Names are numbers; the types of the values follow from the statement. */
static int prepare(struct pg_db *db, const char *sql, int count, char name[static 16], struct tg_error *e)
{
	PGresult *result;
	int i, ret = 0;

	for (i = 0; i < db->prepared_count && db->prepared[i] != sql; i++)
		;
	snprintf(name, 16, "s%d", i);
	if (i < db->prepared_count)
		return 0;
	if (i == MAX_STATEMENTS)
		return tg_error(e, -ENOBUFS, "store: more than %d statements", MAX_STATEMENTS);
	result = PQprepare(db->connection, name, sql, count, NULL);
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		ret = failed(db, result, e);
	else
		db->prepared[db->prepared_count++] = sql;
	PQclear(result);
	return ret;
}

static int64_t give_rows(PGresult *result, db_row_fn *each, void *arg)
{
	struct db_row row = { &db_postgresql, result, 0 };
	int rows = PQntuples(result);

	if (PQresultStatus(result) == PGRES_COMMAND_OK)
		return strtoll(PQcmdTuples(result), NULL, 10);
	for (; row.index < rows; row.index++)
		if (each && each(arg, &row))
			return row.index + 1;
	return rows;
}

static int64_t pg_run(struct db *base, const char *sql, const struct db_value *values, int count,
		      db_row_fn *each, void *arg, struct tg_error *e)
{
	struct pg_db *db = of(base);
	struct pg_params params;
	ExecStatusType status;
	PGresult *result;
	char name[16];
	int64_t ret = 0;

	ret = revive(db, e);
	if (!ret)
		ret = prepare(db, sql, count, name, e);
	if (ret)
		return ret;
	fill_params(&params, values, count);
	result =
		PQexecPrepared(db->connection, name, count, params.values, params.lengths, params.formats, 1);
	status = PQresultStatus(result);
	if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
		ret = give_rows(result, each, arg);
	else
		ret = failed(db, result, e);
	PQclear(result);
	return ret;
}

static int64_t pg_row_int(const struct db_row *row, int column)
{
	uint64_t number;

	if (PQgetlength(row->result, row->index, column) != sizeof(number))
		return 0;
	memcpy(&number, PQgetvalue(row->result, row->index, column), sizeof(number));
	return (int64_t)be64toh(number);
}

static const void *pg_row_bytes(const struct db_row *row, int column, size_t *ret_len)
{
	*ret_len = (size_t)PQgetlength(row->result, row->index, column);
	return PQgetvalue(row->result, row->index, column);
}

const struct db_backend db_postgresql = {
	.prefix = "postgresql:",
	.prelude = "CREATE DOMAIN blob AS bytea",
	.open = pg_open,
	.close = pg_close,
	.begin = pg_begin,
	.commit = pg_commit,
	.rollback = pg_rollback,
	.run = pg_run,
	.script = pg_script,
	.row_int = pg_row_int,
	.row_bytes = pg_row_bytes,
};
