/* SPDX-License-Identifier: BSD-3-Clause */
/* The pinned maps that the agent writes to: PINDIR/<tunnel>/flows, under the generation in .../policy. */
#ifndef AGENT_GUARD_FLOWMAP_H
#define AGENT_GUARD_FLOWMAP_H

#include <stdbool.h>

#include "guard/decide.h"
#include "tensorguard/policy.h"

struct flowmap {
	struct {
		int flows;	/* -1 = not pinned (yet) */
		int policy;	/* -1 = not pinned: generation 0 */
		uint64_t generation; /* that decisions are made for */
	} tunnels[TG_MAX_TUNNELS];
	size_t count;
};

/* Opens what is pinned for the policy's tunnels and reads the generations. What is missing is tried again by
 * flowmap_retry(). */
void flowmap_open(struct flowmap *map, const char *pin_dir, const struct tg_policy *policy);
void flowmap_close(struct flowmap *map);

/* Opens what was missing. *ret_missing counts the tunnels that still have no flow map. */
void flowmap_retry(struct flowmap *map, const char *pin_dir, const struct tg_policy *policy,
		   size_t *ret_missing);

/* Whether a tunnel's generation is no longer the one that decisions are made for. */
bool flowmap_is_stale(const struct flowmap *map);

/* Whether the pins are other objects than the open ones: `tg-load down` and `up` since. */
bool flowmap_is_replaced(const struct flowmap *map, const char *pin_dir, const struct tg_policy *policy);

/* -ENOENT without a flow map, else what the kernel says. */
int flowmap_write(const struct flowmap *map, const struct tg_flow_key *key, const struct decision *decision,
		  uint64_t now);

#endif
