/* SPDX-License-Identifier: BSD-3-Clause */
/* Reading and writing to the end, and small files as a whole. */
#ifndef TENSORGUARD_FILE_H
#define TENSORGUARD_FILE_H

#include <sys/types.h>

#include "tensorguard/bytes.h"
#include "tensorguard/error.h"

/* Until `len` bytes are read or there are no more: how many, or a negative errno. */
ssize_t tg_read_full(int fd, void *data, size_t len);
/* The same of what may be silent for long: -ECANCELED when `stop` becomes readable (or ends) before. */
ssize_t tg_read_until(int fd, int stop, void *data, size_t len);
int tg_write_full(int fd, const void *data, size_t len);
/* The same at an offset; where `fd` stands does not matter and stays. */
int tg_pwrite_full(int fd, const void *data, size_t len, off_t offset);

/* All that is left to read, in a file that may lie about its size as those of sysfs do. -EFBIG above `max`.
 */
int tg_file_read_fd(int fd, const char *name, size_t max, struct tg_bytes *ret_bytes, struct tg_error *e);
int tg_file_read(const char *path, size_t max, struct tg_bytes *ret_bytes, struct tg_error *e);

/*
 * Puts `len` bytes at `path` so that after a crash there is the old file or the
 * new one, whole: a temporary file beside it, fsync, rename, fsync of the folder.
 */
int tg_file_replace(const char *path, const void *data, size_t len, mode_t mode, struct tg_error *e);
/* The same for a file that is not to be there yet: -EEXIST, and what is there stays. */
int tg_file_create(const char *path, const void *data, size_t len, mode_t mode, struct tg_error *e);
/* A name is on the disk once its folder is. */
int tg_folder_sync(const char *folder, struct tg_error *e);

#endif
