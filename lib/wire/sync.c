/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "tensorguard/sync.h"
#include "wire/audit.h"
#include "wire/fields.h"
#include "wire/keys.h"
#include "wire/models.h"

static const char *const engines[] = { "none", "kernel", "queue", NULL };
static const char *const states[] = { "down", "up", "degraded", "locked", NULL };

static const struct wire_field heartbeat_fields[] = {
	{ WIRE_FIELD("version", WIRE_TEXT, struct tg_sync_heartbeat, version, TG_SYNC_VERSION_LEN) },
	{ WIRE_FIELD("kernel", WIRE_TEXT, struct tg_sync_heartbeat, kernel, TG_SYNC_KERNEL_LEN) },
	{ WIRE_FIELD("engine", WIRE_NAME, struct tg_sync_heartbeat, engine, 0), .names = engines },
	{ WIRE_FIELD("state", WIRE_NAME, struct tg_sync_heartbeat, state, 0), .names = states },
	{ WIRE_FIELD("uptime", WIRE_SECONDS, struct tg_sync_heartbeat, uptime, 0) },
	{ WIRE_FIELD("real", WIRE_NUMBER, struct tg_sync_heartbeat, real, 0) },
	{ WIRE_FIELD("pad", WIRE_NUMBER, struct tg_sync_heartbeat, pad, 0) },
	{ WIRE_FIELD("dummy", WIRE_NUMBER, struct tg_sync_heartbeat, dummy, 0) },
	{ WIRE_FIELD("violations", WIRE_NUMBER, struct tg_sync_heartbeat, violations, 0) },
	{ WIRE_FIELD("restarts", WIRE_NUMBER, struct tg_sync_heartbeat, restarts, 0) },
	{ WIRE_FIELD("faults", WIRE_WORDS, struct tg_sync_heartbeat, faults, TG_SYNC_FAULT_LEN),
	  .optional = true, .list_max = TG_SYNC_FAULTS_MAX,
	  .count_offset = offsetof(struct tg_sync_heartbeat, fault_count) },
	{ 0 },
};

static const struct wire_field policy_fields[] = {
	{ WIRE_FIELD("version", WIRE_NUMBER, struct tg_sync_policy, version, 0) },
	{ WIRE_FIELD("hash", WIRE_FIXED, struct tg_sync_policy, hash, TG_SHA256_LEN) },
	{ 0 },
};

static const struct wire_field request_fields[] = {
	{ WIRE_FIELD("format", WIRE_NUMBER, struct tg_sync_request, format, 0) },
	{ WIRE_FIELD("heartbeat", WIRE_OBJECT, struct tg_sync_request, heartbeat, 0),
	  .fields = heartbeat_fields },
	{ WIRE_FIELD("policy", WIRE_OBJECT, struct tg_sync_request, policy, 0), .fields = policy_fields,
	  .flagged = true, .flag_offset = offsetof(struct tg_sync_request, has_policy) },
	{ WIRE_FIELD("audit", WIRE_OBJECT, struct tg_sync_request, audit, 0), .fields = wire_audit_push,
	  .flagged = true, .flag_offset = offsetof(struct tg_sync_request, has_audit) },
	{ WIRE_FIELD("models", WIRE_OBJECT, struct tg_sync_request, models, 0), .fields = wire_models_request,
	  .flagged = true, .flag_offset = offsetof(struct tg_sync_request, has_models) },
	{ WIRE_FIELD("keys", WIRE_OBJECT, struct tg_sync_request, keys, 0), .fields = wire_keys_request,
	  .flagged = true, .flag_offset = offsetof(struct tg_sync_request, has_keys) },
	{ 0 },
};

static const struct wire_field answer_fields[] = {
	{ WIRE_FIELD("format", WIRE_NUMBER, struct tg_sync_answer, format, 0) },
	{ WIRE_FIELD("time", WIRE_SECONDS, struct tg_sync_answer, time, 0) },
	{ WIRE_FIELD("period", WIRE_SECONDS, struct tg_sync_answer, period, 0) },
	{ WIRE_FIELD("policy", WIRE_OBJECT, struct tg_sync_answer, policy, 0), .fields = wire_signed_policy,
	  .flagged = true, .flag_offset = offsetof(struct tg_sync_answer, has_policy) },
	{ WIRE_FIELD("audit", WIRE_OBJECT, struct tg_sync_answer, audit, 0), .fields = wire_audit_pull,
	  .flagged = true, .flag_offset = offsetof(struct tg_sync_answer, has_audit) },
	{ WIRE_FIELD("models", WIRE_OBJECT, struct tg_sync_answer, models, 0), .fields = wire_models_answer,
	  .flagged = true, .flag_offset = offsetof(struct tg_sync_answer, has_models) },
	{ WIRE_FIELD("keys", WIRE_OBJECT, struct tg_sync_answer, keys, 0), .fields = wire_keys_answer,
	  .flagged = true, .flag_offset = offsetof(struct tg_sync_answer, has_keys) },
	{ 0 },
};

const char *tg_sync_engine_name(enum tg_sync_engine engine)
{
	return engines[engine];
}

const char *tg_sync_state_name(enum tg_sync_state state)
{
	return states[state];
}

static int check_format(int64_t format, struct tg_error *e)
{
	return format == TG_SYNC_FORMAT ? 0 : tg_error(e, -EINVAL, "format: expected %d", TG_SYNC_FORMAT);
}

int tg_sync_request_decode(const void *text, size_t len, struct tg_sync_request *ret_request,
			   struct tg_error *e)
{
	struct tg_sync_request request = { 0 };
	int ret = wire_decode(text, len, TG_SYNC_REQUEST_MAX, request_fields, &request, e);

	if (!ret)
		ret = check_format(request.format, e);
	if (!ret && request.has_models)
		ret = tg_models_request_check(&request.models, e);
	if (!ret && request.has_keys)
		ret = tg_keys_request_check(&request.keys, e);
	if (ret)
		tg_sync_request_clear(&request);
	else
		*ret_request = request;
	return ret;
}

int tg_sync_request_encode(const struct tg_sync_request *request, struct tg_bytes *ret_text,
			   struct tg_error *e)
{
	return wire_encode(request, request_fields, ret_text, e);
}

void tg_sync_request_clear(struct tg_sync_request *request)
{
	if (request)
		tg_audit_push_clear(&request->audit);
}

static int check_answer(const struct tg_sync_answer *answer, struct tg_error *e)
{
	int ret = check_format(answer->format, e);

	if (!ret && (answer->period < TG_SYNC_PERIOD_MIN || answer->period > TG_SYNC_PERIOD_MAX))
		ret = tg_error(e, -EINVAL, "period: expected %d to %d seconds", TG_SYNC_PERIOD_MIN,
			       TG_SYNC_PERIOD_MAX);
	if (!ret && answer->has_policy && wire_signed_policy_check(&answer->policy, e))
		ret = tg_error_prefix(e, -EINVAL, "policy");
	if (!ret && answer->has_audit)
		ret = tg_audit_pull_check(&answer->audit, e);
	if (!ret && answer->has_models)
		ret = tg_models_answer_check(&answer->models, e);
	if (!ret && answer->has_keys)
		ret = tg_keys_answer_check(&answer->keys, e);
	return ret;
}

int tg_sync_answer_decode(const void *text, size_t len, struct tg_sync_answer *ret_answer, struct tg_error *e)
{
	struct tg_sync_answer answer = { 0 };
	int ret = wire_decode(text, len, TG_SYNC_ANSWER_MAX, answer_fields, &answer, e);

	if (!ret)
		ret = check_answer(&answer, e);
	if (ret)
		tg_sync_answer_clear(&answer);
	else
		*ret_answer = answer;
	return ret;
}

int tg_sync_answer_encode(const struct tg_sync_answer *answer, struct tg_bytes *ret_text, struct tg_error *e)
{
	return wire_encode(answer, answer_fields, ret_text, e);
}

void tg_sync_answer_clear(struct tg_sync_answer *answer)
{
	if (!answer)
		return;
	tg_signed_policy_clear(&answer->policy);
	tg_audit_pull_clear(&answer->audit);
}
