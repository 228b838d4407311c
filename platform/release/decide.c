/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <string.h>

#include "release/release.h"

static void shift(struct stage_counts *counts, enum device_verdict verdict, int by)
{
	int64_t *count = verdict == DEVICE_HEALTHY ? &counts->healthy : &counts->failed;

	if (verdict != DEVICE_HEALTHY && verdict != DEVICE_FAILED)
		return;
	/* one whose failure `resume` has forgiven, and which is another now, counts among the told again */
	if (*count + by < 0)
		counts->told++;
	else
		*count += by;
}

static enum device_verdict verdict_of(const struct release_case *c)
{
	switch (c->report->state) {
	case TG_MODEL_FAILED:
		return DEVICE_FAILED;
	case TG_MODEL_READY:
	case TG_MODEL_RUNNING:
		return c->faults > c->device->faults ? DEVICE_FAILED : DEVICE_HEALTHY;
	default:
		return c->device->verdict;
	}
}

static bool report_differs(const struct tg_model_report *a, const struct tg_model_report *b)
{
	return a->release != b->release || a->state != b->state || a->since != b->since ||
	       memcmp(a->manifest, b->manifest, sizeof(a->manifest)) || strcmp(a->detail, b->detail);
}

/* Also of an earlier roll-out: what a device had open stays its floor. */
static void note_run(const struct release_case *c)
{
	int64_t release = (int64_t)c->report->release;

	if (c->report->state == TG_MODEL_RUNNING && release > c->device->ran &&
	    release <= c->rollout->candidate)
		c->device->ran = release;
}

static void take_report(const struct release_case *c)
{
	struct store_model *device = c->device;
	enum device_verdict verdict;

	if (report_differs(&device->report, c->report)) {
		device->report = *c->report;
		device->seen = c->now;
	}
	note_run(c);
	if (device->told != c->rollout->candidate || (int64_t)c->report->release != device->told)
		return;
	verdict = verdict_of(c);
	if (verdict == device->verdict)
		return;
	shift(&c->rollout->counts, device->verdict, -1);
	shift(&c->rollout->counts, verdict, 1);
	device->verdict = verdict;
}

static bool may_be_told(const struct release_case *c)
{
	const struct stages *stages = &c->rollout->stages;

	return c->rollout->state == ROLLOUT_RUNNING && c->bucket < stages->buckets[stages->now] &&
	       stage_admits(&c->rollout->counts);
}

static void tell(const struct release_case *c)
{
	c->device->told = c->rollout->candidate;
	c->device->verdict = DEVICE_TOLD;
	c->device->faults = c->faults;
	c->rollout->counts.told++;
	c->rollout->changed = c->now;
}

/* Of one that has the candidate: it keeps it as long as there is hope, or as its floor lets it have nothing
 * older. */
static bool keeps(const struct release_case *c)
{
	bool ended = c->rollout->state == ROLLOUT_STOPPED || c->rollout->state == ROLLOUT_ROLLED_BACK;

	return c->device->ran == c->rollout->candidate || (!ended && c->device->verdict != DEVICE_FAILED);
}

int64_t release_decide(const struct release_case *c)
{
	struct store_rollout *rollout = c->rollout;
	struct store_model *device = c->device;

	if (c->report)
		take_report(c);
	if (device->told != rollout->candidate && (rollout->state == ROLLOUT_DONE || may_be_told(c)))
		tell(c);
	if (rollout->state == ROLLOUT_DONE)
		return rollout->candidate;
	if (device->told == rollout->candidate && keeps(c))
		return rollout->candidate;
	/* what it had of an earlier roll-out that was stopped: its floor refuses the base */
	return device->ran > rollout->base ? device->ran : rollout->base;
}

static void end_stage(struct store_rollout *rollout, int64_t now)
{
	rollout->changed = now;
	if (rollout->stages.now + 1 < rollout->stages.count) {
		rollout->stages.now++;
		return;
	}
	rollout->state = ROLLOUT_DONE;
	snprintf(rollout->reason, sizeof(rollout->reason), "all stages passed");
}

bool release_judge(struct store_rollout *rollout, int64_t now)
{
	const struct stage_counts *counts = &rollout->counts;

	if (rollout->state != ROLLOUT_RUNNING)
		return false;
	switch (stage_judge(&rollout->rule, counts, now - rollout->changed)) {
	case STAGE_WAIT:
		return false;
	case STAGE_NEXT:
		end_stage(rollout, now);
		return true;
	case STAGE_STOP:
		break;
	}
	rollout->state = ROLLOUT_STOPPED;
	rollout->changed = now;
	snprintf(rollout->reason, sizeof(rollout->reason), "%lld of %lld devices that answered failed",
		 (long long)counts->failed, (long long)(counts->failed + counts->healthy));
	return true;
}
