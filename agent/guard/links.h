/* SPDX-License-Identifier: BSD-3-Clause */
/* Which of the tunnels' devices are up, kept current by rtnetlink notifications. */
#ifndef AGENT_GUARD_LINKS_H
#define AGENT_GUARD_LINKS_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tensorguard/policy.h"

struct links;

/* Called for each change of a tunnel's device, from links_read() only. */
typedef void (*link_changed)(void *ctx, size_t tunnel, bool up);

/* Opens the watch and reads the present state of the policy's tunnels, without calling `changed`. */
int links_open(const struct tg_policy *policy, link_changed changed, void *ctx, struct links **ret_links,
	       struct tg_error *e);
void links_close(struct links *links);	/* NULL-safe */
int links_fd(const struct links *links);

/* Takes what has come; to be called when links_fd() is readable. */
void links_read(struct links *links);

bool links_is_up(const struct links *links, size_t tunnel);

/* The tunnel whose device has this index, -1 if none. */
int links_tunnel(const struct links *links, uint32_t ifindex);

#endif
