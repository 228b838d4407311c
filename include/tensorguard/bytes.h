/* SPDX-License-Identifier: BSD-3-Clause */
/* Bytes on the heap with their number: what crosses a boundary as it is (certificates, TPM structures,
 * secrets). */
#ifndef TENSORGUARD_BYTES_H
#define TENSORGUARD_BYTES_H

#include <stddef.h>
#include <stdint.h>

/* {NULL, 0} is empty. Whoever holds one frees it with tg_bytes_free. */
struct tg_bytes {
	uint8_t *data;
	size_t len;
};

/* Wipes and frees what `bytes` holds and leaves it empty. NULL and empty are fine. */
void tg_bytes_free(struct tg_bytes *bytes);

/* A copy of `len` bytes on the heap; `len` may be 0. -ENOMEM. */
int tg_bytes_copy(const void *data, size_t len, struct tg_bytes *ret_bytes);

#endif
