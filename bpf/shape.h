/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* What is done to a packet of a known class: one ECN value, one size, one schedule. */
#ifndef BPF_SHAPE_H
#define BPF_SHAPE_H

#include <linux/pkt_cls.h>

#include "maps.h"
#include "pad.h"
#include "packet.h"

/* skb->priority values that pfifo_fast sorts into its first and its last band (linux/pkt_sched.h) */
#define PRIO_REAL 6
#define PRIO_CLOCK 2

/* Kernel WireGuard copies the inner ECN field to the outer header: dummies and all flows must show the same
 * one. */
static __always_inline int clear_ecn(struct __sk_buff *skb, __u32 l3, const struct packet *p)
{
	__u8 bytes[2];
	__u16 before, after;

	if (!p->ecn)
		return 0;
	if (bpf_skb_load_bytes(skb, l3, bytes, 2))
		return -1;
	__builtin_memcpy(&before, bytes, 2);
	bytes[1] &= p->family == 4 ? 0xfc : 0xcf;
	__builtin_memcpy(&after, bytes, 2);
	if (p->family == 4 &&
	    bpf_l3_csum_replace(skb, l3 + offsetof(struct iphdr, check), before, after, sizeof(after)))
		return -1;
	if (bpf_skb_store_bytes(skb, l3, bytes, 2, BPF_F_RECOMPUTE_CSUM))
		return -1;
	count_reason(TG_NOTE_ECN);
	return 0;
}

/* Pads the packet, which begins after `l2` bytes of link header. Returns 0 and its size, or the drop reason.
 */
static __always_inline int pad(struct __sk_buff *skb, __u32 l2, const struct tg_class *class,
			       const struct packet *p, __u32 *ret_size)
{
	__u32 random = class->pad_mode == TG_PAD_UNIFORM ? bpf_get_prandom_u32() : 0;
	__u32 target;

	/* Bytes behind the IP packet are not data (RFC 894 padding): only its own length counts. */
	target = tg_pad_target(class, p->ip_len, random);
	if (!target)
		return TG_DROP_OVERSIZE;
	if (clear_ecn(skb, l2, p))
		return TG_DROP_HELPER;
	if (target + l2 != skb->len && bpf_skb_change_tail(skb, target + l2, 0))
		return TG_DROP_HELPER;
	*ret_size = target;
	return 0;
}

static __always_inline __be16 ether_proto(const struct packet *p)
{
	return p->family == 4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
}

/* Gives the packet the internal link header with our state in it, making room for it where there is none. */
static __always_inline int put_meta(struct __sk_buff *skb, __u32 l2, const struct tg_ether_meta *meta)
{
	if (!l2 && bpf_skb_change_head(skb, TG_L2_LEN, 0))
		return -1;
	return bpf_skb_store_bytes(skb, 0, meta, sizeof(*meta), 0);
}

/* NULL for a peer without one. */
static __always_inline struct tg_session *session_of(const struct tg_queue *queue, __u32 peer)
{
	__u32 index;

	if (!queue || peer >= queue->room)
		return 0;
	index = queue->first + peer;
	return bpf_map_lookup_elem(&sessions, &index);
}

/* Puts a padded packet into its peer's part of the class's queue. Returns 0 or the drop reason. */
static __always_inline int enqueue(struct __sk_buff *skb, __u32 l2, const struct tg_class *class, __u32 peer,
				   const struct packet *p, struct tg_stats *st, __u32 *ret_head)
{
	struct tg_ether_meta meta = { .kind = TG_CELL_REAL, .peer = peer, .queue = class->queue };
	__u32 index = class->queue;
	struct tg_queue *queue = bpf_map_lookup_elem(&queues, &index);
	struct tg_session *session = session_of(queue, peer);
	enum tg_admit admit;
	int overdue;
	__u64 now;

	if (!session || !queue || !queue->head_ifindex)
		return TG_DROP_NO_CLASS;
	now = bpf_ktime_get_ns();
	bpf_spin_lock(&session->lock);
	admit = tg_session_admit(&session->state, queue, now, &overdue);
	meta.number = session->state.admitted;
	bpf_spin_unlock(&session->lock);
	if (overdue)
		count_reason(TG_NOTE_CLOCK);
	if (admit != TG_ADMIT_OK)
		st->violations[TG_VIOLATION_OVERFLOW]++;
	if (admit == TG_ADMIT_DROP)
		return TG_DROP_OVERFLOW;
	meta.h_proto = ether_proto(p);
	meta.enqueued = tg_stamp(now);
	if (put_meta(skb, l2, &meta))
		return TG_DROP_HELPER; /* the number is missed, and counted as lost, when the next one leaves
					*/
	skb->priority = PRIO_REAL;
	*ret_head = queue->head_ifindex;
	return 0;
}

#endif
