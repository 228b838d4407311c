/* SPDX-License-Identifier: BSD-3-Clause */
/* Audit records on their way into the ledger: answered when they are on the disk, with a checkpoint that
 * covers them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/log.h"
#include "ledger/ledger.h"
#include "sync/sync.h"

struct taking {
	struct sync_step step;
	struct store_job job;
	struct ledger_batch batch;
	struct ledger_result result;
};

/* The part is left out, and the agent says it again: nothing of the ledger's may keep a policy from it. */
static void failed(struct sync *sync, const char *error)
{
	metrics_count(&sync->platform->metrics, METRICS_STORE_FAILURES);
	log_error("sync-audit", json_pack("{s:s}", "error", error));
}

/* What is in the store now, and that it continues what the agent has seen. */
static void answer(struct sync *sync, const struct ledger_result *result)
{
	struct tg_audit_pull *pull = &sync->answer.audit;
	const struct ledger_key *key = &sync->platform->ledger;
	struct ledger_checkpoint checkpoint;
	struct tg_error e = { "" };
	int ret =
		ledger_checkpoint(sync->request->store, key, sync->message.audit.checkpoint, &checkpoint, &e);

	if (!ret) {
		pull->stored = result->stored;
		snprintf(pull->refused, sizeof(pull->refused), "%s",
			 result->refusal ? ledger_refusal_name(result->refusal) : "");
		snprintf(pull->key, sizeof(pull->key), "%s", key->text);
		pull->checkpoint = checkpoint.note;
		ret = tg_audit_pull_set_proof(pull, &checkpoint.proof, &e);
	}
	if (ret)
		failed(sync, e.message);
	else
		sync->answer.has_audit = true;
}

/* In the store's thread. */
static bool may_record(void *arg, enum ledger_refusal refusal)
{
	const struct sync *sync = ((struct sync_step *)arg)->sync;

	return platform_may_record(sync->platform, sync->request->agent.id, ledger_refusal_name(refusal));
}

static int run(struct store *store, struct store_job *job, struct tg_error *e)
{
	struct taking *t = (void *)((char *)job - offsetof(struct taking, job));

	return ledger_take(store, &t->batch, &t->result, e);
}

static void done(struct store_job *job)
{
	struct taking *t = (void *)((char *)job - offsetof(struct taking, job));

	sync_resume(&t->step);
}

static void taking_free(struct taking *t)
{
	EVP_PKEY_free(t->batch.key);
	free(t);
}

/* In the worker's thread again. */
static void finish(struct sync_step *step)
{
	struct taking *t = (struct taking *)step;

	if (!t->job.result && t->result.refusal)
		metrics_refusal(&step->sync->platform->metrics, ledger_refusal_name(t->result.refusal));
	if (t->job.result)
		failed(step->sync, t->job.error.message);
	else
		answer(step->sync, &t->result);
	taking_free(t);
}

static struct taking *taking_new(const struct sync *sync)
{
	const X509 *cert = SSL_get0_peer_certificate(sync->request->tls);
	struct taking *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->step.finish = finish;
	t->job = (struct store_job){ .run = run, .done = done };
	t->batch = (struct ledger_batch){ .agent = sync->request->agent.id,
					  .key = X509_get0_pubkey(cert),
					  .data = sync->message.audit.batch.data,
					  .len = sync->message.audit.batch.len,
					  .now = sync->now,
					  .may_record = may_record,
					  .arg = &t->step };
	EVP_PKEY_up_ref(t->batch.key);
	return t;
}

/* Records stay for ever: one agent must not fill the disk with them. */
static bool within_budget(const struct sync *sync)
{
	const char *agent = sync->request->agent.id;
	uint32_t kib = (uint32_t)((sync->message.audit.batch.len + 1023) / 1024);

	if (limiter_take_many(sync->platform->batches, agent, strlen(agent), kib, limiter_clock_ms()))
		return true;
	metrics_refusal(&sync->platform->metrics, "audit-rate");
	return false;
}

void sync_audit(struct sync *sync)
{
	struct taking *t;

	if (!sync->message.has_audit)
		return;
	if (!sync->message.audit.batch.len) {
		answer(sync, &(struct ledger_result){ .refusal = LEDGER_TAKEN });
		return;
	}
	/* the answer leaves the part out, and the agent says it again */
	if (!within_budget(sync))
		return;
	t = taking_new(sync);
	if (!t || sync_wait(sync, &t->step)) {
		if (t)
			taking_free(t);
		failed(sync, "out of memory");
		return;
	}
	/* the request has moved: it is held now */
	t->batch.agent = sync->request->agent.id;
	if (writer_submit(sync->platform->writer, &t->job)) {
		t->job.result = -EBUSY;
		snprintf(t->job.error.message, sizeof(t->job.error.message),
			 "too many changes wait for the store");
		sync_resume(&t->step);
	}
}
