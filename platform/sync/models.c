/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "http/log.h"
#include "release/release.h"
#include "sync/sync.h"

/* Reports that change something, on their way to the store. */
struct models_job {
	struct store_job job;
	struct sync_step step;
	struct release_device device;
	struct tg_models_answer answer;
};

static const uint8_t nothing[TG_SHA256_LEN];

static void take_answer(struct sync *sync, const struct tg_models_answer *answer)
{
	sync->answer.has_models = memcmp(answer->tag, nothing, sizeof(nothing)) != 0;
	sync->answer.models = *answer;
}

/* In the writer's thread. The message stays as it is until the step has come back. */
static int run(struct store *store, struct store_job *job, struct tg_error *e)
{
	struct models_job *models = (struct models_job *)job;
	const struct sync *sync = models->step.sync;

	return release_sync(store, &models->device, &sync->message.models, sync->now, true, &models->answer,
			    e);
}

static void done(struct store_job *job)
{
	sync_resume(&((struct models_job *)job)->step);
}

/* What the store did not take the agent says again: the answer leaves the models out. */
static void finish(struct sync_step *step)
{
	struct models_job *models = (void *)((char *)step - offsetof(struct models_job, step));

	if (models->job.result)
		log_error("models", json_pack("{s:s}", "error", models->job.error.message));
	else
		take_answer(step->sync, &models->answer);
	free(models);
}

static void submit(struct sync *sync, const struct release_device *device)
{
	struct models_job *models = calloc(1, sizeof(*models));

	if (!models || sync_wait(sync, &models->step)) {
		free(models);
		return;
	}
	models->device = *device;
	models->device.agent = sync->request->agent.id;	/* of the copy that was held */
	models->device.fleet = sync->request->agent.fleet;
	models->job.run = run;
	models->job.done = done;
	models->step.finish = finish;
	models->job.result = writer_submit(sync->platform->writer, &models->job);
	if (models->job.result)
		sync_resume(&models->step);
}

void sync_models(struct sync *sync)
{
	const struct store_agent *agent = &sync->request->agent;
	struct release_device device = { .agent = agent->id,
					 .fleet = agent->fleet,
					 .faults = (int64_t)sync->message.heartbeat.fault_count };
	struct tg_error e = { "" };
	int ret;

	if (!sync->message.has_models)
		return;
	ret = release_sync(sync->request->store, &device, &sync->message.models, sync->now, false,
			   &sync->answer.models, &e);
	if (ret == -EAGAIN)
		submit(sync, &device);
	else if (ret)
		log_error("models", json_pack("{s:s}", "error", e.message));
	else
		take_answer(sync, &sync->answer.models);
}
