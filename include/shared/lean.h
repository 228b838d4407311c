/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * The `lean` defence: slots at fixed places of the robot's own control tick,
 * others in each direction. A session begins with slots of an even period, from
 * whose arrivals the tick is learnt; then the pattern is frozen. Packets share
 * cells where the peer can take them apart.
 *
 * Pure functions over the session's state, with time as a parameter. Of that
 * state `clock_due_ns` is the time of a tick (0: not frozen yet), `last_clock_ns`
 * how long a tick is, and `stale` 1 if the session began because the peer asked.
 */
#ifndef TG_SHARED_LEAN_H
#define TG_SHARED_LEAN_H

#include "session.h"

#define TG_LEAN_SLOTS 8u	/* per tick and direction at most */

/* An IPv6 packet of this protocol between the tunnel's ends carries several packets, or parts of them. */
#define TG_LEAN_PROTOCOL 144u

/*
 * In dummies of an end that can share cells, behind the IPv6 header, now and then.
 * A peer that reads it knows that it may send such cells. One that is asked begins a
 * session if none runs, so that its own dummies tell the same: a session that
 * began for that asks nobody, or two ends would keep each other awake.
 */
#define TG_HELLO_MAGIC 0x5447484cu /* "TGHL" in network order */

struct tg_hello {
	__be32 magic;
	__u8 version;		/* TG_HELLO_VERSION: cells as this version writes them */
	__u8 flags;		/* TG_HELLO_ASKS */
	__u8 reserved[2];	/* 0 */
};

#define TG_HELLO_ASKS (1u << 0)	/* the sender has not heard this of its peer of late */

#define TG_HELLO_VERSION 1u

_Static_assert(sizeof(struct tg_hello) == 8, "the smallest dummy has room for it");

struct tg_lean {
	__u64 tick_ns;		/* the nominal one */
	__u64 learn_period_ns;	/* between slots while it is learnt */
	__u32 learn_slots;	/* of which the last listen_slots count */
	__u32 first_slots;	/* of a session's first quantum, learn_slots among them */
	__u32 more_slots;	/* of every further one */
	__u32 slot_count;	/* per tick: 1..TG_LEAN_SLOTS */
	__u32 slot_ns[TG_LEAN_SLOTS]; /* when they come, ascending, below tick_ns */
	__u32 mtu;		/* the longest packet, where cells are shared */
	__u32 listen_slots;
};

_Static_assert(sizeof(struct tg_lean) == 72, "tg_lean layout");

/* What else the agent counts of a class. */
struct tg_lean_count {
	__u64 shared_cells;	/* cells sent that hold packets of any number */
	__u64 shared_packets;	/* packets whose end was in one */
	__u64 received_cells;	/* from peers */
	__u64 received_packets;
	__u64 refused_packets;	/* in them, from addresses that are not that peer's */
	__u64 lost_cells;	/* of peers */
	__u64 locked;		/* sessions whose tick was found */
	__u64 unlocked;		/* those where none was for sure: they have the nominal one */
};

/* The shortest distance of two slots. */
tg_inline __u64 tg_lean_least_gap(const struct tg_lean *l)
{
	__u64 least = l->tick_ns - l->slot_ns[l->slot_count - 1] + l->slot_ns[0];
	__u32 i;

	for (i = 1; i < l->slot_count; i++)
		if (l->slot_ns[i] - l->slot_ns[i - 1] < least)
			least = l->slot_ns[i] - l->slot_ns[i - 1];
	return least;
}

/* The first slot at or after `now` of the pattern that has a tick at `origin`; no clock is younger than a
 * tick. */
tg_inline __u64 tg_lean_slot(const struct tg_lean *l, __u64 origin, __u64 tick_ns, __u64 now)
{
	__u64 tick;
	__u32 i;

	/* the last tick before `now` */
	if (now >= origin)
		tick = now - (now - origin) % tick_ns;
	else
		tick = now - (tick_ns - 1 - (origin - now - 1) % tick_ns);
	for (i = 0; i < l->slot_count; i++)
		if (tick + l->slot_ns[i] >= now)
			return tick + l->slot_ns[i];
	return tick + tick_ns + l->slot_ns[0];
}

/* Uses up one slot. Returns 1 if the session went into another quantum. */
tg_inline int tg_lean_spend(struct tg_session_state *s, const struct tg_lean *l, const struct tg_queue *q,
			    int waiting, __u64 now)
{
	if (!s->left)
		s->left = l->more_slots;
	if (--s->left)
		return 0;
	if (!waiting && tg_session_silent(s, q, now))
		return 0;
	s->left = l->more_slots;
	s->extensions++;
	return 1;
}

/* Whether the session still learns. */
tg_inline int tg_lean_is_learning(const struct tg_session_state *s)
{
	return !s->clock_due_ns;
}

/* Whether what comes tells the tick. Before that the peer may still learn, and delay what this end answers by
 * other times than afterwards. */
tg_inline int tg_lean_listens(const struct tg_session_state *s, const struct tg_lean *l)
{
	return tg_lean_is_learning(s) && s->left <= l->first_slots - l->learn_slots + l->listen_slots;
}

/* Whether it has learnt for as long as it should. */
tg_inline int tg_lean_has_learnt(const struct tg_session_state *s, const struct tg_lean *l)
{
	return tg_lean_is_learning(s) && s->left <= l->first_slots - l->learn_slots;
}

#endif
