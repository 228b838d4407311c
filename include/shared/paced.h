/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * A class that the agent paces: what the agent tells about it, and the grid of
 * its slots. Only the agent writes the map, through a mapping of its memory;
 * the programs of the kernel never look at it.
 */
#ifndef TG_SHARED_PACED_H
#define TG_SHARED_PACED_H

#include "session.h"
#include "types.h"

/* flags of tg_paced */
#define TG_PACED_REALTIME (1u << 0)	/* the agent paces at a real-time priority, with its memory locked */

/* map `paced`, ARRAY[TG_MAX_CLASSES], mappable, index = class */
struct tg_paced {
	struct tg_queue queue;	/* its schedule, as in `queues`; no devices */
	struct tg_session_state session;
	__u64 missed_slots;	/* slots of a running session that passed while the agent was late or away */
	__u64 late_wakes;	/* slots that the agent served more than half a period late */
	__u64 generation; /* of the policy that the agent paces by, or did until it was killed; 0 = none */
	__u32 flags;		/* TG_PACED_* */
	__u32 reserved;
	struct tg_stats stats;	/* what the programs cannot know: drops before them, late packets, delays */
};

_Static_assert(sizeof(struct tg_paced) == sizeof(struct tg_queue) + sizeof(struct tg_session_state) + 32 +
						  sizeof(struct tg_stats),
	       "tg_paced layout");

/*
 * The slots of a period are its multiples on CLOCK_MONOTONIC: a restart finds
 * the same grid again. The first one that is at least half a period away from
 * `now`, so that lateness never closes two cells up to less than that.
 */
tg_inline __u64 tg_grid_next(__u64 now, __u64 period_ns)
{
	return ((now + period_ns / 2 + period_ns - 1) / period_ns) * period_ns;
}

/* The first slot at or after `now`. */
tg_inline __u64 tg_grid_first(__u64 now, __u64 period_ns)
{
	return (now + period_ns - 1) / period_ns * period_ns;
}

#endif
