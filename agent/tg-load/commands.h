/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef AGENT_TG_LOAD_COMMANDS_H
#define AGENT_TG_LOAD_COMMANDS_H

#include "common/options.h"

int cmd_up(struct tg_cli *cli, struct tg_error *e);
int cmd_down(struct tg_cli *cli, struct tg_error *e);
int cmd_reload(struct tg_cli *cli, struct tg_error *e);
int cmd_apply(struct tg_cli *cli, struct tg_error *e);
int cmd_status(struct tg_cli *cli, struct tg_error *e);
int cmd_check(struct tg_cli *cli, struct tg_error *e);

#endif
