/* SPDX-License-Identifier: BSD-3-Clause */
#include <event2/http.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fleet/parts.h"
#include "tensorguard/attest.h"
#include "tensorguard/sync.h"

/* Agents renew at two thirds of a day: who has so little left has failed to for hours. */
enum { ENDING_SECONDS = 4 * 3600, TRUST_ENDING_SECONDS = 86400, PERIODS_LATE = 3 };

/* Words with blanks between them. */
static json_t *words(const char *text)
{
	char *copy = strdup(text), *rest = copy, *word;
	json_t *list = json_array();

	while (copy && (word = strsep(&rest, " ")))
		if (*word)
			json_array_append_new(list, json_string(word));
	free(copy);
	return list;
}

static const char *state_of(const struct store_agent *agent, int64_t now)
{
	if (agent->revoked)
		return "revoked";
	return agent->not_after <= now ? "expired" : "valid";
}

/* Nothing of it is known of an agent that was never heard of. */
static void add_heartbeat(json_t *row, const struct store_heartbeat *beat)
{
	json_t *more;

	more = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "version",
			 beat->version, "kernel", beat->kernel, "engine",
			 tg_sync_engine_name((enum tg_sync_engine)beat->engine), "condition",
			 tg_sync_state_name((enum tg_sync_state)beat->state), "uptime",
			 (json_int_t)beat->uptime, "real", (json_int_t)beat->real, "pad",
			 (json_int_t)beat->pad, "dummy", (json_int_t)beat->dummy, "violations",
			 (json_int_t)beat->violations, "restarts", (json_int_t)beat->restarts,
			 "policy_version", (json_int_t)beat->policy_version, "faults", words(beat->faults));
	json_object_update(row, more);
	json_decref(more);
}

json_t *agent_row(const struct store_agent *agent, const struct store_heartbeat *beat, int64_t now)
{
	json_t *row = json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o}", "id", agent->id, "fleet",
				agent->fleet, "assurance", tg_assurance_name((enum tg_assurance)agent->level),
				"state", state_of(agent, now), "enrolled", json_time(agent->enrolled),
				"not_after", json_time(agent->not_after), "revoked",
				json_time(agent->revoked), "last_seen", json_time(beat->time));

	if (row && beat->time)
		add_heartbeat(row, beat);
	return row;
}

static void alert(json_t *list, const char *kind, const char *severity, const char *subject, const char *text)
{
	json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s}", "kind", kind, "severity", severity,
					      "subject", subject, "text", text));
}

static void certificate_alert(json_t *list, const struct store_agent *agent, int64_t now)
{
	if (agent->not_after <= now)
		alert(list, "certificate-ended", "error", agent->id,
		      "its certificate has ended: it can renew it within its fleet's grace only");
	else if (agent->not_after - now < ENDING_SECONDS)
		alert(list, "certificate-ending", "warning", agent->id,
		      "its certificate ends within four hours");
}

void agent_alerts(json_t *list, const struct store_agent *agent, const struct store_heartbeat *beat,
		  int64_t now, int64_t period)
{
	int64_t since = beat->time ? beat->time : agent->enrolled;

	if (agent->revoked) {
		alert(list, "revoked", "info", agent->id, agent->reason);
		return;
	}
	certificate_alert(list, agent, now);
	if (now - since > PERIODS_LATE * period)
		alert(list, "late", "warning", agent->id,
		      beat->time ? "no sync for three periods" : "it never synced");
	if (beat->faults[0])
		alert(list, "faults", "error", agent->id, beat->faults);
}

void rollout_alerts(json_t *list, const struct store_rollout *rollout)
{
	char subject[STORE_TEXT_SIZE];

	snprintf(subject, sizeof(subject), "%s %lld in %s", rollout->model, (long long)rollout->candidate,
		 rollout->fleet);
	if (rollout->state == ROLLOUT_STOPPED)
		alert(list, "rollout-stopped", "error", subject, rollout->reason);
	else if (rollout->state == ROLLOUT_PAUSED)
		alert(list, "rollout-paused", "info", subject, rollout->reason);
}

void trust_alerts(json_t *list, const struct store_trust *trust, int64_t now)
{
	const char *role = tg_tgsp_role_name(trust->document.role);

	if (trust->expires <= now)
		alert(list, "trust-ended", "error", role,
		      "the document is not in force any more: devices refuse models");
	else if (trust->expires - now < TRUST_ENDING_SECONDS)
		alert(list, "trust-ending", "warning", role, "the document ends within a day");
}

void model_alerts(json_t *list, const struct store_model *model)
{
	char subject[STORE_TEXT_SIZE];

	if (!model->seen || model->report.state != TG_MODEL_FAILED)
		return;
	snprintf(subject, sizeof(subject), "%s: %s %llu", model->agent, model->report.model,
		 (unsigned long long)model->report.release);
	alert(list, "model-failed", "error", subject, model->report.detail);
}
