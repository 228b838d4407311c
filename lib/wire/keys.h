/* SPDX-License-Identifier: BSD-3-Clause */
/* The tables of the part `keys` (key_sync.h), for the table of the whole sync message. */
#ifndef LIB_WIRE_KEYS_H
#define LIB_WIRE_KEYS_H

#include "wire/object.h"

extern const struct wire_field wire_keys_request[], wire_keys_answer[];

#endif
