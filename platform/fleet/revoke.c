/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <event2/http.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "api/platform.h"
#include "fleet/parts.h"
#include "http/log.h"

/* A revocation on its way to the store and back. */
struct revoking {
	struct store_job job;
	struct request_call call;
	struct request *request;
	char agent[SERVER_ARGUMENT_SIZE], actor[STORE_TEXT_SIZE], reason[STORE_TEXT_SIZE];
	int64_t now;
};

/*
 * The browser sends the certificate with any page's request to us. Only a page of ours can set this header
 * without a question that we would not answer, and browsers say where a request comes from.
 */
bool meant_by_operator(const struct evkeyvalq *headers)
{
	const char *origin = evhttp_find_header(headers, "Origin"),
		   *host = evhttp_find_header(headers, "Host");
	const char *site = evhttp_find_header(headers, "Sec-Fetch-Site");
	const char *mark = evhttp_find_header(headers, "X-TensorGuard-Request");
	static const char scheme[] = "https://";

	if (!mark || strcmp(mark, "1") || (site && strcmp(site, "same-origin")))
		return false;
	return !origin ||
	       (host && !strncmp(origin, scheme, strlen(scheme)) && !strcmp(origin + strlen(scheme), host));
}

static int run(struct store *store, struct store_job *job, struct tg_error *e)
{
	const struct revoking *r = (const struct revoking *)job;
	struct store_audit record = { .time = r->now,
				      .actor = r->actor,
				      .action = "agent-revoke",
				      .target = r->agent,
				      .outcome = "done",
				      .detail = r->reason };
	int ret = store_agent_revoke(store, r->agent, r->reason, r->now, e);

	return ret ? ret : store_audit_add(store, &record, e);
}

static void reply(struct request *request, const struct revoking *r)
{
	switch (r->job.result) {
	case 0:
		add_browser_headers(evhttp_request_get_output_headers(request->http));
		request_json(request, 200, json_pack("{s:s}", "revoked", r->agent));
		return;
	case -ENOENT:
		request_fail(request, 404, "agent", "no such agent");
		return;
	case -EALREADY:
		request_fail(request, 409, "agent-revoked", "this agent was revoked before");
		return;
	default:
		log_error("revoke", json_pack("{s:s}", "error", r->job.error.message));
		request_fail(request, 503, "store", "the store does not take this now");
	}
}

static void on_call(struct request_call *call)
{
	struct revoking *r = (void *)((char *)call - offsetof(struct revoking, call));

	reply(r->request, r);
	request_release(r->request);
	free(r);
}

static void done(struct store_job *job)
{
	struct revoking *r = (struct revoking *)job;

	r->call.run = on_call;
	request_call(r->request, &r->call);
}

/* {"reason": TEXT}, 1 to 255 bytes without control characters. */
static bool take_reason(struct request *request, char ret_reason[static STORE_TEXT_SIZE])
{
	size_t len;
	const char *body = request_body(request, &len), *reason = NULL;
	json_t *json = json_loadb(body, len, JSON_REJECT_DUPLICATES, NULL);
	bool fits = json && !json_unpack_ex(json, NULL, JSON_STRICT, "{s:s}", "reason", &reason) &&
		    reason[0] && strlen(reason) < STORE_TEXT_SIZE;

	for (const char *p = reason; fits && *p; p++)
		fits = (unsigned char)*p >= ' ' && *p != 0x7f;
	if (fits)
		snprintf(ret_reason, STORE_TEXT_SIZE, "%s", reason);
	json_decref(json);
	return fits;
}

static void submit(struct request *request, struct revoking *r)
{
	const struct platform *platform = request->context;

	r->job.run = run;
	r->job.done = done;
	r->now = time(NULL);
	snprintf(r->agent, sizeof(r->agent), "%s", request->argument);
	snprintf(r->actor, sizeof(r->actor), "operator %s", request->client.id);
	r->request = request_hold(request);
	if (r->request && !writer_submit(platform->writer, &r->job))
		return;
	if (r->request)
		request_release(r->request);
	free(r);
	request_fail(request, 503, "busy", "the Platform cannot do this now");
}

void post_fleet_revoke(struct request *request)
{
	struct revoking *r;

	if (!meant_by_operator(evhttp_request_get_input_headers(request->http))) {
		request_fail(request, 403, "cross-site", "this did not come from the fleet view's own page");
		return;
	}
	r = calloc(1, sizeof(*r));
	if (!r) {
		request_fail(request, 503, "internal", "the Platform cannot do this now");
		return;
	}
	if (!take_reason(request, r->reason)) {
		free(r);
		request_fail(request, 400, "malformed", "expected {\"reason\": TEXT}, 1 to 255 bytes");
		return;
	}
	submit(request, r);
}
