/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "instance/instance.h"
#include "instance/print.h"

static int inspect_and_print(struct cli *cli, struct instance *in, struct tg_error *e)
{
	struct report report;
	int ret = instance_inspect(in, &report, e);

	if (ret)
		return ret;
	ret = report_print(cli, in->policy, &report, e);
	report_free(&report);
	return ret;
}

int cmd_status(struct cli *cli, struct tg_error *e)
{
	struct instance in = { .pin_dir = cli->pin_dir, .run_dir = cli->run_dir };
	struct tg_policy *policy = NULL;
	struct report report;
	int ret = 0, lock_fd = -1;

	if (cli->arg_count)
		return tg_error(e, CLI_USAGE, "unexpected argument '%.60s'", cli->args[0]);
	/* first of all: the policy that is repaired must be the one in force, not that from before a reload
	 */
	if (cli->repair)
		ret = state_lock(cli->run_dir, &lock_fd, e);
	if (!ret)
		ret = state_load(cli->run_dir, &policy, e);
	if (!ret)
		ret = net_open(&in.net, e);
	in.policy = policy;
	if (!ret && cli->repair)
		ret = instance_inspect(&in, &report, e);
	if (!ret && cli->repair) {
		if (report.problem_count)
			ret = instance_bring_up(&in, policy, e);
		report_free(&report);
	}
	if (lock_fd >= 0)
		state_unlock(cli->run_dir, lock_fd, !policy);
	if (!ret)
		ret = inspect_and_print(cli, &in, e);
	net_close(in.net);
	tg_policy_free(policy);
	return ret;
}
