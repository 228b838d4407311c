/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "store/parts.h"

#define COLUMNS "serial, name, issued, not_after, revoked, reason"

struct each_operator {
	int (*each)(void *arg, const struct store_operator *operator);
	void *arg;
};

struct revocation {
	const char *name, *serial, *reason;
	int64_t now;
};

static void read_operator(const struct db_row *row, struct store_operator *ret_operator)
{
	struct store_operator *operator= ret_operator;

	db_row_text(row, 0, operator->serial, sizeof(operator->serial));
	db_row_text(row, 1, operator->name, sizeof(operator->name));
	operator->issued = db_row_int(row, 2);
	operator->not_after = db_row_int(row, 3);
	operator->revoked = db_row_int(row, 4);
	db_row_text(row, 5, operator->reason, sizeof(operator->reason));
}

static int take_operator(void *arg, const struct db_row *row)
{
	read_operator(row, arg);
	return 1;
}

static int give_operator(void *arg, const struct db_row *row)
{
	const struct each_operator *each = arg;
	struct store_operator operator= { 0 };

	read_operator(row, &operator);
	return each->each(each->arg, &operator);
}

static int add(struct store *store, const void *arg, struct tg_error *e)
{
	const struct store_operator *operator= arg;

	return store_run_one(store,
			     "INSERT INTO operator (serial, name, issued, not_after, revoked, reason)"
			     " VALUES ($1, $2, $3, $4, 0, '')",
			     DB_VALUES(db_text(operator->serial), db_text(operator->name),
				       db_int(operator->issued), db_int(operator->not_after)),
			     e);
}

int store_operator_add(struct store *store, const struct store_operator *operator, struct tg_error * e)
{
	return store_change(store, add, operator, e);
}

int store_operator_get(struct store *store, const char *serial, struct store_operator *ret_operator,
		       struct tg_error *e)
{
	int64_t rows = db_run(store->db, "SELECT " COLUMNS " FROM operator WHERE serial = $1",
			      DB_VALUES(db_text(serial)), take_operator, ret_operator, e);

	if (rows < 0)
		return (int)rows;
	return rows ? 0 : tg_error(e, -ENOENT, "no operator's certificate has the number %s", serial);
}

int store_operator_each(struct store *store, int (*each)(void *arg, const struct store_operator *operator),
			void *arg, struct tg_error *e)
{
	struct each_operator give = { each, arg };
	int64_t rows = db_run(store->db, "SELECT " COLUMNS " FROM operator ORDER BY name, issued, serial",
			      NULL, 0, give_operator, &give, e);

	return rows < 0 ? (int)rows : 0;
}

static int take_count(void *arg, const struct db_row *row)
{
	*(int64_t *)arg = db_row_int(row, 0);
	return 1;
}

/* Why nothing was revoked. */
static int explain(struct store *store, const struct revocation *revocation, struct tg_error *e)
{
	int64_t count = 0, rows;

	rows = db_run(store->db, "SELECT COUNT(*) FROM operator WHERE name = $1 AND ($2 = '' OR serial = $2)",
		      DB_VALUES(db_text(revocation->name), db_text(revocation->serial)), take_count, &count,
		      e);
	if (rows < 0)
		return (int)rows;
	if (count)
		return tg_error(e, -EALREADY, "operator '%s': revoked before", revocation->name);
	return tg_error(e, -ENOENT, "operator '%s' has no such certificate", revocation->name);
}

static int revoke(struct store *store, const void *arg, struct tg_error *e)
{
	const struct revocation *revocation = arg;
	int64_t rows;

	rows = db_run(store->db,
		      "UPDATE operator SET revoked = $3, reason = $4"
		      " WHERE name = $1 AND ($2 = '' OR serial = $2) AND revoked = 0",
		      DB_VALUES(db_text(revocation->name), db_text(revocation->serial),
				db_int(revocation->now), db_text(revocation->reason)),
		      NULL, NULL, e);
	if (rows < 0)
		return (int)rows;
	return rows ? 0 : explain(store, revocation, e);
}

int store_operator_revoke(struct store *store, const char *name, const char *serial, const char *reason,
			  int64_t now, struct tg_error *e)
{
	return store_change(store, revoke, &(struct revocation){ name, serial ? serial : "", reason, now },
			    e);
}
