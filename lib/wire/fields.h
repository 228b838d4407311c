/* SPDX-License-Identifier: BSD-3-Clause */
/* Tables of objects that stand in several messages, each defined in the file of its name. */
#ifndef LIB_WIRE_FIELDS_H
#define LIB_WIRE_FIELDS_H

#include "tensorguard/signed_policy.h"
#include "wire/object.h"

#define WIRE_FIELD(key, type, structure, member, size) \
	.name = (key), .kind = (type), .offset = offsetof(structure, member), .max = (size)

extern const struct wire_field wire_signed_policy[];
/* What the table cannot say. -EINVAL. */
int wire_signed_policy_check(const struct tg_signed_policy *policy, struct tg_error *e);

#endif
