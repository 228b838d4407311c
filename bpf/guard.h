/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The way of a packet through classification, padding and queueing. */
#ifndef BPF_GUARD_H
#define BPF_GUARD_H

#include "classify.h"
#include "maps.h"
#include "packet.h"
#include "shape.h"
#include "tick.h"

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
 * Classifies and shapes a packet behind `l2` bytes of link header. It leaves by
 * its class's queue or by the tunnel, on whose egress it already is if `in_place`.
 */
static __always_inline int guard(struct __sk_buff *skb, __u32 l2, int in_place)
{
	__u32 class_id, index, head, size, peer;
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
	reason = pad(skb, l2, class, &p, &size);
	if (!reason && has_metronome(class))
		reason = note_real(class_id, class->defence);
	if (!reason && class->queue != TG_NO_QUEUE)
		reason = enqueue(skb, l2, class, peer, &p, st, &head);
	if (reason)
		return drop_of_class(st, &p, reason);
	st->real_packets++;
	st->real_bytes += p.ip_len;
	st->pad_bytes += size - p.ip_len;
	if (class->queue != TG_NO_QUEUE) {
		count_reason(TG_PASS_QUEUED);
		return bpf_redirect(head, 0);
	}
	count_reason(TG_PASS_PADDED);
	return in_place ? TC_ACT_OK : bpf_redirect(tunnel_ifindex(), 0);
}

#endif
