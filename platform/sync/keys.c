/* SPDX-License-Identifier: BSD-3-Clause */
/* Public keys of tunnels: an agent's own into the store, those of its peers out of it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/log.h"
#include "store/tunnel.h"
#include "sync/sync.h"

/* Keys that have changed, on their way to the store. */
struct keys_job {
	struct store_job job;
	struct sync_step step;
	bool taken;
};

static void failed(const char *error)
{
	log_error("keys", json_pack("{s:s}", "error", error));
}

/* ---- what is there ---- */

struct comparison {
	const struct tg_keys_request *said;
	size_t same, stored;
};

static int compare(void *arg, const struct store_tunnel *tunnel)
{
	struct comparison *c = arg;

	c->stored++;
	for (size_t i = 0; i < c->said->tunnel_count; i++)
		c->same += tg_tunnel_keys_equal(&c->said->tunnels[i], &tunnel->keys);
	return 0;
}

/* An error leaves the part out: the agent says it again. */
static void answer(struct sync *sync)
{
	const struct tg_keys_request *said = &sync->message.keys;
	struct tg_keys_answer *keys = &sync->answer.keys;
	struct tg_error e;

	keys->peer_count = 0;
	for (size_t i = 0; i < said->peer_count; i++) {
		struct tg_peer_keys *peer = &keys->peers[keys->peer_count];
		int ret = store_tunnel_find(sync->request->store, sync->request->agent.fleet, &said->peers[i],
					    &peer->keys, &e);

		if (ret == -ENOENT)
			continue;
		if (ret) {
			failed(e.message);
			return;
		}
		memcpy(peer->agent, said->peers[i].agent, sizeof(peer->agent));
		keys->peer_count++;
	}
	sync->answer.has_keys = true;
}

/* ---- what is new ---- */

static int run(struct store *store, struct store_job *job, struct tg_error *e)
{
	struct keys_job *keys = (struct keys_job *)job;
	const struct sync *sync = keys->step.sync;

	return store_tunnel_put(store, sync->request->agent.id, sync->message.keys.tunnels,
				sync->message.keys.tunnel_count, sync->now, &keys->taken, e);
}

static void done(struct store_job *job)
{
	sync_resume(&((struct keys_job *)job)->step);
}

static void refuse(struct sync *sync)
{
	static const char reason[] = "key-taken";
	char actor[STORE_NAME_SIZE + 8];

	snprintf(actor, sizeof(actor), "agent %s", sync->request->agent.id);
	metrics_refusal(&sync->platform->metrics, reason);
	if (platform_may_record(sync->platform, sync->request->agent.id, reason))
		platform_audit(sync->platform, actor, "tunnel-key", sync->request->agent.id, reason,
			       "a key of another agent's tunnel");
	snprintf(sync->answer.keys.refused, sizeof(sync->answer.keys.refused), "%s", reason);
}

static void finish(struct sync_step *step)
{
	struct keys_job *keys = (void *)((char *)step - offsetof(struct keys_job, step));

	if (keys->job.result) {
		failed(keys->job.error.message);
	} else {
		if (keys->taken)
			refuse(step->sync);
		answer(step->sync);
	}
	free(keys);
}

static void submit(struct sync *sync)
{
	struct keys_job *keys = calloc(1, sizeof(*keys));

	if (!keys || sync_wait(sync, &keys->step)) {
		free(keys);
		failed("out of memory");
		return;
	}
	keys->job.run = run;
	keys->job.done = done;
	keys->step.finish = finish;
	keys->job.result = writer_submit(sync->platform->writer, &keys->job);
	if (keys->job.result)
		sync_resume(&keys->step);
}

void sync_keys(struct sync *sync)
{
	struct comparison comparison = { .said = &sync->message.keys };
	struct tg_error e;

	if (!sync->message.has_keys)
		return;
	if (store_tunnel_each(sync->request->store, sync->request->agent.id, compare, &comparison, &e)) {
		failed(e.message);
		return;
	}
	if (comparison.same == comparison.stored && comparison.same == sync->message.keys.tunnel_count)
		answer(sync);
	else
		submit(sync);
}
