/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>

#include "store/parts.h"

#define COLUMNS "version, target, kind, not_before, not_after, offline, name, published, origin, withdrawn"

enum { DOCUMENT = 10 };

struct publication {
	const struct store_policy *policy;
	const struct tg_bytes *document;
};

struct mark {
	int64_t version, sum;
};

static int take_mark(void *arg, const struct db_row *row)
{
	*(struct mark *)arg = (struct mark){ db_row_int(row, 0), db_row_int(row, 1) };
	return 1;
}

int store_policy_mark(struct store *store, int64_t *ret_version, int64_t *ret_mark, struct tg_error *e)
{
	struct mark mark = { 0 };
	int64_t rows = db_run(store->db,
			      "SELECT COALESCE(MAX(version), 0), CAST(COALESCE(SUM(withdrawn), 0) AS BIGINT)"
			      " FROM policy",
			      NULL, 0, take_mark, &mark, e);

	if (rows < 0)
		return (int)rows;
	*ret_version = mark.version;
	/* versions only rise, and what is withdrawn stays so */
	*ret_mark = mark.version + mark.sum;
	return 0;
}

static int publish(struct store *store, const void *arg, struct tg_error *e)
{
	const struct publication *publication = arg;
	const struct store_policy *p = publication->policy;
	int64_t newest = 0, mark;
	int ret = store_policy_mark(store, &newest, &mark, e);

	if (ret)
		return ret;
	if (p->version <= newest)
		return tg_error(e, -ESTALE,
				"version %lld is not higher than %lld, the newest that was published",
				(long long)p->version, (long long)newest);
	return store_run_one(store,
			     "INSERT INTO policy (" COLUMNS ", document)"
			     " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, $10)",
			     DB_VALUES(db_int(p->version), db_text(p->target), db_int(p->kind),
				       db_int(p->not_before), db_int(p->not_after), db_int(p->offline),
				       db_text(p->name), db_int(p->published), db_int(p->origin),
				       db_blob(publication->document->data, publication->document->len)),
			     e);
}

int store_policy_publish(struct store *store, const struct store_policy *policy,
			 const struct tg_bytes *document, struct tg_error *e)
{
	return store_change(store, publish, &(struct publication){ policy, document }, e);
}

struct withdrawal {
	const char *target;
	int64_t now;
};

static int withdraw(struct store *store, const void *arg, struct tg_error *e)
{
	const struct withdrawal *withdrawal = arg;
	int ret = store_run_one(store, "UPDATE policy SET withdrawn = $2 WHERE target = $1 AND withdrawn = 0",
				DB_VALUES(db_text(withdrawal->target), db_int(withdrawal->now)), e);

	return ret == -ENOENT ? tg_error(e, ret, "no policy is published for %.*s", STORE_TARGET_SIZE,
					 withdrawal->target)
			      : ret;
}

int store_policy_withdraw(struct store *store, const char *target, int64_t now, struct tg_error *e)
{
	return store_change(store, withdraw, &(struct withdrawal){ target, now }, e);
}

static void read_policy(const struct db_row *row, struct store_policy *ret_policy)
{
	ret_policy->version = db_row_int(row, 0);
	db_row_text(row, 1, ret_policy->target, sizeof(ret_policy->target));
	ret_policy->kind = db_row_int(row, 2);
	ret_policy->not_before = db_row_int(row, 3);
	ret_policy->not_after = db_row_int(row, 4);
	ret_policy->offline = db_row_int(row, 5);
	db_row_text(row, 6, ret_policy->name, sizeof(ret_policy->name));
	ret_policy->published = db_row_int(row, 7);
	ret_policy->origin = db_row_int(row, 8);
	ret_policy->withdrawn = db_row_int(row, 9);
}

static int read_document(const struct db_row *row, struct tg_bytes *ret_document)
{
	size_t len = db_row_blob(row, DOCUMENT, NULL, 0);
	uint8_t *data = malloc(len ? len : 1);

	if (!data)
		return -ENOMEM;
	db_row_blob(row, DOCUMENT, data, len);
	*ret_document = (struct tg_bytes){ data, len };
	return 0;
}

struct taking {
	struct store_policy *policy;
	struct tg_bytes *document;
	int result;
};

static int take_policy(void *arg, const struct db_row *row)
{
	struct taking *taking = arg;

	read_policy(row, taking->policy);
	taking->result = read_document(row, taking->document);
	return 1;
}

int store_policy_get(struct store *store, int64_t version, struct store_policy *ret_policy,
		     struct tg_bytes *ret_document, struct tg_error *e)
{
	struct taking taking = { ret_policy, ret_document, 0 };
	int64_t rows = db_run(store->db, "SELECT " COLUMNS ", document FROM policy WHERE version = $1",
			      DB_VALUES(db_int(version)), take_policy, &taking, e);

	if (rows < 0)
		return (int)rows;
	if (!rows)
		return tg_error(e, -ENOENT, "no policy has version %lld", (long long)version);
	return taking.result ? tg_error(e, taking.result, "out of memory") : 0;
}

struct each_policy {
	int (*each)(void *arg, const struct store_policy *policy);
	void *arg;
};

static int give_policy(void *arg, const struct db_row *row)
{
	const struct each_policy *each = arg;
	struct store_policy policy = { 0 };

	read_policy(row, &policy);
	return each->each(each->arg, &policy);
}

int store_policy_each(struct store *store, int (*each)(void *arg, const struct store_policy *policy),
		      void *arg, struct tg_error *e)
{
	struct each_policy give = { each, arg };
	int64_t rows = db_run(store->db, "SELECT " COLUMNS " FROM policy ORDER BY version DESC", NULL, 0,
			      give_policy, &give, e);

	return rows < 0 ? (int)rows : 0;
}

struct each_current {
	int (*each)(void *arg, const struct store_policy *policy, const struct tg_bytes *document);
	void *arg;
	int result;
};

static int give_current(void *arg, const struct db_row *row)
{
	struct each_current *each = arg;
	struct store_policy policy = { 0 };
	struct tg_bytes document = { 0 };
	int ret;

	read_policy(row, &policy);
	each->result = read_document(row, &document);
	ret = each->result ? each->result : each->each(each->arg, &policy, &document);
	tg_bytes_free(&document);
	return ret;
}

int store_policy_current(struct store *store,
			 int (*each)(void *arg, const struct store_policy *policy,
				     const struct tg_bytes *document),
			 void *arg, struct tg_error *e)
{
	struct each_current give = { each, arg, 0 };
	int64_t rows = db_run(store->db,
			      "SELECT " COLUMNS ", document FROM policy WHERE withdrawn = 0 AND version ="
			      " (SELECT MAX(version) FROM policy newer WHERE newer.target = policy.target)"
			      " ORDER BY target",
			      NULL, 0, give_current, &give, e);

	if (rows < 0)
		return (int)rows;
	return give.result ? tg_error(e, give.result, "out of memory") : 0;
}
