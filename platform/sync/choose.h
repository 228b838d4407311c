/* SPDX-License-Identifier: BSD-3-Clause */
/* Which of the policies that are published an agent should have (docs/policy-distribution.md). */
#ifndef PLATFORM_SYNC_CHOOSE_H
#define PLATFORM_SYNC_CHOOSE_H

#include "store/store.h"
#include "tensorguard/signed_policy.h"

/* The newest for each target, in the order of the targets. */
struct policy_entry {
	struct tg_signed_policy policy;
	uint8_t hash[TG_SHA256_LEN];
};
struct policy_table {
	struct policy_entry *entries;
	size_t count, room;
};

/* What is in the store now, in place of what was in the table, which stays when that fails. */
int policy_table_load(struct policy_table *table, struct store *store, struct tg_error *e);
void policy_table_clear(struct policy_table *table);

/*
 * The most specific policy: of the agent's own target, else of its labels the newest, else of its fleet. But
 * the newest lockdown that covers the agent, if it is newer than that one: so a device is never to have what
 * it would refuse as older than the lockdown. NULL: nothing covers it.
 *
 * *ret_specific (NULL is fine): the most specific one, whatever comes before it.
 */
const struct policy_entry *policy_table_choose(const struct policy_table *table,
					       const struct store_agent *agent,
					       const struct policy_entry **ret_specific);

#endif
