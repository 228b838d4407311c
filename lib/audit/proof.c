/* SPDX-License-Identifier: BSD-3-Clause */
/* Proofs of RFC 6962, section 2.1: made by its definitions, checked by the algorithms of RFC 9162. */
#include <errno.h>
#include <string.h>

#include "tensorguard/merkle.h"
#include "tensorguard/tlog.h"

/* ---- checking ---- */

static int wrong(struct tg_error *e)
{
	return tg_error(e, -EKEYREJECTED, "the proof does not fit");
}

static bool same(const uint8_t *a, const uint8_t *b)
{
	return !memcmp(a, b, TG_SHA256_LEN);
}

int tg_tlog_check_inclusion(const struct tg_tlog_proof *proof, const struct tg_tlog_head *head,
			    uint64_t index, const uint8_t leaf[static TG_SHA256_LEN], struct tg_error *e)
{
	uint64_t at = index, last = head->size - 1;
	uint8_t hash[TG_SHA256_LEN];
	int ret = 0;

	if (index >= head->size || proof->count > TG_TLOG_PROOF_MAX)
		return wrong(e);
	memcpy(hash, leaf, sizeof(hash));
	for (size_t i = 0; !ret && i < proof->count; i++) {
		if (!last)
			return wrong(e);
		if (at & 1 || at == last) {
			ret = tg_merkle_node(proof->hashes[i], hash, hash, e);
			/* a right edge: the levels at which it has no neighbour */
			while (!(at & 1) && at) {
				at >>= 1;
				last >>= 1;
			}
		} else {
			ret = tg_merkle_node(hash, proof->hashes[i], hash, e);
		}
		at >>= 1;
		last >>= 1;
	}
	if (!ret && (last || !same(hash, head->root)))
		ret = wrong(e);
	return ret;
}

/* The part that climbs from the older tree's last full subtree, whose hash is `first`. */
static int climb(const struct tg_tlog_proof *proof, size_t from, const uint8_t *first,
		 const struct tg_tlog_head *older, const struct tg_tlog_head *newer, struct tg_error *e)
{
	uint64_t at = older->size - 1, last = newer->size - 1;
	uint8_t old[TG_SHA256_LEN], new[TG_SHA256_LEN];
	int ret = 0;

	for (; at & 1; at >>= 1)
		last >>= 1;
	memcpy(old, first, sizeof(old));
	memcpy(new, first, sizeof(new));
	for (size_t i = from; !ret && i < proof->count; i++) {
		const uint8_t *hash = proof->hashes[i];

		if (!last)
			return wrong(e);
		if (at & 1 || at == last) {
			ret = tg_merkle_node(hash, old, old, e);
			if (!ret)
				ret = tg_merkle_node(hash, new, new, e);
			while (!(at & 1) && at) {
				at >>= 1;
				last >>= 1;
			}
		} else {
			ret = tg_merkle_node(new, hash, new, e);
		}
		at >>= 1;
		last >>= 1;
	}
	if (!ret && (last || !same(old, older->root) || !same(new, newer->root)))
		ret = wrong(e);
	return ret;
}

int tg_tlog_check_consistency(const struct tg_tlog_proof *proof, const struct tg_tlog_head *older,
			      const struct tg_tlog_head *newer, struct tg_error *e)
{
	bool whole = older->size && !(older->size & (older->size - 1));

	if (older->size > newer->size || proof->count > TG_TLOG_PROOF_MAX)
		return wrong(e);
	if (!older->size || older->size == newer->size) {
		/* nothing is a beginning of everything; a tree is one of itself */
		if (proof->count || (older->size && !same(older->root, newer->root)))
			return wrong(e);
		return 0;
	}
	if (!proof->count)
		return wrong(e);
	return whole ? climb(proof, 0, older->root, older, newer, e)
		     : climb(proof, 1, proof->hashes[0], older, newer, e);
}

/* ---- making ---- */

/* The largest power of two below `count`, which is above 1. */
static uint64_t split(uint64_t count)
{
	uint64_t k = 1;

	while (k << 1 < count)
		k <<= 1;
	return k;
}

static int put(struct tg_tlog_proof *proof, const uint8_t *hash, struct tg_error *e)
{
	if (proof->count == TG_TLOG_PROOF_MAX)
		return tg_error(e, -EFBIG, "a proof of more than %d hashes", TG_TLOG_PROOF_MAX);
	memcpy(proof->hashes[proof->count++], hash, TG_SHA256_LEN);
	return 0;
}

/* Of the leaves from `from` on, which begin a full subtree as large as the range or larger. */
static int range_hash(const struct tg_tlog_source *source, uint64_t from, uint64_t count, uint8_t *ret_hash,
		      struct tg_error *e)
{
	uint8_t left[TG_SHA256_LEN], right[TG_SHA256_LEN];
	unsigned level = 0;
	uint64_t k;
	int ret;

	if (!(count & (count - 1))) {
		while (1ull << level < count)
			level++;
		return source->node(source->ctx, level, from >> level, ret_hash, e);
	}
	k = split(count);
	ret = range_hash(source, from, k, left, e);
	if (!ret)
		ret = range_hash(source, from + k, count - k, right, e);
	return ret ? ret : tg_merkle_node(left, right, ret_hash, e);
}

static int put_range(const struct tg_tlog_source *source, uint64_t from, uint64_t count,
		     struct tg_tlog_proof *proof, struct tg_error *e)
{
	uint8_t hash[TG_SHA256_LEN];
	int ret = range_hash(source, from, count, hash, e);

	return ret ? ret : put(proof, hash, e);
}

int tg_tlog_root(const struct tg_tlog_source *source, uint64_t size, uint8_t ret_root[static TG_SHA256_LEN],
		 struct tg_error *e)
{
	return size ? range_hash(source, 0, size, ret_root, e) : tg_sha256(NULL, 0, ret_root, e);
}

/* PATH(m, D[n]) */
static int path(const struct tg_tlog_source *source, uint64_t index, uint64_t from, uint64_t count,
		struct tg_tlog_proof *proof, struct tg_error *e)
{
	uint64_t k;
	int ret;

	if (count == 1)
		return 0;
	k = split(count);
	if (index < k) {
		ret = path(source, index, from, k, proof, e);
		return ret ? ret : put_range(source, from + k, count - k, proof, e);
	}
	ret = path(source, index - k, from + k, count - k, proof, e);
	return ret ? ret : put_range(source, from, k, proof, e);
}

int tg_tlog_prove_inclusion(const struct tg_tlog_source *source, uint64_t index, uint64_t size,
			    struct tg_tlog_proof *ret_proof, struct tg_error *e)
{
	struct tg_tlog_proof proof = { .count = 0 };
	int ret;

	if (index >= size || size > TG_TLOG_LEAVES_MAX)
		return tg_error(e, -EINVAL, "there is no such leaf");
	ret = path(source, index, 0, size, &proof, e);
	if (!ret)
		*ret_proof = proof;
	return ret;
}

/* SUBPROOF(m, D[n], b) */
static int subproof(const struct tg_tlog_source *source, uint64_t older, uint64_t from, uint64_t count,
		    bool whole, struct tg_tlog_proof *proof, struct tg_error *e)
{
	uint64_t k;
	int ret;

	if (older == count)
		return whole ? 0 : put_range(source, from, count, proof, e);
	k = split(count);
	if (older <= k) {
		ret = subproof(source, older, from, k, whole, proof, e);
		return ret ? ret : put_range(source, from + k, count - k, proof, e);
	}
	ret = subproof(source, older - k, from + k, count - k, false, proof, e);
	return ret ? ret : put_range(source, from, k, proof, e);
}

int tg_tlog_prove_consistency(const struct tg_tlog_source *source, uint64_t older, uint64_t newer,
			      struct tg_tlog_proof *ret_proof, struct tg_error *e)
{
	struct tg_tlog_proof proof = { .count = 0 };
	int ret;

	if (!older || older > newer || newer > TG_TLOG_LEAVES_MAX)
		return tg_error(e, -EINVAL, "there are no such trees");
	ret = subproof(source, older, 0, newer, true, &proof, e);
	if (!ret)
		*ret_proof = proof;
	return ret;
}
