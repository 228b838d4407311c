/* SPDX-License-Identifier: BSD-3-Clause */
#include <time.h>

#include "api/platform.h"
#include "http/log.h"
#include "release/release.h"

static int run(struct store *store, struct store_job *job, struct tg_error *e)
{
	(void)job;
	return release_tick(store, time(NULL), e);
}

static void done(struct store_job *job)
{
	struct tick *tick = (struct tick *)job;

	if (job->result)
		log_error("tick", json_pack("{s:s}", "error", job->error.message));
	atomic_store(&tick->busy, false);
}

void platform_tick(struct platform *platform)
{
	struct tick *tick = &platform->tick;

	if (atomic_exchange(&tick->busy, true))
		return;	/* the store is slow; it has one to do */
	tick->job.run = run;
	tick->job.done = done;
	if (writer_submit(platform->writer, &tick->job))
		atomic_store(&tick->busy, false);
}
