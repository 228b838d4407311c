/* SPDX-License-Identifier: BSD-3-Clause */
/* Packets without a verdict: their tunnel is down, and the policy says that they wait. First in, first out.
 */
#ifndef AGENT_GUARD_HOLD_H
#define AGENT_GUARD_HOLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct held {
	uint32_t id;		/* in the queue */
	uint32_t mark;
	bool has_mark;		/* the flow is decided: `mark` goes with the verdict */
	uint8_t tunnel;
};

struct hold {
	struct held *packets;
	size_t count, limit;
};

/* Sets the limit (0 = nothing can be held); what is beyond a lower one stays. */
int hold_resize(struct hold *hold, size_t limit);
void hold_free(struct hold *hold);

/* False when the limit is reached. */
bool hold_add(struct hold *hold, const struct held *packet);

/* Takes out the packets of one tunnel, in order, and calls `release` for each. */
void hold_release(struct hold *hold, uint8_t tunnel, void (*release)(void *ctx, const struct held *packet),
		  void *ctx);

/* Tunnel n is number to[n] from now on; -1 = gone, its packets are released. */
void hold_renumber(struct hold *hold, const int *to, void (*release)(void *ctx, const struct held *packet),
		   void *ctx);

#endif
