/* SPDX-License-Identifier: BSD-3-Clause */
/* The tables of audit_sync.h, for the message that they are part of. */
#ifndef LIB_WIRE_AUDIT_H
#define LIB_WIRE_AUDIT_H

#include "wire/object.h"

extern const struct wire_field wire_audit_push[], wire_audit_pull[];

#endif
