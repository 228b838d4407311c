/* SPDX-License-Identifier: BSD-3-Clause */
#include <sys/prctl.h>

#include "commands.h"

static const struct tg_cli_command commands[] = {
	{ "up", cmd_up, "[--policy FILE [--site FILE]]",
	  "bring the data plane up, or repair the running one; does nothing when it is whole" },
	{ "down", cmd_down, "", "take everything away" },
	{ "reload", cmd_reload, "--policy FILE [--site FILE]",
	  "swap the policy in one step, without losing a packet" },
	{ "apply", cmd_apply, "[--state-dir DIR] [--policy FILE [--site FILE]]",
	  "put in force what the Platform signed last, else FILE if nothing is up" },
	{ "status", cmd_status, "[--repair]", "say whether everything is in place; exit 1 if not" },
	{ "check", cmd_check, "", "say what this kernel offers and which engine follows" },
	{ NULL, NULL, NULL, NULL },
};

int main(int argc, char **argv)
{
	/* keys pass through our memory: no core file of it, whatever the system does with them */
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	return agent_cli_main("tg-load",
			      "Loads the TensorGuard data plane: tunnel, routes, queues and BPF programs.",
			      commands, argc, argv);
}
