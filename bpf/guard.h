/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The way of a packet through classification, padding and queueing. */
#ifndef BPF_GUARD_H
#define BPF_GUARD_H

#include "classify.h"
#include "handover.h"
#include "maps.h"
#include "packet.h"
#include "shape.h"
#include "spend.h"
#include "tick.h"

static __always_inline void note_packet(const struct packet *p)
{
	if (p->fragment)
		count_reason(TG_NOTE_FRAGMENT);
	if (p->ext_headers)
		count_reason(TG_NOTE_EXT_HEADER);
	if (p->icmp_error)
		count_reason(TG_NOTE_ICMP_ERROR);
}

static __always_inline int drop_of_class(struct tg_stats *st, const struct packet *p, int reason)
{
	st->drop_packets++;
	st->drop_bytes += p->ip_len;
	return drop(reason);
}

/*
 * What is in a shared cell ends where its own length says, not with the cell: added bytes are no part of a
 * packet that goes on in the next one. One that is cut is refused where it arrives.
 */
static __always_inline int resize_cell(struct __sk_buff *skb, __u32 l2, __u32 cell, int is_shared)
{
	if (!is_shared)
		return resize_dummy(skb, l2, cell);
	return bpf_skb_change_tail(skb, l2 + cell, 0);
}

/*
 * A cell that the agent made for one of its classes, which the mark tells: a dummy, or one with packets
 * in it, which the agent counts. After
 * a reload the agent goes by the old policy for a moment: its cells take the new
 * size here, dummies as well as real ones, so that no slot stays empty and none
 * stands out.
 */
static __always_inline int agent_cell(struct __sk_buff *skb, __u32 l2, const struct tg_config *conf,
				      __u64 generation, int is_shared)
{
	__u32 class_id = ((skb->mark & TG_MARK_CLASS_MASK) >> TG_MARK_CLASS_SHIFT) - 1;
	__u32 index = (generation & 1) * TG_MAX_CLASSES + class_id;
	struct tg_class *class;
	struct tg_stats *st;

	if (class_id >= TG_MAX_CLASSES || (skb->mark & TG_MARK_TAG_MASK) != conf->mark_tag)
		return drop(TG_DROP_STRAY);
	class = bpf_map_lookup_elem(&classes, &index);
	st = class_stats(TG_OUT, class_id);
	if (!st || !class || !(class->flags & TG_CLASS_AGENT))
		return drop(TG_DROP_STRAY);
	if (skb->len != l2 + class->cell && resize_cell(skb, l2, class->cell, is_shared))
		return drop(TG_DROP_HELPER);
	if (is_shared) {
		count_reason(TG_PASS_SHARED);
		skb->mark = 0;
		return TC_ACT_OK;
	}
	if (!may_send_dummy(class->cell, st)) {
		count_reason(TG_PASS_CELL_WITHHELD);
		return TC_ACT_SHOT;
	}
	st->dummy_packets++;
	st->dummy_bytes += class->cell;
	count_reason(TG_PASS_CELL_DUMMY);
	skb->mark = 0;
	return TC_ACT_OK;
}

/*
 * The agent decides about these before they come here. What it did not release
 * has gone round it (a packet socket, rules that somebody took away), or it does
 * not run. Returns 1 for what has to be dropped.
 */
static __always_inline int is_unreleased(const struct __sk_buff *skb, const struct tg_class *class)
{
	return class->flags & TG_CLASS_AGENT && !(class->flags & TG_CLASS_OPEN) &&
	       !(skb->mark & TG_MARK_PACED);
}

/*
 * Classifies and shapes a packet behind `l2` bytes of link header. It leaves by
 * its class's queue or by the tunnel, on whose egress it already is if `in_place`.
 */
static __always_inline int guard(struct __sk_buff *skb, __u32 l2, int in_place)
{
	__u32 class_id, index, head, size, peer;
	struct tg_config *conf;
	struct place place = { 0 };
	struct tg_class *class;
	struct tg_stats *st;
	struct packet p;
	__u64 generation;
	int reason;

	reason = parse_packet(skb, l2, &p);
	if (reason)
		return drop(reason);
	note_packet(&p);
	conf = current_config(&generation);
	if (!conf)
		return drop(TG_DROP_NO_CLASS);
	if ((p.no_next || is_shared_cell(&p)) && skb->mark & TG_MARK_PACED)
		return agent_cell(skb, l2, conf, generation, !p.no_next);
	class_id = classify(conf, &p, generation, skb->mark);
	if (class_id == NO_CLASS)
		return drop(TG_DROP_LINK_CHATTER);
	peer = peer_of(conf, &p, generation & 1);
	if (peer == NO_PEER)
		return drop(TG_DROP_NOT_ALLOWED);
	st = class_stats(TG_OUT, class_id);
	index = (generation & 1) * TG_MAX_CLASSES + class_id;
	class = bpf_map_lookup_elem(&classes, &index);
	if (!st || !class || !class->defence)
		return drop(TG_DROP_NO_CLASS);
	if (in_place && class->defence == TG_DEFENCE_LEAN && skb->mark & TG_MARK_PACED)
		return hand_packet(skb, l2, &p, class_id, peer);
	reason = class->queue != TG_NO_QUEUE ? find_place(class, peer, &place) : 0;
	if (!reason)
		reason = pad(skb, l2, class, &p, &place, &size);
	if (!reason && is_unreleased(skb, class))
		reason = TG_DROP_UNRELEASED;
	if (!reason && has_metronome(class))
		reason = note_real(class_id, class->defence);
	if (!reason && place.queue)
		reason = enqueue(skb, l2, &place, peer, &p, st, &head);
	if (reason)
		return drop_of_class(st, &p, reason);
	st->real_packets++;
	st->real_bytes += p.ip_len;
	st->pad_bytes += size - p.ip_len;
	if (place.queue) {
		count_reason(TG_PASS_QUEUED);
		return bpf_redirect(head, 0);
	}
	count_reason(class->flags & TG_CLASS_AGENT && skb->mark & TG_MARK_PACED ? TG_PASS_CELL_REAL
										: TG_PASS_PADDED);
	/* nothing that copies marks may take it along */
	skb->mark &= ~TG_MARK_PACED;
	return in_place ? TC_ACT_OK : bpf_redirect(tunnel_ifindex(), 0);
}

#endif
