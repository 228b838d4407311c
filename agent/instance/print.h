/* SPDX-License-Identifier: BSD-3-Clause */
/* What the programs show of a running instance, as JSON and as text. */
#ifndef AGENT_INSTANCE_PRINT_H
#define AGENT_INSTANCE_PRINT_H

#include "common/cli.h"
#include "instance/instance.h"

/* Prints the report. Returns CLI_REPORTED, with a message, when it lists problems. */
int report_print(const struct cli *cli, const struct tg_policy *policy, const struct report *report,
		 struct tg_error *e);

/*
 * The counters of every tunnel and class. The document is described in
 * tgctl(1); *ret_stats is a new reference.
 */
int stats_collect(const struct cli *cli, const struct tg_policy *policy, json_t **ret_stats,
		  struct tg_error *e);

#endif
