/* SPDX-License-Identifier: BSD-3-Clause */
/* Which engine paces: what the policy says, or what this kernel can do. */
#ifndef AGENT_INSTANCE_ENGINE_H
#define AGENT_INSTANCE_ENGINE_H

#include "tensorguard/policy.h"

/* Whether this kernel has the parts of the queue that is its own clock: tried, in a network namespace that
 * ends with the attempt. */
int engine_try_kernel(bool *ret_works, struct tg_error *e);

/* Makes "auto" what it means here, for a policy that is about to be brought up. */
int engine_settle(struct tg_policy *policy, struct tg_error *e);

/* Makes "auto" what it was when the running policy was brought up: the maps tell. */
void engine_recall(struct tg_policy *policy, const char *pin_dir);

#endif
