/* SPDX-License-Identifier: BSD-3-Clause */
/* Files of the data directory: whole or not there, for the owner alone. */
#ifndef PLATFORM_DATA_FILE_H
#define PLATFORM_DATA_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "tensorguard/error.h"

enum { FILE_PATH_SIZE = 512, FILE_MAX = 256 * 1024 };

/* "DIRECTORY/NAME"; -ENAMETOOLONG. */
int file_path(const char *directory, const char *name, char ret_path[static FILE_PATH_SIZE],
	      struct tg_error *e);

/* All of a file of at most FILE_MAX bytes, with a NUL behind it. The caller wipes and frees. */
int file_read(const char *path, char **ret_data, size_t *ret_len, struct tg_error *e);

/* What comes from a descriptor until its end, without a final newline, which must be 1 to size - 1 bytes. */
int file_read_secret(int fd, char *ret_secret, size_t size, struct tg_error *e);

#endif
