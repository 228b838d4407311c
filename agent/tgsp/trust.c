/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tensorguard/file.h"
#include "tgsp.h"

enum { DAY = 86400, ROOT_DAYS = 365, PUBLISH_DAYS = 7 };

static int read_document(const char *folder, const char *name, struct tg_bytes *ret, struct tg_error *e)
{
	char *path;
	int r;

	if (asprintf(&path, "%s%s%s", folder ? folder : "", folder ? "/" : "", name) < 0)
		return tg_error(e, -ENOMEM, "out of memory");
	r = tg_file_read(path, TG_TGSP_MAX_TRUST, ret, e);
	free(path);
	return r;
}

/* The root that follows, if the folder has it: -ENOENT. */
static int next_root(struct tg_tgsp_trust *trust, const char *folder, struct tg_error *e)
{
	struct tg_bytes next;
	char name[32];
	int ret;

	snprintf(name, sizeof(name), "%llu.root", (unsigned long long)tg_tgsp_trust_root_version(trust) + 1);
	ret = read_document(folder, name, &next, e);
	if (ret)
		return ret;
	ret = tg_tgsp_trust_rotate(trust, &next, e);
	tg_bytes_free(&next);
	return ret;
}

/* The roots that follow the trusted one, as far as the folder has them: 2.root, 3.root and so on. */
static int follow_roots(struct tg_tgsp_trust *trust, const char *folder, struct tg_error *e)
{
	int ret = 0;

	while (!ret)
		ret = next_root(trust, folder, e);
	return ret == -ENOENT ? 0 : ret;
}

static int load_folder(struct trust *t, const char *folder, struct tg_error *e)
{
	struct tg_bytes timestamp = { 0 }, snapshot = { 0 }, targets = { 0 };
	int ret = follow_roots(t->trust, folder, e);

	if (!ret)
		ret = read_document(folder, "timestamp", &timestamp, e);
	if (!ret)
		ret = read_document(folder, "snapshot", &snapshot, e);
	if (!ret)
		ret = read_document(folder, "targets", &targets, e);
	if (!ret)
		ret = tg_tgsp_trust_update(t->trust, &timestamp, &snapshot, &targets, t->rules.now, t->floor,
					   e);
	if (!ret && t->floor)
		ret = tg_tgsp_trust_raise(t->trust, t->floor, e);
	tg_bytes_free(&timestamp);
	tg_bytes_free(&snapshot);
	tg_bytes_free(&targets);
	return ret;
}

static int trust_signers(const struct options *o, struct trust *t, struct tg_error *e)
{
	struct keys keys = { .count = 0 };
	uint64_t threshold;
	int ret = keys_public(o->signer, "--signer", &keys, e);

	if (!ret)
		ret = number_of(o->threshold, "--threshold", 1, keys.count, keys.count, &threshold, e);
	if (!ret)
		ret = tg_tgsp_trust_keys(&(struct tg_key_set){ keys.keys, keys.count }, (unsigned)threshold,
					 &t->trust, e);
	keys_free(&keys);
	return ret;
}

static int trust_root(const struct options *o, struct trust *t, struct tg_error *e)
{
	struct tg_bytes root = { 0 };
	int ret = read_document(NULL, o->root, &root, e);

	if (!ret)
		ret = tg_tgsp_trust_new(&root, &t->trust, e);
	if (!ret && o->trust)
		ret = load_folder(t, o->trust, e);
	t->rules.listed = o->trust != NULL;
	tg_bytes_free(&root);
	return ret;
}

static int open_floor(const struct options *o, struct trust *t, struct tg_error *e)
{
	struct tg_bytes key = { 0 };
	int ret = tg_file_read(o->floor_key, TG_FLOOR_KEY_LEN, &key, e);

	if (!ret && key.len != TG_FLOOR_KEY_LEN)
		ret = tg_error(e, -EINVAL, "%s: %zu bytes, expected %d", o->floor_key, key.len,
			       TG_FLOOR_KEY_LEN);
	if (!ret)
		ret = tg_floor_open(o->floor, key.data, NULL, true, &t->floor, e);
	tg_bytes_free(&key);
	return ret;
}

int trust_init(const struct options *o, struct trust *ret_trust, struct tg_error *e)
{
	struct trust t = { .trust = NULL };
	int ret = time_of(o, &t.rules.now, e);

	if (!ret && !o->signer == !o->root)
		ret = tg_error(e, TG_CLI_USAGE, "whom to trust: --signer or --root is needed");
	if (!ret && ((o->threshold && !o->signer) || (o->trust && !o->root) || !o->floor != !o->floor_key))
		ret = tg_error(e, TG_CLI_USAGE,
			       "--threshold needs --signer, --trust needs --root, --floor needs --floor-key");
	if (!ret && o->floor)
		ret = open_floor(o, &t, e);
	if (!ret)
		ret = o->signer ? trust_signers(o, &t, e) : trust_root(o, &t, e);
	if (ret) {
		trust_free(&t);
		return ret;
	}
	t.rules.trust = t.trust;
	t.rules.floor = t.floor;
	*ret_trust = t;
	return 0;
}

void trust_free(struct trust *trust)
{
	tg_tgsp_trust_free(trust->trust);
	tg_floor_close(trust->floor);
}

/* Making. */

static int issue_of(const struct options *o, uint64_t version, unsigned days, struct tg_tgsp_issue *ret,
		    struct tg_error *e)
{
	uint64_t lifetime, now;
	int r = number_of(o->days, "--days", 1, 36500, days, &lifetime, e);

	if (!r)
		r = time_of(o, &now, e);
	if (!r)
		*ret = (struct tg_tgsp_issue){ version, now, now + lifetime * DAY };
	return r;
}

/* "2:a.pub,b.pub": two of these keys; without a number all of them. */
static int read_role(const char *text, const char *what, struct keys *keys, struct tg_tgsp_role_keys *ret,
		     struct tg_error *e)
{
	size_t digits = text ? strspn(text, "0123456789") : 0;
	uint64_t threshold;
	char number[8];
	bool given = digits && digits < sizeof(number) && text[digits] == ':';
	int r = keys_public(given ? text + digits + 1 : text, what, keys, e);

	if (r)
		return r;
	snprintf(number, sizeof(number), "%.*s", (int)digits, text);
	r = number_of(given ? number : NULL, what, 1, keys->count, keys->count, &threshold, e);
	ret->threshold = (unsigned)threshold;
	ret->count = keys->count;
	memcpy(ret->keys, keys->keys, keys->count * sizeof(keys->keys[0]));
	return r;
}

static int write_document(const char *folder, const char *name, const struct tg_bytes *document,
			  struct tg_error *e)
{
	char *path;
	int ret;

	if (asprintf(&path, "%s%s%s", folder ? folder : "", folder ? "/" : "", name) < 0)
		return tg_error(e, -ENOMEM, "out of memory");
	ret = tg_file_replace(path, document->data, document->len, 0644, e);
	free(path);
	return ret;
}

static int previous_version(const char *path, uint64_t *ret_version, struct tg_error *e)
{
	struct tg_tgsp_trust *trust;
	struct tg_bytes root;
	int ret;

	*ret_version = 0;
	if (!path)
		return 0;
	ret = tg_file_read(path, TG_TGSP_MAX_TRUST, &root, e);
	if (ret)
		return ret;
	ret = tg_tgsp_trust_new(&root, &trust, e);
	tg_bytes_free(&root);
	if (ret)
		return tg_error_prefix(e, ret, "%s", path);
	*ret_version = tg_tgsp_trust_root_version(trust);
	tg_tgsp_trust_free(trust);
	return 0;
}

static int print_version(const struct tg_cli *cli, uint64_t version, struct tg_error *e)
{
	if (cli->json)
		return tg_cli_print_json(json_pack("{s:I}", "version", (json_int_t)version), e);
	printf("version %llu\n", (unsigned long long)version);
	return flush_output(e);
}

/* Whether devices that have the previous root would take this one. */
static int check_follows(const char *previous, const struct tg_bytes *document, struct tg_error *e)
{
	struct tg_tgsp_trust *trust = NULL;
	struct tg_bytes root = { 0 };
	int ret;

	if (!previous)
		ret = tg_tgsp_trust_new(document, &trust, e);
	else
		ret = tg_file_read(previous, TG_TGSP_MAX_TRUST, &root, e);
	if (!ret && previous)
		ret = tg_tgsp_trust_new(&root, &trust, e);
	if (!ret && previous)
		ret = tg_tgsp_trust_rotate(trust, document, e);
	tg_tgsp_trust_free(trust);
	tg_bytes_free(&root);
	return ret;
}

int cmd_trust_root(struct tg_cli *cli, struct tg_error *e)
{
	const struct options *o = options_of(cli);
	const struct {
		const char *text, *what;
	} given[TG_TGSP_ROLES] = {
		[TG_TGSP_ROOT] = { o->root_keys, "--root-keys" },
		[TG_TGSP_TARGETS] = { o->targets_keys, "--targets-keys" },
		[TG_TGSP_SNAPSHOT] = { o->snapshot_keys, "--snapshot-keys" },
		[TG_TGSP_TIMESTAMP] = { o->timestamp_keys, "--timestamp-keys" },
		[TG_TGSP_PACKAGE] = { o->package_keys, "--package-keys" },
	};
	struct keys roles[TG_TGSP_ROLES] = { { .count = 0 } }, signers = { .count = 0 };
	struct tg_tgsp_root root = { .issue = { 0 } };
	struct tg_bytes document = { 0 };
	uint64_t version;
	int ret = cli->arg_count || !o->out
			  ? tg_error(e, TG_CLI_USAGE, "'trust root' takes --out and no arguments; see --help")
			  : previous_version(o->previous, &version, e);

	if (!ret)
		ret = issue_of(o, version + 1, ROOT_DAYS, &root.issue, e);
	for (int role = 0; !ret && role < TG_TGSP_ROLES; role++)
		ret = read_role(given[role].text, given[role].what, &roles[role], &root.roles[role], e);
	if (!ret)
		ret = keys_private(o, &signers, e);
	if (!ret)
		ret = tg_tgsp_root_sign(&root, &(struct tg_key_set){ signers.keys, signers.count }, &document,
					e);
	if (!ret)
		ret = check_follows(o->previous, &document, e);
	if (!ret)
		ret = write_document(NULL, o->out, &document, e);
	if (!ret)
		ret = print_version(cli, root.issue.version, e);
	for (int role = 0; role < TG_TGSP_ROLES; role++)
		keys_free(&roles[role]);
	keys_free(&signers);
	tg_bytes_free(&document);
	return ret;
}

static int read_targets(const struct tg_cli *cli, struct tg_tgsp_target *targets, struct tg_error *e)
{
	for (int i = 0; i < cli->arg_count; i++) {
		const struct tg_tgsp_manifest *m;
		struct package p;
		int ret = package_open(cli->args[i], &p, e);

		if (ret)
			return ret;
		m = tg_tgsp_manifest(p.tgsp);
		strcpy(targets[i].model, m->model);
		targets[i].release = m->release;
		memcpy(targets[i].manifest, tg_tgsp_manifest_hash(p.tgsp), TG_SHA256_LEN);
		package_close(&p);
	}
	return 0;
}

/* The keys of --key that belong to a role: each document is signed by its own. */
static size_t pick(const struct keys *keys, const struct tg_tgsp_role_keys *role, EVP_PKEY **ret)
{
	size_t count = 0;

	for (size_t i = 0; i < keys->count; i++) {
		uint8_t id[TG_KEY_ID_LEN], other[TG_KEY_ID_LEN];
		bool found = false;

		if (tg_public_key_hash(keys->keys[i], id, NULL))
			continue;
		for (size_t k = 0; k < role->count; k++)
			found |= !tg_public_key_hash(role->keys[k], other, NULL) &&
				 !memcmp(id, other, sizeof(id));
		if (found)
			ret[count++] = keys->keys[i];
	}
	return count;
}

struct publication {
	const struct tg_tgsp_root *root;
	struct keys keys;
	struct tg_tgsp_issue issue;
	struct tg_tgsp_target *targets;
	size_t count;
	struct tg_bytes documents[TG_TGSP_ROLES];
};

static int sign_role(struct publication *p, enum tg_tgsp_role role, struct tg_error *e)
{
	EVP_PKEY *picked[TG_COSE_MAX_SIGNATURES];
	const struct tg_tgsp_role_keys *keys = &p->root->roles[role];
	const struct tg_key_set signers = { picked, pick(&p->keys, keys, picked) };
	const struct tg_bytes *below =
		&p->documents[role == TG_TGSP_SNAPSHOT ? TG_TGSP_TARGETS : TG_TGSP_SNAPSHOT];

	if (signers.count < keys->threshold)
		return tg_error(e, -EKEYREJECTED, "%s: %zu of its keys are given, %u must sign",
				tg_tgsp_role_name(role), signers.count, keys->threshold);
	if (role == TG_TGSP_TARGETS)
		return tg_tgsp_targets_sign(&p->issue, p->targets, p->count, &signers, &p->documents[role],
					    e);
	return tg_tgsp_pointer_sign(role, &p->issue, below, p->issue.version, &signers, &p->documents[role],
				    e);
}

/* By the keys of the newest root that knows them: a root that has just changed the timestamp's keys did not
 * sign what is out. */
static int version_by_chain(const struct tg_bytes *root, const char *folder, const struct tg_bytes *timestamp,
			    uint64_t *ret_version, struct tg_error *e)
{
	struct tg_tgsp_trust *trust;
	struct tg_error end;
	int ret = tg_tgsp_trust_new(root, &trust, e);

	if (ret)
		return ret;
	do {
		ret = tg_tgsp_trust_timestamp_version(trust, timestamp, ret_version, e);
	} while (ret && !next_root(trust, folder, &end));
	tg_tgsp_trust_free(trust);
	return ret;
}

/* The version that is out, and 0 where none is: the documents need not be in force any more. */
static int current_version(const struct tg_bytes *root, const char *folder, uint64_t *ret_version,
			   struct tg_error *e)
{
	struct tg_bytes timestamp;
	int ret = read_document(folder, "timestamp", &timestamp, e);

	*ret_version = 0;
	if (ret == -ENOENT)
		return 0;
	if (ret)
		return ret;
	ret = version_by_chain(root, folder, &timestamp, ret_version, e);
	tg_bytes_free(&timestamp);
	return ret;
}

static int publish(struct tg_cli *cli, const struct tg_bytes *root, struct publication *p, struct tg_error *e)
{
	/* the timestamp last: it is what makes the others count */
	static const enum tg_tgsp_role order[] = { TG_TGSP_TARGETS, TG_TGSP_SNAPSHOT, TG_TGSP_TIMESTAMP };
	const struct options *o = options_of(cli);
	uint64_t version;
	int ret = current_version(root, o->trust, &version, e);

	if (!ret)
		ret = issue_of(o, version + 1, PUBLISH_DAYS, &p->issue, e);
	for (int i = 0; !ret && i < 3; i++)
		ret = sign_role(p, order[i], e);
	for (int i = 0; !ret && i < 3; i++)
		ret = write_document(o->trust, tg_tgsp_role_name(order[i]), &p->documents[order[i]], e);
	return ret ? ret : print_version(cli, p->issue.version, e);
}

int cmd_trust_publish(struct tg_cli *cli, struct tg_error *e)
{
	const struct options *o = options_of(cli);
	struct publication p = { .count = (size_t)cli->arg_count };
	struct tg_bytes root = { 0 };
	struct trust t = { .trust = NULL };
	int ret = o->root && o->trust
			  ? tg_file_read(o->root, TG_TGSP_MAX_TRUST, &root, e)
			  : tg_error(e, TG_CLI_USAGE, "--root and --trust are needed; see --help");

	if (!ret)
		ret = tg_tgsp_trust_new(&root, &t.trust, e);
	if (!ret)
		ret = follow_roots(t.trust, o->trust, e);
	if (!ret)
		ret = keys_private(o, &p.keys, e);
	p.targets = calloc(p.count + 1, sizeof(*p.targets));
	if (!ret)
		ret = p.targets ? read_targets(cli, p.targets, e) : tg_error(e, -ENOMEM, "out of memory");
	if (!ret) {
		p.root = tg_tgsp_trust_root(t.trust);
		ret = publish(cli, &root, &p, e);
	}
	for (int role = 0; role < TG_TGSP_ROLES; role++)
		tg_bytes_free(&p.documents[role]);
	free(p.targets);
	keys_free(&p.keys);
	trust_free(&t);
	tg_bytes_free(&root);
	return ret;
}
