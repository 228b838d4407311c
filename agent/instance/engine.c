/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dataplane/dataplane.h"
#include "instance/engine.h"
#include "net/net.h"

/* In a child: 0 = it works, 1 = it does not. */
static int try_parts(void)
{
	struct net_link link;
	struct net *net;

	if (unshare(CLONE_NEWNET) || net_open(&net, NULL))
		return 1;
	return net_veth_ensure(net, "tgprobe", "tgprobep", 1500, 16, TG_LINK_ALIAS "probe", NULL) ||
	       net_link_get(net, "tgprobe", &link, NULL) || dataplane_probe_clock(net, link.ifindex, NULL);
}

int engine_try_kernel(bool *ret_works, struct tg_error *e)
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		return tg_error(e, -errno, "cannot fork: %s", strerror(errno));
	if (!pid)
		_exit(try_parts());
	if (waitpid(pid, &status, 0) != pid)
		return tg_error(e, -errno, "cannot wait for the attempt: %s", strerror(errno));
	*ret_works = WIFEXITED(status) && !WEXITSTATUS(status);
	return 0;
}

int engine_settle(struct tg_policy *policy, struct tg_error *e)
{
	bool works = true;
	int ret = 0;

	if (policy->engine != TG_ENGINE_AUTO)
		return 0;
	if (tg_policy_needs_agent(policy))
		works = false;
	else if (tg_policy_is_paced(policy))
		ret = engine_try_kernel(&works, e);
	if (!ret)
		policy->engine = works ? TG_ENGINE_KERNEL : TG_ENGINE_QUEUE;
	return ret;
}

static bool is_agents(const char *pin_dir, const struct tg_tunnel *tunnel)
{
	struct dataplane *dp;
	uint64_t generation;
	bool agents = false;

	if (dataplane_open(pin_dir, tunnel->name, &dp, NULL))
		return false;
	for (unsigned i = 0; i < tunnel->class_count && !agents; i++) {
		struct tg_class class;

		agents = !dataplane_generation(dp, &generation, NULL) &&
			 !dataplane_class_get(dp, generation, i, &class, NULL) &&
			 class.flags & TG_CLASS_AGENT;
	}
	dataplane_close(dp);
	return agents;
}

void engine_recall(struct tg_policy *policy, const char *pin_dir)
{
	if (policy->engine != TG_ENGINE_AUTO)
		return;
	policy->engine = TG_ENGINE_KERNEL;
	for (size_t i = 0; i < policy->tunnel_count; i++)
		if (is_agents(pin_dir, &policy->tunnels[i]))
			policy->engine = TG_ENGINE_QUEUE;
}
