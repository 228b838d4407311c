/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/untrusted.h"

static int open_in(int folder, const char *name, int flags, struct tg_error *e)
{
	int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | flags);

	return fd < 0 ? tg_error(e, -errno, "%s: %s", name, strerror(errno)) : fd;
}

static int open_regular(int folder, const char *name, struct tg_error *e)
{
	int fd = open_in(folder, name, 0, e);
	struct stat st;

	if (fd < 0 || (!fstat(fd, &st) && S_ISREG(st.st_mode)))
		return fd;
	close(fd);
	return tg_error(e, -EBADMSG, "%s: not a regular file", name);
}

int untrusted_open(const char *directory, const char *folder, const char *name, struct tg_error *e)
{
	int outer = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC), inner, fd;

	if (outer < 0)
		return tg_error(e, -errno, "%s: %s", directory, strerror(errno));
	inner = open_in(outer, folder, O_DIRECTORY, e);
	fd = inner < 0 ? inner : open_regular(inner, name, e);
	if (inner >= 0)
		close(inner);
	close(outer);
	return fd;
}
