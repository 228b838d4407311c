/* SPDX-License-Identifier: BSD-3-Clause */
/* What the programs show of a running instance, as JSON and as text. */
#ifndef AGENT_INSTANCE_PRINT_H
#define AGENT_INSTANCE_PRINT_H

#include "tensorguard/cli.h"
#include "instance/instance.h"

/* Prints the report. Returns TG_CLI_REPORTED, with a message, when it lists problems. */
int report_print(const struct tg_cli *cli, const struct tg_policy *policy, const struct report *report,
		 struct tg_error *e);

/*
 * The counters of every tunnel and class. The document is described in
 * tgctl(1); *ret_stats is a new reference.
 */
int stats_collect(const char *pin_dir, const struct tg_policy *policy, json_t **ret_stats,
		  struct tg_error *e);

/* What stats_collect() gave, as text for Prometheus; the caller frees it. NULL: no memory. */
char *stats_metrics(const json_t *stats);

#endif
