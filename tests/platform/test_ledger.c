/* SPDX-License-Identifier: BSD-3-Clause */
/* The ledger, on the back-end that $TEST_STORE names. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "harness.h"
#include "ledger/ledger.h"
#include "store/db.h"
#include "store_fixture.h"
#include "tensorguard/merkle.h"

enum { BATCH = 10 };

/* An agent, as the Platform sees it. */
struct agent {
	struct tg_audit_chain chain;
	struct tg_bytes records[BATCH], batch;
	EVP_PKEY *key;
};

static void agent_new(struct agent *a, const char *name)
{
	*a = (struct agent){ .key = NULL };
	CU_ASSERT_EQUAL_FATAL(tg_audit_chain_begin(name, &a->chain, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(tg_p256_generate(&a->key, NULL), 0);
}

static void clear_records(struct agent *a)
{
	for (int i = 0; i < BATCH; i++)
		tg_bytes_free(&a->records[i]);
	tg_bytes_free(&a->batch);
}

static void agent_free(struct agent *a)
{
	clear_records(a);
	EVP_PKEY_free(a->key);
}

/* Its next `count` records, signed. */
static void agent_make(struct agent *a, size_t count, const char *detail)
{
	const struct tg_audit_event event = { .time_ms = NOW * 1000ull,
					      .actor = "guard",
					      .action = "violation",
					      .target = "lab",
					      .outcome = "delay",
					      .detail = detail };

	clear_records(a);
	for (size_t i = 0; i < count; i++)
		CU_ASSERT_EQUAL_FATAL(tg_audit_chain_add(&a->chain, &event, &a->records[i], NULL), 0);
	CU_ASSERT_EQUAL_FATAL(tg_audit_batch_make(a->records, count, a->key, &a->batch, NULL), 0);
}

static struct ledger_result send_as(struct store *store, const struct agent *a, const char *name,
				    EVP_PKEY *key)
{
	const struct ledger_batch batch = {
		.agent = name, .key = key, .data = a->batch.data, .len = a->batch.len, .now = NOW
	};
	struct ledger_result result = { .stored = 9999 };
	struct tg_error e = { "" };

	CU_ASSERT_EQUAL(store_begin(store, &e), 0);
	CU_ASSERT_EQUAL(ledger_take(store, &batch, &result, &e), 0);
	CU_ASSERT_EQUAL(store_commit(store, &e), 0);
	return result;
}

static struct ledger_result send(struct store *store, const struct agent *a)
{
	return send_as(store, a, a->chain.source, a->key);
}

static struct tg_tlog_head head_of(struct store *store)
{
	struct tg_tlog_head head = { .size = 0 };

	CU_ASSERT_EQUAL(store_ledger_head(store, &head, NULL), 0);
	return head;
}

static int count_refused(void *arg, const struct store_audit *record)
{
	int *counts = arg;

	for (int i = 0; i < LEDGER_REFUSALS; i++)
		counts[i] += !strcmp(record->outcome, ledger_refusal_name((enum ledger_refusal)i));
	return 0;
}

TEST(ledger, takes_batches_in_their_order_and_once)
{
	struct store *store = fresh_store();
	struct ledger_result result;
	struct tg_tlog_head head;
	struct agent a;

	CU_ASSERT_EQUAL(head_of(store).size, 0);
	agent_new(&a, "robot-1");
	agent_make(&a, 3, "first");
	result = send(store, &a);
	CU_ASSERT(!result.refusal && result.stored == 3);
	head = head_of(store);
	CU_ASSERT_EQUAL(head.size, 3);
	/* the answer was lost: the same once more */
	result = send(store, &a);
	CU_ASSERT(!result.refusal && result.stored == 3);
	CU_ASSERT_EQUAL(head_of(store).size, 3);
	CU_ASSERT_EQUAL(memcmp(head_of(store).root, head.root, sizeof(head.root)), 0);
	agent_make(&a, 4, "second");
	result = send(store, &a);
	CU_ASSERT(!result.refusal && result.stored == 7);
	CU_ASSERT_EQUAL(head_of(store).size, 7);
	agent_free(&a);
	store_close(store);
}

/* Part of it is stored already, as another batch. */
TEST(ledger, takes_what_overlaps)
{
	struct store *store = fresh_store();
	struct tg_bytes batch = { 0 };
	struct ledger_result result;
	struct agent a;

	agent_new(&a, "robot-1");
	agent_make(&a, 6, "both");
	CU_ASSERT_EQUAL(tg_audit_batch_make(a.records, 2, a.key, &batch, NULL), 0);
	{
		struct tg_bytes whole = a.batch;

		a.batch = batch;
		CU_ASSERT_EQUAL(send(store, &a).stored, 2);
		a.batch = whole;
	}
	result = send(store, &a);
	CU_ASSERT(!result.refusal && result.stored == 6);
	CU_ASSERT_EQUAL(head_of(store).size, 6);
	tg_bytes_free(&batch);
	agent_free(&a);
	store_close(store);
}

TEST(ledger, refuses_what_does_not_fit_and_records_it)
{
	struct store *store = fresh_store();
	int counts[LEDGER_REFUSALS] = { 0 };
	struct tg_audit_chain before;
	struct ledger_result result;
	struct agent a, b, thief;

	agent_new(&a, "robot-1");
	agent_new(&thief, "robot-2");
	agent_make(&a, 2, "one");
	CU_ASSERT_EQUAL(send_as(store, &a, "robot-2", a.key).refusal, LEDGER_STRANGER);
	CU_ASSERT_EQUAL(send_as(store, &a, "robot-1", thief.key).refusal, LEDGER_SIGNATURE);
	a.batch.len--;
	CU_ASSERT_EQUAL(send(store, &a).refusal, LEDGER_MALFORMED);
	a.batch.len++;
	CU_ASSERT_EQUAL(send(store, &a).stored, 2);
	before = a.chain;
	/* a batch is lost on the way: its successor is not taken */
	agent_make(&a, 2, "lost");
	agent_make(&a, 2, "next");
	result = send(store, &a);
	CU_ASSERT(result.refusal == LEDGER_GAP && result.stored == 2);
	CU_ASSERT_PTR_NOT_NULL(strstr(result.detail, "record 5 does not follow record 2"));
	/* the same chain, told differently: from record 2 on, and from record 3 on */
	b = a;
	memset(b.records, 0, sizeof(b.records));
	b.batch = (struct tg_bytes){ 0 };
	b.chain = before;
	agent_make(&b, 2, "truth");
	CU_ASSERT_EQUAL(send(store, &b).stored, 4);
	b.chain = before;
	agent_make(&b, 2, "a lie");
	result = send(store, &b);
	CU_ASSERT(result.refusal == LEDGER_FORK && result.stored == 4);
	b.chain = before;
	b.chain.hash[0] ^= 1;
	b.chain.sequence = 4;
	agent_make(&b, 1, "a lie");
	CU_ASSERT_EQUAL(send(store, &b).refusal, LEDGER_FORK);
	/* a chain that does not begin at its beginning */
	clear_records(&b);
	CU_ASSERT_EQUAL(tg_audit_chain_begin("robot-1", &b.chain, NULL), 0);
	b.chain.sequence = 1;
	agent_make(&b, 1, "late");
	CU_ASSERT_EQUAL(send(store, &b).refusal, LEDGER_GAP);
	CU_ASSERT_EQUAL(store_audit_each(store, 100, count_refused, counts, NULL), 0);
	CU_ASSERT(counts[LEDGER_STRANGER] == 1 && counts[LEDGER_SIGNATURE] == 1 &&
		  counts[LEDGER_MALFORMED] == 1);
	CU_ASSERT(counts[LEDGER_GAP] == 2 && counts[LEDGER_FORK] == 2);
	/* four records of the agent's, seven of the Platform's */
	CU_ASSERT_EQUAL(head_of(store).size, 4 + 7);
	clear_records(&b);
	agent_free(&a);
	agent_free(&thief);
	store_close(store);
}

TEST(ledger, a_chain_that_was_given_up_does_not_go_on)
{
	struct store *store = fresh_store();
	struct agent a, b;

	agent_new(&a, "robot-1");
	agent_new(&b, "robot-1");
	agent_make(&a, 2, "old");
	CU_ASSERT_EQUAL(send(store, &a).stored, 2);
	agent_make(&b, 3, "new");
	CU_ASSERT_EQUAL(send(store, &b).stored, 3);
	/* what is stored of the old one is no harm */
	CU_ASSERT_EQUAL(send(store, &a).refusal, LEDGER_TAKEN);
	agent_make(&a, 1, "old");
	CU_ASSERT_EQUAL(send(store, &a).refusal, LEDGER_ENDED);
	agent_make(&b, 1, "new");
	CU_ASSERT_EQUAL(send(store, &b).stored, 4);
	agent_free(&a);
	agent_free(&b);
	store_close(store);
}

/* Records of the Platform's, `from` to `to`, as leaves. */
static void add_own(struct store *store, int from, int to)
{
	struct tg_error e = { "" };
	char detail[32];

	CU_ASSERT_EQUAL_FATAL(store_begin(store, &e), 0);
	for (int i = from; i < to; i++) {
		const struct store_audit record = { .time = NOW,
						    .actor = "operator",
						    .action = "test",
						    .target = "ledger",
						    .outcome = "done",
						    .detail = detail };

		snprintf(detail, sizeof(detail), "%d", i);
		CU_ASSERT_EQUAL_FATAL(store_audit_add(store, &record, &e), 0);
	}
	CU_ASSERT_EQUAL_FATAL(store_commit(store, &e), 0);
}

struct told {
	struct tg_merkle tree;
	struct tg_audit_chain chain;
	uint64_t next;
};

/* The tree again, from what is stored. */
static int tell(void *arg, const struct store_leaf *leaf)
{
	uint8_t hash[TG_SHA256_LEN];
	struct tg_audit_record record;
	struct told *t = arg;

	CU_ASSERT_EQUAL(leaf->index, t->next++);
	CU_ASSERT_EQUAL(tg_merkle_leaf(leaf->data, leaf->len, hash, NULL), 0);
	CU_ASSERT_EQUAL(tg_merkle_add(&t->tree, hash, NULL), 0);
	if (!t->chain.sequence) {
		CU_ASSERT_EQUAL(tg_audit_decode(leaf->data, leaf->len, &record, NULL), 0);
		memcpy(t->chain.chain, record.chain, sizeof(record.chain));
	}
	CU_ASSERT_EQUAL(tg_audit_chain_follow(&t->chain, leaf->data, leaf->len, &record, NULL), 0);
	return 0;
}

TEST(ledger, the_tree_is_that_of_its_records_and_proofs_hold)
{
	static const uint64_t sizes[] = { 1, 2, 3, 255, 256, 257, 300, 511, 512, 600 };
	struct store *store = fresh_store();
	const struct tg_tlog_source source = { store_ledger_node, store };
	const struct store_leaf_query all = { .limit = 10000 };
	struct tg_tlog_head heads[10], now;
	struct tg_tlog_proof proof;
	struct told told = { .next = 0 };
	uint8_t root[TG_SHA256_LEN], hash[1][TG_SHA256_LEN];
	size_t count;

	for (size_t i = 0; i < 10; i++) {
		add_own(store, i ? (int)sizes[i - 1] : 0, (int)sizes[i]);
		heads[i] = head_of(store);
		CU_ASSERT_EQUAL(heads[i].size, sizes[i]);
	}
	CU_ASSERT_EQUAL(store_ledger_each(store, &all, tell, &told, NULL), 0);
	CU_ASSERT_EQUAL(tg_merkle_root(&told.tree, root, NULL), 0);
	now = head_of(store);
	CU_ASSERT_EQUAL(memcmp(root, now.root, sizeof(root)), 0);
	for (size_t i = 0; i < 10; i++) {
		CU_ASSERT_EQUAL(tg_tlog_root(&source, sizes[i], root, NULL), 0);
		CU_ASSERT_EQUAL(memcmp(root, heads[i].root, sizeof(root)), 0);
		for (size_t j = i; j < 10; j++) {
			CU_ASSERT_EQUAL(tg_tlog_prove_consistency(&source, sizes[i], sizes[j], &proof, NULL),
					0);
			CU_ASSERT_EQUAL(tg_tlog_check_consistency(&proof, &heads[i], &heads[j], NULL), 0);
		}
	}
	for (uint64_t i = 0; i < now.size; i += 37) {
		CU_ASSERT_EQUAL(tg_tlog_prove_inclusion(&source, i, now.size, &proof, NULL), 0);
		CU_ASSERT_EQUAL(store_ledger_hashes(store, 0, i, 1, hash, &count, NULL), 0);
		CU_ASSERT_EQUAL(tg_tlog_check_inclusion(&proof, &now, i, hash[0], NULL), 0);
	}
	store_close(store);
}

TEST(ledger, tiles_have_the_width_that_was_asked_for_or_are_not_there)
{
	struct store *store = fresh_store();
	struct tg_tlog_tile tile;
	struct tg_bytes data = { 0 };
	static const struct {
		const char *name;
		size_t len;
	} there[] = { { "0/000", 8192 },   { "0/001", 8192 },       { "0/002.p/88", 88 * 32 },
		      { "0/002.p/1", 32 }, { "0/000.p/7", 7 * 32 }, { "1/000.p/2", 64 },
		      { "1/000.p/1", 32 } };
	static const char *const missing[] = { "0/002",          "0/002.p/89",  "0/003.p/1",
					       "1/000",          "1/000.p/3",   "2/000.p/1",
					       "63/000.p/1",     "entries/002", "entries/x999/999",
					       "0/x999/x999/999" };

	add_own(store, 0, 600);
	for (size_t i = 0; i < sizeof(there) / sizeof(there[0]); i++) {
		CU_ASSERT_EQUAL(tg_tlog_tile_parse(there[i].name, &tile), 0);
		CU_ASSERT_EQUAL(ledger_tile(store, &tile, &data, NULL), 0);
		CU_ASSERT_EQUAL(data.len, there[i].len);
		tg_bytes_free(&data);
	}
	for (size_t i = 0; i < sizeof(missing) / sizeof(missing[0]); i++) {
		CU_ASSERT_EQUAL(tg_tlog_tile_parse(missing[i], &tile), 0);
		CU_ASSERT_EQUAL(ledger_tile(store, &tile, &data, NULL), -ENOENT);
	}
	CU_ASSERT_EQUAL(tg_tlog_tile_parse("entries/002.p/88", &tile), 0);
	CU_ASSERT_EQUAL(ledger_tile(store, &tile, &data, NULL), 0);
	CU_ASSERT(data.len > 88 * 100);
	tg_bytes_free(&data);
	store_close(store);
}

/* What is undone is not in the ledger, and the next record takes its place. */
TEST(ledger, a_job_that_is_undone_leaves_nothing)
{
	struct store *store = fresh_store();
	struct tg_tlog_head before, after;

	add_own(store, 0, 5);
	before = head_of(store);
	CU_ASSERT_EQUAL(store_begin(store, NULL), 0);
	CU_ASSERT_EQUAL(store_savepoint(store, NULL), 0);
	CU_ASSERT_EQUAL(store_audit_add(store,
					&(struct store_audit){ .time = NOW,
							       .actor = "a",
							       .action = "b",
							       .target = "c",
							       .outcome = "d",
							       .detail = "undone" },
					NULL),
			0);
	CU_ASSERT_EQUAL(store_savepoint_undo(store, NULL), 0);
	CU_ASSERT_EQUAL(store_commit(store, NULL), 0);
	after = head_of(store);
	CU_ASSERT_EQUAL(memcmp(&before, &after, sizeof(before)), 0);
	add_own(store, 5, 7);
	CU_ASSERT_EQUAL(head_of(store).size, 7);
	store_close(store);
}

/* Records of a Platform that had no ledger yet come first. */
TEST(ledger, takes_over_what_was_there_before_it)
{
	struct store *store = fresh_store();
	struct db *db = NULL;
	const struct store_leaf_query all = { .limit = 1000 };
	struct told told = { .next = 0 };

	add_own(store, 0, 300);
	CU_ASSERT_EQUAL_FATAL(db_open(store_url(), &db, NULL), 0);
	CU_ASSERT_EQUAL(db_script(db,
				  "DELETE FROM ledger_leaf; DELETE FROM ledger_node; DELETE FROM ledger_head;"
				  "DELETE FROM ledger_chain",
				  NULL),
			0);
	db_close(db);
	add_own(store, 300, 301);
	CU_ASSERT_EQUAL(head_of(store).size, 301);
	CU_ASSERT_EQUAL(store_ledger_each(store, &all, tell, &told, NULL), 0);
	CU_ASSERT_EQUAL(told.chain.sequence, 301);
	store_close(store);
}
