/* SPDX-License-Identifier: BSD-3-Clause */
/* What a package says of itself, as JSON; the shape is documented in tgsp(1). */
#ifndef AGENT_COMMON_PACKAGE_JSON_H
#define AGENT_COMMON_PACKAGE_JSON_H

#include <jansson.h>

#include "tensorguard/tgsp.h"

/* NULL when memory is short. */
json_t *package_json(const struct tg_tgsp *package);

#endif
