/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/json.h"
#include "common/words.h"
#include "model.h"
#include "tensorguard/tgsp.h"
#include "vault/call.h"

enum { DATE_LEN = 32 };

static int one_model(const struct tg_cli *cli, struct tg_error *e)
{
	if (cli->arg_count == 1)
		return 0;
	return tg_error(e, TG_CLI_USAGE, "'%s' takes one model; see --help", cli->command);
}

static int flush(struct tg_error *e)
{
	return fflush(stdout) || ferror(stdout) ? tg_error(e, -EIO, "cannot write to standard output") : 0;
}

/* One question on a connection of its own. */
static int ask(const struct tg_cli *cli, json_t *request, json_t **ret_answer, struct tg_error *e)
{
	int fd, ret = call_connect(agent_options(cli)->run_dir, &fd, e);

	if (ret) {
		json_decref(request);
		return ret;
	}
	ret = call_ask(fd, request, NULL, 0, ret_answer, NULL, e);
	close(fd);
	return ret;
}

/* ---- showing ---- */

static long long number(const json_t *object, const char *key)
{
	return (long long)json_integer_value(json_object_get(object, key));
}

static const char *date(long long seconds, char ret_text[static DATE_LEN])
{
	time_t t = (time_t)seconds;
	struct tm tm;

	if (!gmtime_r(&t, &tm) || !strftime(ret_text, DATE_LEN, "%Y-%m-%dT%H:%M:%SZ", &tm))
		strcpy(ret_text, "-");
	return ret_text;
}

static void print_users(const json_t *model)
{
	const json_t *user;
	char since[DATE_LEN];
	size_t i;

	json_array_foreach(json_object_get(model, "users"), i, user)
		printf("  %s: user %lld, process %lld, since %s\n", json_text(user, "consumer"),
		       number(user, "uid"), number(user, "pid"), date(number(user, "since"), since));
}

static void print_models(const json_t *models)
{
	const json_t *model;
	char end[DATE_LEN];
	size_t i;

	json_array_foreach(models, i, model)
	{
		printf("%s %s release %lld %s, from %s, %lld bytes, until %s, manifest %s\n",
		       json_text(model, "model"), json_text(model, "version"), number(model, "release"),
		       json_text(model, "state"),
		       strcmp(json_text(model, "source"), "platform") ? "a file" : "the Platform",
		       number(model, "size"), date(number(model, "not_after"), end),
		       json_text(model, "manifest"));
		if (json_text(model, "failure")[0])
			printf("  could not be opened: %s\n", json_text(model, "failure"));
		print_users(model);
	}
}

int cmd_model_list(struct tg_cli *cli, struct tg_error *e)
{
	json_t *answer;
	int ret = cli->arg_count
			  ? tg_error(e, TG_CLI_USAGE, "'%s' takes no arguments; see --help", cli->command)
			  : ask(cli, json_pack("{s:s}", "op", "status"), &answer, e);

	if (ret)
		return ret;
	if (cli->json) {
		ret = tg_cli_print_json(json_pack("{s:O}", "models", json_object_get(answer, "models")), e);
	} else {
		print_models(json_object_get(answer, "models"));
		ret = flush(e);
	}
	json_decref(answer);
	return ret;
}

static void print_trust(const json_t *trust)
{
	char issued[DATE_LEN], expires[DATE_LEN];

	if (json_object_get(trust, "problem"))
		printf("trust    none: %s\n", json_text(trust, "problem"));
	else if (!number(trust, "timestamp"))
		printf("trust    root %lld, no documents\n", number(trust, "root"));
	else
		printf("trust    root %lld, timestamp %lld of %s, expires %s\n", number(trust, "root"),
		       number(trust, "timestamp"), date(number(trust, "issued"), issued),
		       date(number(trust, "expires"), expires));
}

static void print_device(const json_t *device)
{
	if (!json_is_object(device)) {
		puts("device   not known yet: it is not enrolled, or the process trust is not there");
		return;
	}
	printf("device   %s in fleet %s%s, key in %s%s\nkey      %s\n", json_text(device, "agent"),
	       json_text(device, "fleet"),
	       json_is_true(json_object_get(device, "attested")) ? ", attested" : "",
	       json_text(device, "key"),
	       json_is_true(json_object_get(device, "connected")) ? "" : " (not connected)",
	       json_text(device, "recipient"));
}

static void print_lineage(const json_t *model)
{
	const json_t *lineage = json_object_get(model, "lineage"), *parent;
	size_t i;

	printf("  training run '%s', data %s\n", json_text(lineage, "training_run"),
	       json_text(lineage, "data")[0] ? json_text(lineage, "data") : "not said");
	json_array_foreach(json_object_get(lineage, "parents"), i, parent)
		printf("  parent %s\n", json_string_value(parent));
}

/* What the Platform means the device to have, and how far that is. */
static void print_platform(const json_t *platform)
{
	const json_t *one;
	char asked[DATE_LEN];
	size_t i;

	if (!number(platform, "asked"))
		puts("platform not asked yet");
	else
		printf("platform asked %s%s%s\n", date(number(platform, "asked"), asked),
		       json_text(platform, "problem")[0] ? ", in vain: " : "",
		       json_text(platform, "problem"));
	json_array_foreach(json_object_get(platform, "assigned"), i, one) printf(
		"  means %s release %lld for this device: %s, %lld of %lld bytes%s%s\n",
		json_text(one, "model"), number(one, "release"), json_text(one, "state"), number(one, "came"),
		number(one, "size"), json_text(one, "detail")[0] ? ": " : "", json_text(one, "detail"));
}

static void print_status(const json_t *status, bool whole)
{
	const json_t *model;
	size_t i;

	print_device(json_object_get(status, "device"));
	print_trust(json_object_get(status, "trust"));
	print_platform(json_object_get(status, "platform"));
	printf("revoked  %lld\n", number(status, "revoked"));
	print_models(json_object_get(status, "models"));
	if (whole)
		json_array_foreach(json_object_get(status, "models"), i, model) print_lineage(model);
}

int cmd_model_status(struct tg_cli *cli, struct tg_error *e)
{
	const char *model = cli->arg_count ? cli->args[0] : NULL;
	json_t *answer;
	int ret = cli->arg_count > 1
			  ? one_model(cli, e)
			  : ask(cli, json_pack("{s:s, s:s*}", "op", "status", "model", model), &answer, e);

	if (ret)
		return ret;
	if (cli->json)
		return tg_cli_print_json(answer, e);
	print_status(answer, model != NULL);
	json_decref(answer);
	return flush(e);
}

/* ---- using ---- */

struct opened {
	struct word_file *files;
	size_t count;
	json_t **answers;
	size_t answer_count;
};

/* One message's files; *ret_left is how many come in later ones. */
static int take_files(struct opened *o, json_t *answer, const struct call_fds *fds, long long *ret_left,
		      struct tg_error *e)
{
	const json_t *list = json_object_get(answer, "files"), *file;
	struct word_file *more = realloc(o->files, (o->count + fds->count + 1) * sizeof(*more));
	json_t **answers = realloc(o->answers, (o->answer_count + 1) * sizeof(*answers));
	size_t i;

	o->files = more ? more : o->files;
	o->answers = answers ? answers : o->answers;
	if (!more || !answers)
		return tg_error(e, -ENOMEM, "out of memory");
	if (!fds->count || json_array_size(list) != fds->count)
		return tg_error(e, -EPROTO, "the agent's process vault says something else than it gives");
	json_array_foreach(list, i, file) o->files[o->count++] =
		(struct word_file){ json_text(file, "path"), fds->fds[i] };
	o->answers[o->answer_count++] = answer;
	*ret_left = number(answer, "left");
	return 0;
}

static int open_model(int call, const char *model, struct opened *o, struct tg_error *e)
{
	struct call_fds fds = { .count = 0 };
	long long left = 0;
	json_t *answer;
	int ret = call_ask(call, json_pack("{s:s, s:s}", "op", "open", "model", model), NULL, 0, &answer,
			   &fds, e);

	if (!ret)
		ret = take_files(o, answer, &fds, &left, e);
	while (!ret && left > 0) {
		ret = call_answer(call, &answer, &fds, e);
		if (!ret)
			ret = take_files(o, answer, &fds, &left, e);
	}
	return ret;
}

/* The connection stays open in the command: for as long as that runs, the agent knows who has the model. */
int cmd_model_exec(struct tg_cli *cli, struct tg_error *e)
{
	struct opened o = { .count = 0 };
	int call, ret;

	if (cli->arg_count < 2)
		return tg_error(e, TG_CLI_USAGE, "'%s' takes a model, and a command after --; see --help",
				cli->command);
	ret = call_connect(agent_options(cli)->run_dir, &call, e);
	if (ret)
		return ret;
	ret = open_model(call, cli->args[0], &o, e);
	if (!ret && fcntl(call, F_SETFD, 0))
		ret = tg_error(e, -errno, "%s", strerror(errno));
	if (!ret)
		ret = words_exec(cli->args + 1, cli->arg_count - 1, o.files, o.count, e);
	for (size_t i = 0; i < o.answer_count; i++)
		json_decref(o.answers[i]);
	free(o.answers);
	free(o.files);
	close(call);
	return ret;
}

/* ---- revoking ---- */

int cmd_model_revoke(struct tg_cli *cli, struct tg_error *e)
{
	const char *given = agent_options(cli)->release;
	unsigned long release = 0;
	json_t *answer;
	int ret = one_model(cli, e);

	if (!ret && given)
		ret = tg_cli_parse_number(given, "--release", 1, LONG_MAX, &release, e);
	if (!ret)
		ret = ask(cli,
			  json_pack("{s:s, s:s, s:I}", "op", "revoke", "model", cli->args[0], "release",
				    (json_int_t)release),
			  &answer, e);
	if (ret)
		return ret;
	if (cli->json)
		return tg_cli_print_json(answer, e);
	printf("revoked: %lld\n", number(answer, "revoked"));
	json_decref(answer);
	return flush(e);
}
