/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "instance/engine.h"
#include "instance/health.h"
#include "instance/instance.h"
#include "instance/print.h"

/* What a repair found and left, for the agent. One that is damaged is begun anew. */
static int note_health(const struct instance *in, size_t found, int error, const struct report *after,
		       struct tg_error *e)
{
	struct health before = { 0 }, now = { 0 };
	int ret;

	health_load(in->run_dir, &before, NULL);
	ret = health_make(&before, in->policy, found, error, after, &now);
	ret = ret ? tg_error(e, ret, "out of memory") : health_save(in->run_dir, &now, e);
	health_free(&before);
	health_free(&now);
	return ret;
}

/* Looks, mends what is missing, notes what came of it, and shows what there is now. */
static int repair(struct tg_cli *cli, struct instance *in, struct tg_policy *policy, struct tg_error *e)
{
	struct tg_error second = { "" };
	struct report report;
	size_t found;
	int ret = instance_inspect(in, &report, e);

	if (ret)
		return ret;
	found = report.problem_count - report.behaviour_count;
	if (report.problem_count)
		ret = instance_bring_up(in, policy, e);
	report_free(&report);
	/* why it failed is the message that counts */
	if (instance_inspect(in, &report, &second))
		return ret ? ret : tg_error(e, -EIO, "%s", second.message);
	if (note_health(in, found, ret < 0 ? -ret : 0, &report, &second) && !ret)
		ret = tg_error(e, -EIO, "%s", second.message);
	if (!ret)
		ret = report_print(cli, policy, &report, e);
	report_free(&report);
	return ret;
}

static int inspect_and_print(struct tg_cli *cli, struct instance *in, struct tg_error *e)
{
	struct report report;
	int ret = instance_inspect(in, &report, e);

	if (ret)
		return ret;
	ret = report_print(cli, in->policy, &report, e);
	report_free(&report);
	return ret;
}

/* All that there is to see: nothing that the policy matches leaves. */
static int show_locked(struct tg_cli *cli, struct instance *in, struct tg_policy *policy, const char *reason,
		       struct tg_error *e)
{
	int ret = agent_options(cli)->repair ? instance_lock_down(in, policy, e) : 0;

	if (!ret && cli->json)
		ret = tg_cli_print_json(json_pack("{s:b, s:s, s:s, s:I, s:[s]}", "healthy", false, "locked",
						  reason, "policy", policy->name, "policy_version",
						  (json_int_t)policy->version, "problems", "locked down"),
					e);
	return ret ? ret : tg_error(e, TG_CLI_REPORTED, "locked down: %s", reason);
}

int cmd_status(struct tg_cli *cli, struct tg_error *e)
{
	char reason[LOCKDOWN_REASON_LEN];
	struct instance in = { .pin_dir = agent_options(cli)->pin_dir,
			       .run_dir = agent_options(cli)->run_dir };
	struct tg_policy *policy = NULL;
	int ret = 0, lock_fd = -1;

	if (cli->arg_count)
		return tg_error(e, TG_CLI_USAGE, "unexpected argument '%.60s'", cli->args[0]);
	/* first of all: the policy that is repaired must be the one in force, not that from before a reload
	 */
	if (agent_options(cli)->repair)
		ret = state_lock(agent_options(cli)->run_dir, &lock_fd, e);
	if (!ret)
		ret = state_load(agent_options(cli)->run_dir, &policy, e);
	if (!ret)
		ret = net_open(&in.net, e);
	if (!ret && lockdown_is_on(agent_options(cli)->run_dir, reason)) {
		ret = show_locked(cli, &in, policy, reason, e);
		goto out;
	}
	/* what a repair has to make may be all that is there to tell */
	if (!ret && agent_options(cli)->repair)
		ret = engine_settle(policy, e);
	if (!ret)
		engine_recall(policy, agent_options(cli)->pin_dir);
	in.policy = policy;
	if (!ret && agent_options(cli)->repair)
		ret = repair(cli, &in, policy, e);
	else if (!ret)
		ret = inspect_and_print(cli, &in, e);
out:
	if (lock_fd >= 0)
		state_unlock(agent_options(cli)->run_dir, lock_fd, !policy);
	net_close(in.net);
	tg_policy_free(policy);
	return ret;
}
