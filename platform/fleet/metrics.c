/* SPDX-License-Identifier: BSD-3-Clause */
/* What the store says of the fleet, as gauges for Prometheus. Counted anew at each scrape. */
#include <event2/buffer.h>
#include <event2/http.h>
#include <inttypes.h>

#include "fleet/metrics.h"
#include "release/json.h"

enum { PERIODS_LATE = 3, VALID = 0, EXPIRED, REVOKED, AGENT_STATES, REAL = 0, PAD, DUMMY, KINDS };

static const char *const agent_states[] = { "valid", "expired", "revoked" };
static const char *const kinds[] = { "real", "pad", "dummy" };

struct counts {
	int64_t now, period;
	uint64_t agents[AGENT_STATES], late, faulty, bytes[KINDS];
	uint64_t rollouts[ROLLOUT_STATES], models[TG_MODEL_STATES];
	int64_t trust_end[TG_TGSP_ROLES];
};

static int count_agent(void *arg, const struct store_agent *agent, const struct store_heartbeat *beat)
{
	int64_t since = beat->time ? beat->time : agent->enrolled;
	struct counts *counts = arg;

	counts->agents[agent->revoked ? REVOKED : agent->not_after <= counts->now ? EXPIRED : VALID]++;
	counts->bytes[REAL] += (uint64_t)beat->real;
	counts->bytes[PAD] += (uint64_t)beat->pad;
	counts->bytes[DUMMY] += (uint64_t)beat->dummy;
	if (agent->revoked)
		return 0;
	counts->late += counts->now - since > PERIODS_LATE * counts->period;
	counts->faulty += beat->faults[0] != '\0';
	return 0;
}

static int count_rollout(void *arg, const struct store_rollout *rollout)
{
	if (rollout->state < ROLLOUT_STATES)
		((struct counts *)arg)->rollouts[rollout->state]++;
	return 0;
}

static int count_model(void *arg, const struct store_model *model)
{
	if (model->seen && model->report.state < TG_MODEL_STATES)
		((struct counts *)arg)->models[model->report.state]++;
	return 0;
}

/* Of roots the last one counts. */
static int note_trust(void *arg, const struct store_trust *trust)
{
	if (trust->document.role < TG_TGSP_ROLES)
		((struct counts *)arg)->trust_end[trust->document.role] = trust->expires;
	return 0;
}

static void head(struct evbuffer *out, const char *name, const char *help)
{
	evbuffer_add_printf(out, "# HELP tensorguard_platform_%s %s\n# TYPE tensorguard_platform_%s gauge\n",
			    name, help, name);
}

static void by_label(struct evbuffer *out, const char *name, const char *help, const char *label,
		     const char *const *values, const uint64_t *counts, size_t count)
{
	head(out, name, help);
	for (size_t i = 0; i < count; i++)
		evbuffer_add_printf(out, "tensorguard_platform_%s{%s=\"%s\"} %" PRIu64 "\n", name, label,
				    values[i], counts[i]);
}

static void one(struct evbuffer *out, const char *name, const char *help, uint64_t value)
{
	head(out, name, help);
	evbuffer_add_printf(out, "tensorguard_platform_%s %" PRIu64 "\n", name, value);
}

static void print(const struct counts *counts, struct evbuffer *out)
{
	const char *rollouts[ROLLOUT_STATES], *models[TG_MODEL_STATES];

	for (unsigned i = 0; i < ROLLOUT_STATES; i++)
		rollouts[i] = rollout_state_name((enum rollout_state)i);
	for (unsigned i = 0; i < TG_MODEL_STATES; i++)
		models[i] = tg_model_state_name((enum tg_model_state)i);
	by_label(out, "agents", "Agents by what their certificate is worth.", "state", agent_states,
		 counts->agents, AGENT_STATES);
	one(out, "agents_late", "Agents that have not synced for three periods.", counts->late);
	one(out, "agents_with_faults", "Agents whose last heartbeat names a fault.", counts->faulty);
	by_label(out, "agents_bytes", "Bytes that the agents have sent, as their last heartbeats say.",
		 "kind", kinds, counts->bytes, KINDS);
	by_label(out, "rollouts", "Roll-outs of releases by state.", "state", rollouts, counts->rollouts,
		 ROLLOUT_STATES);
	by_label(out, "models", "Models on devices by the state that the device reports.", "state", models,
		 counts->models, TG_MODEL_STATES);
	head(out, "trust_end_seconds", "When a published trust document ends, in seconds since 1970.");
	for (unsigned i = 0; i < TG_TGSP_ROLES; i++)
		if (counts->trust_end[i])
			evbuffer_add_printf(
				out, "tensorguard_platform_trust_end_seconds{role=\"%s\"} %" PRId64 "\n",
				tg_tgsp_role_name((enum tg_tgsp_role)i), counts->trust_end[i]);
}

int fleet_metrics(struct store *store, int64_t now, int64_t period, struct evbuffer *out, struct tg_error *e)
{
	struct counts counts = { .now = now, .period = period };
	int ret;

	ret = store_fleet_view(store, count_agent, &counts, e);
	if (!ret)
		ret = store_rollout_each(store, NULL, count_rollout, &counts, e);
	if (!ret)
		ret = store_model_all(store, count_model, &counts, e);
	if (!ret)
		ret = store_trust_each(store, note_trust, &counts, e);
	if (!ret)
		print(&counts, out);
	return ret;
}
