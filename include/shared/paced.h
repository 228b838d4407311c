/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * A class that the agent paces: what the agent tells about it, and the grid of
 * its slots. The agent writes the maps, through a mapping of their memory; the
 * loader clears them; the programs of the kernel never look at them.
 */
#ifndef TG_SHARED_PACED_H
#define TG_SHARED_PACED_H

#include "jitter.h"
#include "lean.h"
#include "regulator.h"
#include "session.h"
#include "types.h"

/* flags of tg_paced */
#define TG_PACED_REALTIME (1u << 0)	/* the agent paces at a real-time priority, with its memory locked */

/* How the packets of a class leave. */
struct tg_schedule {
	__u32 defence;		/* enum tg_defence; 0 = none */
	__u32 reserved;
	__u64 budget_ns;	/* a wait above it is late */
	/*
	 * As in `queues`, without devices; `first` is in `paced_sessions`. Of jitter: cell, class, guard_ns,
	 * limit_cells; of a regulator idle_ns as well, and slots is N. Of lean period_ns is the mean one, and
	 * slots are those of a session's first quantum.
	 */
	struct tg_queue queue;
	struct tg_jitter jitter;
	struct tg_regulator regulator;
	struct tg_lean lean;
};

/* map `paced`, ARRAY[TG_MAX_CLASSES], mappable, index = class */
struct tg_paced {
	struct tg_schedule schedule;
	__u64 missed_slots;	/* slots of running sessions that passed while the agent was late or away */
	__u64 late_wakes;	/* slots that the agent served more than half a period late */
	__u64 extensions;	/* quanta added to sessions */
	__u64 generation; /* of the policy that the agent paces by, or did until it was killed; 0 = none */
	__u32 flags;		/* TG_PACED_* */
	__u32 reserved;
	struct tg_stats stats;	/* what the programs cannot know: drops before them, late packets, delays */
	struct tg_lean_count lean;
};

_Static_assert(sizeof(struct tg_paced) == sizeof(struct tg_schedule) + 40 + sizeof(struct tg_stats) +
						  sizeof(struct tg_lean_count),
	       "tg_paced layout");

_Static_assert(sizeof(struct tg_schedule) == 16 + sizeof(struct tg_queue) + sizeof(struct tg_jitter) +
						     sizeof(struct tg_regulator) + sizeof(struct tg_lean),
	       "tg_schedule layout");

/* map `paced_sessions`, ARRAY, mappable, index = queue.first + peer: struct tg_session_state */
_Static_assert(sizeof(struct tg_session_state) % 8 == 0, "an array's entries are 8 bytes apart");

/*
 * The slots of a period are its multiples on CLOCK_MONOTONIC: a restart finds
 * the same grid again. Peers take turns, TG_GRID_PHASES of them in a period, so
 * that the cells of a thousand do not all leave at one instant.
 */
#define TG_GRID_PHASES 16u

/* When the slots of a peer come, after those of number 0. */
tg_inline __u64 tg_grid_phase(__u32 peer, __u64 period_ns)
{
	return peer % TG_GRID_PHASES * (period_ns / TG_GRID_PHASES);
}

/* The first slot at or after `now`; the phase is below the period, and no clock is that young. */
tg_inline __u64 tg_grid_first(__u64 now, __u64 period_ns, __u64 phase_ns)
{
	return (now - phase_ns + period_ns - 1) / period_ns * period_ns + phase_ns;
}

/* The first slot that is at least half a period away, so that lateness never closes two cells up to less. */
tg_inline __u64 tg_grid_next(__u64 now, __u64 period_ns, __u64 phase_ns)
{
	return tg_grid_first(now + period_ns / 2, period_ns, phase_ns);
}

/*
 * With a dither a slot's time is when it is settled what leaves in it, and when that leaves is drawn: up to
 * 1/TG_LEAVE_PARTS of the period later. What comes in between waits for the next slot. So whether a cell is
 * real depends on times that are no secret and not drawn: the gaps that a draw makes say nothing about it,
 * which those of dither.h do.
 */
#define TG_LEAVE_PARTS 4u

/* How much later; `random` has 16 bits. */
tg_inline __u64 tg_leave_ns(__u64 period_ns, __u32 random)
{
	return period_ns / TG_LEAVE_PARTS * random >> 16;
}

#endif
