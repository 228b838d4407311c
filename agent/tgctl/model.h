/* SPDX-License-Identifier: BSD-3-Clause */
/* tgctl model: what the agent's process vault keeps, and the way into it. The JSON is documented in tgctl(1).
 */
#ifndef AGENT_TGCTL_MODEL_H
#define AGENT_TGCTL_MODEL_H

#include "common/options.h"

int cmd_model_list(struct tg_cli *cli, struct tg_error *e);
int cmd_model_status(struct tg_cli *cli, struct tg_error *e);
int cmd_model_fetch(struct tg_cli *cli, struct tg_error *e);
int cmd_model_exec(struct tg_cli *cli, struct tg_error *e);
int cmd_model_revoke(struct tg_cli *cli, struct tg_error *e);

#endif
