/* SPDX-License-Identifier: BSD-3-Clause */
/* Content of replayed messages: known to both ends, so that the receiver can check every byte. */
#ifndef TESTS_TOOLS_MESSAGE_H
#define TESTS_TOOLS_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

/* shorter messages have no room for their number and are pattern only */
enum { MESSAGE_NUMBERED = 8 };

/* Fills the message with number `number` (big endian in front) and a pattern that `seed` and the number
 * decide. */
void message_fill(uint8_t *buf, size_t size, uint64_t seed, uint64_t number);

#endif
