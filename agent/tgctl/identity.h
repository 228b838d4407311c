/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef AGENT_TGCTL_IDENTITY_H
#define AGENT_TGCTL_IDENTITY_H

#include <jansson.h>
#include <stdint.h>

#include "common/options.h"

int cmd_enroll(struct tg_cli *cli, struct tg_error *e);
int cmd_identity(struct tg_cli *cli, struct tg_error *e);

/* ---- keys.c: the keys of tunnels; nothing where there are none ---- */

json_t *tunnel_keys_json(const char *run_dir);
void tunnel_keys_print(const char *run_dir, int64_t now);

#endif
