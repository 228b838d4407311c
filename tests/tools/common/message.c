/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <string.h>

#include "common/message.h"
#include "common/tool.h"

void message_fill(uint8_t *buf, size_t size, uint64_t seed, uint64_t number)
{
	uint64_t state = seed ^ (number * 0xd1342543de82ef95u), word = htobe64(number);
	size_t at = 0;

	if (size >= MESSAGE_NUMBERED) {
		memcpy(buf, &word, sizeof(word));
		at = sizeof(word);
	}
	for (; at < size; at += sizeof(word)) {
		word = htole64(tool_random(&state));
		memcpy(buf + at, &word, size - at < sizeof(word) ? size - at : sizeof(word));
	}
}
