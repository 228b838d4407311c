/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/ledger.h"
#include "store/parts.h"
#include "tensorguard/merkle.h"

enum { LEVEL_BITS = 8, OWN_SOURCE_ROWS = 256 };

static const char own_source[] = "";

static int changed(int64_t rows)
{
	return rows < 0 ? (int)rows : 0;
}

static int broken(struct tg_error *e)
{
	return tg_error(e, -EIO, "store: the ledger is not whole");
}

/* ---- the tree ---- */

struct head {
	struct tg_merkle tree;
	bool bad, found;
};

/* Of a tree the roots of its full subtrees are kept, from the smallest on: as many as the size has bits. */
static int take_head(void *arg, const struct db_row *row)
{
	uint8_t roots[TG_MERKLE_LEVELS][TG_SHA256_LEN];
	struct head *head = arg;
	size_t used = 0;

	head->found = true;
	head->tree.count = (uint64_t)db_row_int(row, 0);
	head->bad = head->tree.count > TG_TLOG_LEAVES_MAX ||
		    db_row_blob(row, 1, roots, sizeof(roots)) !=
			    (size_t)__builtin_popcountll(head->tree.count) * TG_SHA256_LEN;
	for (unsigned level = 0; !head->bad && level < TG_MERKLE_LEVELS; level++)
		if (head->tree.count >> level & 1)
			memcpy(head->tree.roots[level], roots[used++], TG_SHA256_LEN);
	return 1;
}

static int read_tree(struct store *store, struct tg_merkle *ret_tree, struct tg_error *e)
{
	struct head head = { .bad = false };
	int64_t rows = db_run(store->db, "SELECT size, roots FROM ledger_head WHERE id = 1", NULL, 0,
			      take_head, &head, e);

	if (rows < 0)
		return (int)rows;
	if (head.bad)
		return broken(e);
	*ret_tree = head.tree;
	return 0;
}

static int write_tree(struct store *store, const struct tg_merkle *tree, struct tg_error *e)
{
	uint8_t roots[TG_MERKLE_LEVELS][TG_SHA256_LEN];
	size_t used = 0;

	for (unsigned level = 0; level < TG_MERKLE_LEVELS; level++)
		if (tree->count >> level & 1)
			memcpy(roots[used++], tree->roots[level], TG_SHA256_LEN);
	return changed(db_run(store->db,
			      "INSERT INTO ledger_head (id, size, roots) VALUES (1, $1, $2)"
			      " ON CONFLICT (id) DO UPDATE SET size = excluded.size, roots = excluded.roots",
			      DB_VALUES(db_int((int64_t)tree->count), db_blob(roots, used * TG_SHA256_LEN)),
			      NULL, NULL, e));
}

/* What a leaf completes of the tiles above level 0. */
static int add_nodes(struct store *store, uint64_t index,
		     uint8_t made[static TG_MERKLE_LEVELS][TG_SHA256_LEN], unsigned levels,
		     struct tg_error *e)
{
	int ret = 0;

	for (unsigned level = LEVEL_BITS; !ret && level < levels; level += LEVEL_BITS)
		ret = changed(db_run(store->db,
				     "INSERT INTO ledger_node (level, position, hash) VALUES ($1, $2, $3)",
				     DB_VALUES(db_int(level / LEVEL_BITS), db_int((int64_t)(index >> level)),
					       db_blob(made[level], TG_SHA256_LEN)),
				     NULL, NULL, e));
	return ret;
}

static int add_leaf(struct store *store, struct tg_merkle *tree, const char *source,
		    const struct store_leaf_new *leaf, int64_t now, struct tg_error *e)
{
	uint8_t made[TG_MERKLE_LEVELS][TG_SHA256_LEN], hash[TG_SHA256_LEN];
	uint64_t index = tree->count;
	unsigned levels = 0;
	int ret = tg_merkle_leaf(leaf->data, leaf->len, hash, e);

	if (!ret)
		ret = tg_merkle_add_seen(tree, hash, made, &levels, e);
	if (!ret)
		ret = changed(db_run(
			store->db,
			"INSERT INTO ledger_leaf (position, source, sequence, stored, hash, data)"
			" VALUES ($1, $2, $3, $4, $5, $6)",
			DB_VALUES(db_int((int64_t)index), db_text(source), db_int((int64_t)leaf->sequence),
				  db_int(now), db_blob(hash, sizeof(hash)), db_blob(leaf->data, leaf->len)),
			NULL, NULL, e));
	return ret ? ret : add_nodes(store, index, made, levels, e);
}

int store_ledger_append(struct store *store, const char *source, const struct store_leaf_new *leaves,
			size_t count, int64_t now, uint64_t *ret_first, struct tg_error *e)
{
	struct tg_merkle tree;
	uint64_t first;
	int ret = read_tree(store, &tree, e);

	if (ret)
		return ret;
	first = tree.count;
	for (size_t i = 0; !ret && i < count; i++)
		ret = add_leaf(store, &tree, source, &leaves[i], now, e);
	if (!ret)
		ret = write_tree(store, &tree, e);
	if (!ret)
		*ret_first = first;
	return ret;
}

int store_ledger_head(struct store *store, struct tg_tlog_head *ret_head, struct tg_error *e)
{
	struct tg_merkle tree;
	struct tg_tlog_head head;
	int ret = read_tree(store, &tree, e);

	if (ret)
		return ret;
	head.size = tree.count;
	ret = tg_merkle_root(&tree, head.root, e);
	if (!ret)
		*ret_head = head;
	return ret;
}

struct hashes {
	uint64_t next;
	uint8_t (*hashes)[TG_SHA256_LEN];
	size_t count;
	bool bad;
};

static int take_hash(void *arg, const struct db_row *row)
{
	struct hashes *h = arg;

	/* one after the other, none missing */
	h->bad = (uint64_t)db_row_int(row, 0) != h->next++ ||
		 db_row_blob(row, 1, h->hashes[h->count], TG_SHA256_LEN) != TG_SHA256_LEN;
	h->count++;
	return h->bad;
}

int store_ledger_hashes(struct store *store, unsigned level, uint64_t first, size_t max,
			uint8_t (*ret_hashes)[TG_SHA256_LEN], size_t *ret_count, struct tg_error *e)
{
	struct hashes h = { .next = first, .hashes = ret_hashes };
	const struct db_value from = db_int((int64_t)first), to = db_int((int64_t)(first + max));
	int64_t rows;

	if (first > INT64_MAX - max)
		return tg_error(e, -EINVAL, "there is no such place in the ledger");
	rows = level ? db_run(store->db,
			      "SELECT position, hash FROM ledger_node"
			      " WHERE level = $1 AND position >= $2 AND position < $3 ORDER BY position",
			      DB_VALUES(db_int(level), from, to), take_hash, &h, e)
		     : db_run(store->db,
			      "SELECT position, hash FROM ledger_leaf WHERE position >= $1 AND position < $2"
			      " ORDER BY position",
			      DB_VALUES(from, to), take_hash, &h, e);
	if (rows < 0)
		return (int)rows;
	if (h.bad)
		return broken(e);
	*ret_count = h.count;
	return 0;
}

int store_ledger_node(void *ctx, unsigned level, uint64_t index, uint8_t ret_hash[static TG_SHA256_LEN],
		      struct tg_error *e)
{
	uint8_t hashes[1 << (LEVEL_BITS - 1)][TG_SHA256_LEN];
	size_t wanted = (size_t)1 << level % LEVEL_BITS, count;
	int ret = store_ledger_hashes(ctx, level / LEVEL_BITS, index * wanted, wanted, hashes, &count, e);

	if (!ret && count != wanted)
		ret = broken(e);
	for (; !ret && wanted > 1; wanted /= 2)
		for (size_t i = 0; !ret && i < wanted / 2; i++)
			ret = tg_merkle_node(hashes[2 * i], hashes[2 * i + 1], hashes[i], e);
	if (!ret)
		memcpy(ret_hash, hashes[0], TG_SHA256_LEN);
	return ret;
}

/* ---- leaves ---- */

struct each_leaf {
	int (*each)(void *arg, const struct store_leaf *leaf);
	void *arg;
	int result;
};

static int give_leaf(void *arg, const struct db_row *row)
{
	uint8_t data[TG_AUDIT_RECORD_MAX];
	struct each_leaf *each = arg;
	struct store_leaf leaf = { .index = (uint64_t)db_row_int(row, 0),
				   .sequence = (uint64_t)db_row_int(row, 2),
				   .stored = db_row_int(row, 3),
				   .data = data };

	db_row_text(row, 1, leaf.source, sizeof(leaf.source));
	leaf.len = db_row_blob(row, 4, data, sizeof(data));
	each->result = leaf.len <= sizeof(data) ? each->each(each->arg, &leaf) : -EIO;
	return each->result;
}

#define LEAF "SELECT position, source, sequence, stored, data FROM ledger_leaf WHERE stored >= $1"

int store_ledger_each(struct store *store, const struct store_leaf_query *query,
		      int (*each)(void *arg, const struct store_leaf *leaf), void *arg, struct tg_error *e)
{
	/* indexed by: is there a source, are the newest wanted first */
	static const char *const statements[2][2] = {
		{ LEAF " AND position >= $2 ORDER BY position LIMIT $3",
		  LEAF " AND position <= $2 ORDER BY position DESC LIMIT $3" },
		{ LEAF " AND position >= $2 AND source = $4 ORDER BY position LIMIT $3",
		  LEAF " AND position <= $2 AND source = $4 ORDER BY position DESC LIMIT $3" },
	};
	struct each_leaf give = { each, arg, 0 };
	int64_t from = query->newest_first && !query->from ? INT64_MAX : (int64_t)query->from;
	const struct db_value values[] = { db_int(query->since), db_int(from), db_int((int64_t)query->limit),
					   db_text(query->source) };
	int64_t rows = db_run(store->db, statements[query->source != NULL][query->newest_first], values,
			      query->source ? 4 : 3, give_leaf, &give, e);

	if (rows < 0)
		return (int)rows;
	return give.result < 0 ? give.result : 0;
}

/* ---- chains and batches ---- */

struct find_chain {
	struct tg_audit_chain chain;
	bool bad;
};

static int take_chain(void *arg, const struct db_row *row)
{
	struct find_chain *find = arg;

	find->chain.sequence = (uint64_t)db_row_int(row, 1);
	find->bad = db_row_blob(row, 0, find->chain.chain, TG_AUDIT_CHAIN_LEN) != TG_AUDIT_CHAIN_LEN ||
		    db_row_blob(row, 2, find->chain.hash, TG_SHA256_LEN) != TG_SHA256_LEN;
	return 1;
}

int store_ledger_chain(struct store *store, const char *source, const uint8_t *chain,
		       struct tg_audit_chain *ret_chain, struct tg_error *e)
{
	struct find_chain find = { .bad = false };
	int64_t rows;

	rows = chain ? db_run(store->db,
			      "SELECT chain, sequence, hash FROM ledger_chain WHERE source = $1 AND chain = "
			      "$2",
			      DB_VALUES(db_text(source), db_blob(chain, TG_AUDIT_CHAIN_LEN)), take_chain,
			      &find, e)
		     : db_run(store->db,
			      "SELECT chain, sequence, hash FROM ledger_chain WHERE source = $1"
			      " ORDER BY begun DESC LIMIT 1",
			      DB_VALUES(db_text(source)), take_chain, &find, e);
	if (rows <= 0)
		return rows < 0 ? (int)rows : tg_error(e, -ENOENT, "no such chain");
	if (find.bad)
		return broken(e);
	strncpy(find.chain.source, source, sizeof(find.chain.source) - 1);
	*ret_chain = find.chain;
	return 0;
}

int store_ledger_chain_set(struct store *store, const struct tg_audit_chain *chain, uint64_t begun,
			   struct tg_error *e)
{
	return changed(db_run(
		store->db,
		"INSERT INTO ledger_chain (source, chain, begun, sequence, hash) VALUES ($1, $2, $3, $4, $5)"
		" ON CONFLICT (source, chain) DO UPDATE SET sequence = excluded.sequence, hash = "
		"excluded.hash",
		DB_VALUES(db_text(chain->source), db_blob(chain->chain, sizeof(chain->chain)),
			  db_int((int64_t)begun), db_int((int64_t)chain->sequence),
			  db_blob(chain->hash, sizeof(chain->hash))),
		NULL, NULL, e));
}

struct find_record {
	const struct tg_audit_chain *chain;
	uint8_t hash[TG_SHA256_LEN];
	bool found;
	int err;
};

static int take_record(void *arg, const struct db_row *row)
{
	struct find_record *find = arg;
	uint8_t data[TG_AUDIT_RECORD_MAX];
	struct tg_audit_record record;
	size_t len = db_row_blob(row, 0, data, sizeof(data));

	/* chains of one source have records of one sequence each */
	find->err = len > sizeof(data) || tg_audit_decode(data, len, &record, NULL) ? -EIO : 0;
	find->found = !find->err && !memcmp(record.chain, find->chain->chain, sizeof(record.chain));
	if (find->found)
		find->err = tg_audit_hash(data, len, find->hash, NULL);
	return find->err || find->found;
}

int store_ledger_record_hash(struct store *store, const struct tg_audit_chain *chain, uint64_t sequence,
			     uint8_t ret_hash[static TG_SHA256_LEN], struct tg_error *e)
{
	struct find_record find = { .chain = chain };
	int64_t rows =
		db_run(store->db, "SELECT data FROM ledger_leaf WHERE source = $1 AND sequence = $2",
		       DB_VALUES(db_text(chain->source), db_int((int64_t)sequence)), take_record, &find, e);

	if (rows < 0)
		return (int)rows;
	if (find.err)
		return broken(e);
	if (!find.found)
		return tg_error(e, -ENOENT, "no such record");
	memcpy(ret_hash, find.hash, sizeof(find.hash));
	return 0;
}

int store_ledger_batch_add(struct store *store, const struct tg_audit_chain *chain,
			   const struct store_batch *batch, struct tg_error *e)
{
	return changed(db_run(store->db,
			      "INSERT INTO ledger_batch (source, chain, last, signature, public_key)"
			      " VALUES ($1, $2, $3, $4, $5)",
			      DB_VALUES(db_text(chain->source), db_blob(chain->chain, sizeof(chain->chain)),
					db_int((int64_t)batch->last),
					db_blob(batch->signature, sizeof(batch->signature)),
					db_blob(batch->public_key, batch->public_key_len)),
			      NULL, NULL, e));
}

struct find_batch {
	struct store_batch batch;
	bool bad;
};

static int take_batch(void *arg, const struct db_row *row)
{
	struct find_batch *find = arg;
	struct store_batch *batch = &find->batch;

	batch->last = (uint64_t)db_row_int(row, 0);
	batch->public_key_len = db_row_blob(row, 2, batch->public_key, sizeof(batch->public_key));
	find->bad =
		db_row_blob(row, 1, batch->signature, sizeof(batch->signature)) != sizeof(batch->signature) ||
		batch->public_key_len > sizeof(batch->public_key);
	return 1;
}

int store_ledger_batch(struct store *store, const struct tg_audit_chain *chain, uint64_t sequence,
		       struct store_batch *ret_batch, struct tg_error *e)
{
	struct find_batch find = { .bad = false };
	int64_t rows = db_run(store->db,
			      "SELECT last, signature, public_key FROM ledger_batch"
			      " WHERE source = $1 AND chain = $2 AND last >= $3 ORDER BY last LIMIT 1",
			      DB_VALUES(db_text(chain->source), db_blob(chain->chain, sizeof(chain->chain)),
					db_int((int64_t)sequence)),
			      take_batch, &find, e);

	if (rows <= 0)
		return rows < 0 ? (int)rows : tg_error(e, -ENOENT, "no such batch");
	if (find.bad)
		return broken(e);
	*ret_batch = find.batch;
	return 0;
}

/* ---- the Platform's own records ---- */

static int add_own(struct store *store, struct tg_audit_chain *chain, const struct store_audit *record,
		   struct tg_error *e)
{
	const struct tg_audit_event event = { .time_ms = (uint64_t)record->time * 1000,
					      .actor = record->actor,
					      .action = record->action,
					      .target = record->target,
					      .outcome = record->outcome,
					      .detail = record->detail };
	struct store_leaf_new leaf;
	struct tg_bytes data;
	uint64_t index = 0;
	int ret = tg_audit_chain_add(chain, &event, &data, e);

	if (ret)
		return ret;
	leaf = (struct store_leaf_new){ data.data, data.len, chain->sequence };
	ret = store_ledger_append(store, own_source, &leaf, 1, record->time, &index, e);
	if (!ret)
		ret = store_ledger_chain_set(store, chain, index, e);
	tg_bytes_free(&data);
	return ret;
}

/* Records of before there was a ledger. They are copied first: the connection runs one statement at a time.
 */
struct early {
	struct store_audit records[OWN_SOURCE_ROWS];
	size_t count;
	bool failed;
};

static int keep_early(void *arg, const struct store_audit *record)
{
	struct early *early = arg;
	struct store_audit *copy = &early->records[early->count++];

	*copy = *record;
	copy->actor = strdup(record->actor);
	copy->action = strdup(record->action);
	copy->target = strdup(record->target);
	copy->outcome = strdup(record->outcome);
	copy->detail = strdup(record->detail);
	early->failed |= !copy->actor || !copy->action || !copy->target || !copy->outcome || !copy->detail;
	return 0;
}

static void free_text(const char *text)
{
	free((void *)(uintptr_t)text);
}

static void free_early(struct early *early)
{
	for (size_t i = 0; i < early->count; i++) {
		free_text(early->records[i].actor);
		free_text(early->records[i].action);
		free_text(early->records[i].target);
		free_text(early->records[i].outcome);
		free_text(early->records[i].detail);
	}
	early->count = 0;
}

/* The next few of them; *ret_after goes on to the last one. */
static int add_some_early(struct store *store, struct tg_audit_chain *chain, int64_t *ret_after,
			  bool *ret_more, struct tg_error *e)
{
	struct early early = { .count = 0 };
	int ret = store_audit_after(store, *ret_after, OWN_SOURCE_ROWS, keep_early, &early, e);

	if (!ret && early.failed)
		ret = tg_error(e, -ENOMEM, "out of memory");
	for (size_t i = 0; !ret && i < early.count; i++) {
		ret = add_own(store, chain, &early.records[i], e);
		*ret_after = early.records[i].sequence;
	}
	*ret_more = early.count == OWN_SOURCE_ROWS;
	free_early(&early);
	return ret;
}

static int begin_own(struct store *store, struct tg_audit_chain *ret_chain, struct tg_error *e)
{
	int64_t after = 0;
	bool more = true;
	int ret = tg_audit_chain_begin(own_source, ret_chain, e);

	while (!ret && more)
		ret = add_some_early(store, ret_chain, &after, &more, e);
	return ret;
}

int store_ledger_own(struct store *store, const struct store_audit *record, struct tg_error *e)
{
	struct tg_audit_chain chain;
	int ret = store_ledger_chain(store, own_source, NULL, &chain, e);

	if (ret == -ENOENT)
		ret = begin_own(store, &chain, e);
	return ret ? ret : add_own(store, &chain, record, e);
}
