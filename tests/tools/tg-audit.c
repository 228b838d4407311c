/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Agents that hand over audit batches, straight to a store's writer thread: tg-audit STORE AGENTS RECORDS
 * BATCH. Each agent, robot-1, robot-2, ..., has RECORDS records in signed batches of BATCH; all is made
 * before the clock starts. Prints one JSON object: how many records are durable, how long that took, and the
 * processor time that each took, which a busy machine does not change.
 */
#include <errno.h>
#include <openssl/evp.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/tool.h"
#include "ledger/ledger.h"
#include "store/writer.h"
#include "tensorguard/cli.h"

#define PROGRAM "tg-audit"
enum { WAITING = 1024 };

struct handing {
	struct store_job job;
	struct ledger_batch batch;
	struct ledger_result result;
	struct tg_bytes data;
	sem_t *room;
};

static int run(struct store *store, struct store_job *job, struct tg_error *e)
{
	struct handing *h = (struct handing *)job;

	return ledger_take(store, &h->batch, &h->result, e);
}

static void done(struct store_job *job)
{
	sem_post(((struct handing *)job)->room);
}

/* Texts with all that collectors' formats must escape. */
static const struct tg_audit_event event = { .time_ms = 1795966432123,
					     .actor = "guard",
					     .action = "odd|action\\",
					     .target = "a=b",
					     .outcome = "failed",
					     .detail = "odd-1 \"q\" \\ ] | = end" };

static int make_batch(struct tg_audit_chain *chain, size_t count, EVP_PKEY *key, struct tg_bytes *ret_data,
		      struct tg_error *e)
{
	struct tg_bytes records[TG_AUDIT_BATCH_RECORDS] = { 0 };
	int ret = 0;

	for (size_t i = 0; !ret && i < count; i++)
		ret = tg_audit_chain_add(chain, &event, &records[i], e);
	if (!ret)
		ret = tg_audit_batch_make(records, count, key, ret_data, e);
	for (size_t i = 0; i < count; i++)
		tg_bytes_free(&records[i]);
	return ret;
}

/* The batches of one agent, `step` places apart: agents come in turns. */
static int make_agent(struct handing *first, size_t step, const char *name, size_t records, size_t per_batch,
		      struct tg_error *e)
{
	struct tg_audit_chain chain;
	EVP_PKEY *key = NULL;
	int ret = tg_p256_generate(&key, e);

	if (!ret)
		ret = tg_audit_chain_begin(name, &chain, e);
	for (size_t i = 0; !ret && records; i++) {
		size_t count = records < per_batch ? records : per_batch;
		struct handing *h = &first[i * step];

		ret = make_batch(&chain, count, key, &h->data, e);
		EVP_PKEY_up_ref(key);
		h->batch = (struct ledger_batch){ .agent = strdup(name),
						  .key = key,
						  .data = h->data.data,
						  .len = h->data.len,
						  .now = time(NULL) };
		records -= count;
	}
	EVP_PKEY_free(key);
	return ret;
}

static double now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Returns how many were refused or failed. */
static size_t hand_over(struct writer *writer, struct handing *all, size_t count)
{
	size_t bad = 0;
	sem_t room;

	sem_init(&room, 0, WAITING);
	for (size_t i = 0; i < count; i++) {
		sem_wait(&room);
		all[i].room = &room;
		all[i].job.run = run;
		all[i].job.done = done;
		if (writer_submit(writer, &all[i].job)) {
			bad++;
			sem_post(&room);
		}
	}
	for (int i = 0; i < WAITING; i++)
		sem_wait(&room);
	for (size_t i = 0; i < count; i++)
		bad += all[i].job.result || all[i].result.refusal;
	return bad;
}

static void free_all(struct handing *all, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free((void *)(uintptr_t)all[i].batch.agent);
		EVP_PKEY_free(all[i].batch.key);
		tg_bytes_free(&all[i].data);
	}
	free(all);
}

static int make_all(struct handing *all, size_t agents, size_t records, size_t per_batch, struct tg_error *e)
{
	char name[32];
	int ret = 0;

	for (size_t i = 0; !ret && i < agents; i++) {
		snprintf(name, sizeof(name), "robot-%zu", i + 1);
		ret = make_agent(&all[i], agents, name, records, per_batch, e);
	}
	return ret;
}

int main(int argc, char **argv)
{
	unsigned long agents, records, per_batch;
	struct tg_error e = { "" };
	struct writer *writer = NULL;
	struct handing *all;
	double begin = 0, end = 0, spent = 0;
	size_t count, bad = 0;
	int ret;

	if (argc != 5 || tg_cli_parse_number(argv[2], "AGENTS", 1, 100000, &agents, &e) ||
	    tg_cli_parse_number(argv[3], "RECORDS", 1, 1000000, &records, &e) ||
	    tg_cli_parse_number(argv[4], "BATCH", 1, TG_AUDIT_BATCH_RECORDS, &per_batch, &e)) {
		fprintf(stderr, PROGRAM ": %s\n", e.message[0] ? e.message : "STORE AGENTS RECORDS BATCH");
		return 2;
	}
	count = agents * ((records + per_batch - 1) / per_batch);
	all = calloc(count, sizeof(*all));
	if (!all)
		return 1;
	ret = make_all(all, agents, records, per_batch, &e);
	if (!ret)
		ret = writer_start(argv[1], &writer, &e);
	if (!ret) {
		begin = now(CLOCK_MONOTONIC);
		spent = now(CLOCK_PROCESS_CPUTIME_ID);
		bad = hand_over(writer, all, count);
		end = now(CLOCK_MONOTONIC);
		spent = now(CLOCK_PROCESS_CPUTIME_ID) - spent;
		printf("{\"agents\": %lu, \"batches\": %zu, \"records\": %lu, \"seconds\": %.3f, "
		       "\"per_second\": %.0f, \"cpu_us\": %.1f}\n",
		       agents, count, agents * records, end - begin,
		       (double)(agents * records) / (end - begin), spent * 1e6 / (double)(agents * records));
	}
	if (bad)
		fprintf(stderr, PROGRAM ": %zu batches were not taken\n", bad);
	else if (ret)
		fprintf(stderr, PROGRAM ": %s\n", e.message);
	writer_stop(writer);
	free_all(all, count);
	return ret || bad;
}
