/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "tensorguard/merkle.h"

static const uint8_t leaf_mark = 0, node_mark = 1;

int tg_merkle_leaf(const void *data, size_t len, uint8_t ret_leaf[static TG_SHA256_LEN], struct tg_error *e)
{
	const struct tg_piece pieces[] = { { &leaf_mark, 1 }, { data, len } };

	return tg_sha256(pieces, 2, ret_leaf, e);
}

int tg_merkle_node(const uint8_t left[static TG_SHA256_LEN], const uint8_t right[static TG_SHA256_LEN],
		   uint8_t ret_hash[static TG_SHA256_LEN], struct tg_error *e)
{
	const struct tg_piece pieces[] = { { &node_mark, 1 },
					   { left, TG_SHA256_LEN },
					   { right, TG_SHA256_LEN } };

	return tg_sha256(pieces, 3, ret_hash, e);
}

int tg_merkle_add_seen(struct tg_merkle *tree, const uint8_t leaf[static TG_SHA256_LEN],
		       uint8_t ret_made[static TG_MERKLE_LEVELS][TG_SHA256_LEN], unsigned *ret_levels,
		       struct tg_error *e)
{
	unsigned level = 0;

	if (tree->count >> (TG_MERKLE_LEVELS - 1))
		return tg_error(e, -EFBIG, "a tree of more than 2^%d leaves", TG_MERKLE_LEVELS - 1);
	memcpy(ret_made[0], leaf, TG_SHA256_LEN);
	for (; tree->count >> level & 1; level++) {
		int ret = tg_merkle_node(tree->roots[level], ret_made[level], ret_made[level + 1], e);

		if (ret)
			return ret;
	}
	memcpy(tree->roots[level], ret_made[level], TG_SHA256_LEN);
	tree->count++;
	*ret_levels = level + 1;
	return 0;
}

int tg_merkle_add(struct tg_merkle *tree, const uint8_t leaf[static TG_SHA256_LEN], struct tg_error *e)
{
	uint8_t made[TG_MERKLE_LEVELS][TG_SHA256_LEN];
	unsigned levels;

	return tg_merkle_add_seen(tree, leaf, made, &levels, e);
}

int tg_merkle_root(const struct tg_merkle *tree, uint8_t ret_root[static TG_SHA256_LEN], struct tg_error *e)
{
	uint8_t hash[TG_SHA256_LEN];
	bool found = false;
	int ret = 0;

	if (!tree->count)
		return tg_sha256(NULL, 0, ret_root, e);
	/* from the right: the smallest full subtree is the last one's neighbour */
	for (unsigned level = 0; !ret && level < TG_MERKLE_LEVELS; level++) {
		if (!(tree->count >> level & 1))
			continue;
		if (found)
			ret = tg_merkle_node(tree->roots[level], hash, hash, e);
		else
			memcpy(hash, tree->roots[level], sizeof(hash));
		found = true;
	}
	if (!ret)
		memcpy(ret_root, hash, sizeof(hash));
	return ret;
}
