/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef AGENT_TGCTL_STATS_H
#define AGENT_TGCTL_STATS_H

#include "common/cli.h"

int cmd_status(struct cli *cli, struct tg_error *e);
int cmd_stats(struct cli *cli, struct tg_error *e);
int cmd_watch(struct cli *cli, struct tg_error *e);

#endif
