/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "common/options.h"
#include "roles.h"
#include "supervise/keeper.h"
#include "supervise/supervisor.h"
#include "tensorguard/models.h"
#include "trust/state.h"
#include "vault/store.h"

static const char child_option[] = "--child=";

/* As it was called: the supervisor gives its options to its children. */
static struct {
	char **argv;
	const struct child_kind *kind; /* NULL = the supervisor */
	const char *user;	       /* of the child */
} self;

static const struct tg_cli_option options[] = {
	{ "policy", "FILE", "this policy (default RUNDIR/policy.conf, the one that tg-load runs)",
	  offsetof(struct agent_conf, guard.policy) },
	{ "site", "FILE", "device settings that replace the policy's (default RUNDIR/site.conf if it exists)",
	  offsetof(struct agent_conf, guard.site) },
	{ "pin-dir", "DIR", "BPF pins (default " DEFAULT_PIN_DIR ")",
	  offsetof(struct agent_conf, guard.pin_dir) },
	{ "run-dir", "DIR", "state of the running instance (default " DEFAULT_RUN_DIR ")",
	  offsetof(struct agent_conf, guard.run_dir) },
	{ "verbose", NULL, "a line on standard error per decision, with server names",
	  offsetof(struct agent_conf, guard.verbose) },
	{ "state-dir", "DIR", "the device's identity (default " TRUST_DIRECTORY ")",
	  offsetof(struct agent_conf, state_dir) },
	{ "trust-user", "NAME", "who renews the certificate; not root (default " SANDBOX_TRUST_USER ")",
	  offsetof(struct agent_conf, trust_user) },
	{ "models", "FILE", "who may use models (default " TG_MODELS_FILE "; without it nobody)",
	  offsetof(struct agent_conf, models) },
	{ "vault-dir", "DIR", "model packages (default " VAULT_DIRECTORY ")",
	  offsetof(struct agent_conf, vault_dir) },
	{ "vault-user", "NAME", "who keeps them; not root (default " SANDBOX_VAULT_USER ")",
	  offsetof(struct agent_conf, vault_user) },
	{ "respawn", NULL, "without a service manager: start the agent again when it ends or hangs",
	  offsetof(struct agent_conf, respawn) },
	{ NULL, NULL, NULL, 0 },
};

/* A device without an identity has nothing to keep alive. */
static bool can_start_trust(const struct agent_conf *conf, const struct sandbox *sandbox)
{
	struct tg_error e = { "" };
	char line[sizeof(e.message) + 64];

	if (!trust_generation(conf->state_dir))
		return false;
	if (!sandbox_check_user(sandbox, &e))
		return true;
	snprintf(line, sizeof(line), "trust is not started: %s, or name another by --trust-user", e.message);
	agent_log(line);
	return false;
}

/* The program beside this one: what is called must not depend on $PATH. */
static int find_loader(char ret_path[PATH_MAX], struct tg_error *e)
{
	static const char name[] = "/tg-load";
	ssize_t len = readlink("/proc/self/exe", ret_path, PATH_MAX - sizeof(name));
	char *slash;

	if (len < 0)
		return tg_error(e, -errno, "cannot find out where this program is: %s", strerror(errno));
	ret_path[len] = '\0';
	slash = strrchr(ret_path, '/');
	if (!slash)
		return tg_error(e, -ENOENT, "cannot find out where this program is");
	strcpy(slash, name);
	return 0;
}

/* A machine that uses no models has no file that says who may. */
static bool can_start_vault(const struct agent_conf *conf, const struct sandbox *sandbox)
{
	struct tg_error e = { "" };
	char line[sizeof(e.message) + 64];

	if (access(conf->models, F_OK))
		return false;
	if (!sandbox_check_user(sandbox, &e))
		return true;
	snprintf(line, sizeof(line), "vault is not started: %s, or name another by --vault-user", e.message);
	agent_log(line);
	return false;
}

static struct child_kind kind_as(int role, const struct sandbox *sandbox)
{
	struct child_kind kind = roles[role];

	kind.sandbox = sandbox;
	return kind;
}

static int run_supervisor(const struct agent_conf *conf, struct tg_error *e)
{
	char loader[PATH_MAX];
	const char *const apply[] = { loader,        "apply",
				      "--state-dir", conf->state_dir,
				      "--pin-dir",   conf->guard.pin_dir,
				      "--run-dir",   conf->guard.run_dir,
				      NULL };
	const char *const repair[] = { loader,
				       "status",
				       "--repair",
				       "--pin-dir",
				       conf->guard.pin_dir,
				       "--run-dir",
				       conf->guard.run_dir,
				       NULL };
	const struct oneshot_kind oneshots[] = {
		{ .name = "tg-load apply",
		  .asked_by = MESSAGE_APPLY,
		  .sandbox = &sandbox_load,
		  .argv = apply,
		  .limit_s = ONESHOT_LIMIT_S },
		{ .name = "tg-load status --repair",
		  .asked_by = MESSAGE_REPAIR,
		  .sandbox = &sandbox_load,
		  .argv = repair,
		  .looks = true,
		  .limit_s = ONESHOT_LIMIT_S },
		{ .name = NULL },
	};
	struct child_kind kinds[ROLES + 1];
	const struct supervisor_conf supervisor = { .kinds = kinds,
						    .oneshots = oneshots,
						    .argv = self.argv,
						    .run_dir = conf->guard.run_dir,
						    .log = agent_log };
	struct sandbox trust = sandbox_trust, vault = sandbox_vault;
	struct child_kind *next = kinds;
	int status, ret = find_loader(loader, e);

	if (ret)
		return ret;
	/* executed by --respawn it would be called "exe" */
	prctl(PR_SET_NAME, "tensorguard-agent", 0, 0, 0);

	trust.user = conf->trust_user;
	vault.user = conf->vault_user;
	*next++ = roles[GUARD];
	/* without trust there is no Platform that would know of keys */
	if (can_start_trust(conf, &trust)) {
		*next++ = kind_as(TRUST, &trust);
		*next++ = roles[KEYS];
	}
	if (can_start_vault(conf, &vault))
		*next++ = kind_as(VAULT, &vault);
	*next = roles[ROLES];
	ret = supervise(&supervisor, &status, e);
	/* the child has said why: a second line would say less */
	if (!ret && status)
		exit(status);
	return ret;
}

/* The same call without that option is the supervisor's. */
static int run_keeper(struct tg_error *e)
{
	int status, ret;
	char **to = self.argv;

	for (char **from = self.argv; *from; from++)
		if (strcmp(*from, "--respawn"))
			*to++ = *from;
	*to = NULL;
	ret = keeper_run(self.argv, agent_log, &status, e);
	/* the supervisor has said why */
	if (!ret && status)
		exit(status);
	return ret;
}

static int run(struct tg_cli *cli, struct tg_error *e)
{
	if (cli->arg_count)
		return tg_error(e, TG_CLI_USAGE, "unexpected argument '%.60s'; see --help", cli->args[0]);
	if (self.kind)
		return role_of(self.kind)->run(cli->options, e);
	return ((const struct agent_conf *)cli->options)->respawn ? run_keeper(e)
								  : run_supervisor(cli->options, e);
}

/* The supervisor's call, behind which the operator's options follow. */
static const struct child_kind *find_kind(int argc, char **argv, const char **ret_user)
{
	const char *name = argc > 1 && !strncmp(argv[1], child_option, strlen(child_option))
				   ? argv[1] + strlen(child_option)
				   : NULL;
	size_t len = name ? strcspn(name, ":") : 0;

	for (const struct child_kind *kind = roles; name && kind->name; kind++)
		if (strlen(kind->name) == len && !strncmp(kind->name, name, len)) {
			*ret_user = name[len] ? name + len + 1 : NULL;
			return kind;
		}
	return NULL;
}

/* Before anything that others wrote is looked at, options included. */
static int enter_child(struct tg_error *e)
{
	const struct role *role = role_of(self.kind);
	struct sandbox sandbox = *self.kind->sandbox;
	struct child_kind kind = *self.kind;
	int ret = role->prepare ? role->prepare(e) : 0;

	if (ret)
		return ret;
	kind.sandbox = &sandbox;
	if (sandbox.user && self.user)
		sandbox.user = self.user;
	ret = child_enter(&kind, e);
	if (ret && role->forget)
		role->forget();
	return ret;
}

int main(int argc, char **argv)
{
	struct agent_conf conf = { .guard = { .pin_dir = DEFAULT_PIN_DIR, .run_dir = DEFAULT_RUN_DIR },
				   .state_dir = TRUST_DIRECTORY,
				   .trust_user = SANDBOX_TRUST_USER,
				   .models = TG_MODELS_FILE,
				   .vault_dir = VAULT_DIRECTORY,
				   .vault_user = SANDBOX_VAULT_USER };
	static const struct tg_cli_program program = {
		.name = "tensorguard-agent",
		.about = "Decides the class of each new flow that the policy leaves to it, and paces the "
			 "classes of the\nqueue engine; renews the device's certificate;\nkeeps models and "
			 "opens them in memory. Runs in the foreground.",
		.options = options,
		.run = run,
		.notes = "Signals: TERM and INT end it, HUP loads the policy again.\n"
			 "Exit status: 0 ended by a signal, 1 failure, 2 the call was wrong.\n",
	};
	struct tg_error e = { "" };

	self.argv = argv;
	self.kind = find_kind(argc, argv, &self.user);
	if (self.kind) {
		if (enter_child(&e)) {
			fprintf(stderr, "tensorguard-agent: %s\n", e.message);
			return 2;
		}
		argv[1] = argv[0];
		argv++;
		argc--;
	}
	return tg_cli_main(&program, &conf, argc, argv);
}
