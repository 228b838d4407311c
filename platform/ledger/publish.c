/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ledger/ledger.h"

int ledger_checkpoint(struct store *store, const struct ledger_key *key, uint64_t older,
		      struct ledger_checkpoint *ret_checkpoint, struct tg_error *e)
{
	const struct tg_tlog_source source = { store_ledger_node, store };
	struct ledger_checkpoint checkpoint = { .proof = { .count = 0 } };
	int ret = store_ledger_head(store, &checkpoint.head, e);

	if (!ret && older && older < checkpoint.head.size)
		ret = tg_tlog_prove_consistency(&source, older, checkpoint.head.size, &checkpoint.proof, e);
	if (!ret)
		ret = tg_tlog_checkpoint_sign(&checkpoint.head, key->public.origin, key->key,
					      &checkpoint.note, e);
	if (!ret)
		*ret_checkpoint = checkpoint;
	return ret;
}

void ledger_checkpoint_clear(struct ledger_checkpoint *checkpoint)
{
	tg_bytes_free(&checkpoint->note);
}

/* Hashes one behind the other. */
static int hash_tile(struct store *store, const struct tg_tlog_tile *tile, struct tg_bytes *ret_data,
		     struct tg_error *e)
{
	uint8_t hashes[TG_TLOG_TILE][TG_SHA256_LEN];
	size_t count = 0;
	int ret;

	/* a level that no ledger of ours reaches */
	if (tile->level * 8 >= 40)
		return tg_error(e, -ENOENT, "no such tile");
	ret = store_ledger_hashes(store, (unsigned)tile->level, tile->index * TG_TLOG_TILE, tile->width,
				  hashes, &count, e);
	if (!ret && count < tile->width)
		ret = tg_error(e, -ENOENT, "no such tile");
	return ret ? ret : tg_bytes_copy(hashes, count * TG_SHA256_LEN, ret_data);
}

struct bundle {
	uint64_t next;
	struct tg_bytes data;
	size_t room;
};

/* Its length in two bytes, then the record. */
static int add_entry(void *arg, const struct store_leaf *leaf)
{
	struct bundle *b = arg;

	if (leaf->index != b->next++ || b->data.len + 2 + leaf->len > b->room)
		return -EIO;
	b->data.data[b->data.len++] = (uint8_t)(leaf->len >> 8);
	b->data.data[b->data.len++] = (uint8_t)leaf->len;
	memcpy(b->data.data + b->data.len, leaf->data, leaf->len);
	b->data.len += leaf->len;
	return 0;
}

static int entries(struct store *store, const struct tg_tlog_tile *tile, struct tg_bytes *ret_data,
		   struct tg_error *e)
{
	const struct store_leaf_query query = { .from = tile->index * TG_TLOG_TILE, .limit = tile->width };
	struct bundle b = { .next = query.from, .room = (size_t)tile->width * (2 + TG_AUDIT_RECORD_MAX) };
	int ret;

	b.data.data = malloc(b.room);
	if (!b.data.data)
		return tg_error(e, -ENOMEM, "out of memory");
	ret = store_ledger_each(store, &query, add_entry, &b, e);
	if (ret == -EIO)
		tg_error(e, ret, "store: the ledger is not whole");
	if (!ret && b.next - query.from < tile->width)
		ret = tg_error(e, -ENOENT, "no such bundle");
	if (ret)
		tg_bytes_free(&b.data);
	else
		*ret_data = b.data;
	return ret;
}

int ledger_tile(struct store *store, const struct tg_tlog_tile *tile, struct tg_bytes *ret_data,
		struct tg_error *e)
{
	if (tile->index >= TG_TLOG_LEAVES_MAX / TG_TLOG_TILE)
		return tg_error(e, -ENOENT, "no such tile");
	return tile->level == TG_TLOG_ENTRIES ? entries(store, tile, ret_data, e)
					      : hash_tile(store, tile, ret_data, e);
}
