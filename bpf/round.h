/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The packets that go round in a pair and are its clock. */
#ifndef BPF_ROUND_H
#define BPF_ROUND_H

#include "maps.h"
#include "shape.h"

/* A copy of the packet goes round with this header; the packet itself keeps it too. */
static __always_inline int send_round(struct __sk_buff *skb, const struct tg_ether_meta *meta, __u32 head)
{
	skb->priority = PRIO_CLOCK;
	if (bpf_skb_store_bytes(skb, 0, meta, sizeof(*meta), 0))
		return -1;
	return bpf_clone_redirect(skb, head, 0) ? -1 : 0;
}

/*
 * What the loader sent still holds its packet socket, and that its network
 * namespace, which could then never end. A clone holds nothing: it goes round.
 */
static __always_inline int start_round(struct __sk_buff *skb, const struct tg_ether_meta *meta, __u32 head)
{
	if (send_round(skb, meta, head))
		return drop(TG_DROP_HELPER);
	count_reason(TG_PASS_CELL_START);
	return TC_ACT_SHOT;
}

/* The other of the two is lost: a copy of this one takes its place as `twin`. */
static __always_inline void send_twin(struct __sk_buff *skb, const struct tg_ether_meta *meta,
				      const struct tg_ether_meta *twin, __u32 head)
{
	if (send_round(skb, twin, head) || bpf_skb_store_bytes(skb, 0, meta, sizeof(*meta), 0))
		count_reason(TG_DROP_HELPER);
	else
		count_reason(TG_NOTE_TWIN);
}

#endif
