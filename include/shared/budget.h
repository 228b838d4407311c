/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * What the dummies of a tunnel may cost: pure functions over explicit state,
 * with time as a parameter. The caller holds the lock of the map value that
 * contains the state.
 *
 * The day begins with the first dummy in it and lasts 24 hours of
 * CLOCK_MONOTONIC: no wall clock, which may be set. The share of the link is a
 * token bucket of one second, kept as the time until which it is used up.
 */
#ifndef TG_SHARED_BUDGET_H
#define TG_SHARED_BUDGET_H

#include <linux/bpf.h>

#include "types.h"

#define TG_DAY_NS 86400000000000ull
#define TG_SHARE_DEPTH_NS 1000000000ull

struct tg_spending_state {
	__u64 day_start_ns;	/* the first dummy of the running day; 0 = none yet */
	__u64 day_bytes;	/* dummies since then, on the wire */
	__u64 share_until_ns;	/* up to when the share of the link is used up */
};

/* map `spending`, ARRAY[1]; read it with BPF_F_LOCK */
struct tg_spending {
	struct bpf_spin_lock lock;
	__u32 reserved;
	struct tg_spending_state state;
};

_Static_assert(sizeof(struct tg_spending) == 32, "tg_spending layout");

/* A clock that goes back begins a day anew, but what was spent stays spent: never more than the budget. */
tg_inline void tg_budget_day(struct tg_spending_state *s, __u64 now)
{
	if (!s->day_start_ns || now < s->day_start_ns) {
		s->day_start_ns = now;
	} else if (now - s->day_start_ns >= TG_DAY_NS) {
		s->day_start_ns = now;
		s->day_bytes = 0;
	}
}

tg_inline int tg_budget_day_allows(struct tg_spending_state *s, const struct tg_budget *b, __u64 bytes,
				   __u64 now)
{
	tg_budget_day(s, now);
	return s->day_bytes + bytes <= b->day_bytes;
}

/* Uses the share if it may. What is ahead by more than could have been spent comes from a clock that went
 * back. */
tg_inline int tg_budget_share_allows(struct tg_spending_state *s, const struct tg_budget *b, __u64 bytes,
				     __u64 now)
{
	__u64 cost = bytes * 1000000000ull / b->share_rate;

	if (s->share_until_ns < now)
		s->share_until_ns = now;
	if (s->share_until_ns - now > TG_SHARE_DEPTH_NS + cost)
		s->share_until_ns = now + TG_SHARE_DEPTH_NS + cost;
	if (s->share_until_ns - now > TG_SHARE_DEPTH_NS)
		return 0;
	s->share_until_ns += cost;
	return 1;
}

/*
 * A dummy of `bytes` on the wire is to go at `now`. Returns 1 if it may, and
 * counts it then. *ret_violation is the budget that it exceeds, or
 * TG_VIOLATION_COUNT.
 */
tg_inline int tg_budget_spend(struct tg_spending_state *s, const struct tg_budget *b, __u64 bytes, __u64 now,
			      __u32 *ret_violation)
{
	__u32 violation = TG_VIOLATION_COUNT;

	if (b->flags & TG_BUDGET_DAY && !tg_budget_day_allows(s, b, bytes, now))
		violation = b->flags & TG_BUDGET_METERED ? TG_VIOLATION_METERED : TG_VIOLATION_DAY;
	else if (b->flags & TG_BUDGET_SHARE && b->share_rate && !tg_budget_share_allows(s, b, bytes, now))
		violation = TG_VIOLATION_SHARE;
	*ret_violation = violation;
	if (violation != TG_VIOLATION_COUNT && b->flags & TG_BUDGET_STOP)
		return 0;
	s->day_bytes += bytes;
	return 1;
}

#endif
