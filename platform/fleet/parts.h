/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of fleet/ share, and the tests. */
#ifndef PLATFORM_FLEET_PARTS_H
#define PLATFORM_FLEET_PARTS_H

#include <jansson.h>

#include "release/json.h"
#include "store/store.h"

/* `period`: seconds between two syncs of an agent. */
json_t *agent_row(const struct store_agent *agent, const struct store_heartbeat *beat, int64_t now);

/* Appends what is wrong with an agent: {kind, severity, subject, text}. */
void agent_alerts(json_t *list, const struct store_agent *agent, const struct store_heartbeat *beat,
		  int64_t now, int64_t period);
void rollout_alerts(json_t *list, const struct store_rollout *rollout);
void trust_alerts(json_t *list, const struct store_trust *trust, int64_t now);
void model_alerts(json_t *list, const struct store_model *model);

/* Adds the headers that a browser holds itself to; nothing from elsewhere, no frames, no scripts in the text.
 */
void add_browser_headers(struct evkeyvalq *headers);

/* Whether a request that changes something was meant by whoever the browser's certificate belongs to. */
bool meant_by_operator(const struct evkeyvalq *headers);

#endif
