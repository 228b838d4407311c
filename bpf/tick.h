/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The metronomes of classes that delay nothing and send dummies at times of their own. */
#ifndef BPF_TICK_H
#define BPF_TICK_H

#include "maps.h"
#include "metronome.h"
#include "round.h"
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
	switch (send_dummy(skb, m->cell, class_stats(TG_OUT, class_id))) {
	case TG_PASS_CELL_DUMMY:
		count_reason(TG_NOTE_TICK_DUMMY);
		break;
	case TG_DROP_HELPER:
		count_reason(TG_DROP_HELPER);
		break;
	}
}

/* One of the two that go round is put in by the loader. */
static __always_inline int start_metronome(struct __sk_buff *skb, const struct tg_ether_meta *start,
					   const struct tg_metronome *m, struct tg_metronome_session *session)
{
	struct tg_ether_meta meta = *start;

	meta.kind = TG_CELL_TICK;
	meta.departs_ns = 0;
	bpf_spin_lock(&session->lock);
	meta.peer = tg_twins_start(&session->state.clocks, start->number);
	bpf_spin_unlock(&session->lock);
	return start_round(skb, &meta, m->head_ifindex);
}

/* What is due goes out, and the clock packet goes round again. */
static __always_inline int tick(struct __sk_buff *skb, __u32 class_id, struct tg_ether_meta *meta,
				const struct tg_metronome *m, struct tg_metronome_session *session)
{
	struct tg_ether_meta other = *meta;
	__u64 now = bpf_ktime_get_ns();
	__u16 lost;
	int known;
	__u32 i;

	bpf_spin_lock(&session->lock);
	known = tg_twins_seen(&session->state.clocks, meta->peer, &lost);
	bpf_spin_unlock(&session->lock);
	if (!known)
		return drop(TG_DROP_STRAY);
	for (i = 0; i < TG_METRONOME_DUMMIES && beat(class_id, now); i++)
		send_tick_dummy(skb, class_id, m);
	bpf_spin_lock(&session->lock);
	meta->departs_ns = tg_metronome_turn(&session->state, m, now);
	bpf_spin_unlock(&session->lock);
	skb->priority = PRIO_CLOCK;
	if (m->clock != TG_CLOCK_FQ)
		meta->departs_ns = 0;
	/* without its time it comes round at once, and then gets one */
	else if (bpf_skb_store_bytes(skb, 0, meta, sizeof(*meta), 0))
		count_reason(TG_DROP_HELPER);
	if (lost) {
		other.peer = lost;
		other.departs_ns = meta->departs_ns;
		send_twin(skb, meta, &other, m->head_ifindex);
	}
	count_reason(TG_PASS_TICK);
	return bpf_redirect(m->head_ifindex, 0);
}

#endif
