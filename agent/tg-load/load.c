/* SPDX-License-Identifier: BSD-3-Clause */
/* up, down and reload: a lock, a policy, and the algorithms of instance/bring.c. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "instance/engine.h"
#include "session.h"

int session_open(struct session *s, struct tg_cli *cli, struct tg_error *e)
{
	*s = (struct session){ .in = { .pin_dir = agent_options(cli)->pin_dir,
				       .run_dir = agent_options(cli)->run_dir },
			       .lock_fd = -1 };
	if (geteuid())
		return tg_error(e, -EPERM, "needs root (CAP_NET_ADMIN and CAP_BPF)");
	if (cli->arg_count)
		return tg_error(e, TG_CLI_USAGE, "unexpected argument '%.60s'", cli->args[0]);
	if (agent_options(cli)->site && !agent_options(cli)->policy)
		return tg_error(e, TG_CLI_USAGE, "--site goes with --policy");
	return net_open(&s->in.net, e);
}

void session_close(struct session *s)
{
	net_close(s->in.net);
	if (s->lock_fd >= 0)
		state_unlock(s->in.run_dir, s->lock_fd, s->removed);
}

static void remember(struct session *s, const struct tg_policy *policy)
{
	memcpy(s->name, policy->name, sizeof(s->name));
	s->version = policy->version;
}

static int print_done(const struct tg_cli *cli, const char *state, const struct session *s,
		      struct tg_error *e)
{
	if (cli->json)
		return tg_cli_print_json(s->name[0] ? json_pack("{s:s, s:s, s:I}", "state", state, "policy",
								s->name, "policy_version",
								(json_int_t)s->version)
						    : json_pack("{s:s}", "state", state),
					 e);
	return 0;
}

/* The files to use: those that were given, else the copies of the running instance. */
static int choose_files(const struct tg_cli *cli, char **ret_policy, char **ret_site, struct tg_error *e)
{
	if (!agent_options(cli)->policy)
		return state_paths(agent_options(cli)->run_dir, ret_policy, ret_site, e);
	*ret_policy = strdup(agent_options(cli)->policy);
	*ret_site = agent_options(cli)->site ? strdup(agent_options(cli)->site) : NULL;
	if (!*ret_policy || (agent_options(cli)->site && !*ret_site))
		return tg_error(e, -ENOMEM, "out of memory");
	return 0;
}

/* A first message and what went wrong when it was to be made good. */
static int also_failed(struct tg_error *e, int err, const char *what, const struct tg_error *second)
{
	struct tg_error first = *e;

	if (!strcmp(first.message, second->message))
		return tg_error(e, err, "%s; %s failed too, for the same reason", first.message, what);
	return tg_error(e, err, "%s; %s failed too: %s", first.message, what, second->message);
}

/* Network and files together: the instance is up when both are. */
static int bring_up(struct session *s, const struct tg_policy *old, const char *policy_file,
		    const char *site_file, struct tg_error *e)
{
	int ret = instance_bring_up(&s->in, old, e);

	return ret ? ret : state_save(s->in.run_dir, policy_file, site_file, e);
}

/* All or nothing: a first start that fails is undone; a repair that fails leaves what holds (the blackholes,
 * above all). */
static int undo_up(struct session *s, int err, struct tg_error *e)
{
	struct tg_error undo = { "" };
	int ret = state_remove(s->in.run_dir, &undo);

	if (!ret)
		ret = instance_bring_down(&s->in, &undo);
	s->removed = !ret;
	s->closed = false;
	return ret ? also_failed(e, err, "undoing it", &undo) : err;
}

/*
 * Nobody is there to see that the service's start has failed: the device must not be open until somebody is.
 * In a lockdown whatever the policy says of failing; its mark stays.
 */
int session_fall_closed(struct session *s, struct tg_policy *policy, bool locked, int err, struct tg_error *e)
{
	struct tg_error undo = { "" };
	struct tg_error first = *e;
	int ret = instance_fall_closed(&s->in, policy, &undo);

	if (!ret && !locked)
		ret = state_remove(s->in.run_dir, &undo);
	s->removed = !ret && !locked;
	s->closed = !ret;
	if (ret)
		return also_failed(e, err, "blocking what the policy matches", &undo);
	return tg_error(
		e, err,
		"%.200s; what the policy matches stays blocked until a start succeeds, or tg-load down",
		first.message);
}

/* Without a policy nobody knows what to block. `begun`: something was made already. */
static int first_failed(struct session *s, struct tg_policy *policy, bool begun, int err, struct tg_error *e)
{
	char reason[LOCKDOWN_REASON_LEN];
	bool locked = lockdown_is_on(s->in.run_dir, reason);

	if (policy && (locked || (s->falls_closed && policy->fail == TG_FAIL_CLOSED)))
		return session_fall_closed(s, policy, locked, err, e);
	s->removed = !locked;
	return begun ? undo_up(s, err, e) : err;
}

int session_up(struct session *s, const char *policy_file, const char *site_file, struct tg_error *e)
{
	struct tg_policy *running = NULL, *policy = NULL;
	bool same = false, begun;
	int ret = 0;

	if (!state_load(s->in.run_dir, &running, NULL))
		ret = state_same(s->in.run_dir, policy_file, site_file, &same, e);
	if (!ret)
		ret = tg_policy_load(policy_file, site_file, &policy, e);
	if (!ret)
		ret = engine_settle(policy, e);
	if (!ret && running && !same)
		ret = tg_error(
			e, -EBUSY,
			"another policy ('%s', version %llu) is up already; swap it with tg-load reload",
			running->name, (unsigned long long)running->version);
	begun = !ret;
	if (begun) {
		s->in.policy = policy;
		ret = bring_up(s, running ? policy : NULL, policy_file, site_file, e);
	}
	if (ret && !running)
		ret = first_failed(s, policy, begun, ret, e);
	if (!ret)
		remember(s, policy);
	tg_policy_free(running);
	tg_policy_free(policy);
	return ret;
}

int cmd_up(struct tg_cli *cli, struct tg_error *e)
{
	char *policy_file = NULL, *site_file = NULL;
	struct session s;
	int ret;

	ret = session_open(&s, cli, e);
	if (!ret)
		ret = choose_files(cli, &policy_file, &site_file, e);
	if (!ret && !agent_options(cli)->policy && access(policy_file, F_OK))
		ret = tg_error(e, -ENOENT,
			       "TensorGuard is not up here, so --policy FILE must say what to bring up");
	if (!ret)
		ret = state_lock(agent_options(cli)->run_dir, &s.lock_fd, e);
	if (!ret)
		ret = lockdown_check(s.in.run_dir, e);
	if (!ret)
		ret = session_up(&s, policy_file, site_file, e);
	if (!ret)
		ret = print_done(cli, "up", &s, e);
	session_close(&s);
	free(policy_file);
	free(site_file);
	return ret;
}

int cmd_down(struct tg_cli *cli, struct tg_error *e)
{
	struct session s;
	int ret;

	ret = session_open(&s, cli, e);
	if (!ret)
		ret = state_lock(agent_options(cli)->run_dir, &s.lock_fd, e);
	/* The copies go first: from here on nobody takes the rest for a running instance. */
	if (!ret)
		ret = state_remove(agent_options(cli)->run_dir, e);
	if (!ret)
		ret = instance_bring_down(&s.in, e);
	if (!ret) {
		s.removed = true;
		ret = print_done(cli, "down", &s, e);
	}
	session_close(&s);
	return ret;
}

/* A policy that cannot be brought up must not leave half of itself behind. */
static int undo_reload(struct session *s, const struct tg_policy *running, int err, struct tg_error *e)
{
	const struct tg_policy *failed = s->in.policy;
	struct tg_error back = { "" };

	s->in.policy = running;
	return instance_bring_up(&s->in, failed, &back) ? also_failed(e, err, "going back", &back) : err;
}

static int reload(struct session *s, const char *policy_file, const char *site_file, struct tg_error *e)
{
	struct tg_policy *running = NULL, *policy = NULL;
	bool chains;
	int ret;

	ret = state_load(s->in.run_dir, &running, e);
	if (!ret)
		ret = tg_policy_load(policy_file, site_file, &policy, e);
	else
		s->removed = ret == -ENOENT;
	if (!ret)
		ret = engine_settle(policy, e);
	if (!ret)
		engine_recall(running, s->in.pin_dir);
	/* changes nothing: without these programs there would be no way back either */
	if (!ret)
		ret = iptables_check(policy, &chains, e);
	if (!ret) {
		s->in.policy = policy;
		ret = bring_up(s, running, policy_file, site_file, e);
		if (ret)
			ret = undo_reload(s, running, ret, e);
	}
	if (!ret)
		remember(s, policy);
	tg_policy_free(running);
	tg_policy_free(policy);
	return ret;
}

int session_switch(struct session *s, const char *policy_file, const char *site_file, struct tg_error *e)
{
	return state_check_up(s->in.run_dir, NULL) ? session_up(s, policy_file, site_file, e)
						   : reload(s, policy_file, site_file, e);
}

int cmd_reload(struct tg_cli *cli, struct tg_error *e)
{
	struct session s;
	int ret;

	ret = session_open(&s, cli, e);
	if (!ret && !agent_options(cli)->policy)
		ret = tg_error(e, TG_CLI_USAGE, "reload needs --policy FILE");
	if (!ret)
		ret = state_lock(agent_options(cli)->run_dir, &s.lock_fd, e);
	if (!ret)
		ret = lockdown_check(s.in.run_dir, e);
	if (!ret)
		ret = reload(&s, agent_options(cli)->policy, agent_options(cli)->site, e);
	if (!ret)
		ret = print_done(cli, "up", &s, e);
	session_close(&s);
	return ret;
}
