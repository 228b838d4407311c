/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "admin/admin.h"
#include "data/file.h"
#include "tensorguard/certificate.h"
#include "tensorguard/crypto.h"
#include "tensorguard/hex.h"
#include "tensorguard/file.h"

enum { SECRET_LEN = 32, ID_LEN = 8, DEFAULT_SECONDS = 86400, MAX_SECONDS = 366 * 86400 };

static const char *const state_names[] = { [TOKEN_UNUSED] = "unused",
					   [TOKEN_USED] = "used",
					   [TOKEN_EXPIRED] = "expired",
					   [TOKEN_REVOKED] = "revoked" };

static int take_options(const struct tg_cli *cli, struct store_token *token, struct tg_error *e)
{
	const struct platform_options *options = admin_options(cli);
	unsigned long seconds = DEFAULT_SECONDS;
	int ret = 0;

	if (!options->fleet)
		return tg_error(e, TG_CLI_USAGE, "--fleet is needed");
	snprintf(token->fleet, sizeof(token->fleet), "%s", options->fleet);
	if (options->seconds)
		ret = tg_cli_parse_number(options->seconds, "--seconds", 1, MAX_SECONDS, &seconds, e);
	token->created = time(NULL);
	token->expires = token->created + (int64_t)seconds;
	if (!ret && options->ek_hash && tg_unhex(options->ek_hash, token->ek_hash, sizeof(token->ek_hash)))
		return tg_error(e, TG_CLI_USAGE, "--ek-hash: expected 64 hexadecimal digits");
	token->pinned = options->ek_hash != NULL;
	if (!ret && options->name && !tg_id_valid(options->name))
		return tg_error(
			e, TG_CLI_USAGE,
			"--name: expected 1 to 63 of a-z, 0-9, '-', '_', '.', first a letter or digit");
	if (options->name)
		snprintf(token->name, sizeof(token->name), "%s", options->name);
	return ret;
}

/* The secret is text: what an agent sends, and what is hashed, are the same characters. */
static int draw(struct store_token *token, char ret_secret[static 2 * SECRET_LEN + 1], struct tg_error *e)
{
	uint8_t secret[SECRET_LEN], id[ID_LEN];
	int ret = tg_random(secret, sizeof(secret), e);

	if (!ret)
		ret = tg_random(id, sizeof(id), e);
	if (ret)
		return ret;
	tg_hex(secret, sizeof(secret), ret_secret);
	OPENSSL_cleanse(secret, sizeof(secret));
	tg_hex(id, sizeof(id), token->id);
	return tg_sha256(&(struct tg_piece){ ret_secret, 2 * SECRET_LEN }, 1, token->hash, e);
}

static json_t *token_json(const struct store_token *token, int64_t now)
{
	char pin[2 * STORE_HASH_LEN + 1];

	tg_hex(token->ek_hash, sizeof(token->ek_hash), pin);
	return json_pack("{s:s, s:s, s:s, s:s?, s:s?, s:o, s:o, s:o, s:s?}", "id", token->id, "fleet",
			 token->fleet, "state", state_names[store_token_state(token, now)], "ek_hash",
			 token->pinned ? pin : NULL, "name", token->name[0] ? token->name : NULL, "created",
			 admin_time(token->created), "expires", admin_time(token->expires), "used",
			 admin_time(token->used), "agent", token->agent[0] ? token->agent : NULL);
}

/* The secret goes to the file or to stdout, once; nobody can ask for it again. */
static int give_secret(const struct tg_cli *cli, const struct store_token *token, const char *secret,
		       struct tg_error *e)
{
	json_t *object;

	if (!cli->json) {
		if (!admin_options(cli)->out)
			printf("%s\n", secret);
		return admin_flush(e);
	}
	object = token_json(token, token->created);
	if (!admin_options(cli)->out)
		json_object_set_new(object, "token", json_string(secret));
	return tg_cli_print_json(object, e);
}

static int run_create(struct store *store, const void *arg, struct tg_error *e)
{
	return store_token_create(store, arg, e);
}

static int create(const struct tg_cli *cli, struct store_token *token, char *secret, struct tg_error *e)
{
	struct admin_change change = {
		.action = "token-create", .target = token->id, .run = run_create, .arg = token
	};
	char line[2 * SECRET_LEN + 2], detail[STORE_TEXT_SIZE];
	struct store *store;
	int ret;

	ret = admin_store(cli, &store, e);
	if (ret)
		return ret;
	/* the file first: a token whose secret nobody has would stay behind */
	snprintf(line, sizeof(line), "%s\n", secret);
	if (admin_options(cli)->out)
		ret = tg_file_create(admin_options(cli)->out, line, strlen(line), 0600, e);
	OPENSSL_cleanse(line, sizeof(line));
	snprintf(detail, sizeof(detail), "fleet %s", token->fleet);
	change.detail = detail;
	if (!ret)
		ret = admin_apply(store, &change, e);
	if (ret && ret != -EEXIST && admin_options(cli)->out)
		remove(admin_options(cli)->out);
	store_close(store);
	return ret ? ret : give_secret(cli, token, secret, e);
}

int cmd_token_create(struct tg_cli *cli, struct tg_error *e)
{
	struct store_token token = { 0 };
	char secret[2 * SECRET_LEN + 1];
	int ret;

	ret = admin_no_arguments(cli, e);
	if (!ret)
		ret = take_options(cli, &token, e);
	if (!ret)
		ret = draw(&token, secret, e);
	if (!ret)
		ret = create(cli, &token, secret, e);
	OPENSSL_cleanse(secret, sizeof(secret));
	return ret;
}

static int collect(void *arg, const struct store_token *token)
{
	json_array_append_new(arg, token_json(token, time(NULL)));
	return 0;
}

static int print(void *arg, const struct store_token *token)
{
	int64_t now = time(NULL);

	(void)arg;
	printf("%s  %-8s %-20s", token->id, state_names[store_token_state(token, now)], token->fleet);
	if (token->agent[0])
		printf(" agent %s", token->agent);
	else if (token->name[0])
		printf(" for %s", token->name);
	printf("%s\n", token->pinned ? " pinned to an EK" : "");
	return 0;
}

static int each_token(struct store *store, bool json, json_t *list, struct tg_error *e)
{
	return store_token_each(store, json ? collect : print, list, e);
}

int cmd_token_list(struct tg_cli *cli, struct tg_error *e)
{
	return admin_list(cli, "tokens", each_token, e);
}

static int run_revoke(struct store *store, const void *arg, struct tg_error *e)
{
	return store_token_revoke(store, arg, time(NULL), e);
}

int cmd_token_revoke(struct tg_cli *cli, struct tg_error *e)
{
	struct admin_change change = { .action = "token-revoke", .detail = "", .run = run_revoke };
	struct store *store = NULL;
	int ret;

	ret = admin_argument(cli, "the token's id", &change.target, e);
	if (!ret)
		ret = admin_store(cli, &store, e);
	if (!ret) {
		change.arg = change.target;
		ret = admin_apply(store, &change, e);
	}
	if (!ret && cli->json)
		ret = tg_cli_print_json(json_pack("{s:s}", "revoked", change.target), e);
	store_close(store);
	return ret;
}
