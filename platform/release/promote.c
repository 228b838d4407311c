/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "release/release.h"

static int count_rollout(void *arg, const struct store_rollout *rollout)
{
	(void)rollout;
	++*(size_t *)arg;
	return 0;
}

/* What the devices of the fleet have, as far as they have the same. */
static int base_of(const struct store_rollout *before, int64_t *ret_base, struct tg_error *e)
{
	switch (before->state) {
	case ROLLOUT_RUNNING:
	case ROLLOUT_PAUSED:
		return tg_error(
			e, -EBUSY,
			"release %lld of '%s' is being rolled out in '%s': let it end, or roll it back",
			(long long)before->candidate, before->model, before->fleet);
	case ROLLOUT_DONE:
		*ret_base = before->candidate;
		return 0;
	default:
		*ret_base = before->base;
		return 0;
	}
}

/* The one before, if there is one. Devices that opened what it stopped have floors above its base. */
static int check_before(struct store *store, const struct release_promotion *promotion, int64_t *ret_base,
			struct tg_error *e)
{
	struct store_rollout before;
	size_t count = 0;
	int ret;

	*ret_base = 0;
	ret = store_rollout_get(store, promotion->model, promotion->fleet, &before, e);
	if (ret == -ENOENT) {
		ret = store_rollout_each(store, promotion->fleet, count_rollout, &count, e);
		if (!ret && count >= TG_MODELS_MAX)
			ret = tg_error(e, -E2BIG, "fleet '%s' has %d models already", promotion->fleet,
				       TG_MODELS_MAX);
		return ret;
	}
	if (!ret)
		ret = base_of(&before, ret_base, e);
	if (!ret && promotion->candidate <= before.candidate)
		ret = tg_error(e, -EINVAL,
			       "fleet '%s' had release %lld of '%s': devices take higher numbers only, so "
			       "pack it again "
			       "under one",
			       promotion->fleet, (long long)before.candidate, promotion->model);
	return ret;
}

int release_promote(struct store *store, const struct release_promotion *promotion, struct tg_error *e)
{
	struct store_rollout rollout = { .candidate = promotion->candidate,
					 .stages = promotion->stages,
					 .rule = promotion->rule,
					 .begun = promotion->now,
					 .changed = promotion->now };
	struct store_release release;
	struct store_fleet fleet;
	int ret;

	snprintf(rollout.model, sizeof(rollout.model), "%s", promotion->model);
	snprintf(rollout.fleet, sizeof(rollout.fleet), "%s", promotion->fleet);
	snprintf(rollout.reason, sizeof(rollout.reason), "%s", promotion->reason);
	ret = store_release_get(store, promotion->model, promotion->candidate, &release, e);
	if (!ret && release.revoked)
		ret = tg_error(e, -EKEYREVOKED, "release %lld of '%s' was revoked",
			       (long long)promotion->candidate, promotion->model);
	if (!ret)
		ret = store_fleet_get(store, promotion->fleet, &fleet, e);
	if (!ret)
		ret = check_before(store, promotion, &rollout.base, e);
	return ret ? ret : store_rollout_put(store, &rollout, e);
}

/* ---- taking back ---- */

enum { ENDED_MAX = 1024 };

/* Roll-outs of the release, in all fleets. */
struct ending {
	const char *model;
	int64_t number, now;
	struct store_rollout *rollouts;
	size_t count;
};

static int take_rollout(void *arg, const struct store_rollout *rollout)
{
	struct ending *ending = arg;

	if (strcmp(rollout->model, ending->model) || rollout->candidate != ending->number ||
	    rollout->state == ROLLOUT_ROLLED_BACK)
		return 0;
	if (ending->count < ENDED_MAX)
		ending->rollouts[ending->count] = *rollout;
	ending->count++;
	return 0;
}

static int end_rollouts(struct store *store, struct ending *ending, struct tg_error *e)
{
	int ret = store_rollout_each(store, NULL, take_rollout, ending, e);

	if (!ret && ending->count > ENDED_MAX)
		ret = tg_error(e, -E2BIG, "more than %d fleets have it", ENDED_MAX);
	for (size_t i = 0; !ret && i < ending->count; i++) {
		struct store_rollout *rollout = &ending->rollouts[i];

		rollout->state = ROLLOUT_ROLLED_BACK;
		rollout->changed = ending->now;
		snprintf(rollout->reason, sizeof(rollout->reason), "the release was revoked");
		ret = store_rollout_put(store, rollout, e);
	}
	return ret;
}

int release_revoke(struct store *store, const char *model, int64_t number, int64_t now, struct tg_error *e)
{
	struct ending ending = { .model = model,
				 .number = number,
				 .now = now,
				 .rollouts = calloc(ENDED_MAX, sizeof(*ending.rollouts)) };
	int ret;

	if (!ending.rollouts)
		return tg_error(e, -ENOMEM, "out of memory");
	ret = store_release_revoke(store, model, number, now, e);
	if (!ret)
		ret = end_rollouts(store, &ending, e);
	free(ending.rollouts);
	return ret;
}
