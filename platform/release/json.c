/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>
#include <time.h>

#include "release/json.h"
#include "tensorguard/tgsp_lineage.h"

json_t *json_time(int64_t seconds)
{
	time_t at = (time_t)seconds;
	char text[32];
	struct tm tm;

	if (!seconds || !gmtime_r(&at, &tm) || tm.tm_year > 8099)
		return json_null();
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	return json_string(text);
}

static json_t *json_hash(const uint8_t *hash)
{
	return tg_hash_json(hash, STORE_HASH_LEN);
}

static void add_manifest(json_t *object, const struct tg_tgsp_manifest *manifest)
{
	json_object_set_new(object, "version", json_string(manifest->version));
	json_object_set_new(object, "author", json_hash(manifest->author));
	json_object_set_new(object, "created", json_time((int64_t)manifest->created));
	json_object_set_new(object, "not_before", json_time((int64_t)manifest->not_before));
	json_object_set_new(object, "not_after", json_time((int64_t)manifest->not_after));
	json_object_set_new(object, "files", json_integer((json_int_t)manifest->file_count));
	json_object_set_new(object, "fleets", tg_names_json(&manifest->policy.fleets));
	json_object_set_new(object, "attested", json_boolean(manifest->policy.attested));
	json_object_set_new(object, "lineage", tg_lineage_json(manifest));
}

json_t *release_json(const struct store_release *release)
{
	json_t *object =
		json_pack("{s:s, s:I, s:o, s:o, s:o, s:I, s:o, s:o}", "model", release->model, "release",
			  (json_int_t)release->number, "manifest", json_hash(release->manifest), "content",
			  json_hash(release->content), "blob", json_hash(release->blob), "size",
			  (json_int_t)release->size, "added", json_time(release->added), "revoked",
			  json_time(release->revoked));
	struct tg_tgsp_manifest *manifest;

	if (object && release->document &&
	    !tg_tgsp_manifest_decode(release->document, release->document_len, &manifest, NULL)) {
		add_manifest(object, manifest);
		tg_tgsp_manifest_free(manifest);
	}
	return object;
}

json_t *rollout_json(const struct store_rollout *rollout)
{
	char stages[STAGES_TEXT_SIZE];

	stages_print(&rollout->stages, stages);
	return json_pack(
		"{s:s, s:s, s:I, s:I, s:s, s:s, s:I, s:I, s:I, s:I, s:o, s:o, s:s}", "model", rollout->model,
		"fleet", rollout->fleet, "base", (json_int_t)rollout->base, "candidate",
		(json_int_t)rollout->candidate, "state", rollout_state_name(rollout->state), "stages", stages,
		"stage", (json_int_t)rollout->stages.now, "told", (json_int_t)rollout->counts.told, "healthy",
		(json_int_t)rollout->counts.healthy, "failed", (json_int_t)rollout->counts.failed, "begun",
		json_time(rollout->begun), "changed", json_time(rollout->changed), "reason", rollout->reason);
}

json_t *model_json(const struct store_model *model)
{
	const struct tg_model_report *report = &model->report;

	return json_pack("{s:s, s:s, s:I, s:o, s:s, s:o, s:o, s:s, s:I}", "agent", model->agent, "model",
			 report->model, "release", (json_int_t)report->release, "manifest",
			 json_hash(report->manifest), "state",
			 model->seen ? tg_model_state_name(report->state) : "told", "since",
			 json_time(report->since), "seen", json_time(model->seen), "detail", report->detail,
			 "told", (json_int_t)model->told);
}

json_t *trust_json(const struct store_trust *trust)
{
	return json_pack("{s:s, s:I, s:o, s:I, s:o, s:o}", "role", tg_tgsp_role_name(trust->document.role),
			 "version", (json_int_t)trust->document.version, "blob",
			 json_hash(trust->document.blob), "size", (json_int_t)trust->document.size, "issued",
			 json_time(trust->issued), "expires", json_time(trust->expires));
}
