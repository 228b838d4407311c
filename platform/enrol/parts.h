/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of enrol/ share, and nobody else uses. */
#ifndef PLATFORM_ENROL_PARTS_H
#define PLATFORM_ENROL_PARTS_H

#include "api/platform.h"
#include "enrol/sessions.h"

/*
 * What a fleet demands, in the words of lib/attest. Holds the values that `policy` points to; what was loaded
 * must be cleared.
 */
struct fleet_policy {
	struct tg_attest_policy policy;
	struct tg_attest_pcr pcrs[STORE_PCRS_MAX];
};
int fleet_policy_load(struct platform *platform, struct store *store, const char *fleet,
		      struct fleet_policy *ret_policy, struct tg_error *e);
/* All zero is fine. */
void fleet_policy_clear(struct fleet_policy *policy);

/* Who is refused, for the audit record: "enrol" or "renew", and what is known of the device. */
struct subject {
	const char *action, *target;
};

/*
 * Answers 403, 400 for "malformed" or 503 for "busy", counts and writes the record: as platform_may_record()
 * says for the target, of those that name nobody (target "") so many in a minute as NAMELESS_PER_MINUTE says.
 * `reason` is a constant.
 */
void enrol_refuse(struct request *request, const struct subject *subject, const char *reason,
		  const struct tg_error *e);
/* Answers 503 for an error that says nothing about the device. */
void enrol_fail(struct request *request, const char *what, const struct tg_error *e);
/* What lib/attest returned: a refusal, or a failure of our own. */
void enrol_blame(struct request *request, const struct subject *subject, int err,
		 enum tg_attest_reason reason, const struct tg_error *e);
/* Answers with a text that lib/wire made, and frees it. */
void enrol_answer(struct request *request, struct tg_bytes *text);

#endif
