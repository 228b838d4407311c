/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tgsp.h"

static int folder_of(const char *path)
{
	char *copy = strdup(path);
	int fd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	free(copy);
	return fd;
}

/* A file without a name, or where the file system has none such, one with a name of its own. */
static int open_temporary(struct output *out, mode_t mode)
{
	int folder = folder_of(out->path);

	if (folder < 0)
		return -errno;
	out->fd = openat(folder, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, mode);
	close(folder);
	if (out->fd >= 0)
		return 0;
	if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)
		return -errno;
	out->fd = mkostemp(out->temporary, O_CLOEXEC);
	if (out->fd < 0)
		return -errno;
	out->named = true;
	return fchmod(out->fd, mode) ? -errno : 0;
}

int output_begin(const char *path, mode_t mode, struct output *ret_output, struct tg_error *e)
{
	struct output out = { .path = path, .fd = -1 };
	int ret;

	if (asprintf(&out.temporary, "%s.XXXXXX", path) < 0)
		return tg_error(e, -ENOMEM, "out of memory");
	ret = open_temporary(&out, mode);
	if (ret) {
		output_abort(&out);
		return tg_error(e, ret, "%s: %s", path, strerror(-ret));
	}
	*ret_output = out;
	return 0;
}

/* A nameless file can be given a new name only; for another's it takes a step in between. */
static int give_name(struct output *out)
{
	char self[64];
	int fd;

	snprintf(self, sizeof(self), "/proc/self/fd/%d", out->fd);
	for (int i = 0; i < 100; i++) {
		strcpy(out->temporary + strlen(out->temporary) - 6, "XXXXXX");
		fd = mkostemp(out->temporary, O_CLOEXEC);	/* for the name alone */
		if (fd < 0)
			return -errno;
		close(fd);
		unlink(out->temporary);
		if (!linkat(AT_FDCWD, self, AT_FDCWD, out->temporary, AT_SYMLINK_FOLLOW)) {
			out->named = true;
			return 0;
		}
		if (errno != EEXIST)
			return -errno;
	}
	return -EEXIST;
}

static int place(struct output *out, bool replace)
{
	int folder, ret = 0;

	if (fsync(out->fd))
		return -errno;
	if (!out->named)
		ret = give_name(out);
	if (ret)
		return ret;
	if (renameat2(AT_FDCWD, out->temporary, AT_FDCWD, out->path, replace ? 0 : RENAME_NOREPLACE))
		return -errno;
	out->named = false;
	folder = folder_of(out->path);
	ret = folder < 0 || fsync(folder) ? -errno : 0;
	if (folder >= 0)
		close(folder);
	return ret;
}

int output_commit(struct output *output, bool replace, struct tg_error *e)
{
	int ret = place(output, replace);

	return ret ? tg_error(e, ret, "%s: %s", output->path, strerror(-ret)) : 0;
}

void output_abort(struct output *output)
{
	if (output->named)
		unlink(output->temporary);
	if (output->fd >= 0)
		close(output->fd);
	free(output->temporary);
	*output = (struct output){ .fd = -1 };
}
