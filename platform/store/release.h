/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the Platform remembers of releases: the packages, the trust documents that devices judge them by,
 * where a release is rolled out, and what each device says of its models. Conventions as in store.h.
 */
#ifndef PLATFORM_STORE_RELEASE_H
#define PLATFORM_STORE_RELEASE_H

#include "release/stage.h"
#include "store/store.h"
#include "tensorguard/model_sync.h"

enum { STORE_MODEL_SIZE = TG_TGSP_MAX_NAME + 1 };

struct store_release {
	char model[STORE_MODEL_SIZE];
	int64_t number;
	uint8_t manifest[STORE_HASH_LEN]; /* hash of the signed manifest */
	uint8_t content
		[STORE_HASH_LEN]; /* of paths, sizes and hashes of its files: the same for equal contents */
	uint8_t blob[STORE_HASH_LEN];
	int64_t size, added;
	int64_t revoked; /* when; 0: it is not */
	const uint8_t *document; /* the manifest, encoded; valid during a callback only */
	size_t document_len;
};

int store_release_add(struct store *store, const struct store_release *release, struct tg_error *e);
/* document NULL in what it returns. */
int store_release_get(struct store *store, const char *model, int64_t number,
		      struct store_release *ret_release, struct tg_error *e);
/* Of all models, or of one; by model and number. */
int store_release_each(struct store *store, const char *model,
		       int (*each)(void *arg, const struct store_release *release), void *arg,
		       struct tg_error *e);
/* -EALREADY: it was revoked before. */
int store_release_revoke(struct store *store, const char *model, int64_t number, int64_t now,
			 struct tg_error *e);
/* Manifests of revoked releases of the models that are rolled out in a fleet, the newest first, at most
 * `max`. */
int store_revoked_each(struct store *store, const char *fleet, int64_t max,
		       int (*each)(void *arg, const uint8_t manifest[static STORE_HASH_LEN]), void *arg,
		       struct tg_error *e);
/* -EBUSY when a fleet has it, or may get it, and for good when it was revoked. */
int store_release_remove(struct store *store, const char *model, int64_t number, struct tg_error *e);

enum rollout_state {
	ROLLOUT_RUNNING,
	ROLLOUT_PAUSED,	     /* by an operator */
	ROLLOUT_STOPPED,     /* by failures */
	ROLLOUT_ROLLED_BACK, /* by an operator */
	ROLLOUT_DONE,
	ROLLOUT_STATES
};
const char *rollout_state_name(enum rollout_state state);

/* A model in a fleet. */
struct store_rollout {
	char model[STORE_MODEL_SIZE], fleet[STORE_NAME_SIZE];
	int64_t base;	   /* release of devices that do not have the candidate; 0: none */
	int64_t candidate;
	enum rollout_state state;
	struct stages stages;
	struct stage_rule rule;
	struct stage_counts counts; /* of devices that were told to take the candidate */
	int64_t begun, changed;	    /* `changed`: the stage began, or a device was told, last */
	char reason[STORE_TEXT_SIZE]; /* of the state */
};

int store_rollout_get(struct store *store, const char *model, const char *fleet,
		      struct store_rollout *ret_rollout, struct tg_error *e);
/* Makes it, or puts it in the place of what was there. */
int store_rollout_put(struct store *store, const struct store_rollout *rollout, struct tg_error *e);
/* Of all fleets, or of one; by fleet and model. */
int store_rollout_each(struct store *store, const char *fleet,
		       int (*each)(void *arg, const struct store_rollout *rollout), void *arg,
		       struct tg_error *e);

/* How a device stands to its roll-out's candidate. */
enum device_verdict { DEVICE_UNTOLD, DEVICE_TOLD, DEVICE_HEALTHY, DEVICE_FAILED };

struct store_model {
	char agent[STORE_NAME_SIZE];
	struct tg_model_report report; /* the last one; an empty name: none yet */
	int64_t told;		/* the last candidate that it was told to take; 0: none */
	enum device_verdict verdict; /* on that one */
	int64_t ran;		/* the highest release that it had open once: its floor refuses what is
				 * older; 0: none */
	int64_t faults;		/* of its heartbeat, when it was told */
	int64_t seen;		/* when the Platform took the report */
};

/* The models of one agent, those it reported or was told to take. */
int store_model_each(struct store *store, const char *agent,
		     int (*each)(void *arg, const struct store_model *model), void *arg, struct tg_error *e);
/* Of all agents, by model and agent. */
int store_model_all(struct store *store, int (*each)(void *arg, const struct store_model *model), void *arg,
		    struct tg_error *e);
/* `model` is report.model. Makes the entry, or changes it. */
int store_model_put(struct store *store, const struct store_model *model, struct tg_error *e);
/* Another state or release than before, for the device's history, of which the last 32 entries are kept. */
int store_model_note(struct store *store, const struct store_model *model, struct tg_error *e);
/* Newest first: report.model, .release, .manifest, .state, .since, .detail and seen. */
int store_model_history(struct store *store, const char *agent,
			int (*each)(void *arg, const struct store_model *model), void *arg,
			struct tg_error *e);

struct store_trust {
	struct tg_model_trust document;
	int64_t issued, expires;
};
/* A root stays beside the others; targets, snapshot and timestamp replace theirs. */
int store_trust_put(struct store *store, const struct store_trust *trust, struct tg_error *e);
/* By role and version. */
int store_trust_each(struct store *store, int (*each)(void *arg, const struct store_trust *trust), void *arg,
		     struct tg_error *e);

/* Whether a device of `fleet` may read this blob. */
int store_blob_allowed(struct store *store, const char *fleet, const uint8_t blob[static STORE_HASH_LEN],
		       bool *ret_allowed, struct tg_error *e);
/* Whether a release that was not revoked, or a trust document, has this blob. */
int store_blob_used(struct store *store, const uint8_t blob[static STORE_HASH_LEN], bool *ret_used,
		    struct tg_error *e);

#endif
