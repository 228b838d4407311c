/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/cli.h"
#include "policy.h"
#include "stats.h"

static const struct cli_command commands[] = {
	{ "status", cmd_status, "", "say what runs and what is wrong with it; exit 1 if anything is" },
	{ "stats", cmd_stats, "", "print the counters of every tunnel, class and direction" },
	{ "watch", cmd_watch, "[--interval S] [--count N]", "print rates and delays again and again" },
	{ "policy check", cmd_policy_check, "FILE [--site FILE]", "check a policy file" },
	{ "policy show", cmd_policy_show, "FILE [--site FILE]", "show a policy file's compiled form" },
	{ NULL, NULL, NULL, NULL },
};

int main(int argc, char **argv)
{
	return cli_main("tgctl", "Operates TensorGuard.", commands, argc, argv);
}
