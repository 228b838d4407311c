/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "admin/admin.h"
#include "blob/blob.h"
#include "release/json.h"
#include "release/package.h"
#include "release/release.h"

/* MODEL NUMBER */
static int take_release(const struct tg_cli *cli, const char **ret_model, int64_t *ret_number,
			struct tg_error *e)
{
	unsigned long number;
	int ret;

	if (cli->arg_count != 2)
		return tg_error(e, TG_CLI_USAGE,
				"expected two arguments, the model and the number of its release");
	ret = tg_cli_parse_number(cli->args[1], "the release", 1, INT64_MAX, &number, e);
	if (ret)
		return ret;
	*ret_model = cli->args[0];
	*ret_number = (int64_t)number;
	return 0;
}

static int run_add(struct store *store, const void *arg, struct tg_error *e)
{
	return store_release_add(store, arg, e);
}

static int add(struct store *store, const char *data, const char *path, struct store_release *release,
	       struct tg_error *e)
{
	char target[STORE_TEXT_SIZE];
	struct admin_change change = {
		.action = "release-add", .target = target, .detail = "", .run = run_add, .arg = release
	};
	int ret = package_add(store, data, path, time(NULL), release, e);

	if (ret)
		return ret;
	release->added = time(NULL);
	snprintf(target, sizeof(target), "%s %lld", release->model, (long long)release->number);
	return admin_apply(store, &change, e);
}

int cmd_release_add(struct tg_cli *cli, struct tg_error *e)
{
	struct store_release release = { 0 };
	struct store *store = NULL;
	const char *path;
	unsigned swept;
	int ret;

	ret = admin_argument(cli, "the package", &path, e);
	if (!ret)
		ret = admin_store(cli, &store, e);
	if (!ret)
		ret = add(store, admin_options(cli)->data, path, &release, e);
	/* what was refused after it was copied is an hour old some day; nobody waits for it */
	if (ret && store)
		package_sweep(store, admin_options(cli)->data, &swept, NULL);
	if (!ret && cli->json)
		ret = tg_cli_print_json(release_json(&release), e);
	else if (!ret)
		printf("added %s %lld\n", release.model, (long long)release.number);
	free((void *)(uintptr_t)release.document);
	store_close(store);
	return ret ? ret : admin_flush(e);
}

struct removal {
	const char *model;
	int64_t number;
};

static int run_remove(struct store *store, const void *arg, struct tg_error *e)
{
	const struct removal *removal = arg;

	return store_release_remove(store, removal->model, removal->number, e);
}

/* The record first, then the file: what is left by a crash in between is swept by the next one. */
static int remove_release(struct store *store, const char *data, const struct removal *removal,
			  struct tg_error *e)
{
	char target[STORE_TEXT_SIZE];
	struct admin_change change = {
		.action = "release-remove", .target = target, .detail = "", .run = run_remove, .arg = removal
	};
	struct store_release release = { 0 };
	unsigned swept;
	bool used = true;
	int ret;

	snprintf(target, sizeof(target), "%s %lld", removal->model, (long long)removal->number);
	ret = store_release_get(store, removal->model, removal->number, &release, e);
	if (!ret)
		ret = admin_apply(store, &change, e);
	if (!ret)
		ret = store_blob_used(store, release.blob, &used, e);
	if (!ret && !used)
		ret = blob_remove(data, release.blob, e);
	return ret ? ret : package_sweep(store, data, &swept, e);
}

int cmd_release_remove(struct tg_cli *cli, struct tg_error *e)
{
	struct store *store = NULL;
	struct removal removal;
	int ret;

	ret = take_release(cli, &removal.model, &removal.number, e);
	if (!ret)
		ret = admin_store(cli, &store, e);
	if (!ret)
		ret = remove_release(store, admin_options(cli)->data, &removal, e);
	store_close(store);
	if (!ret && cli->json)
		ret = tg_cli_print_json(json_pack("{s:s, s:I}", "removed", removal.model, "release",
						  (json_int_t)removal.number),
					e);
	return ret;
}

static int run_revoke(struct store *store, const void *arg, struct tg_error *e)
{
	const struct removal *removal = arg;

	return release_revoke(store, removal->model, removal->number, time(NULL), e);
}

int cmd_release_revoke(struct tg_cli *cli, struct tg_error *e)
{
	const char *reason = admin_options(cli)->reason;
	char target[STORE_TEXT_SIZE];
	struct store *store = NULL;
	struct removal removal;
	struct admin_change change = { .action = "release-revoke", .target = target, .run = run_revoke };
	int ret = take_release(cli, &removal.model, &removal.number, e);

	if (!ret && (!reason || !*reason))
		ret = tg_error(e, TG_CLI_USAGE, "--reason TEXT is needed");
	if (!ret)
		ret = admin_store(cli, &store, e);
	if (!ret) {
		snprintf(target, sizeof(target), "%s %lld", removal.model, (long long)removal.number);
		change.detail = reason;
		change.arg = &removal;
		ret = admin_apply(store, &change, e);
	}
	store_close(store);
	if (ret)
		return ret;
	if (cli->json)
		return tg_cli_print_json(json_pack("{s:s, s:I}", "revoked", removal.model, "release",
						   (json_int_t)removal.number),
					 e);
	printf("revoked %s %lld\n", removal.model, (long long)removal.number);
	return admin_flush(e);
}

static int collect_release(void *arg, const struct store_release *release)
{
	json_array_append_new(arg, release_json(release));
	return 0;
}

static int collect_rollout(void *arg, const struct store_rollout *rollout)
{
	json_array_append_new(arg, rollout_json(rollout));
	return 0;
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "-";
}

static long long number_of(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static void print_all(const json_t *releases, const json_t *rollouts)
{
	const json_t *item;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)releases, i, item) printf(
		"%-24s %6lld  %-12s %12lld bytes  added %s%s\n", text_of(item, "model"),
		number_of(item, "release"), text_of(item, "version"), number_of(item, "size"),
		text_of(item, "added"), json_is_string(json_object_get(item, "revoked")) ? ", revoked" : "");
	json_array_foreach((json_t *)(uintptr_t)rollouts, i, item)
		printf("%s in %s: %lld over %lld, %s, stage %lld of %s %%: %lld told, %lld healthy, %lld "
		       "failed (%s)\n",
		       text_of(item, "model"), text_of(item, "fleet"), number_of(item, "candidate"),
		       number_of(item, "base"), text_of(item, "state"), number_of(item, "stage") + 1,
		       text_of(item, "stages"), number_of(item, "told"), number_of(item, "healthy"),
		       number_of(item, "failed"), text_of(item, "reason"));
}

int cmd_release_list(struct tg_cli *cli, struct tg_error *e)
{
	json_t *releases = json_array(), *rollouts = json_array();
	struct store *store = NULL;
	int ret;

	ret = admin_no_arguments(cli, e);
	if (!ret)
		ret = admin_store(cli, &store, e);
	if (!ret)
		ret = store_release_each(store, NULL, collect_release, releases, e);
	if (!ret)
		ret = store_rollout_each(store, NULL, collect_rollout, rollouts, e);
	store_close(store);
	if (!ret && cli->json) {
		ret = tg_cli_print_json(json_pack("{s:O, s:O}", "releases", releases, "rollouts", rollouts),
					e);
	} else if (!ret) {
		print_all(releases, rollouts);
		ret = admin_flush(e);
	}
	json_decref(releases);
	json_decref(rollouts);
	return ret;
}

/* One release, and the devices that have it. */
struct showing {
	const char *model;
	int64_t number;
	json_t *release, *devices;
};

static int show_release(void *arg, const struct store_release *release)
{
	struct showing *showing = arg;

	if (release->number == showing->number)
		showing->release = release_json(release);
	return 0;
}

static int show_device(void *arg, const struct store_model *model)
{
	struct showing *showing = arg;

	if (!strcmp(model->report.model, showing->model) && (int64_t)model->report.release == showing->number)
		json_array_append_new(showing->devices, model_json(model));
	return 0;
}

static void print_release(const struct showing *showing)
{
	const json_t *item;
	char *text;
	size_t i;

	text = json_dumps(showing->release, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	printf("%s\n", text ? text : "");
	free(text);
	json_array_foreach(showing->devices, i, item) printf("%-34s %-12s since %s\n", text_of(item, "agent"),
							     text_of(item, "state"), text_of(item, "since"));
}

int cmd_release_show(struct tg_cli *cli, struct tg_error *e)
{
	struct showing showing = { .devices = json_array() };
	struct store *store = NULL;
	int ret;

	ret = take_release(cli, &showing.model, &showing.number, e);
	if (!ret)
		ret = admin_store(cli, &store, e);
	if (!ret)
		ret = store_release_each(store, showing.model, show_release, &showing, e);
	if (!ret && !showing.release)
		ret = tg_error(e, -ENOENT, "model '%.70s' has no release %lld", showing.model,
			       (long long)showing.number);
	if (!ret)
		ret = store_model_all(store, show_device, &showing, e);
	store_close(store);
	if (!ret && cli->json) {
		json_object_set(showing.release, "devices", showing.devices);
		ret = tg_cli_print_json(json_incref(showing.release), e);
	} else if (!ret) {
		print_release(&showing);
		ret = admin_flush(e);
	}
	json_decref(showing.release);
	json_decref(showing.devices);
	return ret;
}
