/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The way of a packet through classification, padding and queueing. */
#ifndef BPF_GUARD_H
#define BPF_GUARD_H

#include "classify.h"
#include "maps.h"
#include "packet.h"
#include "shape.h"

static __always_inline int drop(int reason)
{
	count_reason(reason);
	return TC_ACT_SHOT;
}

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
 * A dummy that the agent sends for one of its classes, which the mark tells. One
 * of another size than the class's would stand out: the agent and the tables
 * are of different policies for a moment.
 */
static __always_inline int agent_dummy(struct __sk_buff *skb, __u32 l2, const struct tg_config *conf,
				       __u64 generation)
{
	__u32 class_id = ((skb->mark & TG_MARK_CLASS_MASK) >> TG_MARK_CLASS_SHIFT) - 1;
	__u32 index = (generation & 1) * TG_MAX_CLASSES + class_id;
	struct tg_class *class;
	struct tg_stats *st;

	if (class_id >= TG_MAX_CLASSES || (skb->mark & TG_MARK_TAG_MASK) != conf->mark_tag)
		return drop(TG_DROP_STRAY);
	class = bpf_map_lookup_elem(&classes, &index);
	st = class_stats(TG_OUT, class_id);
	if (!st || !class || !(class->flags & TG_CLASS_AGENT) || skb->len != l2 + class->cell)
		return drop(TG_DROP_STRAY);
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
	__u32 class_id, index, head, size;
	struct tg_config *conf;
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
	if (p.no_next && skb->mark & TG_MARK_PACED)
		return agent_dummy(skb, l2, conf, generation);
	class_id = classify(conf, &p, generation, skb->mark);
	if (class_id == NO_CLASS)
		return drop(TG_DROP_LINK_CHATTER);
	if (!has_peer(conf, &p, generation & 1))
		return drop(TG_DROP_NOT_ALLOWED);
	st = class_stats(TG_OUT, class_id);
	index = (generation & 1) * TG_MAX_CLASSES + class_id;
	class = bpf_map_lookup_elem(&classes, &index);
	if (!st || !class || !class->defence)
		return drop(TG_DROP_NO_CLASS);
	reason = pad(skb, l2, class, &p, &size);
	if (!reason && is_unreleased(skb, class))
		reason = TG_DROP_UNRELEASED;
	if (!reason && class->queue != TG_NO_QUEUE)
		reason = enqueue(skb, l2, class_id, class, &p, &head);
	if (reason)
		return drop_of_class(st, &p, reason);
	st->real_packets++;
	st->real_bytes += p.ip_len;
	st->pad_bytes += size - p.ip_len;
	if (class->queue != TG_NO_QUEUE) {
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
