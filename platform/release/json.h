/* SPDX-License-Identifier: BSD-3-Clause */
/* What the command line and the fleet view show of releases, roll-outs and devices' models. */
#ifndef PLATFORM_RELEASE_JSON_H
#define PLATFORM_RELEASE_JSON_H

#include <jansson.h>

#include "store/release.h"

/* "2026-11-22T18:00:00Z", or null for 0. */
json_t *json_time(int64_t seconds);
/* With the lineage, if the document is there and decodes. */
json_t *release_json(const struct store_release *release);
json_t *rollout_json(const struct store_rollout *rollout);
json_t *model_json(const struct store_model *model);
json_t *trust_json(const struct store_trust *trust);

#endif
