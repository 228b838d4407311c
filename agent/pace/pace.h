/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The queue engine: the kernel holds the packets of paced classes in a netfilter
 * queue, and a thread of its own lets them go slot by slot and sends the dummies.
 * It sleeps until the next slot of an absolute grid or the next packet, so it
 * does not drift. Without it the kernel holds, and drops: nothing leaves.
 */
#ifndef AGENT_PACE_PACE_H
#define AGENT_PACE_PACE_H

#include "guard/guard.h"

struct pace;

/*
 * To be called before the process gives up its rights: it opens a packet socket
 * for the dummies, and its thread takes a real-time priority before it calls
 * `drop_rights` for itself. Looks every quarter of a second for classes that are
 * the agent's to pace, and while there are some every 25 ms for another policy. The strings of `conf` must
 * outlive it.
 */
int pace_new(const struct guard_conf *conf, int (*drop_rights)(struct tg_error *e), struct event_base *base,
	     struct pace **ret_pace, struct tg_error *e);
void pace_free(struct pace *pace);	/* NULL-safe */

/* The error that made the thread end and the event loop break, 0 if none. */
int pace_failure(const struct pace *pace);

/* The counters as one object; NULL when out of memory. */
json_t *pace_stats(const struct pace *pace);

#endif
