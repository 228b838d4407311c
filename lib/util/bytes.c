/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tensorguard/bytes.h"

void tg_bytes_free(struct tg_bytes *bytes)
{
	if (!bytes)
		return;
	if (bytes->data)
		explicit_bzero(bytes->data, bytes->len);
	free(bytes->data);
	*bytes = (struct tg_bytes){ 0 };
}

int tg_bytes_copy(const void *data, size_t len, struct tg_bytes *ret_bytes)
{
	uint8_t *copy = malloc(len ? len : 1);

	if (!copy)
		return -ENOMEM;
	if (len)
		memcpy(copy, data, len);
	*ret_bytes = (struct tg_bytes){ copy, len };
	return 0;
}
