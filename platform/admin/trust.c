/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <time.h>

#include "admin/admin.h"
#include "release/json.h"
#include "release/package.h"

struct publishing {
	const char *data, *folder, *root;
};

static int run_publish(struct store *store, const void *arg, struct tg_error *e)
{
	const struct publishing *publishing = arg;

	return trust_publish(store, publishing->data, publishing->folder, publishing->root, time(NULL), e);
}

static int collect(void *arg, const struct store_trust *trust)
{
	json_array_append_new(arg, trust_json(trust));
	return 0;
}

static int print(void *arg, const struct store_trust *trust)
{
	json_t *object = trust_json(trust);

	(void)arg;
	printf("%-10s %4llu  issued %s  expires %s\n", json_string_value(json_object_get(object, "role")),
	       (unsigned long long)trust->document.version,
	       json_string_value(json_object_get(object, "issued")),
	       json_string_value(json_object_get(object, "expires")));
	json_decref(object);
	return 0;
}

static int each_trust(struct store *store, bool json, json_t *list, struct tg_error *e)
{
	return store_trust_each(store, json ? collect : print, list, e);
}

int cmd_trust_show(struct tg_cli *cli, struct tg_error *e)
{
	return admin_list(cli, "trust", each_trust, e);
}

int cmd_trust_publish(struct tg_cli *cli, struct tg_error *e)
{
	struct publishing publishing = { .data = admin_options(cli)->data, .root = admin_options(cli)->root };
	struct admin_change change = {
		.action = "trust-publish", .detail = "", .run = run_publish, .arg = &publishing
	};
	struct store *store = NULL;
	json_t *list = json_array();
	unsigned swept;
	int ret;

	ret = admin_argument(cli, "the folder that `tgsp trust publish` made", &publishing.folder, e);
	change.target = ret ? "" : publishing.folder;
	if (!ret)
		ret = admin_store(cli, &store, e);
	if (!ret)
		ret = admin_apply(store, &change, e);
	if (!ret)
		ret = package_sweep(store, publishing.data, &swept, e);
	if (!ret && cli->json)
		ret = each_trust(store, true, list, e);
	if (!ret && cli->json)
		ret = tg_cli_print_json(json_pack("{s:O}", "trust", list), e);
	json_decref(list);
	store_close(store);
	return ret;
}
