/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * What the agent is given and what it gives back: packets of lean classes, peers'
 * cells, and the packets in these. All of it goes over the segmenter's pair, at
 * whose tail the agent has a packet socket.
 */
#ifndef BPF_HANDOVER_H
#define BPF_HANDOVER_H

#include <linux/if_packet.h>

#include "lean.h"
#include "maps.h"
#include "packet.h"
#include "shape.h"

/* A cell with packets in it, of ours or of a peer. */
static __always_inline int is_shared_cell(const struct packet *p)
{
	return p->family == 6 && p->flow.proto == TG_LEAN_PROTOCOL && !p->ext_headers;
}

static __always_inline int hand_over(struct __sk_buff *skb, __u32 l2, const struct tg_ether_meta *meta,
				     int reason)
{
	if (put_meta(skb, l2, meta))
		return drop(TG_DROP_HELPER);
	count_reason(reason);
	return bpf_redirect(segmenter_ifindex(), 0);
}

/* A packet that is to leave in the agent's cells, as it is when all tables of the firewall have seen it. */
static __always_inline int hand_packet(struct __sk_buff *skb, __u32 l2, const struct packet *p,
				       __u32 class_id, __u32 peer)
{
	struct tg_ether_meta meta = { .kind = TG_CELL_TAKEN, .peer = peer, .queue = class_id };

	meta.number = skb->mark & ~TG_MARK_PACED;
	meta.h_proto = ether_proto(p);
	return hand_over(skb, l2, &meta, TG_PASS_TAKEN);
}

static __always_inline int hand_cell(struct __sk_buff *skb, __u32 l2, const struct packet *p)
{
	struct tg_ether_meta meta = { .kind = TG_CELL_GIVEN };

	meta.h_proto = ether_proto(p);
	return hand_over(skb, l2, &meta, TG_PASS_GIVEN);
}

/* Whether a dummy that begins after `l2` bytes of link header says that its sender can share cells. */
static __always_inline int has_hello(struct __sk_buff *skb, __u32 l2)
{
	__be32 magic;

	return !bpf_skb_load_bytes(skb, l2 + sizeof(struct ipv6hdr), &magic, sizeof(magic)) &&
	       magic == bpf_htonl(TG_HELLO_MAGIC);
}

/* A packet out of a peer's cell, as if it had come out of the tunnel by itself: routes, filters and counters
 * are those of the tunnel. */
static __always_inline int to_stack(struct __sk_buff *skb)
{
	if (bpf_skb_change_type(skb, PACKET_HOST))
		return drop(TG_DROP_HELPER);
	count_reason(TG_PASS_INNER);
	return bpf_redirect(tunnel_ifindex(), BPF_F_INGRESS);
}

#endif
