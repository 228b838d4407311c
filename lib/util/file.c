/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tensorguard/file.h"

enum { FIRST_READ = 4096 };

ssize_t tg_read_full(int fd, void *data, size_t len)
{
	uint8_t *at = data;
	size_t used = 0;

	while (used < len) {
		ssize_t got = read(fd, at + used, len - used);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (!got)
			break;
		used += (size_t)got;
	}
	return (ssize_t)used;
}

ssize_t tg_read_until(int fd, int stop, void *data, size_t len)
{
	struct pollfd fds[] = { { .fd = fd, .events = POLLIN }, { .fd = stop, .events = POLLIN } };
	uint8_t *at = data;
	size_t used = 0;

	while (used < len) {
		ssize_t n = poll(fds, 2, -1);

		if (n > 0 && fds[1].revents)
			return -ECANCELED;
		if (n > 0)
			n = read(fd, at + used, len - used);
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return -errno;
		if (!n)
			break;
		used += n > 0 ? (size_t)n : 0;
	}
	return (ssize_t)used;
}

int tg_write_full(int fd, const void *data, size_t len)
{
	const uint8_t *at = data;

	while (len) {
		ssize_t done = write(fd, at, len);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		at += done;
		len -= (size_t)done;
	}
	return 0;
}

int tg_pwrite_full(int fd, const void *data, size_t len, off_t offset)
{
	const uint8_t *at = data;

	while (len) {
		ssize_t done = pwrite(fd, at, len, offset);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		at += done;
		len -= (size_t)done;
		offset += done;
	}
	return 0;
}

/* Twice the room, without a copy of what may be secret being left behind. */
static int grow(struct tg_bytes *bytes, size_t used)
{
	size_t room = bytes->len ? 2 * bytes->len : FIRST_READ;
	struct tg_bytes more = { malloc(room), room };

	if (!more.data)
		return -ENOMEM;
	if (used)
		memcpy(more.data, bytes->data, used);
	tg_bytes_free(bytes);
	*bytes = more;
	return 0;
}

/* Returns what was read, 0 at the end, or a negative errno. */
static ssize_t read_some(int fd, struct tg_bytes *bytes, size_t used)
{
	ssize_t got;

	if (used == bytes->len && grow(bytes, used))
		return -ENOMEM;
	do
		got = read(fd, bytes->data + used, bytes->len - used);
	while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : got;
}

int tg_file_read_fd(int fd, const char *name, size_t max, struct tg_bytes *ret_bytes, struct tg_error *e)
{
	struct tg_bytes bytes = { 0 };
	size_t used = 0;
	ssize_t got;

	while ((got = read_some(fd, &bytes, used)) > 0) {
		used += (size_t)got;
		if (used > max) {
			tg_bytes_free(&bytes);
			return tg_error(e, -EFBIG, "%s: more than %zu bytes", name, max);
		}
	}
	if (got < 0) {
		tg_bytes_free(&bytes);
		return tg_error(e, (int)got, "%s: %s", name, strerror((int)-got));
	}
	bytes.len = used;
	*ret_bytes = bytes;
	return 0;
}

int tg_file_read(const char *path, size_t max, struct tg_bytes *ret_bytes, struct tg_error *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY), r;

	if (fd < 0)
		return tg_error(e, -errno, "%s: %s", path, strerror(errno));
	r = tg_file_read_fd(fd, path, max, ret_bytes, e);
	close(fd);
	return r;
}

int tg_folder_sync(const char *folder, struct tg_error *e)
{
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = fd < 0 || fsync(fd) ? -errno : 0;

	if (fd >= 0)
		close(fd);
	return r ? tg_error(e, r, "%s: %s", folder, strerror(-r)) : 0;
}

static int sync_folder_of(const char *path)
{
	char *copy = strdup(path);
	int r = copy ? tg_folder_sync(dirname(copy), NULL) : -ENOMEM;

	free(copy);
	return r;
}

static int fill(int fd, const void *data, size_t len, mode_t mode)
{
	int r = fchmod(fd, mode) ? -errno : 0;

	if (!r)
		r = tg_write_full(fd, data, len);
	if (!r && fsync(fd))
		r = -errno;
	if (close(fd) && !r)
		r = -errno;
	return r;
}

/* Writes beside `path` and lets `give_name` (rename or link) make it that. */
static int put(const char *path, const void *data, size_t len, mode_t mode,
	       int (*give_name)(const char *from, const char *to), struct tg_error *e)
{
	char *temporary;
	int fd, r;

	if (asprintf(&temporary, "%s.XXXXXX", path) < 0)
		return tg_error(e, -ENOMEM, "out of memory");
	fd = mkostemp(temporary, O_CLOEXEC);
	r = fd < 0 ? -errno : fill(fd, data, len, mode);
	if (!r && give_name(temporary, path))
		r = -errno;
	/* a rename has taken that name away */
	if (fd >= 0 && (r || give_name != rename))
		unlink(temporary);
	if (!r)
		r = sync_folder_of(path);
	free(temporary);
	return r ? tg_error(e, r, "%s: %s", path, strerror(-r)) : 0;
}

int tg_file_replace(const char *path, const void *data, size_t len, mode_t mode, struct tg_error *e)
{
	return put(path, data, len, mode, rename, e);
}

int tg_file_create(const char *path, const void *data, size_t len, mode_t mode, struct tg_error *e)
{
	return put(path, data, len, mode, link, e);
}
