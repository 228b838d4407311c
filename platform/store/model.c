/* SPDX-License-Identifier: BSD-3-Clause */
#include "store/parts.h"
#include "store/release.h"

#define REPORT "agent, model, number, manifest, state, since, detail, seen"

enum { HISTORY_KEPT = 32 };

struct each_model {
	int (*each)(void *arg, const struct store_model *model);
	void *arg;
};

static void read_report(const struct db_row *row, struct store_model *model)
{
	struct tg_model_report *report = &model->report;

	db_row_text(row, 0, model->agent, sizeof(model->agent));
	db_row_text(row, 1, report->model, sizeof(report->model));
	report->release = (uint64_t)db_row_int(row, 2);
	db_row_blob(row, 3, report->manifest, STORE_HASH_LEN);
	report->state = (enum tg_model_state)db_row_int(row, 4);
	report->since = db_row_int(row, 5);
	db_row_text(row, 6, report->detail, sizeof(report->detail));
	model->seen = db_row_int(row, 7);
}

static int give_model(void *arg, const struct db_row *row)
{
	const struct each_model *each = arg;
	struct store_model model = { 0 };

	read_report(row, &model);
	model.told = db_row_int(row, 8);
	model.verdict = (enum device_verdict)db_row_int(row, 9);
	model.ran = db_row_int(row, 10);
	model.faults = db_row_int(row, 11);
	return each->each(each->arg, &model);
}

static int give_past(void *arg, const struct db_row *row)
{
	const struct each_model *each = arg;
	struct store_model model = { 0 };

	read_report(row, &model);
	return each->each(each->arg, &model);
}

int store_model_each(struct store *store, const char *agent,
		     int (*each)(void *arg, const struct store_model *model), void *arg, struct tg_error *e)
{
	struct each_model give = { each, arg };
	int64_t rows;

	rows = db_run(store->db,
		      "SELECT " REPORT
		      ", told, verdict, ran, faults FROM model WHERE agent = $1 ORDER BY model",
		      DB_VALUES(db_text(agent)), give_model, &give, e);
	return rows < 0 ? (int)rows : 0;
}

int store_model_all(struct store *store, int (*each)(void *arg, const struct store_model *model), void *arg,
		    struct tg_error *e)
{
	struct each_model give = { each, arg };
	int64_t rows;

	rows = db_run(store->db,
		      "SELECT " REPORT ", told, verdict, ran, faults FROM model ORDER BY model, agent", NULL,
		      0, give_model, &give, e);
	return rows < 0 ? (int)rows : 0;
}

static int put(struct store *store, const void *arg, struct tg_error *e)
{
	const struct store_model *model = arg;
	const struct tg_model_report *report = &model->report;

	return store_run_one(
		store,
		"INSERT INTO model (" REPORT ", told, verdict, ran, faults)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT (agent, model)"
		" DO UPDATE SET number = $3, manifest = $4, state = $5, since = $6, detail = $7, seen = $8,"
		" told = $9, verdict = $10, ran = $11, faults = $12",
		DB_VALUES(db_text(model->agent), db_text(report->model), db_int((int64_t)report->release),
			  db_blob(report->manifest, STORE_HASH_LEN), db_int(report->state),
			  db_int(report->since), db_text(report->detail), db_int(model->seen),
			  db_int(model->told), db_int(model->verdict), db_int(model->ran),
			  db_int(model->faults)),
		e);
}

int store_model_put(struct store *store, const struct store_model *model, struct tg_error *e)
{
	return store_change(store, put, model, e);
}

static int note(struct store *store, const void *arg, struct tg_error *e)
{
	const struct store_model *model = arg;
	const struct tg_model_report *report = &model->report;
	int64_t rows;
	int ret;

	ret = store_run_one(
		store,
		"INSERT INTO model_history (" REPORT ", sequence) SELECT $1, $2, $3, $4, $5, $6, $7, $8,"
		" COALESCE(MAX(sequence), 0) + 1 FROM model_history WHERE agent = $1",
		DB_VALUES(db_text(model->agent), db_text(report->model), db_int((int64_t)report->release),
			  db_blob(report->manifest, STORE_HASH_LEN), db_int(report->state),
			  db_int(report->since), db_text(report->detail), db_int(model->seen)),
		e);
	if (ret)
		return ret;
	rows = db_run(store->db,
		      "DELETE FROM model_history WHERE agent = $1 AND sequence <="
		      " (SELECT MAX(sequence) FROM model_history WHERE agent = $1) - $2",
		      DB_VALUES(db_text(model->agent), db_int(HISTORY_KEPT)), NULL, NULL, e);
	return rows < 0 ? (int)rows : 0;
}

int store_model_note(struct store *store, const struct store_model *model, struct tg_error *e)
{
	return store_change(store, note, model, e);
}

int store_model_history(struct store *store, const char *agent,
			int (*each)(void *arg, const struct store_model *model), void *arg,
			struct tg_error *e)
{
	struct each_model give = { each, arg };
	int64_t rows;

	rows = db_run(store->db,
		      "SELECT " REPORT " FROM model_history WHERE agent = $1 ORDER BY sequence DESC",
		      DB_VALUES(db_text(agent)), give_past, &give, e);
	return rows < 0 ? (int)rows : 0;
}
