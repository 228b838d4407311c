/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef AGENT_TGCTL_STATS_H
#define AGENT_TGCTL_STATS_H

#include "common/options.h"

int cmd_status(struct tg_cli *cli, struct tg_error *e);
int cmd_stats(struct tg_cli *cli, struct tg_error *e);
int cmd_metrics(struct tg_cli *cli, struct tg_error *e);
int cmd_watch(struct tg_cli *cli, struct tg_error *e);

#endif
