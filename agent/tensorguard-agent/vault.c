/* SPDX-License-Identifier: BSD-3-Clause */
/* The child that keeps models and opens them: it has no network, and asks trust to use the device's key. */
#include <errno.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include <event2/event.h>

#include "roles.h"
#include "vault/vault.h"

struct vault_agent {
	struct child *child;
	struct tg_models_conf *models;
	struct vault *vault;
};

/* Each file of an open package is a descriptor. OpenSSL's configuration could name libraries to load, and in
 * the sandbox there is no way to. */
int vault_prepare(struct tg_error *e)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return tg_error(e, -errno, "%s", strerror(errno));
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit))
		return tg_error(e, -errno, "%s", strerror(errno));
	if (OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) != 1)
		return tg_error(e, -EIO, "OpenSSL cannot be initialised");
	return 0;
}

static uint64_t wall_clock(void)
{
	time_t now = time(NULL);

	return now < 0 ? 0 : (uint64_t)now;
}

static void on_event(void *ctx, unsigned code, const char *model, uint64_t release, uint64_t error)
{
	const struct vault_agent *a = ctx;

	/* a supervisor that does not read is no reason to wait */
	child_report(a->child, code, 1, model, release, error);
}

static int start(struct vault_agent *a, const struct agent_conf *options, struct tg_error *e)
{
	struct vault_conf conf = { .directory = options->vault_dir,
				   .fd = CHILD_SOCKET_FD,
				   .now = wall_clock,
				   .log = agent_log,
				   .event = on_event,
				   .ctx = a };
	const struct child_ops ops = { .ctx = NULL };
	uint32_t trust;
	int ret = child_join(&ops, &a->child, e);

	if (!ret)
		ret = tg_models_conf_load(options->models, &a->models, e);
	/* where there is no such user, there is no trust that could ask */
	conf.trust = !ret && !tg_user_number(options->trust_user, &trust) ? trust : 0;
	conf.models = a->models;
	return ret ? ret : vault_start(child_base(a->child), &conf, &a->vault, e);
}

static void stop(struct vault_agent *a)
{
	vault_stop(a->vault);
	child_leave(a->child);
}

int vault_run(const struct agent_conf *options, struct tg_error *e)
{
	struct vault_agent agent = { .child = NULL };
	int ret = start(&agent, options, e);

	if (!ret)
		ret = child_serve(agent.child, e);
	stop(&agent);
	tg_models_conf_free(agent.models);
	return ret;
}
