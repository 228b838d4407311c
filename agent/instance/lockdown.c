/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lockdown: nothing that the policy matches leaves any more, shaped or in clear. Rules that end in a
 * blackhole stay, whatever the policy says of failing; the way into the tunnels goes, and so do the tunnels'
 * devices, set down. Programs, maps and queues stay as they are, so that the agent goes on and the next
 * policy takes over without a packet in between. RUNDIR/lockdown says why, and keeps `up`, `reload` and
 * repairs from undoing it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "instance/instance.h"
#include "net/iptables.h"
#include "tensorguard/file.h"

static int mark_path(const char *run_dir, char **ret_path, struct tg_error *e)
{
	if (asprintf(ret_path, "%s/" STATE_LOCKDOWN, run_dir) < 0)
		return tg_error(e, -ENOMEM, "out of memory");
	return 0;
}

int lockdown_mark(const char *run_dir, const char *reason, struct tg_error *e)
{
	char *path;
	int ret = mark_path(run_dir, &path, e);

	if (ret)
		return ret;
	ret = tg_file_replace(path, reason, strlen(reason), 0644, e);
	free(path);
	return ret;
}

int lockdown_unmark(const char *run_dir, struct tg_error *e)
{
	char *path;
	int ret = mark_path(run_dir, &path, e);

	if (ret)
		return ret;
	if (unlink(path) && errno != ENOENT)
		ret = tg_error(e, -errno, "%s: %s", path, strerror(errno));
	free(path);
	return ret;
}

/* A mark that cannot be read is one all the same. */
bool lockdown_is_on(const char *run_dir, char ret_reason[static LOCKDOWN_REASON_LEN])
{
	struct tg_bytes text = { 0 };
	char *path;
	bool on;

	if (mark_path(run_dir, &path, NULL))
		return true;
	on = !access(path, F_OK);
	snprintf(ret_reason, LOCKDOWN_REASON_LEN, "no reason is known");
	if (on && !tg_file_read(path, LOCKDOWN_REASON_LEN - 1, &text, NULL) && text.len)
		snprintf(ret_reason, LOCKDOWN_REASON_LEN, "%.*s", (int)text.len, (const char *)text.data);
	tg_bytes_free(&text);
	free(path);
	return on;
}

int lockdown_check(const char *run_dir, struct tg_error *e)
{
	char reason[LOCKDOWN_REASON_LEN];

	if (!lockdown_is_on(run_dir, reason))
		return 0;
	return tg_error(e, -EPERM,
			"locked down: %s; the next policy of the Platform ends it, or tg-load down", reason);
}

static int set_devices_down(struct instance *in, struct tg_error *e)
{
	int ret = 0;

	for (size_t i = 0; i < in->policy->tunnel_count && !ret; i++) {
		const struct tg_tunnel *tunnel = &in->policy->tunnels[i];
		struct net_link link;

		/* somebody else's device is not ours to set down: nothing is routed to it any more */
		if (!tunnel->external[0] && !net_link_get(in->net, tunnel->name, &link, NULL))
			ret = net_link_set_up(in->net, tunnel->name, false, e);
	}
	return ret;
}

int instance_lock_down(struct instance *in, struct tg_policy *policy, struct tg_error *e)
{
	const unsigned none[TG_MAX_TUNNELS] = { 0 };
	enum tg_fail fail = policy->fail;
	struct routing plan = { 0 };
	int ret;

	in->policy = policy;
	policy->fail = TG_FAIL_CLOSED;
	ret = routing_plan(policy, none, NULL, &plan, e);
	if (!ret)
		ret = routing_apply_blackholes(in->net, &plan, e);
	if (!ret)
		ret = set_devices_down(in, e);
	if (!ret)
		ret = iptables_ensure(policy, e);
	if (!ret)
		ret = routing_apply(in->net, &plan, true, e);
	routing_free(&plan);
	policy->fail = fail;
	return ret;
}

int instance_black_out(struct instance *in, struct tg_policy *policy, struct tg_error *e)
{
	const unsigned none[TG_MAX_TUNNELS] = { 0 };
	enum tg_fail fail = policy->fail;
	struct routing plan = { 0 };
	int ret;

	policy->fail = TG_FAIL_CLOSED;
	ret = routing_plan(policy, none, NULL, &plan, e);
	if (!ret)
		ret = routing_apply_blackholes(in->net, &plan, e);
	routing_free(&plan);
	policy->fail = fail;
	return ret;
}
