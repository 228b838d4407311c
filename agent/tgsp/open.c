/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/words.h"
#include "tgsp.h"
#include "tensorguard/file.h"

/* Into memory, for a command. */

static int run_command(const struct tg_cli *cli, const struct tg_tgsp_manifest *m,
		       const struct tg_tgsp_files *files, struct tg_error *e)
{
	struct word_file *words = calloc(files->count, sizeof(*words));
	int ret;

	if (!words)
		return tg_error(e, -ENOMEM, "out of memory");
	for (size_t i = 0; i < files->count; i++)
		words[i] = (struct word_file){ m->files[i].path, files->fds[i] };
	ret = words_exec(cli->args + 1, cli->arg_count - 1, words, files->count, e);
	free(words);
	return ret;
}

/* The keys go before the command comes. */
static int open_for_command(struct tg_cli *cli, const struct package *p, const struct tg_tgsp_rules *rules,
			    struct keys *keys, const struct tg_hpke_private *key, struct tg_error *e)
{
	struct tg_tgsp_files files = { 0 };
	struct bar bar;
	int ret;

	bar_init(&bar, cli, "opening");
	ret = tg_tgsp_open(p->tgsp, rules, key, &bar.progress, &files, e);
	bar_end(&bar);
	keys_free(keys);
	if (!ret)
		ret = run_command(cli, tg_tgsp_manifest(p->tgsp), &files, e);
	tg_tgsp_files_close(&files);
	return ret;
}

/* Onto a disk, because somebody asked for it. */

struct extraction {
	const struct tg_tgsp_manifest *manifest;
	const char *path;
	char *temporary;
	int folder, *fds;	/* fds: of files that are being written, else -1 */
};

static int make_parents(int folder, const char *path)
{
	char copy[TG_TGSP_MAX_PATH + 1];

	strcpy(copy, path);
	for (char *slash = strchr(copy, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdirat(folder, copy, 0700) && errno != EEXIST)
			return -errno;
		*slash = '/';
	}
	return 0;
}

static int extract_begin(void *ctx, size_t file, struct tg_error *e)
{
	struct extraction *x = ctx;
	const char *path = x->manifest->files[file].path;
	int ret = make_parents(x->folder, path);

	if (!ret) {
		x->fds[file] =
			openat(x->folder, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		ret = x->fds[file] < 0 ? -errno : 0;
	}
	return ret ? tg_error(e, ret, "%s: %s", path, strerror(-ret)) : 0;
}

static int extract_write(void *ctx, size_t file, uint64_t offset, const uint8_t *data, size_t len,
			 struct tg_error *e)
{
	const struct extraction *x = ctx;
	int ret = tg_pwrite_full(x->fds[file], data, len, (off_t)offset);

	return ret ? tg_error(e, ret, "%s: %s", x->manifest->files[file].path, strerror(-ret)) : 0;
}

static int extract_end(void *ctx, size_t file, struct tg_error *e)
{
	struct extraction *x = ctx;
	int ret = fsync(x->fds[file]) ? -errno : 0;

	if (close(x->fds[file]) && !ret)
		ret = -errno;
	x->fds[file] = -1;
	return ret ? tg_error(e, ret, "%s: %s", x->manifest->files[file].path, strerror(-ret)) : 0;
}

static void remove_tree(char *path)
{
	char *const paths[] = { path, NULL };
	FTS *tree = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
	FTSENT *entry;

	while (tree && (entry = fts_read(tree)))
		if (entry->fts_info != FTS_D)
			remove(entry->fts_accpath);
	if (tree)
		fts_close(tree);
}

static int extract_to(struct extraction *x, struct tg_cli *cli, const struct package *p,
		      const struct tg_tgsp_rules *rules, const struct tg_hpke_private *key,
		      struct tg_error *e)
{
	const struct tg_tgsp_sink sink = { extract_begin, extract_write, extract_end, x };
	struct bar bar;
	int ret;

	x->folder = open(x->temporary, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (x->folder < 0)
		return tg_error(e, -errno, "%s: %s", x->temporary, strerror(errno));
	bar_init(&bar, cli, "extracting");
	ret = tg_tgsp_decrypt(p->tgsp, rules, key, &sink, &bar.progress, e);
	bar_end(&bar);
	if (!ret &&
	    (fsync(x->folder) || renameat2(AT_FDCWD, x->temporary, AT_FDCWD, x->path, RENAME_NOREPLACE)))
		ret = tg_error(e, -errno, "%s: %s", x->path, strerror(errno));
	close(x->folder);
	return ret;
}

/* A folder of its own beside the one that is to be, which it becomes when all is authentic. */
static int extract_beside(struct extraction *x, struct tg_cli *cli, const struct package *p,
			  const struct tg_tgsp_rules *rules, const struct tg_hpke_private *key,
			  struct tg_error *e)
{
	int ret;

	if (asprintf(&x->temporary, "%s.XXXXXX", x->path) < 0)
		return tg_error(e, -ENOMEM, "out of memory");
	if (!mkdtemp(x->temporary)) {
		ret = tg_error(e, -errno, "%s: %s", x->path, strerror(errno));
	} else {
		ret = extract_to(x, cli, p, rules, key, e);
		if (ret)
			remove_tree(x->temporary);
	}
	free(x->temporary);
	return ret;
}

static int extract(struct tg_cli *cli, const struct package *p, const struct tg_tgsp_rules *rules,
		   const struct tg_hpke_private *key, struct tg_error *e)
{
	struct extraction x = { .manifest = tg_tgsp_manifest(p->tgsp), .path = options_of(cli)->extract };
	int ret;

	if (!access(x.path, F_OK))
		return tg_error(e, -EEXIST, "%s: %s", x.path, strerror(EEXIST));
	x.fds = calloc(x.manifest->file_count, sizeof(*x.fds));
	if (!x.fds)
		return tg_error(e, -ENOMEM, "out of memory");
	for (size_t i = 0; i < x.manifest->file_count; i++)
		x.fds[i] = -1;
	ret = extract_beside(&x, cli, p, rules, key, e);
	for (size_t i = 0; i < x.manifest->file_count; i++)
		if (x.fds[i] >= 0)
			close(x.fds[i]);
	free(x.fds);
	return ret;
}

int cmd_open(struct tg_cli *cli, struct tg_error *e)
{
	const struct options *o = options_of(cli);
	struct keys keys = { .count = 0 };
	struct package p = { .fd = -1 };
	struct tg_hpke_private key;
	struct trust trust;
	int ret;

	if (!cli->arg_count || !o->extract == (cli->arg_count < 2))
		return tg_error(
			e, TG_CLI_USAGE,
			"'open' takes a package, and a command after -- or --extract DIR; see --help");
	ret = trust_init(o, &trust, e);
	if (ret)
		return ret;
	ret = key_for_opening(o, &keys, &key, e);
	if (!ret)
		ret = package_open(cli->args[0], &p, e);
	if (!ret)
		ret = o->extract ? extract(cli, &p, &trust.rules, &key, e)
				 : open_for_command(cli, &p, &trust.rules, &keys, &key, e);
	package_close(&p);
	keys_free(&keys);
	trust_free(&trust);
	return ret;
}
