/* SPDX-License-Identifier: BSD-3-Clause */
/* What a device says of its models, made of vault's status and of what became of what it was to get. */
#ifndef AGENT_TRUST_REPORTS_H
#define AGENT_TRUST_REPORTS_H

#include <jansson.h>

#include "tensorguard/model_sync.h"

/* A package that the Platform means the device to have. */
struct wanted {
	struct tg_model_assignment package;
	bool failed;		/* it cannot be had, and `detail` says why */
	bool revoked;		/* on this device, by its operator */
	int64_t since;		/* when it was named, or failed */
	char detail[TG_MODEL_DETAIL_LEN];
};

/*
 * One report for each model: of the release that is wanted, else of the highest one that is there. `after`:
 * when the Platform took the last report; what was opened since then counts as running. 0: it has none of
 * this process, and what was ever opened does.
 */
void reports_make(const json_t *status, const struct wanted *wanted, size_t count, int64_t after,
		  struct tg_models_request *request);
/* Adds those that are not meant for the device any more, unless something else is said of their models. */
void reports_withdrawn(const struct wanted *withdrawn, size_t count, struct tg_models_request *request);

#endif
