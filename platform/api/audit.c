/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "api/platform.h"
#include "http/log.h"

/* A record on its way to the store. */
struct audit_job {
	struct store_job job;
	int64_t time;
	char actor[STORE_TEXT_SIZE], action[STORE_NAME_SIZE], target[STORE_TEXT_SIZE];
	char outcome[STORE_NAME_SIZE], detail[STORE_TEXT_SIZE];
};

static int run(struct store *store, struct store_job *job, struct tg_error *e)
{
	const struct audit_job *audit = (const struct audit_job *)job;
	struct store_audit record = { .time = audit->time,
				      .actor = audit->actor,
				      .action = audit->action,
				      .target = audit->target,
				      .outcome = audit->outcome,
				      .detail = audit->detail };

	return store_audit_add(store, &record, e);
}

/* What the store does not take is at least in the log. */
static void log_lost(const struct audit_job *audit, const char *error)
{
	log_error("audit-record-not-stored",
		  json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "actor", audit->actor, "action", audit->action,
			    "target", audit->target, "outcome", audit->outcome, "detail", audit->detail,
			    "error", error));
}

static void done(struct store_job *job)
{
	struct audit_job *audit = (struct audit_job *)job;

	if (job->result)
		log_lost(audit, job->error.message);
	free(audit);
}

void platform_audit(struct platform *platform, const char *actor, const char *action, const char *target,
		    const char *outcome, const char *detail)
{
	struct audit_job *audit = calloc(1, sizeof(*audit));

	if (!audit) {
		log_error("audit-record-not-stored",
			  json_pack("{s:s, s:s}", "action", action, "error", "out of memory"));
		return;
	}
	audit->job.run = run;
	audit->job.done = done;
	audit->time = time(NULL);
	snprintf(audit->actor, sizeof(audit->actor), "%s", actor);
	snprintf(audit->action, sizeof(audit->action), "%s", action);
	snprintf(audit->target, sizeof(audit->target), "%s", target);
	snprintf(audit->outcome, sizeof(audit->outcome), "%s", outcome);
	snprintf(audit->detail, sizeof(audit->detail), "%s", detail);
	if (writer_submit(platform->writer, &audit->job)) {
		log_lost(audit, "too many changes wait for the store");
		free(audit);
	}
}

bool platform_may_record(struct platform *platform, const char *client, const char *reason)
{
	char key[STORE_TEXT_SIZE];

	snprintf(key, sizeof(key), "%s %s", client, reason);
	return limiter_take(platform->named, key, strlen(key), limiter_clock_ms());
}
