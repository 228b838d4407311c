/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What trust does for the process vault: it uses the device's HPKE key, over a connection to vault.sock that
 * it makes itself (vault/link.h). The key is the one that was certified at the enrolment, in the TPM; a
 * device without one gets a key in software, hpke.pem beside its identity, encrypted as its TLS key is.
 */
#ifndef AGENT_TRUST_MODELS_H
#define AGENT_TRUST_MODELS_H

#include "trust/run.h"

struct trust_models;

/* A thread of its own does it, and comes back whenever vault does. `conf` stays the caller's. `hurry` is an
 * eventfd that is counted up when vault wants the Platform asked. */
int trust_models_start(const struct trust_conf *conf, int hurry, struct trust_models **ret_models,
		       struct tg_error *e);
void trust_models_stop(struct trust_models *models); /* NULL-safe */

#endif
