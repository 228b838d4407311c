/* SPDX-License-Identifier: BSD-3-Clause */
/* The child that alone holds private keys of tunnels: it makes and changes them. */
#include <errno.h>
#include <openssl/crypto.h>
#include <sched.h>
#include <string.h>

#include "keys/keys.h"
#include "roles.h"

struct keys_agent {
	struct child *child;
	struct keys *keys;
};

/* OpenSSL's configuration could name libraries to load, and in the sandbox there is no way to. */
int keys_prepare(struct tg_error *e)
{
	if (OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) != 1)
		return tg_error(e, -EIO, "OpenSSL cannot be initialised");
	return 0;
}

static void on_event(void *ctx, unsigned code, const char *subject, uint64_t a, uint64_t b)
{
	const struct keys_agent *agent = ctx;

	/* a supervisor that does not read is no reason to wait */
	child_report(agent->child, code, 1, subject, a, b);
}

/*
 * A peer that has changed its key waits for this process, and all packets with it, while it needs the
 * processor for some microseconds each millisecond: it gets it at once, where that is permitted.
 */
static int hurry(struct tg_error *e)
{
	const struct sched_param least = { .sched_priority = 1 };

	if (sched_setscheduler(0, SCHED_FIFO, &least) && errno != EPERM)
		return tg_error(e, -errno, "cannot set a priority: %s", strerror(errno));
	return sandbox_settle(&sandbox_keys, e);
}

static int start(struct keys_agent *a, const struct keys_conf *conf, struct tg_error *e)
{
	const struct child_ops ops = { .ctx = NULL };
	int ret = child_join(&ops, &a->child, e);

	if (!ret)
		ret = hurry(e);
	return ret ? ret : keys_start(child_base(a->child), conf, &a->keys, e);
}

static void stop(struct keys_agent *a)
{
	keys_stop(a->keys);
	child_leave(a->child);
}

int keys_run(const struct agent_conf *options, struct tg_error *e)
{
	struct keys_agent agent = { .child = NULL };
	const struct keys_conf conf = { .run_dir = options->guard.run_dir,
					.state_dir = options->state_dir,
					.log = agent_log,
					.event = on_event,
					.ctx = &agent };
	int ret = start(&agent, &conf, e);

	if (!ret)
		ret = child_serve(agent.child, e);
	stop(&agent);
	return ret;
}
