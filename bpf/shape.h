/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* What is done to a packet of a known class: one ECN value, one size, one schedule. */
#ifndef BPF_SHAPE_H
#define BPF_SHAPE_H

#include <linux/pkt_cls.h>

#include "draw.h"
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

/* NULL for a peer without one. */
static __always_inline struct tg_session *session_of(const struct tg_queue *queue, __u32 peer)
{
	__u32 index;

	if (!queue || peer >= queue->room)
		return 0;
	index = queue->first + peer;
	return bpf_map_lookup_elem(&sessions, &index);
}

/* Where a packet of a paced class goes; without a queue it goes into the tunnel. */
struct place {
	struct tg_queue *queue;
	struct tg_session *session;
	__u32 index;		/* of the queue */
	__s32 step;		/* how much longer than a period it lasts there (dither.h) */
};

/* Returns 0 or the drop reason. */
static __always_inline int find_place(const struct tg_class *class, __u32 peer, struct place *ret_place)
{
	struct place place = { .index = class->queue };

	place.queue = bpf_map_lookup_elem(&queues, &place.index);
	place.session = session_of(place.queue, peer);
	if (!place.session || !place.queue || !place.queue->head_ifindex)
		return TG_DROP_NO_CLASS;
	place.step = next_step(place.session, place.queue);
	*ret_place = place;
	return 0;
}

/*
 * Pads the packet, which begins after `l2` bytes of link header; on its way into a queue it gets the length
 * there at once. Returns 0 and its size, or the drop reason.
 */
static __always_inline int pad(struct __sk_buff *skb, __u32 l2, const struct tg_class *class,
			       const struct packet *p, const struct place *place, __u32 *ret_size)
{
	__u32 random = class->pad_mode == TG_PAD_UNIFORM ? bpf_get_prandom_u32() : 0;
	__u32 target, length;

	/* Bytes behind the IP packet are not data (RFC 894 padding): only its own length counts. */
	target = tg_pad_target(class, p->ip_len, random);
	if (!target)
		return TG_DROP_OVERSIZE;
	if (clear_ecn(skb, l2, p))
		return TG_DROP_HELPER;
	length = place->queue ? tg_dither_length(target + TG_L2_LEN, place->step) - TG_L2_LEN : target;
	if (length + l2 != skb->len && bpf_skb_change_tail(skb, length + l2, 0))
		return TG_DROP_HELPER;
	*ret_size = target;
	return 0;
}

/* Gives a dummy, which begins after `l2` bytes of link header, another size: it fills its cell. Returns 0 or
 * the drop reason. */
static __always_inline int resize_dummy(struct __sk_buff *skb, __u32 l2, __u32 cell)
{
	__be16 payload = bpf_htons(cell - sizeof(struct ipv6hdr));

	if (cell < TG_MIN_CELL || bpf_skb_change_tail(skb, l2 + cell, 0))
		return TG_DROP_HELPER;
	return bpf_skb_store_bytes(skb, l2 + offsetof(struct ipv6hdr, payload_len), &payload, sizeof(payload),
				   0)
		       ? TG_DROP_HELPER
		       : 0;
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

/*
 * Counts a real packet into a session under its lock. The session may still be
 * in another queue than its class (*index), behind whose cells this packet then
 * belongs: *index and *queue become that one. Returns 0 or the drop reason.
 */
static __always_inline int admit_locked(struct tg_session *session, __u32 *index, struct tg_queue **queue,
					__s32 step, struct tg_stats *st, __u64 now)
{
	__u32 home = session->state.queue;
	struct tg_queue *old = bpf_map_lookup_elem(&queues, &home);
	enum tg_admit admit;
	int overdue;

	bpf_spin_lock(&session->lock);
	if (home != *index && home == session->state.queue && old && old->head_ifindex &&
	    old->first == (*queue)->first) {
		*queue = old;
		*index = home;
	}
	admit = tg_session_admit(&session->state, *queue, now, step, &overdue);
	bpf_spin_unlock(&session->lock);
	if (overdue)
		count_reason(TG_NOTE_CLOCK);
	if (admit != TG_ADMIT_OK)
		st->violations[TG_VIOLATION_OVERFLOW]++;
	return admit == TG_ADMIT_DROP ? TG_DROP_OVERFLOW : 0;
}

/* Puts a padded packet into its peer's part of the class's queue. Returns 0 or the drop reason. */
static __always_inline int enqueue(struct __sk_buff *skb, __u32 l2, const struct place *place, __u32 peer,
				   const struct packet *p, struct tg_stats *st, __u32 *ret_head)
{
	struct tg_ether_meta meta = { .kind = TG_CELL_REAL, .peer = peer };
	struct tg_session *session = place->session;
	struct tg_queue *queue = place->queue;
	__u32 index = place->index;
	__u64 now;

	if (!session || !queue)
		return TG_DROP_NO_CLASS;
	now = bpf_ktime_get_ns();
	if (!tg_session_admit_fast(&session->state, queue, index, now, place->step)) {
		int reason = admit_locked(session, &index, &queue, place->step, st, now);

		if (reason)
			return reason;
	}
	meta.number = session->state.admitted;
	meta.queue = index;
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
