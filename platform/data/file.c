/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/file.h"
#include "tensorguard/file.h"

int file_path(const char *directory, const char *name, char ret_path[static FILE_PATH_SIZE],
	      struct tg_error *e)
{
	int len = snprintf(ret_path, FILE_PATH_SIZE, "%s/%s", directory, name);

	if (len < 0 || len >= FILE_PATH_SIZE)
		return tg_error(e, -ENAMETOOLONG, "%.60s...: the path is too long", directory);
	return 0;
}

int file_read(const char *path, char **ret_data, size_t *ret_len, struct tg_error *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *data;
	ssize_t n;

	if (fd < 0)
		return tg_error(e, -errno, "%s: %s", path, strerror(errno));
	data = malloc(FILE_MAX + 1);
	n = data ? tg_read_full(fd, data, FILE_MAX + 1) : -ENOMEM;
	close(fd);
	if (n < 0 || n > FILE_MAX) {
		free(data);
		n = n < 0 ? n : -EFBIG;
		return tg_error(e, (int)n, "%s: %s", path, strerror((int)-n));
	}
	data[n] = '\0';
	*ret_data = data;
	*ret_len = (size_t)n;
	return 0;
}

int file_read_secret(int fd, char *ret_secret, size_t size, struct tg_error *e)
{
	ssize_t n = tg_read_full(fd, ret_secret, size);

	if (n < 0)
		return tg_error(e, (int)n, "passphrase descriptor %d: %s", fd, strerror((int)-n));
	if (n && (size_t)n < size && ret_secret[n - 1] == '\n')
		n--;
	if (!n || (size_t)n == size) {
		OPENSSL_cleanse(ret_secret, size);
		return tg_error(e, -EINVAL, "passphrase descriptor %d: expected 1 to %zu bytes", fd,
				size - 1);
	}
	ret_secret[n] = '\0';
	return 0;
}
