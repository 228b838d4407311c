/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared cells one after the other: each is a byte by which its number is ahead
 * of the one that was due, a byte of size, and so many bytes. What is delivered
 * must be a packet that says of itself how long it is.
 */
#include <stdlib.h>
#include <string.h>

#include "tensorguard/aggfrag.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ROOM = 1400 };

static void check_packet(void *ctx, const uint8_t *packet, size_t len)
{
	size_t says = packet[0] >> 4 == 4 ? (size_t)(packet[2] << 8 | packet[3])
					  : (size_t)(packet[4] << 8 | packet[5]) + 40;
	uint8_t sum = 0;

	(void)ctx;
	if (len < 20 || len > ROOM || says != len || (packet[0] >> 4 != 4 && packet[0] >> 4 != 6))
		abort();
	for (size_t i = 0; i < len; i++)
		sum ^= packet[i];
	/* so that every byte is read */
	if (sum == 0 && len > 65535)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *buffer = malloc(ROOM);
	struct tg_aggfrag_reader reader = { .buffer = buffer, .room = ROOM };
	uint32_t sequence = 0;

	if (!buffer)
		return 0;
	while (size >= 2) {
		size_t len = data[1] < size - 2 ? data[1] : size - 2;
		/* memory of its own: a byte too far is seen */
		uint8_t *cell = malloc(len + 1);

		if (!cell)
			break;
		memcpy(cell, data + 2, len);
		cell = realloc(cell, len ? len : 1);
		sequence += (uint32_t)(int8_t)data[0] + 1;
		tg_aggfrag_read(&reader, sequence & TG_AGGFRAG_SEQUENCE_MASK, cell, len, check_packet, NULL);
		if (reader.have > reader.want || reader.want > ROOM ||
		    (reader.want && reader.have == reader.want))
			abort();
		free(cell);
		data += 2 + len;
		size -= 2 + len;
	}
	free(buffer);
	return 0;
}
