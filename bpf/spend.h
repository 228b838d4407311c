/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Whether a dummy may go: what all queues of the tunnel may send together. */
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

#endif
