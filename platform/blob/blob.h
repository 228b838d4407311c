/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Content-addressed files: DATA/blobs/sha256/ab/abcdef..., the name is the hash of the content. A file
 * appears under its name when all of it is on disk; what a crash leaves behind has another name, and goes
 * with blob_sweep().
 */
#ifndef PLATFORM_BLOB_BLOB_H
#define PLATFORM_BLOB_BLOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tensorguard/error.h"

enum { BLOB_HASH_LEN = 32, BLOB_HEX_SIZE = 2 * BLOB_HASH_LEN + 1 };

/* Bytes of a blob at most: 1 TiB, far beyond any disk that a Platform should fill by mistake. */
#define BLOB_MAX (1ull << 40)

/*
 * Copies `fd` from where it stands to its end. -EFBIG above `max`, -ENOSPC and others; nothing stays behind
 * then. A blob that is there already is left as it is.
 */
int blob_add(const char *data, int fd, uint64_t max, uint8_t ret_hash[static BLOB_HASH_LEN],
	     uint64_t *ret_size, struct tg_error *e);
/* The same for bytes in memory. */
int blob_add_bytes(const char *data, const void *bytes, size_t len, uint8_t ret_hash[static BLOB_HASH_LEN],
		   struct tg_error *e);
/* For reading; the caller closes it. -ENOENT. */
int blob_open(const char *data, const uint8_t hash[static BLOB_HASH_LEN], int *ret_fd, uint64_t *ret_size,
	      struct tg_error *e);
/* 0 also when there is none. */
int blob_remove(const char *data, const uint8_t hash[static BLOB_HASH_LEN], struct tg_error *e);
/*
 * Removes what nobody uses: temporary files, and blobs for which `used` says false. Of both only those older
 * than `age` seconds, as one that is being added is used a moment later. *ret_count: how many.
 */
int blob_sweep(const char *data, int64_t age,
	       int (*used)(void *arg, const uint8_t hash[static BLOB_HASH_LEN], bool *ret_used,
			   struct tg_error *e),
	       void *arg, unsigned *ret_count, struct tg_error *e);

#endif
