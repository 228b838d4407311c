/* SPDX-License-Identifier: BSD-3-Clause */
/* tgctl model fetch: a package from a file, or what the Platform means this device to have. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/json.h"
#include "model.h"
#include "tensorguard/file.h"
#include "tensorguard/hex.h"
#include "tensorguard/tgsp.h"
#include "vault/bundle.h"
#include "vault/call.h"

enum { ASK_S = 30, LOOK_NS = 200000000 };

static long long number(const json_t *object, const char *key)
{
	return (long long)json_integer_value(json_object_get(object, key));
}

/* ---- from a file ---- */

/* A descriptor of memory, because that is what a message takes. */
static int in_memory(const struct tg_bytes *bytes, int *ret_fd, struct tg_error *e)
{
	int fd = memfd_create("tensorguard", MFD_CLOEXEC), ret;

	if (fd < 0)
		return tg_error(e, -errno, "cannot make a memory file: %s", strerror(errno));
	ret = tg_write_full(fd, bytes->data, bytes->len);
	if (!ret && lseek(fd, 0, SEEK_SET) < 0)
		ret = -errno;
	if (ret) {
		close(fd);
		return tg_error(e, ret, "cannot write to memory: %s", strerror(-ret));
	}
	*ret_fd = fd;
	return 0;
}

static int send_documents(int call, const char *folder, struct tg_error *e)
{
	struct bundle bundle = { .root_count = 0 };
	struct tg_bytes bytes = { 0 };
	json_t *answer;
	int fd = -1, ret = bundle_read_folder(folder, &bundle, e);

	if (!ret)
		ret = bundle_encode(&bundle, &bytes, e);
	if (!ret)
		ret = in_memory(&bytes, &fd, e);
	bundle_clear(&bundle);
	tg_bytes_free(&bytes);
	if (ret)
		return ret;
	ret = call_ask(call, json_pack("{s:s}", "op", "documents"), &fd, 1, &answer, NULL, e);
	close(fd);
	if (!ret)
		json_decref(answer);
	return ret;
}

/* What a download of this very file is called: the hash of all that stands before its payload, recipients
 * too. */
static int key_of(int fd, const struct tg_tgsp *package, char ret_key[static 2 * TG_SHA256_LEN + 1],
		  struct tg_error *e)
{
	const struct tg_tgsp_manifest *m = tg_tgsp_manifest(package);
	size_t len = (size_t)(tg_tgsp_file_len(package) -
			      tg_floe_body_len(m->payload.segment, tg_tgsp_plain_len(m)));
	uint8_t *front = malloc(len), hash[TG_SHA256_LEN];
	int ret;

	if (!front)
		return tg_error(e, -ENOMEM, "out of memory");
	if (pread(fd, front, len, 0) != (ssize_t)len)
		ret = tg_error(e, -EIO, "the package cannot be read twice: it must be a file");
	else
		ret = tg_sha256(&(struct tg_piece){ front, len }, 1, hash, e);
	free(front);
	if (!ret)
		tg_hex(hash, sizeof(hash), ret_key);
	return ret;
}

static int hand_over(int call, int fd, const char *key, uint64_t size, json_t **ret_answer,
		     struct tg_error *e)
{
	json_t *offset;
	int ret = call_ask(
		call, json_pack("{s:s, s:s, s:I}", "op", "install", "key", key, "size", (json_int_t)size),
		NULL, 0, &offset, NULL, e);

	if (ret)
		return ret;
	if (lseek(fd, (off_t)number(offset, "offset"), SEEK_SET) < 0)
		ret = tg_error(e, -errno, "the package must be a file: %s", strerror(errno));
	json_decref(offset);
	return ret ? ret : call_ask(call, json_pack("{s:s}", "op", "data"), &fd, 1, ret_answer, NULL, e);
}

static int install_file(int call, const char *path, json_t **ret_answer, struct tg_error *e)
{
	char key[2 * TG_SHA256_LEN + 1];
	struct tg_tgsp *package = NULL;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY), ret;

	if (fd < 0)
		return tg_error(e, -errno, "%s: %s", path, strerror(errno));
	ret = tg_tgsp_read(fd, &package, e);
	if (ret)
		ret = tg_error_prefix(e, ret, "%s", path);
	else
		ret = key_of(fd, package, key, e);
	if (!ret)
		ret = hand_over(call, fd, key, tg_tgsp_file_len(package), ret_answer, e);
	tg_tgsp_free(package);
	close(fd);
	return ret;
}

static int fetch_file(struct tg_cli *cli, int call, json_t **ret_answer, struct tg_error *e)
{
	const char *trust = agent_options(cli)->trust;
	int ret = trust ? send_documents(call, trust, e) : 0;

	return ret ? ret : install_file(call, cli->args[0], ret_answer, e);
}

/* ---- from the Platform ---- */

static json_t *find(const json_t *list, const char *key, const char *value)
{
	json_t *item;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)list, i,
			   item) if (!strcmp(json_text(item, key), value)) return item;
	return NULL;
}

/* Whether there is an end: 0 and the answer, or an error; 1: not yet. */
static int look_at(const json_t *status, const char *model, json_t **ret_answer, struct tg_error *e)
{
	const json_t *platform = json_object_get(status, "platform");
	const json_t *one = find(json_object_get(platform, "assigned"), "model", model), *release;
	const char *state = json_text(one, "state");

	if (json_text(platform, "problem")[0])
		return tg_error(e, -EHOSTUNREACH, "the Platform could not be asked: %.200s",
				json_text(platform, "problem"));
	if (!one)
		return tg_error(e, -ENOENT, "the Platform does not mean this device to have a model '%.64s'",
				model);
	release = find(json_object_get(status, "models"), "manifest", json_text(one, "manifest"));
	if (release) {
		*ret_answer =
			json_pack("{s:s, s:s, s:I}", "model", model, "version", json_text(release, "version"),
				  "release", (json_int_t)number(one, "release"));
		return *ret_answer ? 0 : tg_error(e, -ENOMEM, "out of memory");
	}
	if (strcmp(state, "failed"))
		return 1;
	return tg_error(e, -EPROTO, "release %lld of %s: %.200s", number(one, "release"), model,
			json_text(one, "detail"));
}

/* For somebody who looks on. */
static void show_progress(const json_t *status, const char *model)
{
	const json_t *platform = json_object_get(status, "platform");
	const json_t *one = find(json_object_get(platform, "assigned"), "model", model);

	if (one && isatty(STDERR_FILENO))
		fprintf(stderr, "\r%s release %lld: %lld of %lld bytes ", model, number(one, "release"),
			number(one, "came"), number(one, "size"));
}

static int wait_for(int call, const char *model, long long syncs, json_t **ret_answer, struct tg_error *e)
{
	const struct timespec pause = { .tv_nsec = LOOK_NS };
	uint64_t end = monotonic_ns() + ASK_S * 1000000000ull;
	json_t *status;
	int ret = 1;

	while (ret == 1) {
		ret = call_ask(call, json_pack("{s:s}", "op", "status"), NULL, 0, &status, NULL, e);
		if (ret)
			return ret;
		ret = 1;
		if (number(json_object_get(status, "platform"), "syncs") > syncs)
			ret = look_at(status, model, ret_answer, e);
		else if (monotonic_ns() > end)
			ret = tg_error(e, -ETIMEDOUT, "the Platform has not answered for %d seconds", ASK_S);
		if (ret == 1) {
			show_progress(status, model);
			nanosleep(&pause, NULL);
		}
		json_decref(status);
	}
	if (isatty(STDERR_FILENO))
		fputc('\n', stderr);
	return ret;
}

static int fetch_model(int call, const char *model, json_t **ret_answer, struct tg_error *e)
{
	json_t *answer;
	long long syncs;
	int ret = call_ask(call, json_pack("{s:s}", "op", "want"), NULL, 0, &answer, NULL, e);

	if (ret)
		return ret;
	syncs = number(answer, "syncs");
	json_decref(answer);
	return wait_for(call, model, syncs, ret_answer, e);
}

/* A model's name has no slash, and a file that has none is expected to be called a package. */
static bool is_file(const char *name)
{
	size_t len = strlen(name), end = strlen(".tgsp");

	return strchr(name, '/') || (len > end && !strcmp(name + len - end, ".tgsp"));
}

static int fetch(struct tg_cli *cli, int call, json_t **ret_answer, struct tg_error *e)
{
	return is_file(cli->args[0]) ? fetch_file(cli, call, ret_answer, e)
				     : fetch_model(call, cli->args[0], ret_answer, e);
}

static int check_arguments(const struct tg_cli *cli, struct tg_error *e)
{
	if (cli->arg_count != 1)
		return tg_error(e, TG_CLI_USAGE, "'%s' takes a file or a model; see --help", cli->command);
	if (agent_options(cli)->trust && !is_file(cli->args[0]))
		return tg_error(e, TG_CLI_USAGE,
				"--trust goes with a file: '%.64s' has neither a slash nor '.tgsp'",
				cli->args[0]);
	return 0;
}

int cmd_model_fetch(struct tg_cli *cli, struct tg_error *e)
{
	json_t *answer;
	int call, ret = check_arguments(cli, e);

	if (!ret)
		ret = call_connect(agent_options(cli)->run_dir, &call, e);
	if (ret)
		return ret;
	ret = fetch(cli, call, &answer, e);
	close(call);
	if (ret)
		return ret;
	if (cli->json)
		return tg_cli_print_json(answer, e);
	printf("%s %s, release %lld, is installed\n", json_text(answer, "model"),
	       json_text(answer, "version"), number(answer, "release"));
	json_decref(answer);
	return fflush(stdout) || ferror(stdout) ? tg_error(e, -EIO, "cannot write to standard output") : 0;
}
