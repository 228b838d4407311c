/* SPDX-License-Identifier: BSD-3-Clause */
/* Audit records for people and for the machines that collect them. */
#ifndef PLATFORM_LEDGER_RECORD_H
#define PLATFORM_LEDGER_RECORD_H

#include <jansson.h>
#include <stdio.h>

#include "store/ledger.h"

enum { RECORD_TIME_SIZE = 32 };

/* "2026-11-29T15:00:00.123Z" */
const char *record_time(uint64_t time_ms, char ret_text[static RECORD_TIME_SIZE]);
/* -EIO for a leaf that is no record, -ENOMEM. */
int record_json(const struct store_leaf *leaf, json_t **ret_object);

/* Writes a leaf as one line. */
typedef int record_print(FILE *out, const struct store_leaf *leaf);
/*
 * "json": an object; "syslog": RFC 5424, facility 13 (log audit); "cef": ArcSight's Common Event Format,
 * version 0. NULL for other names.
 */
record_print *record_format(const char *name);

#endif
