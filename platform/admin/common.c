/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "admin/admin.h"
#include "data/data.h"
#include "release/json.h"

const struct platform_options *admin_options(const struct tg_cli *cli)
{
	return cli->options;
}

int admin_passphrase(const struct tg_cli *cli, char ret_passphrase[static ADMIN_PASSPHRASE_SIZE],
		     bool *ret_given, struct tg_error *e)
{
	const char *text = admin_options(cli)->passphrase_fd;
	unsigned long fd;
	int ret;

	*ret_given = false;
	if (!text)
		return 0;
	ret = tg_cli_parse_number(text, "--passphrase-fd", 0, 65535, &fd, e);
	if (!ret)
		ret = file_read_secret((int)fd, ret_passphrase, ADMIN_PASSPHRASE_SIZE, e);
	*ret_given = !ret;
	return ret;
}

int admin_store(const struct tg_cli *cli, struct store **ret_store, struct tg_error *e)
{
	char url[ADMIN_URL_SIZE];
	int ret = data_store_url(admin_options(cli)->data, url, sizeof(url), e);

	return ret ? ret : store_open(url, ret_store, e);
}

int admin_argument(const struct tg_cli *cli, const char *what, const char **ret_text, struct tg_error *e)
{
	if (cli->arg_count != 1)
		return tg_error(e, TG_CLI_USAGE, "expected one argument, %s", what);
	*ret_text = cli->args[0];
	return 0;
}

int admin_no_arguments(const struct tg_cli *cli, struct tg_error *e)
{
	return cli->arg_count ? tg_error(e, TG_CLI_USAGE, "unexpected argument '%.60s'", cli->args[0]) : 0;
}

int admin_list(struct tg_cli *cli, const char *name,
	       int (*each)(struct store *store, bool json, json_t *list, struct tg_error *e),
	       struct tg_error *e)
{
	json_t *list = json_array();
	struct store *store = NULL;
	int ret;

	ret = admin_no_arguments(cli, e);
	if (!ret)
		ret = admin_store(cli, &store, e);
	if (!ret)
		ret = each(store, cli->json, list, e);
	if (!ret)
		ret = cli->json ? tg_cli_print_json(json_pack("{s:O}", name, list), e) : admin_flush(e);
	json_decref(list);
	store_close(store);
	return ret;
}

int admin_flush(struct tg_error *e)
{
	return fflush(stdout) || ferror(stdout) ? tg_error(e, -EIO, "cannot write to standard output") : 0;
}

json_t *admin_time(int64_t seconds)
{
	return json_time(seconds);
}

int admin_apply(struct store *store, const struct admin_change *change, struct tg_error *e)
{
	struct store_audit record = { .time = time(NULL),
				      .actor = "operator",
				      .action = change->action,
				      .target = change->target,
				      .outcome = "done",
				      .detail = change->detail };
	int ret = store_begin(store, e);

	if (ret)
		return ret;
	ret = change->run(store, change->arg, e);
	if (!ret)
		ret = store_audit_add(store, &record, e);
	if (!ret)
		return store_commit(store, e);
	store_rollback(store);
	return ret;
}

const char *admin_state(int64_t revoked, int64_t not_after)
{
	if (revoked)
		return "revoked";
	return not_after <= time(NULL) ? "expired" : "valid";
}

int admin_revoke(struct tg_cli *cli, const char *what, const char *action,
		 int (*run)(struct store *store, const void *revocation, struct tg_error *e),
		 struct tg_error *e)
{
	const struct platform_options *options = admin_options(cli);
	struct admin_revocation revocation = { .reason = options->reason, .serial = options->serial };
	struct admin_change change = { .action = action, .run = run, .arg = &revocation };
	struct store *store = NULL;
	int ret;

	if (!revocation.reason || !revocation.reason[0] || strlen(revocation.reason) >= STORE_TEXT_SIZE)
		return tg_error(e, TG_CLI_USAGE, "--reason is needed, 1 to %d bytes", STORE_TEXT_SIZE - 1);
	ret = admin_argument(cli, what, &revocation.name, e);
	if (!ret)
		ret = admin_store(cli, &store, e);
	if (!ret) {
		change.target = revocation.name;
		change.detail = revocation.reason;
		ret = admin_apply(store, &change, e);
	}
	if (!ret && cli->json)
		ret = tg_cli_print_json(json_pack("{s:s}", "revoked", revocation.name), e);
	store_close(store);
	return ret;
}
