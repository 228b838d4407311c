/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <event2/buffer.h>
#include <stdio.h>
#include <string.h>

#include "enrol/parts.h"
#include "http/log.h"

int fleet_policy_load(struct platform *platform, struct store *store, const char *name,
		      struct fleet_policy *ret_policy, struct tg_error *e)
{
	struct store_fleet fleet;
	int ret = store_fleet_get(store, name, &fleet, e);

	if (ret)
		return ret;
	*ret_policy = (struct fleet_policy){ .policy = { .roots = platform_roots(platform),
							 .allowed = fleet.levels,
							 .pcr_mask = fleet.pcr_mask,
							 .pcrs = ret_policy->pcrs,
							 .pcr_count = fleet.pcr_count,
							 .event_log_optional = fleet.event_log_optional } };
	for (size_t i = 0; i < fleet.pcr_count && i < STORE_PCRS_MAX; i++) {
		ret_policy->pcrs[i].index = fleet.pcrs[i].index;
		memcpy(ret_policy->pcrs[i].value, fleet.pcrs[i].value, TG_SHA256_LEN);
	}
	return 0;
}

void fleet_policy_clear(struct fleet_policy *policy)
{
	tg_attest_roots_free((struct tg_attest_roots *)policy->policy.roots);
	policy->policy.roots = NULL;
}

static int status_of(const char *reason)
{
	if (!strcmp(reason, "malformed"))
		return 400;
	return strcmp(reason, "busy") ? 403 : 503;
}

/* What anybody can send must not fill the disk: all are counted, not all recorded. */
static bool is_recorded(struct platform *platform, const struct subject *subject, const char *reason)
{
	if (subject->target[0])
		return platform_may_record(platform, subject->target, reason);
	return limiter_take(platform->nameless, "", 0, limiter_clock_ms());
}

void enrol_refuse(struct request *request, const struct subject *subject, const char *reason,
		  const struct tg_error *e)
{
	struct platform *platform = request->context;
	char actor[STORE_TEXT_SIZE];

	snprintf(actor, sizeof(actor), "address %s", request->address);
	metrics_refusal(&platform->metrics, reason);
	if (is_recorded(platform, subject, reason))
		platform_audit(platform, actor, subject->action, subject->target, reason, e->message);
	request_fail(request, status_of(reason), reason, e->message);
}

void enrol_fail(struct request *request, const char *what, const struct tg_error *e)
{
	struct platform *platform = request->context;

	metrics_count(&platform->metrics, METRICS_STORE_FAILURES);
	log_error(what, json_pack("{s:s}", "error", e->message));
	request_fail(request, 503, "internal", "the Platform cannot do this now");
}

void enrol_blame(struct request *request, const struct subject *subject, int err,
		 enum tg_attest_reason reason, const struct tg_error *e)
{
	if (err == -EKEYREJECTED && reason != TG_ATTEST_INTERNAL)
		enrol_refuse(request, subject, tg_attest_reason_name(reason), e);
	else
		enrol_fail(request, "attestation", e);
}

void enrol_answer(struct request *request, struct tg_bytes *text)
{
	struct evbuffer *body = evbuffer_new();
	bool whole = body && !evbuffer_add(body, text->data, text->len);

	request_send(request, whole ? 200 : 500, "application/json", body);
	if (body)
		evbuffer_free(body);
	tg_bytes_free(text);
}
