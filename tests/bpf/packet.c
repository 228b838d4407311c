/* SPDX-License-Identifier: BSD-3-Clause */
#include <arpa/inet.h>
#include <net/ethernet.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <string.h>

#include "packet.h"

static size_t transport_header(const struct packet_spec *s, uint8_t *at)
{
	struct tcphdr tcp = { .source = htons(s->sport), .dest = htons(s->dport), .doff = 5, .ack = 1 };
	struct udphdr udp = { .source = htons(s->sport),
			      .dest = htons(s->dport),
			      .len = htons((uint16_t)(sizeof(udp) + s->payload)) };
	struct icmphdr icmp = { .type = s->icmp_type };

	switch (s->proto) {
	case IPPROTO_TCP:
		memcpy(at, &tcp, sizeof(tcp));
		return sizeof(tcp);
	case IPPROTO_UDP:
		memcpy(at, &udp, sizeof(udp));
		return sizeof(udp);
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		memcpy(at, &icmp, sizeof(icmp));
		return sizeof(icmp);
	default:
		return 0;
	}
}

uint16_t packet_ipv4_check(const uint8_t *ip)
{
	size_t words = (ip[0] & 15) * 2u;
	uint32_t sum = 0;

	for (size_t i = 0; i < words; i++)
		sum += (uint32_t)(ip[2 * i] << 8 | ip[2 * i + 1]);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static size_t build_v4(const struct packet_spec *s, uint8_t *at, size_t rest)
{
	unsigned ihl = s->ihl ? s->ihl : 5, header = ihl > 5 ? ihl * 4 : 20;
	struct iphdr ip = { .version = 4,
			    .ihl = ihl & 15,
			    .tos = s->tos,
			    .ttl = 64,
			    .protocol = s->proto,
			    .frag_off = htons(s->frag_off),
			    .tot_len = htons((uint16_t)((int)(header + rest) + s->lie_length)) };
	uint16_t check;

	inet_pton(AF_INET, s->src, &ip.saddr);
	inet_pton(AF_INET, s->dst, &ip.daddr);
	memset(at, 1, header);
	memcpy(at, &ip, sizeof(ip));
	if (ihl >= 5) {
		check = htons(packet_ipv4_check(at));
		memcpy(at + offsetof(struct iphdr, check), &check, sizeof(check));
	}
	return header;
}

/* Extension headers from front to back; returns their length and the next-header value of the fixed header.
 */
static size_t extensions(const struct packet_spec *s, uint8_t *at, uint8_t *ret_first)
{
	uint8_t *next = ret_first;
	size_t len = 0;

	for (unsigned i = 0; i < s->ext_hopopts; i++) {
		*next = IPPROTO_HOPOPTS;
		memset(at + len, 0, 8);
		at[len + 2] = 1;	/* PadN */
		at[len + 3] = 4;
		next = at + len;
		len += 8;
	}
	if (s->frag_off) {
		*next = IPPROTO_FRAGMENT;
		memset(at + len, 0, 8);
		at[len + 2] = (uint8_t)(s->frag_off >> 8);
		at[len + 3] = (uint8_t)s->frag_off;
		next = at + len;
		len += 8;
	}
	*next = s->proto;
	return len;
}

static size_t build_v6(const struct packet_spec *s, uint8_t *at, size_t rest)
{
	struct ip6_hdr ip = { .ip6_hlim = 64 };
	uint8_t first;
	size_t ext = extensions(s, at + sizeof(ip), &first);

	ip.ip6_flow = htonl(6u << 28 | (uint32_t)s->tos << 20);
	ip.ip6_nxt = first;
	ip.ip6_plen = htons((uint16_t)((int)(ext + rest) + s->lie_length));
	inet_pton(AF_INET6, s->src, &ip.ip6_src);
	inet_pton(AF_INET6, s->dst, &ip.ip6_dst);
	memcpy(at, &ip, sizeof(ip));
	return sizeof(ip) + ext;
}

size_t packet_build(const struct packet_spec *s, uint8_t *frame)
{
	uint8_t transport[64];
	size_t header = transport_header(s, transport), len = ETH_HLEN, l3 = 0;
	uint16_t ethertype = s->ethertype ? s->ethertype : s->family == 6 ? ETHERTYPE_IPV6 : ETHERTYPE_IP;

	memset(frame, 0, PACKET_ROOM);
	frame[12] = (uint8_t)(ethertype >> 8);
	frame[13] = (uint8_t)ethertype;
	if (s->family == 4)
		l3 = build_v4(s, frame + len, header + s->payload);
	else if (s->family == 6)
		l3 = build_v6(s, frame + len, header + s->payload);
	len += l3;
	memcpy(frame + len, transport, header);
	len += header;
	memset(frame + len, 0xa5, s->payload);
	len += s->payload;
	memset(frame + len, 0x5a, s->trailer);
	len += s->trailer;
	return len - s->cut;
}
