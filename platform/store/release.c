/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>

#include "store/parts.h"
#include "store/release.h"

#define COLUMNS "model, number, manifest, content, blob, size, added, revoked"

enum { DOCUMENT_COLUMN = 8 };

struct each_release {
	int (*each)(void *arg, const struct store_release *release);
	void *arg;
	int ret;
};

struct key {
	const char *model;
	int64_t number;
};

static void read_release(const struct db_row *row, struct store_release *ret_release)
{
	db_row_text(row, 0, ret_release->model, sizeof(ret_release->model));
	ret_release->number = db_row_int(row, 1);
	db_row_blob(row, 2, ret_release->manifest, STORE_HASH_LEN);
	db_row_blob(row, 3, ret_release->content, STORE_HASH_LEN);
	db_row_blob(row, 4, ret_release->blob, STORE_HASH_LEN);
	ret_release->size = db_row_int(row, 5);
	ret_release->added = db_row_int(row, 6);
	ret_release->revoked = db_row_int(row, 7);
}

static int take_release(void *arg, const struct db_row *row)
{
	read_release(row, arg);
	return 1;
}

static int give_release(void *arg, const struct db_row *row)
{
	struct each_release *each = arg;
	struct store_release release = { 0 };
	uint8_t *document;
	int ret;

	release.document_len = db_row_blob(row, DOCUMENT_COLUMN, NULL, 0);
	document = malloc(release.document_len + 1);
	if (!document)
		return each->ret = -ENOMEM;
	read_release(row, &release);
	db_row_blob(row, DOCUMENT_COLUMN, document, release.document_len);
	release.document = document;
	ret = each->each(each->arg, &release);
	free(document);
	return ret;
}

static int add(struct store *store, const void *arg, struct tg_error *e)
{
	const struct store_release *release = arg;
	int ret;

	ret = store_run_one(
		store,
		"INSERT INTO release (" COLUMNS ", document) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
		DB_VALUES(db_text(release->model), db_int(release->number),
			  db_blob(release->manifest, STORE_HASH_LEN),
			  db_blob(release->content, STORE_HASH_LEN), db_blob(release->blob, STORE_HASH_LEN),
			  db_int(release->size), db_int(release->added), db_int(release->revoked),
			  db_blob(release->document, release->document_len)),
		e);
	if (ret == -EEXIST)
		return tg_error(e, ret, "model '%s' has a release %lld already", release->model,
				(long long)release->number);
	return ret;
}

int store_release_add(struct store *store, const struct store_release *release, struct tg_error *e)
{
	return store_change(store, add, release, e);
}

int store_release_get(struct store *store, const char *model, int64_t number,
		      struct store_release *ret_release, struct tg_error *e)
{
	struct store_release release = { 0 };
	int64_t rows;

	rows = db_run(store->db, "SELECT " COLUMNS " FROM release WHERE model = $1 AND number = $2",
		      DB_VALUES(db_text(model), db_int(number)), take_release, &release, e);
	if (rows < 0)
		return (int)rows;
	if (!rows)
		return tg_error(e, -ENOENT, "model '%s' has no release %lld", model, (long long)number);
	*ret_release = release;
	return 0;
}

int store_release_each(struct store *store, const char *model,
		       int (*each)(void *arg, const struct store_release *release), void *arg,
		       struct tg_error *e)
{
	struct each_release give = { each, arg, 0 };
	int64_t rows;

	rows = db_run(store->db,
		      "SELECT " COLUMNS
		      ", document FROM release WHERE $1 = '' OR model = $1 ORDER BY model, number",
		      DB_VALUES(db_text(model ? model : "")), give_release, &give, e);
	if (give.ret)
		return tg_error(e, give.ret, "out of memory");
	return rows < 0 ? (int)rows : 0;
}

struct revocation {
	const char *model;
	int64_t number, now;
};

static int revoke(struct store *store, const void *arg, struct tg_error *e)
{
	const struct revocation *r = arg;
	struct store_release release;
	int ret = store_release_get(store, r->model, r->number, &release, e);

	if (ret)
		return ret;
	if (release.revoked)
		return tg_error(e, -EALREADY, "release %lld of '%s' was revoked before", (long long)r->number,
				r->model);
	return store_run_one(store, "UPDATE release SET revoked = $3 WHERE model = $1 AND number = $2",
			     DB_VALUES(db_text(r->model), db_int(r->number), db_int(r->now)), e);
}

int store_release_revoke(struct store *store, const char *model, int64_t number, int64_t now,
			 struct tg_error *e)
{
	return store_change(store, revoke, &(struct revocation){ model, number, now }, e);
}

struct each_revoked {
	int (*each)(void *arg, const uint8_t manifest[static STORE_HASH_LEN]);
	void *arg;
};

static int give_revoked(void *arg, const struct db_row *row)
{
	const struct each_revoked *each = arg;
	uint8_t manifest[STORE_HASH_LEN] = { 0 };

	db_row_blob(row, 0, manifest, sizeof(manifest));
	return each->each(each->arg, manifest);
}

int store_revoked_each(struct store *store, const char *fleet, int64_t max,
		       int (*each)(void *arg, const uint8_t manifest[static STORE_HASH_LEN]), void *arg,
		       struct tg_error *e)
{
	struct each_revoked give = { each, arg };
	int64_t rows;

	rows = db_run(
		store->db,
		"SELECT r.manifest FROM release r JOIN rollout o ON o.model = r.model WHERE o.fleet = $1"
		" AND r.revoked > 0 ORDER BY r.revoked DESC, r.model, r.number DESC LIMIT $2",
		DB_VALUES(db_text(fleet), db_int(max)), give_revoked, &give, e);
	return rows < 0 ? (int)rows : 0;
}

static int take_flag(void *arg, const struct db_row *row)
{
	(void)row;
	*(bool *)arg = true;
	return 1;
}

static int exists(struct store *store, const char *sql, const struct db_value *values, int count,
		  bool *ret_found, struct tg_error *e)
{
	bool found = false;
	int64_t rows = db_run(store->db, sql, values, count, take_flag, &found, e);

	if (rows < 0)
		return (int)rows;
	*ret_found = found;
	return 0;
}

/* What was revoked stays known: devices that were away have yet to hear of it, and it must not come back. */
static int check_unused(struct store *store, const struct key *key, struct tg_error *e)
{
	struct store_release release;
	bool used = false;
	int ret = store_release_get(store, key->model, key->number, &release, e);

	if (!ret && release.revoked)
		ret = tg_error(e, -EBUSY, "release %lld of '%s' was revoked: that must not be forgotten",
			       (long long)key->number, key->model);
	if (!ret)
		ret = exists(store,
			     "SELECT 1 FROM rollout WHERE model = $1 AND (base = $2 OR candidate = $2)",
			     DB_VALUES(db_text(key->model), db_int(key->number)), &used, e);
	if (!ret && used)
		ret = tg_error(e, -EBUSY, "release %lld of '%s' is in use: a fleet has it or may get it",
			       (long long)key->number, key->model);
	return ret;
}

static int remove_release(struct store *store, const void *arg, struct tg_error *e)
{
	const struct key *key = arg;
	int ret = check_unused(store, key, e);

	if (!ret)
		ret = store_run_one(store, "DELETE FROM release WHERE model = $1 AND number = $2",
				    DB_VALUES(db_text(key->model), db_int(key->number)), e);
	return ret;
}

int store_release_remove(struct store *store, const char *model, int64_t number, struct tg_error *e)
{
	return store_change(store, remove_release, &(struct key){ model, number }, e);
}

int store_blob_allowed(struct store *store, const char *fleet, const uint8_t blob[static STORE_HASH_LEN],
		       bool *ret_allowed, struct tg_error *e)
{
	return exists(store,
		      "SELECT 1 FROM release r JOIN rollout o ON o.model = r.model"
		      " AND (o.base = r.number OR o.candidate = r.number) WHERE o.fleet = $1 AND r.blob = $2"
		      " AND r.revoked = 0"
		      " UNION SELECT 1 FROM trust WHERE blob = $2",
		      DB_VALUES(db_text(fleet), db_blob(blob, STORE_HASH_LEN)), ret_allowed, e);
}

int store_blob_used(struct store *store, const uint8_t blob[static STORE_HASH_LEN], bool *ret_used,
		    struct tg_error *e)
{
	return exists(store,
		      "SELECT 1 FROM release WHERE blob = $1 AND revoked = 0 UNION SELECT 1 FROM trust WHERE "
		      "blob = $1",
		      DB_VALUES(db_blob(blob, STORE_HASH_LEN)), ret_used, e);
}

struct each_trust {
	int (*each)(void *arg, const struct store_trust *trust);
	void *arg;
};

static int give_trust(void *arg, const struct db_row *row)
{
	const struct each_trust *each = arg;
	struct store_trust trust = { .document = { .role = (enum tg_tgsp_role)db_row_int(row, 0),
						   .version = (uint64_t)db_row_int(row, 1),
						   .size = (uint64_t)db_row_int(row, 3) },
				     .issued = db_row_int(row, 4),
				     .expires = db_row_int(row, 5) };

	db_row_blob(row, 2, trust.document.blob, STORE_HASH_LEN);
	return each->each(each->arg, &trust);
}

int store_trust_each(struct store *store, int (*each)(void *arg, const struct store_trust *trust), void *arg,
		     struct tg_error *e)
{
	struct each_trust give = { each, arg };
	int64_t rows;

	rows = db_run(store->db,
		      "SELECT role, version, blob, size, issued, expires FROM trust ORDER BY role, version",
		      NULL, 0, give_trust, &give, e);
	return rows < 0 ? (int)rows : 0;
}

static int put_trust(struct store *store, const void *arg, struct tg_error *e)
{
	const struct store_trust *trust = arg;
	const struct tg_model_trust *document = &trust->document;
	int64_t rows;

	rows = db_run(store->db, "DELETE FROM trust WHERE role = $1 AND (version = $2 OR $1 <> 0)",
		      DB_VALUES(db_int(document->role), db_int((int64_t)document->version)), NULL, NULL, e);
	if (rows < 0)
		return (int)rows;
	return store_run_one(store,
			     "INSERT INTO trust (role, version, blob, size, issued, expires) VALUES ($1, $2, "
			     "$3, $4, $5, $6)",
			     DB_VALUES(db_int(document->role), db_int((int64_t)document->version),
				       db_blob(document->blob, STORE_HASH_LEN),
				       db_int((int64_t)document->size), db_int(trust->issued),
				       db_int(trust->expires)),
			     e);
}

int store_trust_put(struct store *store, const struct store_trust *trust, struct tg_error *e)
{
	_Static_assert(TG_TGSP_ROOT == 0, "the statement above knows it");
	return store_change(store, put_trust, trust, e);
}
