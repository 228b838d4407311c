/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The metronomes of classes that delay nothing and send dummies at times of their own. */
#ifndef BPF_TICK_H
#define BPF_TICK_H

#include <linux/pkt_cls.h>

#include "maps.h"
#include "metronome.h"
#include "shape.h"
#include "spend.h"

/*
 * Tells the class's metronome of a real packet. Returns 0 or the drop reason.
 * A global function: the verifier looks at it once, on its own, instead of once
 * for each path that leads here.
 */
__noinline int note_real(__u32 class_id, __u32 defence)
{
	struct tg_metronome_session *session;
	struct tg_metronome *m;
	__u64 now;

	m = bpf_map_lookup_elem(&metronomes, &class_id);
	session = bpf_map_lookup_elem(&metronome_state, &class_id);
	if (!m || !session || m->defence != defence)
		return TG_DROP_NO_CLASS;
	now = bpf_ktime_get_ns();
	bpf_spin_lock(&session->lock);
	tg_metronome_real(&session->state, m, now);
	bpf_spin_unlock(&session->lock);
	return 0;
}

static __always_inline int has_metronome(const struct tg_class *class)
{
	return class->defence == TG_DEFENCE_FRONT || class->defence == TG_DEFENCE_WTF_PAD;
}

/* As start_clock() does for a queue: a clone goes round, free of the loader's socket. */
static __always_inline int start_metronome(struct __sk_buff *skb, const struct tg_metronome *m)
{
	__u8 kind = TG_CELL_TICK;

	skb->priority = PRIO_CLOCK;
	if (bpf_skb_store_bytes(skb, offsetof(struct tg_ether_meta, kind), &kind, sizeof(kind), 0) ||
	    bpf_clone_redirect(skb, m->head_ifindex, 0)) {
		count_reason(TG_DROP_HELPER);
		return TC_ACT_SHOT;
	}
	count_reason(TG_PASS_CELL_START);
	return TC_ACT_SHOT;
}

/* Whether a dummy of the class is due; global for the same reason. */
__noinline int beat(__u32 class_id, __u64 now)
{
	__u32 random[TG_METRONOME_WORDS] = { bpf_get_prandom_u32(), bpf_get_prandom_u32(),
					     bpf_get_prandom_u32(), bpf_get_prandom_u32() };
	struct tg_metronome_session *session = bpf_map_lookup_elem(&metronome_state, &class_id);
	struct tg_metronome *m = bpf_map_lookup_elem(&metronomes, &class_id);
	__u32 zero = 0;
	struct tg_exponential *table = bpf_map_lookup_elem(&exponential, &zero);
	int due;

	if (!session || !m || !table)
		return 0;
	bpf_spin_lock(&session->lock);
	due = tg_metronome_beat(&session->state, m, table, now, random);
	bpf_spin_unlock(&session->lock);
	return due;
}

static __always_inline void send_tick_dummy(struct __sk_buff *skb, __u32 class_id,
					    const struct tg_metronome *m)
{
	struct tg_stats *st = class_stats(TG_OUT, class_id);

	/* what the budget has nothing left for is not sent later either */
	if (!may_send_dummy(m->cell, st))
		return;
	if (bpf_clone_redirect(skb, tunnel_ifindex(), 0)) {
		count_reason(TG_DROP_HELPER);
		return;
	}
	count_reason(TG_NOTE_TICK_DUMMY);
	if (st) {
		st->dummy_packets++;
		st->dummy_bytes += m->cell;
	}
}

/* What is due goes out, and the clock packet goes round again. */
static __always_inline int tick(struct __sk_buff *skb, __u32 class_id, const struct tg_metronome *m,
				struct tg_metronome_session *session)
{
	__u64 now = bpf_ktime_get_ns(), next;
	__u32 i;

	for (i = 0; i < TG_METRONOME_DUMMIES && beat(class_id, now); i++)
		send_tick_dummy(skb, class_id, m);
	bpf_spin_lock(&session->lock);
	next = tg_metronome_turn(&session->state, m, now);
	bpf_spin_unlock(&session->lock);
	skb->priority = PRIO_CLOCK;
	if (m->clock == TG_CLOCK_FQ &&
	    bpf_skb_store_bytes(skb, offsetof(struct tg_ether_meta, departs_ns), &next, sizeof(next), 0)) {
		/* without its time it comes round at once, and then gets one */
		count_reason(TG_DROP_HELPER);
	}
	count_reason(TG_PASS_TICK);
	return bpf_redirect(m->head_ifindex, 0);
}

#endif
