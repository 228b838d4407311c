/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Heartbeats are not waited for: while one group of them is being written the next one gathers, so that the
 * number of transactions depends on the disk and not on the fleet. One row for each agent; of two heartbeats
 * of one agent in a group only the newer one is written.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/log.h"
#include "sync/sync.h"

enum { GATHER_MAX = 4096, FIRST_ROOM = 64 };

struct group {
	struct store_job job;
	struct heartbeats *heartbeats;
	struct store_heartbeat *beats;
	size_t count, room;
};

struct heartbeats {
	struct writer *writer;
	pthread_mutex_t lock;
	struct group groups[2];
	struct group *gathering;
	bool writing;	/* the other one */
	uint64_t lost;
};

static int run(struct store *store, struct store_job *job, struct tg_error *e)
{
	struct group *group = (struct group *)job;
	int ret = 0;

	for (size_t i = 0; i < group->count && !ret; i++)
		ret = store_heartbeat_put(store, &group->beats[i], e);
	return ret;
}

static void submit(struct heartbeats *h);

static void done(struct store_job *job)
{
	struct group *group = (struct group *)job;
	struct heartbeats *h = group->heartbeats;

	if (job->result)
		log_error("heartbeats-not-stored", json_pack("{s:I, s:s}", "count", (json_int_t)group->count,
							     "error", job->error.message));
	pthread_mutex_lock(&h->lock);
	group->count = 0;
	h->writing = false;
	submit(h);
	pthread_mutex_unlock(&h->lock);
}

/* With the lock. */
static void submit(struct heartbeats *h)
{
	struct group *group = h->gathering;

	if (h->writing || !group->count)
		return;
	group->job = (struct store_job){ .run = run, .done = done };
	if (writer_submit(h->writer, &group->job))
		return;	/* the next heartbeat tries again */
	h->writing = true;
	h->gathering = group == &h->groups[0] ? &h->groups[1] : &h->groups[0];
}

static bool make_room(struct group *group)
{
	size_t room = group->room ? 2 * group->room : FIRST_ROOM;
	struct store_heartbeat *more;

	if (group->count < group->room)
		return true;
	if (group->room >= GATHER_MAX)
		return false;
	more = reallocarray(group->beats, room, sizeof(*more));
	if (!more)
		return false;
	group->beats = more;
	group->room = room;
	return true;
}

static void add(struct heartbeats *h, const struct store_heartbeat *beat)
{
	pthread_mutex_lock(&h->lock);
	if (make_room(h->gathering))
		h->gathering->beats[h->gathering->count++] = *beat;
	else
		h->lost++;	/* the store is far behind: the agent comes again */
	submit(h);
	pthread_mutex_unlock(&h->lock);
}

static void join_faults(const struct tg_sync_heartbeat *heartbeat, char *ret_text, size_t size)
{
	size_t len = 0;

	ret_text[0] = '\0';
	for (size_t i = 0; i < heartbeat->fault_count && len < size; i++)
		len += (size_t)snprintf(ret_text + len, size - len, "%s%s", i ? " " : "",
					heartbeat->faults[i]);
}

void sync_heartbeat(struct sync *sync)
{
	const struct tg_sync_heartbeat *h = &sync->message.heartbeat;
	struct store_heartbeat beat = { .time = sync->now,
					.engine = h->engine,
					.state = h->state,
					.uptime = h->uptime,
					.real = h->real,
					.pad = h->pad,
					.dummy = h->dummy,
					.violations = h->violations,
					.restarts = h->restarts };

	memcpy(beat.agent, sync->request->agent.id, sizeof(beat.agent));
	snprintf(beat.version, sizeof(beat.version), "%s", h->version);
	snprintf(beat.kernel, sizeof(beat.kernel), "%s", h->kernel);
	join_faults(h, beat.faults, sizeof(beat.faults));
	if (sync->message.has_policy)
		beat.policy_version = sync->message.policy.version;
	add(sync->platform->heartbeats, &beat);
}

struct heartbeats *heartbeats_new(struct writer *writer)
{
	struct heartbeats *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->writer = writer;
	pthread_mutex_init(&h->lock, NULL);
	h->groups[0].heartbeats = h->groups[1].heartbeats = h;
	h->gathering = &h->groups[0];
	return h;
}

void heartbeats_free(struct heartbeats *h)
{
	if (!h)
		return;
	pthread_mutex_destroy(&h->lock);
	free(h->groups[0].beats);
	free(h->groups[1].beats);
	free(h);
}
