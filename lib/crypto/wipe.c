/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <malloc.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "tensorguard/crypto.h"

static void *allocate(size_t len, const char *file, int line)
{
	(void)file;
	(void)line;
	return len ? malloc(len) : NULL;
}

static void release(void *data, const char *file, int line)
{
	(void)file;
	(void)line;
	if (data)
		explicit_bzero(data, malloc_usable_size(data));
	free(data);
}

/* Never in place, and never by realloc(), which leaves the old text behind. */
static void *resize(void *data, size_t len, const char *file, int line)
{
	size_t old = data ? malloc_usable_size(data) : 0;
	void *fresh = allocate(len, file, line);

	if (fresh && old)
		memcpy(fresh, data, old < len ? old : len);
	if (fresh || !len)
		release(data, file, line);
	return fresh;
}

int tg_crypto_wipe_freed(void)
{
	return CRYPTO_set_mem_functions(allocate, resize, release) == 1 ? 0 : -EBUSY;
}
