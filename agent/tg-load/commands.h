/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef AGENT_TG_LOAD_COMMANDS_H
#define AGENT_TG_LOAD_COMMANDS_H

#include "common/cli.h"

int cmd_up(struct cli *cli, struct tg_error *e);
int cmd_down(struct cli *cli, struct tg_error *e);
int cmd_reload(struct cli *cli, struct tg_error *e);
int cmd_status(struct cli *cli, struct tg_error *e);
int cmd_check(struct cli *cli, struct tg_error *e);

#endif
