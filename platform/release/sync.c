/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "release/release.h"

/* One sync, while it is worked on. */
struct turn {
	struct store *store;
	const struct release_device *device;
	const struct tg_models_request *request;
	int64_t now;
	bool write;
	struct store_rollout rollouts[TG_MODELS_MAX]; /* of its fleet */
	struct store_model models[TG_MODELS_MAX];     /* of rollouts[i] */
	size_t count;
	struct tg_models_answer answer;
};

static int take_rollout(void *arg, const struct store_rollout *rollout)
{
	struct turn *turn = arg;

	if (turn->count == TG_MODELS_MAX)
		return 1;
	turn->rollouts[turn->count] = *rollout;
	snprintf(turn->models[turn->count].agent, STORE_NAME_SIZE, "%s", turn->device->agent);
	snprintf(turn->models[turn->count].report.model, STORE_MODEL_SIZE, "%s", rollout->model);
	turn->count++;
	return 0;
}

static int take_model(void *arg, const struct store_model *model)
{
	struct turn *turn = arg;

	for (size_t i = 0; i < turn->count; i++)
		if (!strcmp(turn->rollouts[i].model, model->report.model))
			turn->models[i] = *model;
	return 0;
}

static const struct tg_model_report *report_of(const struct turn *turn, const char *model)
{
	for (size_t i = 0; i < turn->request->report_count; i++)
		if (!strcmp(turn->request->reports[i].model, model))
			return &turn->request->reports[i];
	return NULL;
}

static int audit_end(struct turn *turn, const struct store_rollout *rollout, struct tg_error *e)
{
	char target[STORE_TEXT_SIZE];
	struct store_audit record = { .time = turn->now,
				      .actor = "platform",
				      .action = "release-rollout",
				      .target = target,
				      .outcome = rollout_state_name(rollout->state),
				      .detail = rollout->reason };

	snprintf(target, sizeof(target), "%s %lld in %s", rollout->model, (long long)rollout->candidate,
		 rollout->fleet);
	return store_audit_add(turn->store, &record, e);
}

static bool same_rollout(const struct store_rollout *a, const struct store_rollout *b)
{
	return a->state == b->state && a->stages.now == b->stages.now && a->changed == b->changed &&
	       a->counts.told == b->counts.told && a->counts.healthy == b->counts.healthy &&
	       a->counts.failed == b->counts.failed;
}

static bool same_model(const struct store_model *a, const struct store_model *b)
{
	return a->seen == b->seen && a->told == b->told && a->verdict == b->verdict && a->ran == b->ran;
}

static int write_rollout(struct turn *turn, const struct store_rollout *before,
			 const struct store_rollout *after, struct tg_error *e)
{
	int ret;

	if (same_rollout(before, after))
		return 0;
	if (!turn->write)
		return -EAGAIN;
	ret = store_rollout_put(turn->store, after, e);
	return ret || before->state == after->state ? ret : audit_end(turn, after, e);
}

static int write_model(struct turn *turn, const struct store_model *before, const struct store_model *after,
		       struct tg_error *e)
{
	int ret;

	if (same_model(before, after))
		return 0;
	if (!turn->write)
		return -EAGAIN;
	ret = store_model_put(turn->store, after, e);
	if (ret || !after->seen ||
	    (before->seen && before->report.release == after->report.release &&
	     before->report.state == after->report.state))
		return ret;
	return store_model_note(turn->store, after, e);
}

static int assign(struct turn *turn, const struct store_release *release)
{
	struct tg_model_assignment *assignment = &turn->answer.assignments[turn->answer.assignment_count++];

	snprintf(assignment->model, sizeof(assignment->model), "%s", release->model);
	assignment->release = (uint64_t)release->number;
	assignment->size = (uint64_t)release->size;
	memcpy(assignment->manifest, release->manifest, sizeof(assignment->manifest));
	memcpy(assignment->blob, release->blob, sizeof(assignment->blob));
	return 0;
}

/* One that may be given out: what an earlier roll-out left may have been removed since, or revoked. */
static int get_good(struct turn *turn, const char *model, int64_t number, struct store_release *ret_release,
		    struct tg_error *e)
{
	int ret = number ? store_release_get(turn->store, model, number, ret_release, e) : -ENOENT;

	return !ret && ret_release->revoked ? -ENOENT : ret;
}

/*
 * Where there is no such release it is the base after all, unless the device has opened what is newer: its
 * floor refuses the base then.
 */
static int assign_number(struct turn *turn, const struct store_rollout *rollout,
			 const struct store_model *model, int64_t number, struct tg_error *e)
{
	struct store_release release;
	int ret = get_good(turn, rollout->model, number, &release, e);

	if (ret == -ENOENT && number != rollout->base && model->ran <= rollout->base)
		ret = get_good(turn, rollout->model, rollout->base, &release, e);
	if (ret)
		return ret == -ENOENT ? 0 : ret;
	return assign(turn, &release);
}

static int turn_model(struct turn *turn, size_t i, struct tg_error *e)
{
	struct store_rollout rollout = turn->rollouts[i];
	struct store_model model = turn->models[i];
	struct release_case one = { .rollout = &rollout,
				    .device = &model,
				    .report = report_of(turn, rollout.model),
				    .faults = turn->device->faults,
				    .now = turn->now };
	struct store_release candidate;
	int64_t number;
	int ret;

	ret = store_release_get(turn->store, rollout.model, rollout.candidate, &candidate, e);
	if (!ret)
		ret = stage_bucket(candidate.manifest, turn->device->agent, &one.bucket, e);
	if (ret)
		return ret;
	number = release_decide(&one);
	release_judge(&rollout, turn->now);
	ret = write_rollout(turn, &turn->rollouts[i], &rollout, e);
	if (!ret)
		ret = write_model(turn, &turn->models[i], &model, e);
	return ret ? ret : assign_number(turn, &rollout, &model, number, e);
}

static int take_revoked(void *arg, const uint8_t manifest[static STORE_HASH_LEN])
{
	struct tg_models_answer *answer = arg;

	memcpy(answer->revoked[answer->revoked_count++].manifest, manifest, STORE_HASH_LEN);
	return 0;
}

static int take_trust(void *arg, const struct store_trust *trust)
{
	struct turn *turn = arg;
	struct tg_models_answer *answer = &turn->answer;
	bool is_root = trust->document.role == TG_TGSP_ROOT;

	if (is_root &&
	    (trust->document.version <= turn->request->root || answer->trust_count == TG_MODEL_ROOTS_MAX))
		return 0;
	if (answer->trust_count < TG_MODEL_TRUST_MAX)
		answer->trust[answer->trust_count++] = trust->document;
	return 0;
}

/* The tag is the hash of what it stands for. */
static int set_tag(struct tg_models_answer *answer, struct tg_error *e)
{
	struct tg_bytes text;
	int ret = tg_models_answer_encode(answer, &text, e);

	if (ret)
		return ret;
	ret = tg_sha256(&(struct tg_piece){ text.data, text.len }, 1, answer->tag, e);
	tg_bytes_free(&text);
	return ret;
}

static int run(struct turn *turn, struct tg_error *e)
{
	int ret;

	ret = store_rollout_each(turn->store, turn->device->fleet, take_rollout, turn, e);
	if (!ret && turn->count)
		ret = store_model_each(turn->store, turn->device->agent, take_model, turn, e);
	for (size_t i = 0; !ret && i < turn->count; i++)
		ret = turn_model(turn, i, e);
	if (!ret && turn->count)
		ret = store_revoked_each(turn->store, turn->device->fleet, TG_MODELS_REVOKED_MAX,
					 take_revoked, &turn->answer, e);
	if (!ret)
		ret = store_trust_each(turn->store, take_trust, turn, e);
	return ret ? ret : set_tag(&turn->answer, e);
}

int release_sync(struct store *store, const struct release_device *device,
		 const struct tg_models_request *request, int64_t now, bool write,
		 struct tg_models_answer *ret_answer, struct tg_error *e)
{
	struct turn *turn = calloc(1, sizeof(*turn));
	int ret;

	if (!turn)
		return tg_error(e, -ENOMEM, "out of memory");
	turn->store = store;
	turn->device = device;
	turn->request = request;
	turn->now = now;
	turn->write = write;
	ret = run(turn, e);
	if (!ret && !memcmp(turn->answer.tag, request->tag, sizeof(request->tag)))
		memset(&turn->answer, 0, sizeof(turn->answer));
	if (!ret)
		*ret_answer = turn->answer;
	free(turn);
	return ret;
}

/* All roll-outs of all fleets; more than so many wait for the next time. */
struct ticking {
	struct store_rollout *rollouts;
	size_t count, room;
	int64_t now;
};

static int take_running(void *arg, const struct store_rollout *rollout)
{
	struct ticking *ticking = arg;
	struct store_rollout judged = *rollout;

	if (release_judge(&judged, ticking->now) && ticking->count < ticking->room)
		ticking->rollouts[ticking->count++] = *rollout;
	return 0;
}

int release_tick(struct store *store, int64_t now, struct tg_error *e)
{
	struct ticking ticking = { .room = TG_MODELS_MAX, .now = now };
	struct turn turn = { .store = store, .now = now, .write = true };
	int ret;

	ticking.rollouts = calloc(ticking.room, sizeof(*ticking.rollouts));
	if (!ticking.rollouts)
		return tg_error(e, -ENOMEM, "out of memory");
	ret = store_rollout_each(store, NULL, take_running, &ticking, e);
	for (size_t i = 0; !ret && i < ticking.count; i++) {
		struct store_rollout after = ticking.rollouts[i];

		release_judge(&after, now);
		ret = write_rollout(&turn, &ticking.rollouts[i], &after, e);
	}
	free(ticking.rollouts);
	return ret;
}
