/* SPDX-License-Identifier: BSD-3-Clause */
/* Where a model comes from, as its manifest says, for people and their programs. */
#ifndef TENSORGUARD_TGSP_LINEAGE_H
#define TENSORGUARD_TGSP_LINEAGE_H

#include <jansson.h>

#include "tensorguard/tgsp_manifest.h"

/* Lower-case hexadecimal digits. NULL when memory is short, as the others. */
json_t *tg_hash_json(const uint8_t *hash, size_t len);
json_t *tg_names_json(const struct tg_tgsp_names *names);

/* {"parents": [HEX], "training_run": TEXT, "data": HEX, "base": HEX, "epsilon_micro": N, "delta_pico": N};
 * what is not said is null. */
json_t *tg_lineage_json(const struct tg_tgsp_manifest *manifest);

/*
 * "run 'RUN', data HEX, parents HEX HEX": `digits` of each hash, 2 * TG_SHA256_LEN at most, and the first
 * four parents. What there is no room for is left out.
 */
void tg_lineage_line(const struct tg_tgsp_manifest *manifest, int digits, char *ret_line, size_t size);

#endif
