/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fts.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tgsp.h"

enum { DAY = 86400, DEFAULT_DAYS = 365 };

/* What is packed: paths in the package and on this system, in the package's order. */
struct sources {
	struct source {
		char *path, *name;
	} * list;
	size_t count;
};

static void sources_free(struct sources *s)
{
	for (size_t i = 0; i < s->count; i++) {
		free(s->list[i].path);
		free(s->list[i].name);
	}
	free(s->list);
}

static int add_source(struct sources *s, const char *path, const char *name, struct tg_error *e)
{
	struct source *grown;
	int ret = tg_tgsp_path_check(name, strlen(name), e);

	if (ret)
		return ret;
	if (s->count == TG_TGSP_MAX_FILES)
		return tg_error(e, -E2BIG, "more than %d files", TG_TGSP_MAX_FILES);
	grown = realloc(s->list, (s->count + 1) * sizeof(*grown));
	if (!grown)
		return tg_error(e, -ENOMEM, "out of memory");
	s->list = grown;
	s->list[s->count] = (struct source){ strdup(path), strdup(name) };
	s->count++;
	return grown[s->count - 1].path && grown[s->count - 1].name ? 0
								    : tg_error(e, -ENOMEM, "out of memory");
}

static int add_entry(struct sources *s, const FTSENT *entry, size_t prefix, struct tg_error *e)
{
	switch (entry->fts_info) {
	case FTS_D:
	case FTS_DP:
		return 0;
	case FTS_F:
		return add_source(s, entry->fts_path, entry->fts_path + prefix, e);
	case FTS_DNR:
	case FTS_ERR:
	case FTS_NS:
		return tg_error(e, -entry->fts_errno, "%s: %s", entry->fts_path, strerror(entry->fts_errno));
	default:
		return tg_error(e, -EINVAL, "%s: neither a regular file nor a folder", entry->fts_path);
	}
}

/* All files below the folder; links are refused rather than followed. */
static int add_folder(struct sources *s, char *path, struct tg_error *e)
{
	char *const paths[] = { path, NULL };
	FTS *tree = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
	size_t prefix = strlen(path);
	FTSENT *entry;
	int ret = 0;

	if (!tree)
		return tg_error(e, -errno, "%s: %s", path, strerror(errno));
	if (path[prefix - 1] != '/')
		prefix++;
	while (!ret && (entry = fts_read(tree)))
		ret = add_entry(s, entry, prefix, e);
	fts_close(tree);
	return ret;
}

static int add_argument(struct sources *s, char *path, struct tg_error *e)
{
	struct stat st;
	char *copy;
	int ret;

	if (!*path || stat(path, &st))
		return tg_error(e, *path ? -errno : -ENOENT, "%s: %s", path,
				strerror(*path ? errno : ENOENT));
	if (S_ISDIR(st.st_mode))
		return add_folder(s, path, e);
	copy = strdup(path);
	ret = copy ? add_source(s, path, basename(copy), e) : tg_error(e, -ENOMEM, "out of memory");
	free(copy);
	return ret;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct source *)a)->name, ((const struct source *)b)->name);
}

static int find_sources(const struct tg_cli *cli, struct sources *s, struct tg_error *e)
{
	int ret = 0;

	for (int i = 0; !ret && i < cli->arg_count; i++)
		ret = add_argument(s, cli->args[i], e);
	if (!ret && !s->count)
		ret = tg_error(e, -EINVAL, "there is no file to pack");
	if (!ret)
		qsort(s->list, s->count, sizeof(*s->list), by_name);
	for (size_t i = 1; !ret && i < s->count; i++)
		if (!by_name(&s->list[i - 1], &s->list[i]))
			ret = tg_error(e, -EEXIST, "two files would be '%s' in the package", s->list[i].name);
	return ret;
}

static int copy_text(const char *text, const char *what, char *ret, size_t max, struct tg_error *e)
{
	if (!text)
		return 0;
	if (strlen(text) > max)
		return tg_error(e, TG_CLI_USAGE, "%s: longer than %zu bytes", what, max);
	strcpy(ret, text);
	return 0;
}

static int add_names(const char *text, const char *what, struct tg_tgsp_names *names, struct tg_error *e)
{
	struct list list;
	int ret = text ? list_split(text, what, &list, e) : 0;

	if (!text || ret)
		return ret;
	for (size_t i = 0; !ret && i < list.count; i++)
		ret = tg_tgsp_names_add(names, list.words[i], e);
	list_free(&list);
	return ret ? tg_error_prefix(e, ret, "%s", what) : 0;
}

static int by_hash(const void *a, const void *b)
{
	return memcmp(a, b, TG_SHA256_LEN);
}

static int add_parents(const char *text, struct tg_tgsp_manifest *m, struct tg_error *e)
{
	struct list list;
	int ret = text ? list_split(text, "--parent", &list, e) : 0;

	if (!text || ret)
		return ret;
	m->lineage.parents = calloc(list.count, TG_SHA256_LEN);
	if (!m->lineage.parents)
		ret = tg_error(e, -ENOMEM, "out of memory");
	for (size_t i = 0; !ret && i < list.count; i++)
		ret = unhex(list.words[i], "--parent", m->lineage.parents[i], TG_SHA256_LEN, e);
	if (!ret) {
		m->lineage.parent_count = list.count;
		qsort(m->lineage.parents, list.count, TG_SHA256_LEN, by_hash);
	}
	list_free(&list);
	return ret;
}

static int fill_lineage(const struct options *o, struct tg_tgsp_manifest *m, struct tg_error *e)
{
	int ret = add_parents(o->parent, m, e);

	if (!ret)
		ret = copy_text(o->training_run, "--training-run", m->lineage.training_run, TG_TGSP_MAX_TEXT,
				e);
	if (!ret && o->data_hash) {
		m->lineage.has_data = true;
		ret = unhex(o->data_hash, "--data-hash", m->lineage.data, TG_SHA256_LEN, e);
	}
	if (!ret && !o->epsilon != !o->delta)
		ret = tg_error(e, TG_CLI_USAGE, "--epsilon and --delta belong together");
	m->lineage.has_privacy = o->epsilon != NULL;
	if (!ret)
		ret = number_of(o->epsilon, "--epsilon", 0, UINT64_MAX, 0, &m->lineage.epsilon_micro, e);
	if (!ret)
		ret = number_of(o->delta, "--delta", 0, UINT64_MAX, 0, &m->lineage.delta_pico, e);
	return ret;
}

static int fill_policy(const struct options *o, struct tg_tgsp_manifest *m, struct tg_error *e)
{
	int ret = add_names(o->fleet, "--fleet", &m->policy.fleets, e);

	if (!ret)
		ret = add_names(o->accelerator, "--accelerator", &m->policy.accelerators, e);
	if (!ret)
		ret = copy_text(o->agent_version, "--agent-version", m->policy.agent_version,
				TG_TGSP_MAX_NAME, e);
	if (!ret)
		ret = number_of(o->offline, "--offline", 1, UINT32_MAX, 0, &m->policy.offline_s, e);
	m->policy.attested = o->attested;
	return ret;
}

static int fill_times(const struct options *o, struct tg_tgsp_manifest *m, struct tg_error *e)
{
	uint64_t days;
	int ret = number_of(o->days, "--days", 1, 36500, DEFAULT_DAYS, &days, e);

	if (!ret)
		ret = time_of(o, &m->created, e);
	if (!ret) {
		m->not_before = m->created;
		m->not_after = m->created + days * DAY;
	}
	return ret;
}

static int fill_manifest(const struct options *o, struct tg_tgsp_manifest *m, struct tg_error *e)
{
	uint64_t segment;
	int ret;

	if (!o->out || !o->model || !o->model_version || !o->release)
		return tg_error(e, TG_CLI_USAGE, "--out, --model, --model-version and --release are needed");
	ret = copy_text(o->model, "--model", m->model, TG_TGSP_MAX_NAME, e);
	if (!ret)
		ret = copy_text(o->model_version, "--model-version", m->version, TG_TGSP_MAX_NAME, e);
	if (!ret)
		ret = number_of(o->release, "--release", 0, UINT64_MAX, 0, &m->release, e);
	if (!ret)
		ret = number_of(o->segment, "--segment", TG_FLOE_MIN_SEGMENT, TG_FLOE_MAX_SEGMENT,
				TG_TGSP_SEGMENT, &segment, e);
	if (!ret && o->base) {
		m->has_base = true;
		ret = unhex(o->base, "--base", m->base, TG_SHA256_LEN, e);
	}
	if (ret)
		return ret;
	m->payload.segment = (uint32_t)segment;
	ret = fill_times(o, m, e);
	if (!ret)
		ret = fill_policy(o, m, e);
	return ret ? ret : fill_lineage(o, m, e);
}

/* The names of the files move into the manifest. */
static int move_files(struct sources *s, struct tg_tgsp_manifest *m, const char ***ret_paths,
		      struct tg_error *e)
{
	const char **paths = calloc(s->count, sizeof(*paths));

	m->files = calloc(s->count, sizeof(*m->files));
	if (!paths || !m->files) {
		free(paths);
		return tg_error(e, -ENOMEM, "out of memory");
	}
	for (; m->file_count < s->count; m->file_count++) {
		m->files[m->file_count].path = s->list[m->file_count].name;
		s->list[m->file_count].name = NULL;
		paths[m->file_count] = s->list[m->file_count].path;
	}
	*ret_paths = paths;
	return 0;
}

static int report_package(const struct tg_cli *cli, const char *path, struct tg_error *e)
{
	char text[HASH_TEXT];
	struct package p;
	int ret = package_open(path, &p, e);

	if (ret)
		return ret;
	hex(tg_tgsp_manifest_hash(p.tgsp), TG_SHA256_LEN, text);
	if (cli->json) {
		ret = tg_cli_print_json(json_pack("{s:s, s:s, s:I, s:I}", "file", path, "manifest", text,
						  "bytes", (json_int_t)tg_tgsp_file_len(p.tgsp), "plaintext",
						  (json_int_t)tg_tgsp_plain_len(tg_tgsp_manifest(p.tgsp))),
					e);
	} else {
		printf("%s\nmanifest %s\n", path, text);
		ret = flush_output(e);
	}
	package_close(&p);
	return ret;
}

static int pack_to_file(const struct tg_cli *cli, struct tg_tgsp_manifest *m, const char *const *paths,
			struct tg_error *e)
{
	const struct options *o = options_of(cli);
	struct keys signers = { .count = 0 };
	struct points to = { 0 };
	struct output out;
	struct bar bar;
	int ret = keys_private(o, &signers, e);

	if (!ret)
		ret = points_read(o->recipient, &to, e);
	if (!ret)
		ret = output_begin(o->out, 0644, &out, e);
	if (!ret) {
		const struct tg_tgsp_recipients recipients = { (const uint8_t(*)[TG_P256_POINT_LEN])to.points,
							       to.count };

		bar_init(&bar, cli, "packing");
		ret = tg_tgsp_pack(m, paths, &(struct tg_key_set){ signers.keys, signers.count }, &recipients,
				   out.fd, &bar.progress, e);
		bar_end(&bar);
		if (!ret)
			ret = output_commit(&out, true, e);
		output_abort(&out);
	}
	points_free(&to);
	keys_free(&signers);
	return ret;
}

int cmd_pack(struct tg_cli *cli, struct tg_error *e)
{
	struct tg_tgsp_manifest m = { .release = 0 };
	struct sources sources = { 0 };
	const char **paths = NULL;
	int ret =
		cli->arg_count ? 0 : tg_error(e, TG_CLI_USAGE, "'pack' takes a folder or files; see --help");

	if (!ret)
		ret = fill_manifest(options_of(cli), &m, e);
	if (!ret)
		ret = find_sources(cli, &sources, e);
	if (!ret)
		ret = move_files(&sources, &m, &paths, e);
	if (!ret)
		ret = pack_to_file(cli, &m, paths, e);
	if (!ret)
		ret = report_package(cli, options_of(cli)->out, e);
	tg_tgsp_manifest_clear(&m);
	sources_free(&sources);
	free(paths);
	return ret;
}

/* recipients add, remove */

static int change_recipients(struct tg_cli *cli, bool add, struct tg_error *e)
{
	const struct options *o = options_of(cli);
	struct keys keys = { .count = 0 };
	struct tg_hpke_private private;
	struct package p = { .fd = -1 };
	struct points points = { 0 };
	struct output out;
	struct bar bar;
	int ret = one_argument(cli, "one package", e);

	if (!ret)
		ret = key_for_opening(o, &keys, &private, e);
	if (!ret)
		ret = add ? points_read(o->recipient, &points, e) : ids_read(o->recipient, &points, e);
	if (!ret)
		ret = package_open(cli->args[0], &p, e);
	if (!ret)
		ret = output_begin(o->out ? o->out : cli->args[0], 0644, &out, e);
	if (!ret) {
		const struct tg_tgsp_recipients to = { (const uint8_t(*)[TG_P256_POINT_LEN])points.points,
						       add ? points.count : 0 };

		bar_init(&bar, cli, "copying");
		ret = tg_tgsp_rewrap(p.tgsp, &private, &to, (const uint8_t(*)[TG_KEY_ID_LEN])points.ids,
				     add ? 0 : points.count, out.fd, &bar.progress, e);
		bar_end(&bar);
		if (!ret)
			ret = output_commit(&out, true, e);
		output_abort(&out);
	}
	package_close(&p);
	points_free(&points);
	keys_free(&keys);
	return ret ? ret : report_package(cli, o->out ? o->out : cli->args[0], e);
}

int cmd_recipients_add(struct tg_cli *cli, struct tg_error *e)
{
	return change_recipients(cli, true, e);
}

int cmd_recipients_remove(struct tg_cli *cli, struct tg_error *e)
{
	return change_recipients(cli, false, e);
}
