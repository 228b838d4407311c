/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * POST /v1/sync: the one request that an agent makes again and again (docs/api-sync.md). It says how the
 * device is and what it has; the answer brings what it should have and says when to come again.
 *
 * Each subject is a sub-object with a structure and a table of fields of its own; those that are not always
 * there have a `has_` flag. Decoders are as strict as those of enrol.h: agent and Platform are released
 * together.
 */
#ifndef TENSORGUARD_SYNC_H
#define TENSORGUARD_SYNC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tensorguard/audit_sync.h"
#include "tensorguard/bytes.h"
#include "tensorguard/error.h"
#include "tensorguard/key_sync.h"
#include "tensorguard/model_sync.h"
#include "tensorguard/signed_policy.h"

#define TG_SYNC_FORMAT 1
#define TG_SYNC_REQUEST_MAX (256 * 1024) /* bytes of a request */
#define TG_SYNC_ANSWER_MAX (1024 * 1024)
#define TG_SYNC_FAULTS_MAX 8
#define TG_SYNC_FAULT_LEN 48	/* with the final NUL */
#define TG_SYNC_VERSION_LEN 32
#define TG_SYNC_KERNEL_LEN 65	/* as uname(2) has it */

/* Seconds between two requests that a Platform may ask for. */
#define TG_SYNC_PERIOD_MIN 1
#define TG_SYNC_PERIOD_MAX 3600
#define TG_SYNC_PERIOD 60

/* What paces: nothing is up, or no tunnel has a schedule. */
enum tg_sync_engine { TG_SYNC_ENGINE_NONE, TG_SYNC_ENGINE_KERNEL, TG_SYNC_ENGINE_QUEUE };

/* The data plane is not up; works; has problems (see the faults); is stopped by the Platform. */
enum tg_sync_state { TG_SYNC_DOWN, TG_SYNC_UP, TG_SYNC_DEGRADED, TG_SYNC_LOCKED };

struct tg_sync_heartbeat {
	char version[TG_SYNC_VERSION_LEN];	/* of the agent */
	char kernel[TG_SYNC_KERNEL_LEN];
	enum tg_sync_engine engine;
	enum tg_sync_state state;
	int64_t uptime;			/* of the agent, seconds */
	int64_t real, pad, dummy;	/* bytes sent since the counters began, all tunnels */
	int64_t violations;		/* of the determinism guard, likewise */
	int64_t restarts;		/* of the agent's processes, since the supervisor began */
	char faults[TG_SYNC_FAULTS_MAX]
		   [TG_SYNC_FAULT_LEN]; /* words: "guard-absent", "policy-refused:REASON", ... */
	size_t fault_count;
};

/* What the device has: its version, and the hash of its statement (signed_policy.h). */
struct tg_sync_policy {
	int64_t version;
	uint8_t hash[TG_SHA256_LEN];
};

struct tg_sync_request {
	int64_t format;			/* TG_SYNC_FORMAT */
	struct tg_sync_heartbeat heartbeat;
	bool has_policy;
	struct tg_sync_policy policy;
	bool has_audit;
	struct tg_audit_push audit;
	bool has_models;
	struct tg_models_request models;
	bool has_keys;
	struct tg_keys_request keys;
};

struct tg_sync_answer {
	int64_t format;
	int64_t time;			/* the Platform's, seconds since 1970 */
	int64_t period;			/* seconds until the next request, give or take the agent's jitter */
	bool has_policy;		/* there is another one than the device has */
	struct tg_signed_policy policy;
	bool has_audit;
	struct tg_audit_pull audit;
	bool has_models;		/* there is something else than it took last */
	struct tg_models_answer models;
	bool has_keys;			/* it said something of keys, and the store took it */
	struct tg_keys_answer keys;
};

const char *tg_sync_engine_name(enum tg_sync_engine engine);
const char *tg_sync_state_name(enum tg_sync_state state);

int tg_sync_request_decode(const void *text, size_t len, struct tg_sync_request *ret_request,
			   struct tg_error *e);
int tg_sync_request_encode(const struct tg_sync_request *request, struct tg_bytes *ret_text,
			   struct tg_error *e);
void tg_sync_request_clear(struct tg_sync_request *request);

int tg_sync_answer_decode(const void *text, size_t len, struct tg_sync_answer *ret_answer,
			  struct tg_error *e);
int tg_sync_answer_encode(const struct tg_sync_answer *answer, struct tg_bytes *ret_text, struct tg_error *e);
void tg_sync_answer_clear(struct tg_sync_answer *answer);

#endif
