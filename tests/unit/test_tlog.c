/* SPDX-License-Identifier: BSD-3-Clause */
/* The log as others read it: tiles' names, keys, checkpoints, proofs. */
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "tensorguard/hex.h"
#include "tensorguard/key.h"
#include "tensorguard/merkle.h"
#include "tensorguard/tlog.h"

TEST(tlog, tile_names)
{
	static const struct {
		const char *text;
		struct tg_tlog_tile tile;
	} good[] = {
		{ "0/000", { 0, 0, 256 } },
		{ "63/999.p/255", { 63, 999, 255 } },
		{ "1/x001/x234/067", { 1, 1234067, 256 } },
		{ "0/x001/000.p/1", { 0, 1000, 1 } },
		{ "entries/000.p/17", { TG_TLOG_ENTRIES, 0, 17 } },
		{ "entries/x001/234", { TG_TLOG_ENTRIES, 1234, 256 } },
	};
	static const char *const wrong[] = { "",
					     "0",
					     "0/",
					     "0/0",
					     "0/00",
					     "00/000",
					     "64/000",
					     "-1/000",
					     "0/0000",
					     "0/000.p/0",
					     "0/000.p/256",
					     "0/000.p/01",
					     "0/000.p/",
					     "0/000.p",
					     "0/000/",
					     "0/x000/001",
					     "0/x001/",
					     "0/x001",
					     "0/001/002",
					     "entries",
					     "entries/",
					     "data/000",
					     "0/000?",
					     "0/../000",
					     " 0/000",
					     "0/x001/x000/x000/x000/x000/000" };
	struct tg_tlog_tile tile;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		CU_ASSERT_EQUAL(tg_tlog_tile_parse(good[i].text, &tile), 0);
		CU_ASSERT(tile.level == good[i].tile.level && tile.index == good[i].tile.index &&
			  tile.width == good[i].tile.width);
	}
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		if (tg_tlog_tile_parse(wrong[i], &tile) != -EINVAL)
			CU_FAIL("a wrong name was taken");
}

/* A tree in memory: leaf i is the byte i, twice. */
enum { LEAVES = 70 };
static uint8_t leaves[LEAVES][TG_SHA256_LEN];

static int node(void *ctx, unsigned level, uint64_t index, uint8_t ret_hash[static TG_SHA256_LEN],
		struct tg_error *e)
{
	uint8_t left[TG_SHA256_LEN], right[TG_SHA256_LEN];

	(void)ctx;
	if (!level) {
		CU_ASSERT_FATAL(index < LEAVES);
		memcpy(ret_hash, leaves[index], TG_SHA256_LEN);
		return 0;
	}
	node(ctx, level - 1, 2 * index, left, e);
	node(ctx, level - 1, 2 * index + 1, right, e);
	return tg_merkle_node(left, right, ret_hash, e);
}

static const struct tg_tlog_source source = { node, NULL };

static void make_tree(struct tg_tlog_head ret_heads[static LEAVES + 1])
{
	struct tg_merkle tree = { 0 };

	ret_heads[0].size = 0;
	tg_merkle_root(&tree, ret_heads[0].root, NULL);
	for (size_t i = 0; i < LEAVES; i++) {
		uint8_t data[] = { (uint8_t)i, (uint8_t)i };

		tg_merkle_leaf(data, sizeof(data), leaves[i], NULL);
		tg_merkle_add(&tree, leaves[i], NULL);
		ret_heads[i + 1].size = i + 1;
		tg_merkle_root(&tree, ret_heads[i + 1].root, NULL);
	}
}

TEST(tlog, roots_are_the_trees)
{
	struct tg_tlog_head heads[LEAVES + 1];
	uint8_t root[TG_SHA256_LEN];

	make_tree(heads);
	for (uint64_t n = 0; n <= LEAVES; n++) {
		CU_ASSERT_EQUAL(tg_tlog_root(&source, n, root, NULL), 0);
		CU_ASSERT_EQUAL(memcmp(root, heads[n].root, sizeof(root)), 0);
	}
}

/* Any change of any part is found. */
static void spoil_inclusion(const struct tg_tlog_proof *proof, const struct tg_tlog_head *head,
			    uint64_t index)
{
	struct tg_tlog_proof other = *proof;
	struct tg_tlog_head changed = *head;
	uint8_t leaf[TG_SHA256_LEN];

	for (size_t i = 0; i < proof->count; i++) {
		other.hashes[i][i % TG_SHA256_LEN] ^= 1;
		CU_ASSERT_EQUAL(tg_tlog_check_inclusion(&other, head, index, leaves[index], NULL),
				-EKEYREJECTED);
		other = *proof;
	}
	other.count++;
	CU_ASSERT_EQUAL(tg_tlog_check_inclusion(&other, head, index, leaves[index], NULL), -EKEYREJECTED);
	if (proof->count) {
		other.count -= 2;
		CU_ASSERT_EQUAL(tg_tlog_check_inclusion(&other, head, index, leaves[index], NULL),
				-EKEYREJECTED);
	}
	memcpy(leaf, leaves[index], sizeof(leaf));
	leaf[31] ^= 0x80;
	CU_ASSERT_EQUAL(tg_tlog_check_inclusion(proof, head, index, leaf, NULL), -EKEYREJECTED);
	changed.root[0] ^= 1;
	CU_ASSERT_EQUAL(tg_tlog_check_inclusion(proof, &changed, index, leaves[index], NULL), -EKEYREJECTED);
	CU_ASSERT_EQUAL(tg_tlog_check_inclusion(proof, head, head->size, leaves[index], NULL), -EKEYREJECTED);
	if (head->size > 1)
		CU_ASSERT_EQUAL(
			tg_tlog_check_inclusion(proof, head, index ? index - 1 : 1, leaves[index], NULL),
			-EKEYREJECTED);
}

TEST(tlog, inclusion_of_every_leaf_in_every_tree)
{
	struct tg_tlog_head heads[LEAVES + 1];
	struct tg_tlog_proof proof;

	make_tree(heads);
	for (uint64_t n = 1; n <= LEAVES; n++)
		for (uint64_t i = 0; i < n; i++) {
			CU_ASSERT_EQUAL_FATAL(tg_tlog_prove_inclusion(&source, i, n, &proof, NULL), 0);
			CU_ASSERT_EQUAL(tg_tlog_check_inclusion(&proof, &heads[n], i, leaves[i], NULL), 0);
			spoil_inclusion(&proof, &heads[n], i);
		}
	CU_ASSERT_EQUAL(tg_tlog_prove_inclusion(&source, 5, 5, &proof, NULL), -EINVAL);
	CU_ASSERT_EQUAL(tg_tlog_check_inclusion(&proof, &heads[0], 0, leaves[0], NULL), -EKEYREJECTED);
}

static void spoil_consistency(const struct tg_tlog_proof *proof, const struct tg_tlog_head *older,
			      const struct tg_tlog_head *newer)
{
	struct tg_tlog_head old = *older, new = *newer;
	struct tg_tlog_proof other = *proof;

	for (size_t i = 0; i < proof->count; i++) {
		other.hashes[i][31 - i] ^= 4;
		CU_ASSERT_EQUAL(tg_tlog_check_consistency(&other, older, newer, NULL), -EKEYREJECTED);
		other = *proof;
	}
	other.count++;
	CU_ASSERT_EQUAL(tg_tlog_check_consistency(&other, older, newer, NULL), -EKEYREJECTED);
	if (proof->count) {
		other.count = proof->count - 1;
		CU_ASSERT_EQUAL(tg_tlog_check_consistency(&other, older, newer, NULL), -EKEYREJECTED);
	}
	old.root[7] ^= 1;
	CU_ASSERT_EQUAL(tg_tlog_check_consistency(proof, &old, newer, NULL), -EKEYREJECTED);
	new.root[7] ^= 1;
	CU_ASSERT_EQUAL(tg_tlog_check_consistency(proof, older, &new, NULL), -EKEYREJECTED);
}

TEST(tlog, consistency_of_every_pair_of_trees)
{
	struct tg_tlog_head heads[LEAVES + 1];
	struct tg_tlog_proof proof = { .count = 0 };

	make_tree(heads);
	for (uint64_t n = 1; n <= LEAVES; n++) {
		for (uint64_t m = 1; m <= n; m++) {
			CU_ASSERT_EQUAL_FATAL(tg_tlog_prove_consistency(&source, m, n, &proof, NULL), 0);
			CU_ASSERT_EQUAL(tg_tlog_check_consistency(&proof, &heads[m], &heads[n], NULL), 0);
			spoil_consistency(&proof, &heads[m], &heads[n]);
		}
		/* a log that was shortened */
		CU_ASSERT_EQUAL(tg_tlog_check_consistency(&proof, &heads[n], &heads[n - 1], NULL),
				-EKEYREJECTED);
	}
	proof.count = 0;
	CU_ASSERT_EQUAL(tg_tlog_check_consistency(&proof, &heads[0], &heads[9], NULL), 0);
	CU_ASSERT_EQUAL(tg_tlog_prove_consistency(&source, 0, 9, &proof, NULL), -EINVAL);
	CU_ASSERT_EQUAL(tg_tlog_prove_consistency(&source, 9, 8, &proof, NULL), -EINVAL);
}

static EVP_PKEY *log_key(struct tg_tlog_key *ret_key)
{
	EVP_PKEY *key = NULL;

	CU_ASSERT_EQUAL_FATAL(tg_key_generate(TG_KEY_EDDSA, &key, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(tg_tlog_key_of("platform.example/log", key, ret_key, NULL), 0);
	return key;
}

/* The example of signed-note's own documentation in Go: name, hash and key belong together. */
TEST(tlog, keys)
{
	static const char known[] = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
	struct tg_tlog_key key, again;
	char text[TG_TLOG_KEY_SIZE];
	EVP_PKEY *pkey = NULL;

	CU_ASSERT_EQUAL_FATAL(tg_tlog_key_parse(known, &key, NULL), 0);
	CU_ASSERT_STRING_EQUAL(key.origin, "PeterNeumann");
	CU_ASSERT_EQUAL(tg_tlog_key_format(&key, text, NULL), 0);
	CU_ASSERT_STRING_EQUAL(text, known);
	CU_ASSERT_EQUAL(
		tg_tlog_key_parse("PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", &key,
				  NULL),
		-EBADMSG);
	CU_ASSERT_EQUAL(tg_tlog_key_parse("PeterNeumann+c74f20a3", &key, NULL), -EBADMSG);
	CU_ASSERT_EQUAL(tg_tlog_key_parse("", &key, NULL), -EBADMSG);
	pkey = log_key(&key);
	CU_ASSERT_EQUAL(tg_tlog_key_format(&key, text, NULL), 0);
	CU_ASSERT_EQUAL(tg_tlog_key_parse(text, &again, NULL), 0);
	CU_ASSERT_EQUAL(memcmp(&key, &again, sizeof(key)), 0);
	CU_ASSERT_EQUAL(tg_tlog_key_of("with space", pkey, &again, NULL), -EINVAL);
	CU_ASSERT_EQUAL(tg_tlog_key_of("a+b", pkey, &again, NULL), -EINVAL);
	CU_ASSERT_EQUAL(tg_tlog_key_of("", pkey, &again, NULL), -EINVAL);
	EVP_PKEY_free(pkey);
	CU_ASSERT_EQUAL_FATAL(tg_p256_generate(&pkey, NULL), 0);
	CU_ASSERT_EQUAL(tg_tlog_key_of("log", pkey, &again, NULL), -EINVAL);
	EVP_PKEY_free(pkey);
}

static int check_text(const char *text, const struct tg_tlog_key *key)
{
	struct tg_tlog_head head = { 0 };

	return tg_tlog_checkpoint_verify(text, strlen(text), key, &head, NULL);
}

/* Of what is signed, no byte can be another. Of the signature's base64 none either, as it is canonical. */
TEST(tlog, every_byte_of_a_checkpoint_counts)
{
	struct tg_tlog_head head = { .size = 20852163, .root = { 9, 8, 7 } }, back = { 0 };
	struct tg_tlog_key key, other;
	struct tg_bytes note = { 0 };
	EVP_PKEY *pkey = log_key(&key), *another = log_key(&other);
	char *text;

	CU_ASSERT_EQUAL_FATAL(tg_tlog_checkpoint_sign(&head, key.origin, pkey, &note, NULL), 0);
	text = (char *)note.data;
	CU_ASSERT_EQUAL(strlen(text), note.len);
	CU_ASSERT_EQUAL(strncmp(text, "platform.example/log\n20852163\nCQgHAAA", 37), 0);
	CU_ASSERT_EQUAL(tg_tlog_checkpoint_verify(text, note.len, &key, &back, NULL), 0);
	CU_ASSERT_EQUAL(memcmp(&head, &back, sizeof(head)), 0);
	CU_ASSERT_EQUAL(check_text(text, &other), -EKEYREJECTED);
	for (size_t i = 0; i < note.len; i++)
		for (unsigned bit = 0; bit < 8; bit++) {
			text[i] = (char)(text[i] ^ 1 << bit);
			if (!tg_tlog_checkpoint_verify(text, note.len, &key, &back, NULL))
				CU_FAIL("a changed checkpoint was taken");
			text[i] = (char)(text[i] ^ 1 << bit);
		}
	for (size_t len = 0; len < note.len; len++)
		if (!tg_tlog_checkpoint_verify(text, len, &key, &back, NULL))
			CU_FAIL("a shortened checkpoint was taken");
	tg_bytes_free(&note);
	EVP_PKEY_free(pkey);
	EVP_PKEY_free(another);
}

TEST(tlog, other_signatures_are_no_harm_and_no_help)
{
	struct tg_tlog_head head = { .size = 0 }, back = { 0 };
	struct tg_tlog_key key;
	struct tg_bytes note = { 0 };
	EVP_PKEY *pkey = log_key(&key);
	char *cosigned = NULL, *mark;

	CU_ASSERT_EQUAL_FATAL(tg_tlog_checkpoint_sign(&head, key.origin, pkey, &note, NULL), 0);
	CU_ASSERT(asprintf(&cosigned, "%s\xe2\x80\x94 witness.example AAAAAAAA\n", (char *)note.data) > 0);
	CU_ASSERT_EQUAL(tg_tlog_checkpoint_verify(cosigned, strlen(cosigned), &key, &back, NULL), 0);
	mark = strstr(cosigned, "\n\n") + 2;
	memmove(mark, strchr(mark, '\n') + 1, strlen(strchr(mark, '\n')));
	CU_ASSERT_EQUAL(check_text(cosigned, &key), -EKEYREJECTED);
	CU_ASSERT_EQUAL(check_text("", &key), -EBADMSG);
	CU_ASSERT_EQUAL(check_text("\n", &key), -EBADMSG);
	CU_ASSERT_EQUAL(check_text("a\n1\nb\n\n", &key), -EKEYREJECTED);
	free(cosigned);
	tg_bytes_free(&note);
	EVP_PKEY_free(pkey);
}

TEST(tlog, proof_files)
{
	struct tg_tlog_head heads[LEAVES + 1];
	struct tg_tlog_proof proof, back;
	const char *checkpoint = NULL;
	struct tg_bytes text = { 0 };
	uint64_t index = 0;

	make_tree(heads);
	CU_ASSERT_EQUAL_FATAL(tg_tlog_prove_inclusion(&source, 11, 37, &proof, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(tg_tlog_proof_format(&proof, 11, "a\n37\nroot\n\nsigned\n", &text, NULL), 0);
	CU_ASSERT_EQUAL(strncmp((char *)text.data, "c2sp.org/tlog-proof@v1\nindex 11\n", 32), 0);
	CU_ASSERT_EQUAL_FATAL(
		tg_tlog_proof_parse((char *)text.data, text.len, &back, &index, &checkpoint, NULL), 0);
	CU_ASSERT_EQUAL(index, 11);
	CU_ASSERT_EQUAL(back.count, proof.count);
	CU_ASSERT_EQUAL(memcmp(back.hashes, proof.hashes, proof.count * TG_SHA256_LEN), 0);
	CU_ASSERT_STRING_EQUAL(checkpoint, "a\n37\nroot\n\nsigned\n");
	for (size_t len = 0; len + 10 < text.len; len++)
		(void)tg_tlog_proof_parse((char *)text.data, len, &back, &index, &checkpoint, NULL);
	text.data[0] ^= 1;
	CU_ASSERT_EQUAL(tg_tlog_proof_parse((char *)text.data, text.len, &back, &index, &checkpoint, NULL),
			-EBADMSG);
	tg_bytes_free(&text);
}
