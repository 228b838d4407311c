/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "admin/admin.h"
#include "data/data.h"
#include "tensorguard/certificate.h"

struct issue {
	const struct data_keys *keys;
	const char *name;
	char key[FILE_PATH_SIZE], cert[FILE_PATH_SIZE];
	bool *made;
};

static int run_issue(struct store *store, const void *arg, struct tg_error *e)
{
	const struct issue *issue = arg;
	struct store_operator operator= { 0 };
	int ret;

	ret = data_operator_make(issue->keys->ca_key, issue->keys->ca_cert, issue->name, issue->key,
				 issue->cert, &operator, e);
	*issue->made = !ret;
	return ret ? ret : store_operator_add(store, &operator, e);
}

/* The files and the audit record, or neither. */
static int apply(const struct tg_cli *cli, struct issue *issue, struct tg_error *e)
{
	struct admin_change change = { .action = "operator-issue",
				       .target = issue->name,
				       .detail = "",
				       .run = run_issue,
				       .arg = issue };
	struct store *store;
	bool made = false;
	int ret = admin_store(cli, &store, e);

	if (ret)
		return ret;
	issue->made = &made;
	ret = admin_apply(store, &change, e);
	if (ret && made) {
		unlink(issue->key);
		unlink(issue->cert);
	}
	store_close(store);
	return ret;
}

static int take_paths(const struct tg_cli *cli, struct issue *issue, struct tg_error *e)
{
	const char *out = admin_options(cli)->out;

	if (!out)
		return tg_error(e, TG_CLI_USAGE, "--out is needed: the beginning of the two files' names");
	if (snprintf(issue->key, sizeof(issue->key), "%s.key", out) >= (int)sizeof(issue->key))
		return tg_error(e, -ENAMETOOLONG, "--out: the path is too long");
	snprintf(issue->cert, sizeof(issue->cert), "%s.crt", out);
	return 0;
}

int cmd_operator_issue(struct tg_cli *cli, struct tg_error *e)
{
	char passphrase[ADMIN_PASSPHRASE_SIZE];
	struct data_keys keys = { 0 };
	struct issue issue = { .keys = &keys };
	bool given;
	int ret;

	ret = admin_argument(cli, "the operator's name", &issue.name, e);
	if (!ret && !tg_id_valid(issue.name))
		ret = tg_error(
			e, TG_CLI_USAGE,
			"'%.70s': expected 1 to 63 of a-z, 0-9, '-', '_', '.', first a letter or digit",
			issue.name);
	if (!ret)
		ret = take_paths(cli, &issue, e);
	if (!ret)
		ret = admin_passphrase(cli, passphrase, &given, e);
	if (ret)
		return ret;
	ret = data_keys_load(admin_options(cli)->data, given ? passphrase : NULL, &keys, e);
	OPENSSL_cleanse(passphrase, sizeof(passphrase));
	if (!ret)
		ret = apply(cli, &issue, e);
	data_keys_free(&keys);
	if (!ret && cli->json)
		ret = tg_cli_print_json(json_pack("{s:s, s:s, s:s}", "operator", issue.name, "key", issue.key,
						  "certificate", issue.cert),
					e);
	return ret;
}

static json_t *operator_json(const struct store_operator *operator)
{
	const char *state = admin_state(operator->revoked, operator->not_after);

	return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:s?}", "name", operator->name, "serial",
			 operator->serial, "state", state, "issued", admin_time(operator->issued),
			 "not_after", admin_time(operator->not_after), "revoked",
			 admin_time(operator->revoked), "reason",
			 operator->revoked ? operator->reason : NULL);
}

static int collect(void *arg, const struct store_operator *operator)
{
	json_array_append_new(arg, operator_json(operator));
	return 0;
}

static int print(void *arg, const struct store_operator *operator)
{
	(void)arg;
	printf("%-20s %s %s%s%s\n", operator->name, operator->serial,
	       admin_state(operator->revoked, operator->not_after), operator->revoked ? ": " : "",
								    operator->reason);
	return 0;
}

static int each_operator(struct store *store, bool json, json_t *list, struct tg_error *e)
{
	return store_operator_each(store, json ? collect : print, list, e);
}

int cmd_operator_list(struct tg_cli *cli, struct tg_error *e)
{
	return admin_list(cli, "operators", each_operator, e);
}

static int run_revoke(struct store *store, const void *arg, struct tg_error *e)
{
	const struct admin_revocation *revocation = arg;

	return store_operator_revoke(store, revocation->name, revocation->serial, revocation->reason,
				     time(NULL), e);
}

int cmd_operator_revoke(struct tg_cli *cli, struct tg_error *e)
{
	return admin_revoke(cli, "the operator's name", "operator-revoke", run_revoke, e);
}
