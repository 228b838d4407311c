/* SPDX-License-Identifier: BSD-3-Clause */
/* What the fleet view's page asks for: GET /v1/fleet/... */
#include <errno.h>
#include <event2/http.h>
#include <string.h>
#include <time.h>

#include "api/platform.h"
#include "fleet/parts.h"
#include "http/log.h"
#include "ledger/record.h"

enum { AUDIT_TAIL = 200 };

/* A list that is made row by row. */
struct listing {
	struct store *store;
	json_t *list;
	int64_t now, period;
};

static void answer(struct request *request, int ret, json_t *object, const struct tg_error *e)
{
	if (!ret && object) {
		add_browser_headers(evhttp_request_get_output_headers(request->http));
		request_json(request, 200, object);
		return;
	}
	json_decref(object);
	if (ret == -ENOENT) {
		request_fail(request, 404, "agent", "no such agent");
		return;
	}
	log_error("fleet", json_pack("{s:s}", "error", e->message));
	request_fail(request, 503, "store", "the store does not answer");
}

static struct listing listing_new(struct request *request)
{
	const struct platform *platform = request->context;

	return (struct listing){
		.store = request->store, .list = json_array(), .now = time(NULL), .period = platform->period
	};
}

static json_t *with_time(const struct listing *listing, const char *name)
{
	return json_pack("{s:o, s:O}", "time", json_time(listing->now), name, listing->list);
}

static void end(struct request *request, struct listing *listing, int ret, const char *name,
		const struct tg_error *e)
{
	answer(request, ret, ret ? NULL : with_time(listing, name), e);
	json_decref(listing->list);
}

static int list_agent(void *arg, const struct store_agent *agent, const struct store_heartbeat *beat)
{
	struct listing *listing = arg;

	json_array_append_new(listing->list, agent_row(agent, beat, listing->now));
	return 0;
}

void get_fleet_agents(struct request *request)
{
	struct listing listing = listing_new(request);
	struct tg_error e = { "" };
	int ret = store_fleet_view(request->store, list_agent, &listing, &e);

	end(request, &listing, ret, "agents", &e);
}

static int list_model(void *arg, const struct store_model *model)
{
	struct listing *listing = arg;

	json_array_append_new(listing->list, model_json(model));
	return 0;
}

void get_fleet_models(struct request *request)
{
	struct listing listing = listing_new(request);
	struct tg_error e = { "" };
	int ret = store_model_all(request->store, list_model, &listing, &e);

	end(request, &listing, ret, "models", &e);
}

static int list_certificate(void *arg, const struct store_certificate *certificate)
{
	json_array_append_new(arg, json_pack("{s:s, s:o, s:o}", "serial", certificate->serial, "issued",
					     json_time(certificate->issued), "not_after",
					     json_time(certificate->not_after)));
	return 0;
}

static int list_row(void *arg, const struct store_model *model)
{
	json_array_append_new(arg, model_json(model));
	return 0;
}

/* Everything of one agent. */
void get_fleet_agent(struct request *request)
{
	json_t *certificates = json_array(), *models = json_array(), *history = json_array(), *row = NULL;
	struct store_heartbeat beat = { .time = 0 };
	struct tg_error e = { "" };
	struct store_agent agent;
	int ret;

	ret = store_agent_get(request->store, request->argument, &agent, &e);
	if (!ret) {
		ret = store_heartbeat_get(request->store, agent.id, &beat, &e);
		ret = ret == -ENOENT ? 0 : ret;
	}
	if (!ret)
		ret = store_certificate_each(request->store, agent.id, list_certificate, certificates, &e);
	if (!ret)
		ret = store_model_each(request->store, agent.id, list_row, models, &e);
	if (!ret)
		ret = store_model_history(request->store, agent.id, list_row, history, &e);
	if (!ret) {
		row = agent_row(&agent, &beat, time(NULL));
		json_object_set_new(row, "reason", agent.revoked ? json_string(agent.reason) : json_null());
		json_object_set(row, "certificates", certificates);
		json_object_set(row, "models", models);
		json_object_set(row, "history", history);
	}
	json_decref(certificates);
	json_decref(models);
	json_decref(history);
	answer(request, ret, row, &e);
}

static int list_release(void *arg, const struct store_release *release)
{
	json_array_append_new(arg, release_json(release));
	return 0;
}

static int list_rollout(void *arg, const struct store_rollout *rollout)
{
	json_array_append_new(arg, rollout_json(rollout));
	return 0;
}

static int list_trust(void *arg, const struct store_trust *trust)
{
	json_array_append_new(arg, trust_json(trust));
	return 0;
}

void get_fleet_releases(struct request *request)
{
	json_t *releases = json_array(), *rollouts = json_array(), *trust = json_array(), *object = NULL;
	struct tg_error e = { "" };
	int ret;

	ret = store_release_each(request->store, NULL, list_release, releases, &e);
	if (!ret)
		ret = store_rollout_each(request->store, NULL, list_rollout, rollouts, &e);
	if (!ret)
		ret = store_trust_each(request->store, list_trust, trust, &e);
	if (!ret)
		object = json_pack("{s:O, s:O, s:O}", "releases", releases, "rollouts", rollouts, "trust",
				   trust);
	json_decref(releases);
	json_decref(rollouts);
	json_decref(trust);
	answer(request, ret, object, &e);
}

static int list_record(void *arg, const struct store_leaf *leaf)
{
	json_t *object = NULL;
	int ret = record_json(leaf, &object);

	return ret ? ret : json_array_append_new(((struct listing *)arg)->list, object);
}

/* The agents' and the Platform's own, as they are in the ledger. */
void get_fleet_audit(struct request *request)
{
	const struct store_leaf_query query = { .limit = AUDIT_TAIL, .newest_first = true };
	struct listing listing = listing_new(request);
	struct tg_error e = { "" };
	int ret = store_ledger_each(request->store, &query, list_record, &listing, &e);

	end(request, &listing, ret, "records", &e);
}

static int alert_agent(void *arg, const struct store_agent *agent, const struct store_heartbeat *beat)
{
	struct listing *listing = arg;

	agent_alerts(listing->list, agent, beat, listing->now, listing->period);
	return 0;
}

static int alert_rollout(void *arg, const struct store_rollout *rollout)
{
	rollout_alerts(((struct listing *)arg)->list, rollout);
	return 0;
}

/* Of roots the last one alone is in force. */
static int alert_trust(void *arg, const struct store_trust *trust)
{
	struct listing *listing = arg;

	if (trust->document.role != TG_TGSP_ROOT)
		trust_alerts(listing->list, trust, listing->now);
	return 0;
}

static int alert_model(void *arg, const struct store_model *model)
{
	model_alerts(((struct listing *)arg)->list, model);
	return 0;
}

void get_fleet_alerts(struct request *request)
{
	struct listing listing = listing_new(request);
	struct tg_error e = { "" };
	int ret;

	ret = store_rollout_each(request->store, NULL, alert_rollout, &listing, &e);
	if (!ret)
		ret = store_trust_each(request->store, alert_trust, &listing, &e);
	if (!ret)
		ret = store_model_all(request->store, alert_model, &listing, &e);
	if (!ret)
		ret = store_fleet_view(request->store, alert_agent, &listing, &e);
	end(request, &listing, ret, "alerts", &e);
}
