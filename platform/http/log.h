/* SPDX-License-Identifier: BSD-3-Clause */
/* The log: one JSON object per line on stderr, {"time": ..., "level": ..., "event": ..., ...}. Any thread. */
#ifndef PLATFORM_HTTP_LOG_H
#define PLATFORM_HTTP_LOG_H

#include <jansson.h>

/* `fields`, an object, is stolen; NULL is fine. Never put a secret there. */
void log_info(const char *event, json_t *fields);
void log_error(const char *event, json_t *fields);

#endif
