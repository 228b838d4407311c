/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * What the programs need to know of an IP packet. Parsing is strict: a packet
 * whose headers or stated length do not fit into it is refused, so that no
 * later step works on a size that an attacker chose.
 */
#ifndef BPF_PACKET_H
#define BPF_PACKET_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "types.h"

#define IP_MF_OR_OFFSET 0x3fff	/* more-fragments bit and fragment offset */
#define IP_OFFSET 0x1fff
#define MAX_EXT_HEADERS 6	/* more than any sane packet carries; then its ports stay unknown */

struct packet {
	struct tg_flow_key flow; /* ports 0 when unknown */
	__u16 ip_len;		/* as the IP header states */
	__u8 family;		/* 4 or 6 */
	__u8 ecn;
	__u8 fragment;
	__u8 ext_headers;
	__u8 icmp_error;
	__u8 no_next;		/* IPv6 next header 59: a dummy */
};

/* Makes `len` bytes readable at skb->data. */
static __always_inline int reach(struct __sk_buff *skb, __u32 len)
{
	if ((long)skb->data + len <= (long)skb->data_end)
		return 0;
	return bpf_skb_pull_data(skb, len);
}

static __always_inline int has_ports(__u8 proto)
{
	return proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == IPPROTO_SCTP ||
	       proto == IPPROTO_UDPLITE;
}

/* The first four bytes of every transport with ports: source, destination. */
static __always_inline int parse_transport(struct __sk_buff *skb, __u32 offset, struct packet *p)
{
	__u8 type;

	if (has_ports(p->flow.proto))
		return bpf_skb_load_bytes(skb, offset, &p->flow.sport, 4) ? TG_DROP_TRUNCATED : 0;
	if (p->flow.proto != IPPROTO_ICMP && p->flow.proto != IPPROTO_ICMPV6)
		return 0;
	if (bpf_skb_load_bytes(skb, offset, &type, 1))
		return TG_DROP_TRUNCATED;
	if (p->flow.proto == IPPROTO_ICMPV6)
		p->icmp_error = type < 128;
	else
		p->icmp_error = (type >= 3 && type <= 5) || type == 11 || type == 12;
	return 0;
}

static __always_inline int parse_v4(struct __sk_buff *skb, __u32 l3, struct packet *p)
{
	struct iphdr *ip;
	__u32 header_len;
	__u16 frag;

	if (reach(skb, l3 + sizeof(*ip)))
		return TG_DROP_TRUNCATED;
	ip = (void *)(long)skb->data + l3;
	if ((void *)(ip + 1) > (void *)(long)skb->data_end)
		return TG_DROP_TRUNCATED;
	header_len = ip->ihl * 4;
	p->ip_len = bpf_ntohs(ip->tot_len);
	if (ip->version != 4 || header_len < sizeof(*ip) || p->ip_len < header_len ||
	    l3 + p->ip_len > skb->len)
		return TG_DROP_TRUNCATED;
	p->family = 4;
	p->ecn = ip->tos & 3;
	p->flow.proto = ip->protocol;
	p->flow.saddr[10] = p->flow.saddr[11] = 0xff;
	p->flow.daddr[10] = p->flow.daddr[11] = 0xff;
	__builtin_memcpy(&p->flow.saddr[12], &ip->saddr, 4);
	__builtin_memcpy(&p->flow.daddr[12], &ip->daddr, 4);
	frag = bpf_ntohs(ip->frag_off);
	p->fragment = !!(frag & IP_MF_OR_OFFSET);
	/* A rule with ports must treat all fragments alike, so the first one's ports do not count either. */
	if (p->fragment)
		return 0;
	return parse_transport(skb, l3 + header_len, p);
}

struct ext_header {
	__u8 next;
	__u8 len;
	__be16 rest;		/* fragment header: offset, flags */
};

/* Follows the chain of extension headers; sets flow.proto and, unless it is a fragment, the ports. */
static __always_inline int parse_v6_chain(struct __sk_buff *skb, __u32 offset, __u8 next, struct packet *p)
{
	struct ext_header ext;
	int i;

	for (i = 0; i < MAX_EXT_HEADERS; i++) {
		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_FRAGMENT &&
		    next != IPPROTO_DSTOPTS && next != IPPROTO_AH)
			break;
		if (bpf_skb_load_bytes(skb, offset, &ext, sizeof(ext)))
			return TG_DROP_TRUNCATED;
		p->ext_headers = 1;
		if (next == IPPROTO_FRAGMENT) {
			p->fragment = 1;
			offset += 8;
		} else if (next == IPPROTO_AH) {
			offset += (ext.len + 2) * 4;
		} else {
			offset += (ext.len + 1) * 8;
		}
		next = ext.next;
	}
	p->flow.proto = next;
	p->no_next = next == IPPROTO_NONE && !p->ext_headers;
	if (p->fragment)
		return 0;
	return parse_transport(skb, offset, p);
}

static __always_inline int parse_v6(struct __sk_buff *skb, __u32 l3, struct packet *p)
{
	struct ipv6hdr *ip;
	__u32 len;
	__u8 next;

	if (reach(skb, l3 + sizeof(*ip)))
		return TG_DROP_TRUNCATED;
	ip = (void *)(long)skb->data + l3;
	if ((void *)(ip + 1) > (void *)(long)skb->data_end)
		return TG_DROP_TRUNCATED;
	len = bpf_ntohs(ip->payload_len) + sizeof(*ip);
	/* Jumbograms (RFC 2675: payload length 0 with a hop-by-hop option) do not fit a tunnel. */
	if (ip->version != 6 || len > 0xffff || l3 + len > skb->len)
		return TG_DROP_TRUNCATED;
	p->ip_len = len;
	p->family = 6;
	p->ecn = (ip->flow_lbl[0] >> 4) & 3;
	__builtin_memcpy(p->flow.saddr, &ip->saddr, 16);
	__builtin_memcpy(p->flow.daddr, &ip->daddr, 16);
	next = ip->nexthdr;
	return parse_v6_chain(skb, l3 + sizeof(*ip), next, p);
}

/* Fills *p from the IP packet at offset `l3`. Returns 0 or the drop reason. */
static __always_inline int parse_packet(struct __sk_buff *skb, __u32 l3, struct packet *p)
{
	__builtin_memset(p, 0, sizeof(*p));
	if (skb->vlan_present)
		return TG_DROP_VLAN;
	if (skb->protocol == bpf_htons(ETH_P_IP))
		return parse_v4(skb, l3, p);
	if (skb->protocol == bpf_htons(ETH_P_IPV6))
		return parse_v6(skb, l3, p);
	return TG_DROP_NOT_IP;
}

/* The flow as the other side sees it: what this host would send in answer. */
static __always_inline void reverse_flow(struct tg_flow_key *flow)
{
	__u8 addr[16];
	__be16 port = flow->sport;

	__builtin_memcpy(addr, flow->saddr, 16);
	__builtin_memcpy(flow->saddr, flow->daddr, 16);
	__builtin_memcpy(flow->daddr, addr, 16);
	flow->sport = flow->dport;
	flow->dport = port;
}

#endif
