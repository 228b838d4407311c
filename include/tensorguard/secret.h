/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory for keys: memfd_secret(2) where the kernel has it, which not even the
 * kernel maps; else locked and left out of core dumps, as far as the limits
 * allow. Whole pages: for few objects that live longer than a call.
 */
#ifndef TENSORGUARD_SECRET_H
#define TENSORGUARD_SECRET_H

#include <stddef.h>

/* Zeroed memory, or NULL when there is none. */
void *tg_secret_new(size_t size);

/* Wipes. `size` is that of tg_secret_new(). NULL-safe. */
void tg_secret_free(void *secret, size_t size);

#endif
