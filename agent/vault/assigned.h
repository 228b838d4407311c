/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the Platform means this device to have, as trust says it: to show it, to know what a download has to
 * be, and to close what is not meant for the device any more. Nothing is opened because of it: that takes
 * signatures.
 */
#ifndef AGENT_VAULT_ASSIGNED_H
#define AGENT_VAULT_ASSIGNED_H

#include "tensorguard/model_sync.h"
#include "vault/store.h"

struct assigned {
	struct tg_model_assignment package;
	bool failed;			  /* trust could not get it, and `detail` says why */
	char detail[TG_MODEL_DETAIL_LEN]; /* of the last try; may be empty */
};

struct assignments {
	bool known;		/* the Platform has answered, since this process began */
	struct assigned list[TG_MODELS_MAX];
	size_t count;
	uint8_t revoked[TG_MODELS_REVOKED_MAX][TG_SHA256_LEN]; /* manifests that nobody is to use any more */
	size_t revoked_count;
	uint64_t syncs;		/* requests to the Platform that have ended */
	int64_t time;		/* when the last one did; 0: none */
	char problem[256];	/* what was wrong with it, or "" */
};

/*
 * From {"syncs": N, "problem": TEXT, "assignments": [{model, release, manifest, blob, size, failed, detail}],
 * "revoked": [HEX]}; without "assignments" what was known stays. -EBADMSG, and nothing is changed then.
 */
int assigned_take(struct assignments *assignments, const json_t *message, int64_t now, struct tg_error *e);
/* The other way, for trust. NULL when memory is short. */
json_t *assigned_message(const struct assignments *assignments);

const struct assigned *assigned_find(const struct assignments *assignments, const char *model);
const struct assigned *assigned_blob(const struct assignments *assignments,
				     const uint8_t blob[static TG_SHA256_LEN]);
bool assigned_is_revoked(const struct assignments *assignments, const uint8_t manifest[static TG_SHA256_LEN]);

/*
 * Whether a release that the Platform brought has to go: it was revoked; its model is not meant for the
 * device; or an older release of it is. One that a newer one is to replace stays until that is opened.
 */
bool assigned_ends(const struct assignments *assignments, const struct store *store,
		   const struct release *release);

#endif
