/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef AGENT_COMMON_JSON_H
#define AGENT_COMMON_JSON_H

#include <jansson.h>

/* The object's string of that name, which stays its own; "" when there is none, or no object. */
static inline const char *json_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

#endif
