/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which release of which model is meant for which device (docs/releases.md).
 *
 * A fleet has, of each model, a base and a candidate: the candidate goes to a growing share of its devices,
 * the base to the others. What the devices report decides whether the share grows, or the roll-out stops by
 * itself.
 */
#ifndef PLATFORM_RELEASE_RELEASE_H
#define PLATFORM_RELEASE_RELEASE_H

#include "store/release.h"

/* Who asks. */
struct release_device {
	const char *agent, *fleet;
	int64_t faults;		/* in its heartbeat */
};

/*
 * The part `models` of a sync: takes the reports, and says what the device should have. Models that are not
 * rolled out in its fleet are not kept. Within a transaction of the caller, or with `write` false: then
 * nothing is changed, and -EAGAIN says that something would have to be. An answer with a tag of zeros: the
 * device has it already.
 */
int release_sync(struct store *store, const struct release_device *device,
		 const struct tg_models_request *request, int64_t now, bool write,
		 struct tg_models_answer *ret_answer, struct tg_error *e);

/* What time alone decides: stages that are at their end. Within a transaction of the caller. */
int release_tick(struct store *store, int64_t now, struct tg_error *e);

/*
 * One device and one roll-out; nothing but arithmetic. `report` is what it says of this model now, or NULL.
 * Both structures are changed as it follows; *ret_number is the release that it should have, 0 for none.
 */
struct release_case {
	struct store_rollout *rollout;
	struct store_model *device;	/* zeros but for its names, if nothing is known of it */
	const struct tg_model_report *report;
	int64_t faults;
	uint32_t bucket;	/* of the device, for the candidate */
	int64_t now;
};
int64_t release_decide(const struct release_case *the_case);
/* Whether the roll-out is at the end of its stage, or of all patience. True when it was changed. */
bool release_judge(struct store_rollout *rollout, int64_t now);

/*
 * A roll-out of `candidate` in a fleet. The earlier one must have ended; what it left is the base. -EBUSY,
 * -EINVAL for a release that is not newer than what the fleet has, -EKEYREVOKED for a revoked one, -E2BIG for
 * more models than a device takes.
 */
struct release_promotion {
	const char *model, *fleet;
	int64_t candidate;
	struct stages stages;
	struct stage_rule rule;
	const char *reason;	/* "promoted", or why else it is made */
	int64_t now;
};

/*
 * Takes a release back for good: no device is given it any more, those who have it are told to close it, and
 * roll-outs of it end. -EALREADY. Within a transaction of the caller.
 */
int release_revoke(struct store *store, const char *model, int64_t number, int64_t now, struct tg_error *e);
int release_promote(struct store *store, const struct release_promotion *promotion, struct tg_error *e);

#endif
