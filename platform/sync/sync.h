/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * POST /v1/sync, part by part. A part is a function that looks at its piece of the message and fills in its
 * piece of the answer; it runs in the worker's thread and must not wait. One that needs the store to be
 * written first calls sync_wait(), and the answer goes out when all of them have come back.
 */
#ifndef PLATFORM_SYNC_SYNC_H
#define PLATFORM_SYNC_SYNC_H

#include "api/platform.h"
#include "tensorguard/sync.h"

struct sync {
	struct request *request;	/* the agent is request->agent */
	struct platform *platform;
	struct tg_sync_request message;
	struct tg_sync_answer answer;
	int64_t now;
	bool held;			/* `request` is a copy that was held */
	unsigned waiting;
	int status;			/* of a refusal, else 0 */
	const char *reason, *text;	/* constants */
};

/* What a part waits for. finish() is called in the worker's thread, and may change the answer; then it is
 * answered if nothing else is waited for. The step must live until then. */
struct sync_step {
	struct request_call call;
	struct sync *sync;
	void (*finish)(struct sync_step *step);
};

/* In the part's call: -ENOMEM, and nothing is waited for. */
int sync_wait(struct sync *sync, struct sync_step *step);
/* From any thread. */
void sync_resume(struct sync_step *step);
/* The agent gets this instead of an answer; the first one counts. Both texts must be constants. */
void sync_refuse(struct sync *sync, int status, const char *reason, const char *text);

/* The parts, in their order. */
void sync_heartbeat(struct sync *sync);
void sync_policy(struct sync *sync);
void sync_audit(struct sync *sync);
void sync_models(struct sync *sync);
void sync_keys(struct sync *sync);

/* ---- heartbeats on their way to the store (heartbeats.c) ---- */

struct heartbeats *heartbeats_new(struct writer *writer);
/* The writer must have ended. NULL is fine. */
void heartbeats_free(struct heartbeats *heartbeats);

/* ---- policies in memory (policies.c) ---- */

/* It looks into the store every `fresh_ms`; 0: a second. */
struct policies *policies_new(unsigned fresh_ms);
void policies_free(struct policies *policies);	/* NULL is fine */
/*
 * What an agent should have, by policy_table_choose(). *ret_found is false when there is nothing, or nothing
 * that is newer than `has` (NULL: it has none).
 */
int policies_choose(struct policies *policies, struct store *store, const struct store_agent *agent,
		    const struct tg_sync_policy *has, int64_t now, struct tg_signed_policy *ret_policy,
		    bool *ret_found, struct tg_error *e);

#endif
