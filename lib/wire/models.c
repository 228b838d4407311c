/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "tensorguard/model_sync.h"
#include "tgsp/field.h"
#include "wire/models.h"

/* Two hundred bytes for each report are the most. */
enum { PART_MAX = 64 * 1024 };

_Static_assert(sizeof(enum tg_model_state) == sizeof(unsigned) &&
		       sizeof(enum tg_tgsp_role) == sizeof(unsigned),
	       "WIRE_NAME takes an unsigned");

static const char *const state_names[TG_MODEL_STATES + 1] = {
	[TG_MODEL_DOWNLOADING] = "downloading", [TG_MODEL_READY] = "ready",
	[TG_MODEL_RUNNING] = "running",         [TG_MODEL_FAILED] = "failed",
	[TG_MODEL_REVOKED] = "revoked",
};

static const char *const role_names[] = {
	[TG_TGSP_ROOT] = "root",
	[TG_TGSP_TARGETS] = "targets",
	[TG_TGSP_SNAPSHOT] = "snapshot",
	[TG_TGSP_TIMESTAMP] = "timestamp",
	NULL,
};

#define FIELD(key, type, structure, member, size) \
	.name = (key), .kind = (type), .offset = offsetof(structure, member), .max = (size)

static const struct wire_field report_fields[] = {
	{ FIELD("model", WIRE_TEXT, struct tg_model_report, model, TG_TGSP_MAX_NAME + 1) },
	{ FIELD("release", WIRE_NUMBER, struct tg_model_report, release, 0) },
	{ FIELD("manifest", WIRE_HEX, struct tg_model_report, manifest, TG_SHA256_LEN) },
	{ FIELD("state", WIRE_NAME, struct tg_model_report, state, 0), .names = state_names },
	{ FIELD("since", WIRE_SECONDS, struct tg_model_report, since, 0) },
	{ FIELD("detail", WIRE_PHRASE, struct tg_model_report, detail, TG_MODEL_DETAIL_LEN),
	  .optional = true },
	{ 0 },
};

const struct wire_field wire_models_request[] = {
	{ FIELD("root", WIRE_NUMBER, struct tg_models_request, root, 0), .optional = true },
	{ FIELD("tag", WIRE_HEX, struct tg_models_request, tag, TG_SHA256_LEN), .optional = true },
	{ FIELD("reports", WIRE_OBJECTS, struct tg_models_request, reports, sizeof(struct tg_model_report)),
	  .optional = true, .list_max = TG_MODELS_MAX,
	  .count_offset = offsetof(struct tg_models_request, report_count), .fields = report_fields },
	{ 0 },
};

static const struct wire_field assignment_fields[] = {
	{ FIELD("model", WIRE_TEXT, struct tg_model_assignment, model, TG_TGSP_MAX_NAME + 1) },
	{ FIELD("release", WIRE_NUMBER, struct tg_model_assignment, release, 0) },
	{ FIELD("manifest", WIRE_HEX, struct tg_model_assignment, manifest, TG_SHA256_LEN) },
	{ FIELD("blob", WIRE_HEX, struct tg_model_assignment, blob, TG_SHA256_LEN) },
	{ FIELD("size", WIRE_NUMBER, struct tg_model_assignment, size, 0) },
	{ 0 },
};

static const struct wire_field trust_fields[] = {
	{ FIELD("role", WIRE_NAME, struct tg_model_trust, role, 0), .names = role_names },
	{ FIELD("version", WIRE_NUMBER, struct tg_model_trust, version, 0) },
	{ FIELD("blob", WIRE_HEX, struct tg_model_trust, blob, TG_SHA256_LEN) },
	{ FIELD("size", WIRE_NUMBER, struct tg_model_trust, size, 0) },
	{ 0 },
};

static const struct wire_field revoked_fields[] = {
	{ FIELD("manifest", WIRE_HEX, struct tg_model_revoked, manifest, TG_SHA256_LEN) },
	{ 0 },
};

const struct wire_field wire_models_answer[] = {
	{ FIELD("tag", WIRE_HEX, struct tg_models_answer, tag, TG_SHA256_LEN), .optional = true },
	{ FIELD("assignments", WIRE_OBJECTS, struct tg_models_answer, assignments,
		sizeof(struct tg_model_assignment)),
	  .optional = true, .list_max = TG_MODELS_MAX,
	  .count_offset = offsetof(struct tg_models_answer, assignment_count), .fields = assignment_fields },
	{ FIELD("revoked", WIRE_OBJECTS, struct tg_models_answer, revoked, sizeof(struct tg_model_revoked)),
	  .optional = true, .list_max = TG_MODELS_REVOKED_MAX,
	  .count_offset = offsetof(struct tg_models_answer, revoked_count), .fields = revoked_fields },
	{ FIELD("trust", WIRE_OBJECTS, struct tg_models_answer, trust, sizeof(struct tg_model_trust)),
	  .optional = true, .list_max = TG_MODEL_TRUST_MAX,
	  .count_offset = offsetof(struct tg_models_answer, trust_count), .fields = trust_fields },
	{ 0 },
};

const char *tg_model_state_name(enum tg_model_state state)
{
	return state < TG_MODEL_STATES ? state_names[state] : "unknown";
}

int tg_models_request_check(const struct tg_models_request *request, struct tg_error *e)
{
	for (size_t i = 0; i < request->report_count; i++) {
		const char *model = request->reports[i].model;

		if (!tgsp_name_valid(model, strlen(model)))
			return tg_error(e, -EINVAL, "models.reports.model: not a name of a model");
		for (size_t j = 0; j < i; j++)
			if (!strcmp(model, request->reports[j].model))
				return tg_error(e, -EINVAL, "models.reports.model: a model twice");
	}
	return 0;
}

static int check_assignments(const struct tg_models_answer *answer, struct tg_error *e)
{
	for (size_t i = 0; i < answer->assignment_count; i++) {
		const char *model = answer->assignments[i].model;

		if (!tgsp_name_valid(model, strlen(model)))
			return tg_error(e, -EINVAL, "models.assignments.model: not a name of a model");
		if (i && strcmp(answer->assignments[i - 1].model, model) >= 0)
			return tg_error(e, -EINVAL, "models.assignments: not in their order");
	}
	return 0;
}

/* Roots one after the other, then nothing or the three that stand below them. */
static int check_trust(const struct tg_models_answer *answer, struct tg_error *e)
{
	const struct tg_model_trust *trust = answer->trust;
	size_t roots = 0, count = answer->trust_count;

	while (roots < count && trust[roots].role == TG_TGSP_ROOT)
		roots++;
	for (size_t i = 0; i < count; i++) {
		if (!trust[i].version || !trust[i].size || trust[i].size > TG_TGSP_MAX_TRUST)
			return tg_error(e, -EINVAL, "models.trust: a version or a size that there cannot be");
		if (i && i < roots && trust[i].version != trust[i - 1].version + 1)
			return tg_error(e, -EINVAL, "models.trust: roots that do not follow one another");
	}
	if (roots > TG_MODEL_ROOTS_MAX || (count != roots && count != roots + 3))
		return tg_error(e, -EINVAL, "models.trust: not the documents that belong together");
	for (size_t i = roots; i < count; i++)
		if (trust[i].role != TG_TGSP_TARGETS + i - roots)
			return tg_error(e, -EINVAL, "models.trust: not in their order");
	return 0;
}

int tg_models_answer_check(const struct tg_models_answer *answer, struct tg_error *e)
{
	int ret = check_assignments(answer, e);

	return ret ? ret : check_trust(answer, e);
}

int tg_models_request_decode(const void *text, size_t len, struct tg_models_request *ret_request,
			     struct tg_error *e)
{
	struct tg_models_request request = { 0 };
	int ret;

	ret = wire_decode(text, len, PART_MAX, wire_models_request, &request, e);
	if (!ret)
		ret = tg_models_request_check(&request, e);
	if (!ret)
		*ret_request = request;
	return ret;
}

int tg_models_request_encode(const struct tg_models_request *request, struct tg_bytes *ret_text,
			     struct tg_error *e)
{
	return wire_encode(request, wire_models_request, ret_text, e);
}

int tg_models_answer_decode(const void *text, size_t len, struct tg_models_answer *ret_answer,
			    struct tg_error *e)
{
	struct tg_models_answer answer = { 0 };
	int ret;

	ret = wire_decode(text, len, PART_MAX, wire_models_answer, &answer, e);
	if (!ret)
		ret = tg_models_answer_check(&answer, e);
	if (!ret)
		*ret_answer = answer;
	return ret;
}

int tg_models_answer_encode(const struct tg_models_answer *answer, struct tg_bytes *ret_text,
			    struct tg_error *e)
{
	return wire_encode(answer, wire_models_answer, ret_text, e);
}
