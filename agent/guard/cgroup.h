/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which of a policy's cgroup rules a socket's cgroup satisfies. A cgroup's id is
 * the inode number of its directory; a rule covers its directory and all below.
 *
 * Ids are never used twice and a version 2 cgroup cannot be moved, so an answer
 * once found holds for ever; only ids not seen before make us walk the rules'
 * directories.
 */
#ifndef AGENT_GUARD_CGROUP_H
#define AGENT_GUARD_CGROUP_H

#include <stdbool.h>

#include "tensorguard/policy.h"

struct cgroups;

/* `mount` is where the cgroup2 file system is; NULL = /sys/fs/cgroup, or its directory `unified`, whichever
 * is one. */
int cgroups_new(const char *mount, const struct tg_policy *policy, struct cgroups **ret_cgroups);
void cgroups_free(struct cgroups *cgroups);	/* NULL-safe */

/* Whether cgroup `id` is that of policy rule `rule` (0..TG_MAX_RULES-1) or below it. */
bool cgroups_match(struct cgroups *cgroups, uint64_t id, size_t rule);

#endif
