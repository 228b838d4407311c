/* SPDX-License-Identifier: BSD-3-Clause */
/* The device's trail and what it keeps of the ledger. */
#include <errno.h>
#include <openssl/evp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"
#include "tensorguard/file.h"
#include "tensorguard/key.h"
#include "tensorguard/merkle.h"
#include "trust/audit.h"

static char directory[] = "/tmp/tg-trail-XXXXXX";
static uint16_t recorded_number;
static struct audit_kept unsaved;

static void recorded(void *ctx, uint16_t number)
{
	(void)ctx;
	recorded_number = number;
}

static void quiet(const char *line)
{
	(void)line;
}

static void fresh(void)
{
	char command[96];

	if (access(directory, F_OK))
		CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(directory));
	snprintf(command, sizeof(command), "rm -rf %s/* && mkdir -p %s/audit", directory, directory);
	CU_ASSERT_EQUAL(system(command), 0);
	recorded_number = 0;
	unsaved = (struct audit_kept){ .has_key = false };
}

static struct audit_log *open_log(void)
{
	const struct audit_log_conf conf = { directory, recorded, quiet, NULL };
	struct audit_log *log = NULL;

	CU_ASSERT_EQUAL_FATAL(audit_log_new(&conf, &log), 0);
	return log;
}

/* "action/outcome action/outcome ..." of what waits. */
static const char *waiting(struct audit_log *log)
{
	struct tg_bytes records[TG_AUDIT_BATCH_RECORDS];
	static char text[1024];
	struct tg_audit_record r;
	size_t count = 0, used = 0;

	text[0] = '\0';
	CU_ASSERT_EQUAL(audit_log_peek(log, records, &count), 0);
	for (size_t i = 0; i < count; i++) {
		CU_ASSERT_EQUAL(tg_audit_decode(records[i].data, records[i].len, &r, NULL), 0);
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s/%s", i ? " " : "", r.action,
					 r.outcome);
		tg_bytes_free(&records[i]);
	}
	return text;
}

TEST(trust_audit, a_generation_has_one_record)
{
	struct audit_log *log;

	fresh();
	log = open_log();
	audit_log_add(log, TG_AUDIT_RENEWAL_FAILED, "", 1, 0, "early");
	CU_ASSERT_STRING_EQUAL(waiting(log), "");
	audit_log_identity(log, "robot-1", 1, false);
	CU_ASSERT_STRING_EQUAL(waiting(log), "renew/failed enrol/done");
	audit_log_identity(log, "robot-1", 1, false);
	audit_log_free(log);
	log = open_log();
	audit_log_identity(log, "robot-1", 1, false);
	CU_ASSERT_STRING_EQUAL(waiting(log), "renew/failed enrol/done");
	audit_log_identity(log, "robot-1", 2, true);
	CU_ASSERT_STRING_EQUAL(waiting(log), "renew/failed enrol/done renew/done");
	audit_log_stored(log, 2);
	CU_ASSERT_STRING_EQUAL(waiting(log), "renew/done");
	CU_ASSERT_FALSE(audit_log_is_empty(log));
	audit_log_stored(log, 3);
	CU_ASSERT_TRUE(audit_log_is_empty(log));
	/* a device that enrols again under another name, and a Platform that will not go on with a chain */
	audit_log_identity(log, "robot-2", 3, false);
	CU_ASSERT_STRING_EQUAL(waiting(log), "audit-chain/restarted enrol/done");
	audit_log_refused(log, "audit-fork");
	CU_ASSERT_STRING_EQUAL(waiting(log), "audit-chain/restarted audit-chain/restarted enrol/done");
	audit_log_free(log);
}

TEST(trust_audit, an_event_is_answered_when_it_is_on_the_disk)
{
	struct message_event event = {
		.code = TG_AUDIT_PROCESS_ENDED, .number = 7, .count = 1, .subject = "guard"
	};
	char path[96];
	struct audit_log *log;

	fresh();
	log = open_log();
	audit_log_event(log, &event, "");
	CU_ASSERT_EQUAL(recorded_number, 0);
	/* something stands in the queue's place: it waits */
	snprintf(path, sizeof(path), "%s/audit/queue", directory);
	CU_ASSERT_EQUAL(mkdir(path, 0700), 0);
	audit_log_identity(log, "robot-1", 1, false);
	CU_ASSERT_EQUAL(recorded_number, 0);
	CU_ASSERT_EQUAL(rmdir(path), 0);
	audit_log_identity(log, "robot-1", 1, false);
	CU_ASSERT_EQUAL(recorded_number, 7);
	CU_ASSERT_STRING_EQUAL(waiting(log), "enrol/done process-restart/ended");
	event.number = 8;
	audit_log_event(log, &event, "");
	CU_ASSERT_EQUAL(recorded_number, 8);
	audit_log_free(log);
}

/* ---- a witness ---- */

enum { LEAVES = 9 };

struct ledger {
	EVP_PKEY *key;
	char text[TG_TLOG_KEY_SIZE];
	uint8_t leaves[LEAVES][TG_SHA256_LEN];
};

static int node(void *ctx, unsigned level, uint64_t index, uint8_t ret_hash[static TG_SHA256_LEN],
		struct tg_error *e)
{
	const struct ledger *l = ctx;
	uint8_t left[TG_SHA256_LEN], right[TG_SHA256_LEN];

	if (!level) {
		memcpy(ret_hash, l->leaves[index], TG_SHA256_LEN);
		return 0;
	}
	node(ctx, level - 1, 2 * index, left, e);
	node(ctx, level - 1, 2 * index + 1, right, e);
	return tg_merkle_node(left, right, ret_hash, e);
}

static void ledger_new(struct ledger *l, const char *origin)
{
	struct tg_tlog_key key;

	CU_ASSERT_EQUAL_FATAL(tg_key_generate(TG_KEY_EDDSA, &l->key, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(tg_tlog_key_of(origin, l->key, &key, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(tg_tlog_key_format(&key, l->text, NULL), 0);
	for (uint8_t i = 0; i < LEAVES; i++)
		CU_ASSERT_EQUAL(tg_merkle_leaf(&i, 1, l->leaves[i], NULL), 0);
}

/* What sync does with it. */
static int take(const char *key, const struct tg_bytes *note, const struct tg_tlog_proof *proof)
{
	struct audit_kept kept;
	int ret = audit_kept_newest(directory, &unsaved, &kept, NULL);

	if (!ret)
		ret = audit_kept_advance(&kept, key, (char *)note->data, note->len, proof, NULL);
	if (ret)
		return ret;
	unsaved = kept;
	unsaved.has_checkpoint = audit_kept_save(directory, &kept, (char *)note->data, note->len, NULL) != 0;
	return 0;
}

/* The ledger says it has `size` records now, and proves it to who has `older`. */
static int give(struct ledger *l, const char *key, const char *origin, uint64_t older, uint64_t size)
{
	const struct tg_tlog_source source = { node, l };
	struct tg_tlog_head head = { .size = size };
	struct tg_tlog_proof proof = { .count = 0 };
	struct tg_bytes note;
	int ret;

	CU_ASSERT_EQUAL(tg_tlog_root(&source, size, head.root, NULL), 0);
	if (older && older < size)
		CU_ASSERT_EQUAL(tg_tlog_prove_consistency(&source, older, size, &proof, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(tg_tlog_checkpoint_sign(&head, origin, l->key, &note, NULL), 0);
	ret = take(key, &note, &proof);
	tg_bytes_free(&note);
	return ret;
}

static uint64_t kept_size(void)
{
	struct audit_kept kept;

	CU_ASSERT_EQUAL_FATAL(audit_kept_load(directory, &kept, NULL), 0);
	return kept.head.size;
}

TEST(trust_audit, a_ledger_that_does_not_continue_is_refused)
{
	struct ledger log, other;
	char path[96];

	fresh();
	ledger_new(&log, "a/log");
	ledger_new(&other, "a/log");
	CU_ASSERT_EQUAL(kept_size(), 0);
	CU_ASSERT_EQUAL(give(&log, log.text, "a/log", 0, 3), 0);
	CU_ASSERT_EQUAL(kept_size(), 3);
	CU_ASSERT_EQUAL(give(&log, log.text, "a/log", 3, 3), 0);
	CU_ASSERT_EQUAL(give(&log, log.text, "a/log", 3, 7), 0);
	CU_ASSERT_EQUAL(kept_size(), 7);
	/* shorter; without a proof; rewritten; of another key, whatever it says its key is */
	CU_ASSERT_EQUAL(give(&log, log.text, "a/log", 0, 5), -EKEYREJECTED);
	CU_ASSERT_EQUAL(give(&log, log.text, "a/log", 0, 9), -EKEYREJECTED);
	log.leaves[2][0] ^= 1;
	CU_ASSERT_EQUAL(give(&log, log.text, "a/log", 7, 9), -EKEYREJECTED);
	CU_ASSERT_EQUAL(give(&log, log.text, "a/log", 7, 7), -EKEYREJECTED);
	log.leaves[2][0] ^= 1;
	CU_ASSERT_EQUAL(give(&other, other.text, "a/log", 7, 9), -EKEYREJECTED);
	CU_ASSERT_EQUAL(kept_size(), 7);
	CU_ASSERT_EQUAL(give(&log, log.text, "a/log", 7, 9), 0);
	/* what is kept was altered */
	snprintf(path, sizeof(path), "%s/audit/checkpoint", directory);
	CU_ASSERT_EQUAL(tg_file_replace(path, "a/log\n1\n", 8, 0600, NULL), 0);
	CU_ASSERT_EQUAL(audit_kept_load(directory, &(struct audit_kept){ 0 }, NULL), -EBADMSG);
	CU_ASSERT_EQUAL(give(&log, log.text, "a/log", 9, 9), -EKEYREJECTED);
	EVP_PKEY_free(log.key);
	EVP_PKEY_free(other.key);
}

/* Files take no byte more, as on a full disk. */
static void fill_disk(bool full)
{
	struct rlimit limit;

	getrlimit(RLIMIT_FSIZE, &limit);
	limit.rlim_cur = full ? 0 : limit.rlim_max;
	signal(SIGXFSZ, full ? SIG_IGN : SIG_DFL);
	CU_ASSERT_EQUAL(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

TEST(trust_audit, a_checkpoint_that_the_disk_does_not_take_counts_all_the_same)
{
	struct ledger log, other;

	fresh();
	ledger_new(&log, "a/log");
	ledger_new(&other, "a/log");
	CU_ASSERT_EQUAL(give(&log, log.text, "a/log", 0, 3), 0);
	CU_ASSERT_FALSE(unsaved.has_checkpoint);
	fill_disk(true);
	CU_ASSERT_EQUAL(give(&log, log.text, "a/log", 3, 5), 0);
	CU_ASSERT(unsaved.has_checkpoint && unsaved.head.size == 5);
	/* what is in memory is the one to go on from, not what is on the disk */
	CU_ASSERT_EQUAL(give(&log, log.text, "a/log", 3, 7), -EKEYREJECTED);
	CU_ASSERT_EQUAL(give(&log, log.text, "a/log", 5, 7), 0);
	log.leaves[6][0] ^= 1;
	CU_ASSERT_EQUAL(give(&log, log.text, "a/log", 7, 9), -EKEYREJECTED);
	log.leaves[6][0] ^= 1;
	CU_ASSERT_EQUAL(give(&other, other.text, "a/log", 7, 9), -EKEYREJECTED);
	fill_disk(false);
	CU_ASSERT_EQUAL(kept_size(), 3);
	CU_ASSERT_EQUAL(give(&log, log.text, "a/log", 7, 9), 0);
	CU_ASSERT_EQUAL(kept_size(), 9);
	CU_ASSERT_FALSE(unsaved.has_checkpoint);
	EVP_PKEY_free(log.key);
	EVP_PKEY_free(other.key);
}

TEST(trust_audit, the_first_checkpoint_is_kept_in_memory_with_its_key)
{
	struct ledger log, other;
	struct audit_kept in_memory;

	fresh();
	ledger_new(&log, "a/log");
	ledger_new(&other, "a/log");
	fill_disk(true);
	CU_ASSERT_EQUAL(give(&log, log.text, "a/log", 0, 3), 0);
	CU_ASSERT_EQUAL(give(&other, other.text, "a/log", 3, 7), -EKEYREJECTED);
	fill_disk(false);
	CU_ASSERT_EQUAL(give(&log, log.text, "a/log", 3, 7), 0);
	CU_ASSERT_EQUAL(kept_size(), 7);
	/* another key, on purpose: what is in memory is not for it */
	fill_disk(true);
	CU_ASSERT_EQUAL(give(&log, log.text, "a/log", 7, 9), 0);
	fill_disk(false);
	in_memory = unsaved;
	CU_ASSERT_EQUAL(in_memory.head.size, 9);
	fresh();
	CU_ASSERT_EQUAL(give(&other, other.text, "a/log", 0, 3), 0);
	unsaved = in_memory;
	CU_ASSERT_EQUAL(give(&other, other.text, "a/log", 3, 7), 0);
	CU_ASSERT_EQUAL(kept_size(), 7);
	EVP_PKEY_free(log.key);
	EVP_PKEY_free(other.key);
}
