/* SPDX-License-Identifier: BSD-3-Clause */
/* up, down and reload: a lock, a policy, and the algorithms of instance/bring.c. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "instance/instance.h"

struct session {
	struct instance in;
	int lock_fd;
	bool removed;		/* nothing is left: the lock file goes as well */
};

static int session_open(struct session *s, struct cli *cli, struct tg_error *e)
{
	*s = (struct session){ .in = { .pin_dir = cli->pin_dir, .run_dir = cli->run_dir }, .lock_fd = -1 };
	if (geteuid())
		return tg_error(e, -EPERM, "needs root (CAP_NET_ADMIN and CAP_BPF)");
	if (cli->arg_count)
		return tg_error(e, CLI_USAGE, "unexpected argument '%.60s'", cli->args[0]);
	if (cli->site && !cli->policy)
		return tg_error(e, CLI_USAGE, "--site goes with --policy");
	return net_open(&s->in.net, e);
}

static void session_close(struct session *s)
{
	net_close(s->in.net);
	if (s->lock_fd >= 0)
		state_unlock(s->in.run_dir, s->lock_fd, s->removed);
}

static int print_done(const struct cli *cli, const char *state, const struct tg_policy *policy,
		      struct tg_error *e)
{
	if (cli->json)
		return cli_print_json(policy ? json_pack("{s:s, s:s, s:I}", "state", state, "policy",
							 policy->name, "policy_version",
							 (json_int_t)policy->version)
					     : json_pack("{s:s}", "state", state),
				      e);
	return 0;
}

/* The files to use: those that were given, else the copies of the running instance. */
static int choose_files(const struct cli *cli, char **ret_policy, char **ret_site, struct tg_error *e)
{
	if (!cli->policy)
		return state_paths(cli->run_dir, ret_policy, ret_site, e);
	*ret_policy = strdup(cli->policy);
	*ret_site = cli->site ? strdup(cli->site) : NULL;
	if (!*ret_policy || (cli->site && !*ret_site))
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
	return ret ? also_failed(e, err, "undoing it", &undo) : err;
}

static int up_locked(struct session *s, struct cli *cli, const char *policy_file, const char *site_file,
		     struct tg_error *e)
{
	struct tg_policy *running = NULL, *policy = NULL;
	bool same = false;
	int ret = 0;

	if (!state_load(cli->run_dir, &running, NULL))
		ret = state_same(cli->run_dir, policy_file, site_file, &same, e);
	if (!ret)
		ret = tg_policy_load(policy_file, site_file, &policy, e);
	if (!ret && running && !same)
		ret = tg_error(
			e, -EBUSY,
			"another policy ('%s', version %llu) is up already; swap it with tg-load reload",
			running->name, (unsigned long long)running->version);
	if (ret) {
		s->removed = !running;
		goto out;
	}
	s->in.policy = policy;
	ret = bring_up(s, running ? policy : NULL, policy_file, site_file, e);
	if (ret && !running)
		ret = undo_up(s, ret, e);
	if (!ret)
		ret = print_done(cli, "up", policy, e);
out:
	tg_policy_free(running);
	tg_policy_free(policy);
	return ret;
}

int cmd_up(struct cli *cli, struct tg_error *e)
{
	char *policy_file = NULL, *site_file = NULL;
	struct session s;
	int ret;

	ret = session_open(&s, cli, e);
	if (!ret)
		ret = choose_files(cli, &policy_file, &site_file, e);
	if (!ret && !cli->policy && access(policy_file, F_OK))
		ret = tg_error(e, -ENOENT,
			       "TensorGuard is not up here, so --policy FILE must say what to bring up");
	if (!ret)
		ret = state_lock(cli->run_dir, &s.lock_fd, e);
	if (!ret)
		ret = up_locked(&s, cli, policy_file, site_file, e);
	session_close(&s);
	free(policy_file);
	free(site_file);
	return ret;
}

int cmd_down(struct cli *cli, struct tg_error *e)
{
	struct session s;
	int ret;

	ret = session_open(&s, cli, e);
	if (!ret)
		ret = state_lock(cli->run_dir, &s.lock_fd, e);
	/* The copies go first: from here on nobody takes the rest for a running instance. */
	if (!ret)
		ret = state_remove(cli->run_dir, e);
	if (!ret)
		ret = instance_bring_down(&s.in, e);
	if (!ret) {
		s.removed = true;
		ret = print_done(cli, "down", NULL, e);
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

static int reload_locked(struct session *s, struct cli *cli, struct tg_error *e)
{
	struct tg_policy *running = NULL, *policy = NULL;
	bool chains;
	int ret;

	ret = state_load(cli->run_dir, &running, e);
	if (!ret)
		ret = tg_policy_load(cli->policy, cli->site, &policy, e);
	else
		s->removed = ret == -ENOENT;
	/* changes nothing: without these programs there would be no way back either */
	if (!ret)
		ret = iptables_check(policy, &chains, e);
	if (!ret) {
		s->in.policy = policy;
		ret = bring_up(s, running, cli->policy, cli->site, e);
		if (ret)
			ret = undo_reload(s, running, ret, e);
	}
	if (!ret)
		ret = print_done(cli, "up", policy, e);
	tg_policy_free(running);
	tg_policy_free(policy);
	return ret;
}

int cmd_reload(struct cli *cli, struct tg_error *e)
{
	struct session s;
	int ret;

	ret = session_open(&s, cli, e);
	if (!ret && !cli->policy)
		ret = tg_error(e, CLI_USAGE, "reload needs --policy FILE");
	if (!ret)
		ret = state_lock(cli->run_dir, &s.lock_fd, e);
	if (!ret)
		ret = reload_locked(&s, cli, e);
	session_close(&s);
	return ret;
}
