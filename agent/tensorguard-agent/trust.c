/* SPDX-License-Identifier: BSD-3-Clause */
/* The child that alone talks to the Platform and the TPM: it keeps the device's identity alive. */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>

#include <event2/event.h>

#include "roles.h"
#include "tensorguard/softkey.h"
#include "trust/libcurl.h"
#include "trust/run.h"

/* The secret of a key in software, as the service manager decrypted it (systemd.exec(5)). */
#define CREDENTIAL "tensorguard-key"

enum { LARGE_BYTES = 256 * 1024 };

struct trust_agent {
	struct child *child;
	struct trust *trust;
};

/* Root's: it is read before this process is another user, and there is nothing after that to read it with. */
static struct tg_bytes secret;

int trust_prepare(struct tg_error *e)
{
	int ret = libcurl_load(e);

	if (ret)
		return ret;
	sandbox_trust_preload();
	ret = tg_softkey_secret_from_credential(CREDENTIAL, &secret, e);
	/* with a TPM there is none; a key that needs it says so when it is loaded */
	return ret == -ENOENT ? 0 : ret;
}

void trust_forget(void)
{
	tg_bytes_free(&secret);
}

/* ---- the other processes ---- */

static void name_loops(uint32_t senders, const char **ret_names)
{
	_Static_assert((int)ROLES <= TRUST_PROCESSES_MAX, "each has a place");
	for (const struct child_kind *kind = roles; kind->name; kind++)
		if (senders & kind->sender)
			*ret_names++ = kind->name;
	*ret_names = NULL;
}

static void take_stats(void *ctx, const struct message_stats *stats)
{
	static const enum tg_sync_state states[MESSAGE_STATES] = {
		[MESSAGE_DOWN] = TG_SYNC_DOWN, [MESSAGE_UP] = TG_SYNC_UP, [MESSAGE_LOCKED] = TG_SYNC_LOCKED
	};
	static const enum tg_sync_engine engines[MESSAGE_ENGINES] = {
		[MESSAGE_ENGINE_NONE] = TG_SYNC_ENGINE_NONE,
		[MESSAGE_ENGINE_KERNEL] = TG_SYNC_ENGINE_KERNEL,
		[MESSAGE_ENGINE_QUEUE] = TG_SYNC_ENGINE_QUEUE
	};
	const struct tg_sync_heartbeat heartbeat = { .state = states[stats->state],
						     .engine = engines[stats->engine],
						     .real = (int64_t)stats->real,
						     .pad = (int64_t)stats->pad,
						     .dummy = (int64_t)stats->dummy,
						     .violations = (int64_t)stats->violations,
						     .restarts = (int64_t)stats->restarts };
	struct trust_troubles troubles = { .broken = stats->troubles & MESSAGE_BROKEN,
					   .peer_silent = stats->troubles & MESSAGE_PEER_SILENT,
					   .absent = stats->troubles & MESSAGE_ABSENT };
	struct trust_agent *a = ctx;

	name_loops(stats->looping, troubles.loops);
	if (a->trust)
		trust_take_stats(a->trust, &heartbeat, &troubles);
}

static int apply(void *ctx)
{
	const struct trust_agent *a = ctx;

	return child_ask(a->child, MESSAGE_APPLY);
}

static void applied(void *ctx, const struct message_done *done)
{
	struct trust_agent *a = ctx;

	if (a->trust)
		trust_applied(a->trust, done->result);
}

static void on_event(void *ctx, const struct message_event *event)
{
	struct trust_agent *a = ctx;

	trust_event(a->trust, event);
}

static void on_recorded(void *ctx, uint16_t number)
{
	struct trust_agent *a = ctx;

	child_recorded(a->child, number);
}

static int start(struct trust_agent *a, const struct agent_conf *options, struct tg_error *e)
{
	const struct trust_conf conf = { .directory = options->state_dir,
					 .secret = secret.len ? &secret : NULL,
					 .run_dir = options->guard.run_dir,
					 .log = agent_log,
					 .apply = apply,
					 .recorded = on_recorded,
					 .ctx = a };
	const struct child_ops ops = { .stats = take_stats, .done = applied, .event = on_event, .ctx = a };
	int ret = child_join(&ops, &a->child, e);

	return ret ? ret : trust_start(child_base(a->child), &conf, &a->trust, e);
}

static void stop(struct trust_agent *a)
{
	trust_stop(a->trust);
	trust_forget();
	child_leave(a->child);
}

int trust_run(const struct agent_conf *options, struct tg_error *e)
{
	struct trust_agent agent = { .child = NULL };
	int ret;

#ifdef M_MMAP_THRESHOLD
	/* the 16 MiB that scrypt takes for a moment go back to the system, every time */
	mallopt(M_MMAP_THRESHOLD, LARGE_BYTES);
#endif
#ifdef M_ARENA_MAX
	/* its threads do not compute at the same time: one heap is smaller than three */
	mallopt(M_ARENA_MAX, 1);
#endif
	ret = start(&agent, options, e);
	if (!ret)
		ret = child_serve(agent.child, e);
	stop(&agent);
	return ret;
}
