/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/cli.h"
#include "policy.h"

static const struct cli_command commands[] = {
	{ "policy check", cmd_policy_check, "FILE [--site FILE] [--json]", "check a policy file" },
	{ "policy show", cmd_policy_show, "FILE [--site FILE] [--json]", "show a policy file's compiled form" },
	{ NULL, NULL, NULL, NULL },
};

int main(int argc, char **argv)
{
	return cli_main("tgctl", "Operates TensorGuard.", commands, argc, argv);
}
