/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "audit.h"
#include "tensorguard/base64.h"
#include "tensorguard/file.h"
#include "tensorguard/merkle.h"
#include "trust/audit.h"
#include "trust/state.h"

enum { DEFAULT_COUNT = 20, MAX_COUNT = 100000, TIME_SIZE = 40, PROOF_FILE_MAX = 4 * 1024 * 1024 };

static const char *state_dir(const struct tg_cli *cli)
{
	const char *directory = agent_options(cli)->state_dir;

	return directory ? directory : TRUST_DIRECTORY;
}

static int queue_path(const struct tg_cli *cli, char ret_path[static PATH_MAX], struct tg_error *e)
{
	if (cli->arg_count)
		return tg_error(e, TG_CLI_USAGE, "%s: unexpected argument '%.60s'; see --help", cli->command,
				cli->args[0]);
	if (snprintf(ret_path, PATH_MAX, "%s/" AUDIT_FOLDER "/queue", state_dir(cli)) >= PATH_MAX)
		return tg_error(e, -ENAMETOOLONG, "%.60s...: the path is too long", state_dir(cli));
	return 0;
}

/* ---- tail ---- */

/* The newest `max` of what comes. */
struct tail {
	struct tg_audit_record *records;
	size_t max, count;	/* `count` came so far */
};

static int keep(void *arg, const struct tg_audit_record *record, const uint8_t *data, size_t len)
{
	struct tail *t = arg;

	(void)data;
	(void)len;
	t->records[t->count++ % t->max] = *record;
	return 0;
}

static const char *date(uint64_t time_ms, char ret_text[static TIME_SIZE])
{
	time_t seconds = (time_t)(time_ms / 1000);
	struct tm tm = { 0 };
	size_t len;

	gmtime_r(&seconds, &tm);
	len = strftime(ret_text, TIME_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(ret_text + len, TIME_SIZE - len, ".%03uZ", (unsigned)(time_ms % 1000));
	return ret_text;
}

static json_t *record_json(const struct tg_audit_record *r, bool stored)
{
	char time[TIME_SIZE];

	return json_pack("{s:I, s:s, s:I, s:s, s:s, s:s, s:s, s:s, s:b}", "sequence", (json_int_t)r->sequence,
			 "time", date(r->time_ms, time), "count", (json_int_t)r->count, "actor", r->actor,
			 "action", r->action, "target", r->target, "outcome", r->outcome, "detail", r->detail,
			 "stored", stored);
}

static void print_record(const struct tg_audit_record *r, bool stored)
{
	char time[TIME_SIZE], count[32] = "";

	if (r->count > 1)
		snprintf(count, sizeof(count), " (%" PRIu64 " times)", r->count);
	printf("%6" PRIu64 "%c %s %s: %s%s%s: %s%s%s%s\n", r->sequence, stored ? ' ' : '*',
	       date(r->time_ms, time), r->actor, r->action, r->target[0] ? " " : "", r->target, r->outcome,
	       count, r->detail[0] ? "; " : "", r->detail);
}

static int show_tail(const struct tg_cli *cli, const struct tail *t, const struct tg_audit_queue_state *state,
		     struct tg_error *e)
{
	size_t shown = t->count < t->max ? t->count : t->max;
	json_t *list = json_array();

	for (size_t i = t->count - shown; i < t->count; i++) {
		const struct tg_audit_record *r = &t->records[i % t->max];
		bool stored = r->sequence <= state->base.sequence;

		if (cli->json)
			json_array_append_new(list, record_json(r, stored));
		else
			print_record(r, stored);
	}
	if (cli->json)
		return tg_cli_print_json(json_pack("{s:s, s:o, s:I, s:I}", "agent", state->base.source,
						   "records", list, "waiting",
						   (json_int_t)(state->end.sequence - state->base.sequence),
						   "lost", (json_int_t)state->lost),
					 e);
	json_decref(list);
	printf("%" PRIu64 " wait for the Platform (*), %" PRIu64 " did not fit and are counted\n",
	       state->end.sequence - state->base.sequence, state->lost);
	return fflush(stdout) || ferror(stdout) ? tg_error(e, -EIO, "cannot write to standard output") : 0;
}

int cmd_audit_tail(struct tg_cli *cli, struct tg_error *e)
{
	const char *text = agent_options(cli)->count;
	struct tg_audit_queue_state state;
	unsigned long count = DEFAULT_COUNT;
	struct tail tail = { .records = NULL };
	char path[PATH_MAX];
	int ret = queue_path(cli, path, e);

	if (!ret && text)
		ret = tg_cli_parse_number(text, "--count", 1, MAX_COUNT, &count, e);
	if (ret)
		return ret;
	tail = (struct tail){ calloc(count, sizeof(*tail.records)), count, 0 };
	ret = tail.records ? tg_audit_queue_recent(path, &state, keep, &tail, e)
			   : tg_error(e, -ENOMEM, "out of memory");
	if (!ret)
		ret = show_tail(cli, &tail, &state, e);
	free(tail.records);
	return ret;
}

/* ---- verify ---- */

/* What `tensorguard-platform audit prove` wrote. */
struct proof_file {
	struct tg_tlog_proof inclusion, consistency;
	uint64_t index, older;
	const char *checkpoint;	/* in the JSON object */
	uint8_t leaf[TG_SHA256_LEN];
	json_t *json;
};

static int bad_proof(struct tg_error *e, const char *what)
{
	return tg_error(e, -EBADMSG, "the proof: %s", what);
}

static int take_record(const json_t *json, struct proof_file *p, struct tg_error *e)
{
	const char *text = json_string_value(json_object_get(json, "record"));
	uint8_t data[TG_AUDIT_RECORD_MAX];
	size_t len;

	if (!text || tg_base64_decode(text, strlen(text), data, sizeof(data), &len))
		return bad_proof(e, "no record");
	return tg_merkle_leaf(data, len, p->leaf, e);
}

static int take_consistency(const json_t *json, struct proof_file *p, struct tg_error *e)
{
	const json_t *older = json_object_get(json, "consistency"), *list = json_object_get(older, "proof");
	size_t used;

	if (!older || json_is_null(older))
		return 0;
	p->older = (uint64_t)json_integer_value(json_object_get(older, "size"));
	if (!json_is_array(list) || json_array_size(list) > TG_TLOG_PROOF_MAX)
		return bad_proof(e, "no list of hashes");
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *text = json_string_value(json_array_get(list, i));

		if (!text ||
		    tg_base64_decode(text, strlen(text), p->consistency.hashes[i], TG_SHA256_LEN, &used) ||
		    used != TG_SHA256_LEN)
			return bad_proof(e, "something else than a hash");
	}
	p->consistency.count = json_array_size(list);
	return 0;
}

static int read_proof(const char *path, struct proof_file *ret_proof, struct tg_error *e)
{
	struct proof_file p = { .index = 0 };
	struct tg_bytes file;
	const char *text;
	int ret = tg_file_read(path, PROOF_FILE_MAX, &file, e);

	if (ret)
		return ret;
	p.json = json_loadb((char *)file.data, file.len, JSON_REJECT_DUPLICATES, NULL);
	tg_bytes_free(&file);
	text = json_string_value(json_object_get(p.json, "proof"));
	if (!text)
		ret = bad_proof(e, "not what audit prove wrote");
	if (!ret)
		ret = tg_tlog_proof_parse(text, strlen(text), &p.inclusion, &p.index, &p.checkpoint, e);
	if (!ret)
		ret = take_record(p.json, &p, e);
	if (!ret)
		ret = take_consistency(p.json, &p, e);
	if (ret)
		json_decref(p.json);
	else
		*ret_proof = p;
	return ret;
}

/* The record is in a ledger that continues the one that is kept, or that the kept one continues. */
static int check_proof(const struct audit_kept *kept, const struct proof_file *p, struct tg_error *e)
{
	struct tg_tlog_head head;
	int ret = tg_tlog_checkpoint_verify(p->checkpoint, strlen(p->checkpoint), &kept->key, &head, e);

	if (!ret)
		ret = tg_tlog_check_inclusion(&p->inclusion, &head, p->index, p->leaf, e);
	if (ret)
		return ret;
	if (head.size == kept->head.size)
		return tg_tlog_check_consistency(&(struct tg_tlog_proof){ .count = 0 }, &kept->head, &head,
						 e);
	if (p->older != kept->head.size)
		return tg_error(e, -EKEYREJECTED,
				"the proof does not lead from the checkpoint that is kept: make it with "
				"--older %" PRIu64,
				kept->head.size);
	return tg_tlog_check_consistency(&p->consistency, &kept->head, &head, e);
}

struct verified {
	struct tg_audit_queue_state state;
	struct audit_kept kept;
	bool has_proof;
	uint64_t index;
};

static int verify_proof(const struct tg_cli *cli, struct verified *v, struct tg_error *e)
{
	const char *path = agent_options(cli)->proof;
	struct proof_file proof;
	int ret;

	if (!path)
		return 0;
	if (!v->kept.has_checkpoint)
		return tg_error(e, -ENOENT, "this device keeps no checkpoint yet");
	ret = read_proof(path, &proof, e);
	if (ret)
		return ret;
	ret = check_proof(&v->kept, &proof, e);
	v->has_proof = !ret;
	v->index = proof.index;
	json_decref(proof.json);
	return ret ? tg_error_prefix(e, ret, "%s", path) : 0;
}

static int show_verified(const struct tg_cli *cli, const struct verified *v, struct tg_error *e)
{
	json_t *proof = v->has_proof ? json_integer((json_int_t)v->index) : json_null();

	if (cli->json)
		return tg_cli_print_json(
			json_pack("{s:b, s:I, s:I, s:s?, s:I, s:o}", "valid", true, "records",
				  (json_int_t)(v->state.end.sequence - v->state.base.sequence), "sequence",
				  (json_int_t)v->state.end.sequence, "log",
				  v->kept.has_key ? v->kept.key.origin : NULL, "checkpoint",
				  (json_int_t)v->kept.head.size, "proof", proof),
			e);
	json_decref(proof);
	printf("chain       whole: %" PRIu64 " records wait, the last is number %" PRIu64 "\n",
	       v->state.end.sequence - v->state.base.sequence, v->state.end.sequence);
	if (v->kept.has_checkpoint)
		printf("checkpoint  right: %" PRIu64 " records of %s\n", v->kept.head.size,
		       v->kept.key.origin);
	else
		printf("checkpoint  none yet\n");
	if (v->has_proof)
		printf("proof       right: record %" PRIu64 " of the ledger\n", v->index);
	return fflush(stdout) || ferror(stdout) ? tg_error(e, -EIO, "cannot write to standard output") : 0;
}

int cmd_audit_verify(struct tg_cli *cli, struct tg_error *e)
{
	struct verified v = { .has_proof = false };
	char path[PATH_MAX];
	int ret = queue_path(cli, path, e);

	if (!ret)
		ret = tg_audit_queue_read(path, &v.state, NULL, NULL, e);
	if (!ret)
		ret = audit_kept_load(state_dir(cli), &v.kept, e);
	if (!ret)
		ret = verify_proof(cli, &v, e);
	return ret ? ret : show_verified(cli, &v, e);
}
