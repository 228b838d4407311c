/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Dummies on their way out, and what all queues of the tunnel may send of them together. */
#ifndef BPF_SPEND_H
#define BPF_SPEND_H

#include "budget.h"
#include "maps.h"

/* Asks the tunnel's budget about a dummy of `cell` inner bytes; counts what it violates under `st`. */
static __always_inline int may_send_dummy(__u32 cell, struct tg_stats *st)
{
	__u32 zero = 0, violation;
	struct tg_budget *b = bpf_map_lookup_elem(&budget, &zero);
	struct tg_spending *s = bpf_map_lookup_elem(&spending, &zero);
	__u64 now;
	int may;

	if (!b || !s || !b->flags)
		return 1;
	now = bpf_ktime_get_ns();
	bpf_spin_lock(&s->lock);
	may = tg_budget_spend(&s->state, b, cell + b->overhead, now, &violation);
	bpf_spin_unlock(&s->lock);
	if (st && violation < TG_VIOLATION_COUNT)
		st->violations[violation]++;
	return may;
}

static __always_inline void count_dummy_sent(struct tg_stats *st, __u32 cell)
{
	if (st) {
		st->dummy_packets++;
		st->dummy_bytes += cell;
	}
}

/* A copy of the packet goes into the tunnel as a dummy of `cell` inner bytes. Returns what became of it. */
static __always_inline int send_dummy(struct __sk_buff *skb, __u32 cell, struct tg_stats *st)
{
	/* what the budget has nothing left for is not sent later either */
	if (!may_send_dummy(cell, st))
		return TG_PASS_CELL_WITHHELD;
	if (bpf_clone_redirect(skb, tunnel_ifindex(), 0))
		return TG_DROP_HELPER;
	count_dummy_sent(st, cell);
	return TG_PASS_CELL_DUMMY;
}

#endif
