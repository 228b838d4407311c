/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Models from the Platform. A sync says what the device has and learns what it is to have; a thread of its
 * own gets that: trust documents, then packages, over a kept-alive connection of its own and through a pipe
 * into the process vault, which verifies them as they land. Nothing of a package is judged or written to a
 * disk here. What stops is gone on with where whole segments end, later and later after failures.
 */
#ifndef AGENT_TRUST_FETCH_H
#define AGENT_TRUST_FETCH_H

#include "tensorguard/model_sync.h"
#include "trust/run.h"

struct trust_fetch;

enum { TRUST_LINEAGE_SIZE = 640 };

/* `conf` stays the caller's. */
int trust_fetch_start(const struct trust_conf *conf, struct trust_fetch **ret_fetch, struct tg_error *e);
void trust_fetch_stop(struct trust_fetch *fetch); /* NULL-safe */

/* What a sync says; -ENOTCONN: vault is not there, and models are not asked for. */
int trust_fetch_request(struct trust_fetch *fetch, struct tg_models_request *ret_request);
/* What the answer said of models; NULL: nothing has changed. */
void trust_fetch_answer(struct trust_fetch *fetch, const struct tg_models_answer *answer);
/* The Platform could not be asked. */
void trust_fetch_problem(struct trust_fetch *fetch, const char *problem);

/* What failed is tried again with the next answer, whatever it says. */
void trust_fetch_hurry(struct trust_fetch *fetch);

/* A word for the heartbeat, or "". */
void trust_fetch_fault(struct trust_fetch *fetch, char ret_word[static TG_SYNC_FAULT_LEN]);
/*
 * Where a release comes from, for the audit trail: manifest, training run, data, parents. `model` may be the
 * beginning of a name that was cut at `len` bytes. "" when it is not known.
 */
void trust_fetch_lineage(struct trust_fetch *fetch, const char *model, size_t len, uint64_t release,
			 char ret_text[static TRUST_LINEAGE_SIZE]);

#endif
