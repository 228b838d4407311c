/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <openssl/crypto.h>

#include "store/parts.h"

#define COLUMNS "id, hash, fleet, ek_hash, created, expires, used, revoked, agent, name"

struct each_token {
	int (*each)(void *arg, const struct store_token *token);
	void *arg;
};

struct revocation {
	const char *id;
	int64_t now;
};

static void read_token(const struct db_row *row, struct store_token *ret_token)
{
	struct store_token *token = ret_token;

	db_row_text(row, 0, token->id, sizeof(token->id));
	db_row_blob(row, 1, token->hash, sizeof(token->hash));
	db_row_text(row, 2, token->fleet, sizeof(token->fleet));
	token->pinned = db_row_blob(row, 3, token->ek_hash, sizeof(token->ek_hash)) == sizeof(token->ek_hash);
	token->created = db_row_int(row, 4);
	token->expires = db_row_int(row, 5);
	token->used = db_row_int(row, 6);
	token->revoked = db_row_int(row, 7);
	db_row_text(row, 8, token->agent, sizeof(token->agent));
	db_row_text(row, 9, token->name, sizeof(token->name));
}

static int take_token(void *arg, const struct db_row *row)
{
	read_token(row, arg);
	return 1;
}

static int give_token(void *arg, const struct db_row *row)
{
	const struct each_token *each = arg;
	struct store_token token = { 0 };

	read_token(row, &token);
	return each->each(each->arg, &token);
}

static int create(struct store *store, const void *arg, struct tg_error *e)
{
	const struct store_token *token = arg;
	struct store_fleet fleet;
	int ret;

	ret = store_fleet_get(store, token->fleet, &fleet, e);
	if (ret)
		return ret;
	return store_run_one(
		store,
		"INSERT INTO token (id, hash, fleet, ek_hash, created, expires, used, revoked, name)"
		" VALUES ($1, $2, $3, $4, $5, $6, 0, 0, $7)",
		DB_VALUES(db_text(token->id), db_blob(token->hash, sizeof(token->hash)),
			  db_text(token->fleet),
			  db_blob(token->pinned ? token->ek_hash : NULL, sizeof(token->ek_hash)),
			  db_int(token->created), db_int(token->expires), db_text(token->name)),
		e);
}

int store_token_create(struct store *store, const struct store_token *token, struct tg_error *e)
{
	return store_change(store, create, token, e);
}

int store_token_find(struct store *store, const uint8_t hash[static STORE_HASH_LEN],
		     struct store_token *ret_token, struct tg_error *e)
{
	struct store_token token = { 0 };
	int64_t rows = db_run(store->db, "SELECT " COLUMNS " FROM token WHERE hash = $1",
			      DB_VALUES(db_blob(hash, STORE_HASH_LEN)), take_token, &token, e);

	if (rows < 0)
		return (int)rows;
	/* the index finds a row by a hash, which is no secret; what decides takes the same time for all */
	if (!rows || CRYPTO_memcmp(token.hash, hash, STORE_HASH_LEN))
		return tg_error(e, -ENOENT, "no such token");
	*ret_token = token;
	return 0;
}

int store_token_each(struct store *store, int (*each)(void *arg, const struct store_token *token), void *arg,
		     struct tg_error *e)
{
	struct each_token give = { each, arg };
	int64_t rows = db_run(store->db, "SELECT " COLUMNS " FROM token ORDER BY created, id", NULL, 0,
			      give_token, &give, e);

	return rows < 0 ? (int)rows : 0;
}

static int revoke(struct store *store, const void *arg, struct tg_error *e)
{
	const struct revocation *revocation = arg;
	struct store_token token = { 0 };
	int64_t rows;

	rows = db_run(store->db, "SELECT " COLUMNS " FROM token WHERE id = $1",
		      DB_VALUES(db_text(revocation->id)), take_token, &token, e);
	if (rows < 0)
		return (int)rows;
	if (!rows)
		return tg_error(e, -ENOENT, "no token '%.*s'", STORE_NAME_SIZE, revocation->id);
	if (token.used || token.revoked)
		return tg_error(e, -EALREADY, "token '%s' was %s before", token.id,
				token.used ? "used" : "revoked");
	return store_run_one(store,
			     "UPDATE token SET revoked = $2 WHERE id = $1 AND used = 0 AND revoked = 0",
			     DB_VALUES(db_text(token.id), db_int(revocation->now)), e);
}

int store_token_revoke(struct store *store, const char *id, int64_t now, struct tg_error *e)
{
	return store_change(store, revoke, &(struct revocation){ id, now }, e);
}

enum token_state store_token_state(const struct store_token *token, int64_t now)
{
	if (token->used)
		return TOKEN_USED;
	if (token->revoked)
		return TOKEN_REVOKED;
	return now >= token->expires ? TOKEN_EXPIRED : TOKEN_UNUSED;
}
