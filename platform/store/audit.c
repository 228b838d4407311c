/* SPDX-License-Identifier: BSD-3-Clause */
#include "store/ledger.h"
#include "store/parts.h"

enum { DETAIL_SIZE = 1024 };

struct each_record {
	int (*each)(void *arg, const struct store_audit *record);
	void *arg;
};

static int add(struct store *store, const void *arg, struct tg_error *e)
{
	const struct store_audit *record = arg;
	/* the ledger first: it takes over what was there before it, which this record is not */
	int ret = store_ledger_own(store, record, e);

	if (ret)
		return ret;
	return store_run_one(store,
			     "INSERT INTO audit (sequence, time, actor, action, target, outcome, detail)"
			     " SELECT COALESCE(MAX(sequence), 0) + 1, $1, $2, $3, $4, $5, $6 FROM audit",
			     DB_VALUES(db_int(record->time), db_text(record->actor), db_text(record->action),
				       db_text(record->target), db_text(record->outcome),
				       db_text(record->detail)),
			     e);
}

int store_audit_add(struct store *store, const struct store_audit *record, struct tg_error *e)
{
	return store_change(store, add, record, e);
}

static int give_record(void *arg, const struct db_row *row)
{
	char actor[STORE_TEXT_SIZE], action[STORE_TEXT_SIZE], target[STORE_TEXT_SIZE];
	char outcome[STORE_TEXT_SIZE], detail[DETAIL_SIZE];
	const struct each_record *each = arg;
	struct store_audit record = { .sequence = db_row_int(row, 0),
				      .time = db_row_int(row, 1),
				      .actor = actor,
				      .action = action,
				      .target = target,
				      .outcome = outcome,
				      .detail = detail };

	db_row_text(row, 2, actor, sizeof(actor));
	db_row_text(row, 3, action, sizeof(action));
	db_row_text(row, 4, target, sizeof(target));
	db_row_text(row, 5, outcome, sizeof(outcome));
	db_row_text(row, 6, detail, sizeof(detail));
	return each->each(each->arg, &record);
}

int store_audit_each(struct store *store, int64_t limit,
		     int (*each)(void *arg, const struct store_audit *record), void *arg, struct tg_error *e)
{
	struct each_record give = { each, arg };
	int64_t rows = db_run(store->db,
			      "SELECT sequence, time, actor, action, target, outcome, detail FROM audit"
			      " ORDER BY sequence DESC LIMIT $1",
			      DB_VALUES(db_int(limit)), give_record, &give, e);

	return rows < 0 ? (int)rows : 0;
}

int store_audit_after(struct store *store, int64_t after, int64_t limit,
		      int (*each)(void *arg, const struct store_audit *record), void *arg, struct tg_error *e)
{
	struct each_record give = { each, arg };
	int64_t rows = db_run(store->db,
			      "SELECT sequence, time, actor, action, target, outcome, detail FROM audit"
			      " WHERE sequence > $1 ORDER BY sequence LIMIT $2",
			      DB_VALUES(db_int(after), db_int(limit)), give_record, &give, e);

	return rows < 0 ? (int)rows : 0;
}
