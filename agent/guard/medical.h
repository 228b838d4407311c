/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tells of what `tg-load status --repair` left in RUN_DIR/health (instance/health.h), whoever had it run:
 * that the data plane was mended, or could not be, and of peers that do not answer any more. What is there
 * when it begins is no news.
 */
#ifndef AGENT_GUARD_MEDICAL_H
#define AGENT_GUARD_MEDICAL_H

#include "instance/health.h"

struct medical;

struct medical_ops {
	/* For the audit trail. False: nobody heard; it is told again. */
	bool (*told)(void *ctx, unsigned code, const char *tunnel, uint64_t a, uint64_t b);
	void *ctx;
};

/* `run_dir` stays the caller's. -ENOMEM. */
int medical_new(const char *run_dir, const struct medical_ops *ops, struct medical **ret_medical);
void medical_free(struct medical *medical); /* NULL-safe */

/* Cheap when nothing has changed: to be called every few seconds. */
void medical_look(struct medical *medical);
/* A repair that was asked for has ended: 0, its exit status, or a negative errno. */
void medical_repaired(struct medical *medical, int result);
/* As of the last look: something is missing that a repair did not mend; there is a peer that does not answer.
 */
bool medical_is_broken(const struct medical *medical);
bool medical_has_silent_peer(const struct medical *medical);

#endif
