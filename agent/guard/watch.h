/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Looks at the data plane's counters every few seconds, and tells what an audit trail has to have: promises
 * of the policy that packets broke, dummies that fail to come. What was counted before the watch began is not
 * told.
 */
#ifndef AGENT_GUARD_WATCH_H
#define AGENT_GUARD_WATCH_H

#include "shared/types.h"
#include "tensorguard/policy.h"

struct event_base;
struct watch;

struct watch_ops {
	/* `count` events of a tunnel, and of a class where it is one's (else -1), since it was told last.
	 * False: nobody heard; they are told again with the next ones. */
	bool (*told)(void *ctx, unsigned code, const char *tunnel, int class, uint64_t count);
	/* The policy in force. */
	const struct tg_policy *(*policy)(void *ctx);
	void *ctx;
};

/* `pin_dir` stays the caller's. -ENOMEM. */
int watch_new(struct event_base *base, const char *pin_dir, const struct watch_ops *ops,
	      struct watch **ret_watch);
void watch_free(struct watch *watch); /* NULL-safe */

#endif
