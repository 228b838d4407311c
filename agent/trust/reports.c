/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "tensorguard/hex.h"
#include "trust/reports.h"

static int64_t number_of(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

/* Printable ASCII, which is what a report takes. */
static void put_detail(struct tg_model_report *report, const char *text)
{
	snprintf(report->detail, sizeof(report->detail), "%.*s", (int)sizeof(report->detail) - 1, text);
	for (char *at = report->detail; *at; at++)
		if (*at < ' ' || *at > '~')
			*at = '?';
}

/* Room for one of this model, unless it has one. */
static struct tg_model_report *add(struct tg_models_request *request, const char *model)
{
	struct tg_model_report *report = &request->reports[request->report_count];

	for (size_t i = 0; i < request->report_count; i++)
		if (!strcmp(request->reports[i].model, model))
			return NULL;
	if (request->report_count == TG_MODELS_MAX || !*model || strlen(model) >= sizeof(report->model))
		return NULL;
	*report = (struct tg_model_report){ .release = 0 };
	strcpy(report->model, model);
	request->report_count++;
	return report;
}

static bool runs(const json_t *release, int64_t after)
{
	if (json_array_size(json_object_get(release, "users")))
		return true;
	return after ? number_of(release, "opened") >= after : json_is_true(json_object_get(release, "used"));
}

static int64_t earliest_user(const json_t *release, int64_t otherwise)
{
	const json_t *user;
	int64_t since = 0;
	size_t i;

	json_array_foreach(json_object_get(release, "users"), i,
			   user) if (!since || number_of(user, "since") < since) since =
		number_of(user, "since");
	return since ? since : otherwise;
}

/* Of a release that is here. */
static void report_release(const json_t *release, int64_t after, struct tg_models_request *request)
{
	struct tg_model_report *report = add(request, json_text(release, "model"));
	char line[TG_MODEL_DETAIL_LEN];
	bool running;

	if (!report)
		return;
	report->release = (uint64_t)number_of(release, "release");
	if (tg_unhex(json_text(release, "manifest"), report->manifest, sizeof(report->manifest))) {
		request->report_count--;
		return;
	}
	if (json_object_get(release, "failure")) {
		report->state = TG_MODEL_FAILED;
		report->since = number_of(release, "installed");
		put_detail(report, json_text(release, "failure"));
		return;
	}
	running = runs(release, after);
	report->state = running ? TG_MODEL_RUNNING : TG_MODEL_READY;
	report->since = number_of(release, "installed");
	if (running)
		report->since = earliest_user(
			release, number_of(release, "opened") ? number_of(release, "opened") : report->since);
	snprintf(line, sizeof(line), "from %s, %zu in use",
		 strcmp(json_text(release, "source"), "platform") ? "a file" : "the Platform",
		 json_array_size(json_object_get(release, "users")));
	put_detail(report, line);
}

static const json_t *find(const json_t *models, const struct wanted *wanted)
{
	char manifest[2 * TG_SHA256_LEN + 1];
	const json_t *release;
	size_t i;

	tg_hex(wanted->package.manifest, TG_SHA256_LEN, manifest);
	json_array_foreach((json_t *)(uintptr_t)models, i,
			   release) if (!strcmp(json_text(release, "manifest"), manifest)) return release;
	return NULL;
}

static void report_absent(const struct wanted *wanted, struct tg_models_request *request)
{
	struct tg_model_report *report = add(request, wanted->package.model);

	if (!report)
		return;
	report->release = wanted->package.release;
	memcpy(report->manifest, wanted->package.manifest, sizeof(report->manifest));
	report->state = wanted->revoked ? TG_MODEL_REVOKED
					: (wanted->failed ? TG_MODEL_FAILED : TG_MODEL_DOWNLOADING);
	report->since = wanted->since;
	put_detail(report, wanted->detail);
}

static void report_wanted(const json_t *models, const struct wanted *wanted, int64_t after,
			  struct tg_models_request *request)
{
	const json_t *release = find(models, wanted);

	if (release)
		report_release(release, after, request);
	else
		report_absent(wanted, request);
}

void reports_make(const json_t *status, const struct wanted *wanted, size_t count, int64_t after,
		  struct tg_models_request *request)
{
	const json_t *models = json_object_get(status, "models"), *release;
	size_t i;

	request->report_count = 0;
	for (size_t k = 0; k < count; k++)
		report_wanted(models, &wanted[k], after, request);
	/* vault names the highest release of each model first */
	json_array_foreach((json_t *)(uintptr_t)models, i, release) report_release(release, after, request);
}

void reports_withdrawn(const struct wanted *withdrawn, size_t count, struct tg_models_request *request)
{
	for (size_t i = 0; i < count; i++)
		report_absent(&withdrawn[i], request);
}
