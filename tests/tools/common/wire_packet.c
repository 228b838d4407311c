/* SPDX-License-Identifier: BSD-3-Clause */
#include <linux/if_ether.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "common/wire_packet.h"

enum { IPV4_HEADER = 20, IPV6_HEADER = 40, UDP_HEADER = 8, MAX_EXT_HEADERS = 8 };

/* lengths of WireGuard's fixed messages, white paper section 5.4 */
enum { WG_INITIATION = 148, WG_RESPONSE = 92, WG_COOKIE = 64 };

enum { MLD2_REPORT = 143 };

static uint16_t be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)be16(p) << 16 | be16(p + 2);
}

/* as all of WireGuard's numbers are */
static uint64_t little_endian(const uint8_t *p, size_t bytes)
{
	uint64_t value = 0;

	while (bytes-- > 0)
		value = value << 8 | p[bytes];
	return value;
}

static bool parse_udp(const uint8_t *p, size_t size, struct wire_headers *h)
{
	if (size < UDP_HEADER)
		return false;
	h->sport = be16(p);
	h->dport = be16(p + 2);
	h->udp_bytes = be16(p + 4);
	h->udp_checksum = be16(p + 6);
	if (h->udp_bytes < UDP_HEADER)
		return false;
	h->is_udp = true;
	h->payload_bytes = (uint32_t)h->udp_bytes - UDP_HEADER;
	if (size >= UDP_HEADER + 16 && h->payload_bytes >= 16) {
		memcpy(h->message, p + UDP_HEADER, sizeof(h->message));
		h->receiver = (uint32_t)little_endian(p + UDP_HEADER + 4, 4);
		h->counter = little_endian(p + UDP_HEADER + 8, 8);
	}
	return true;
}

static bool parse_transport(const uint8_t *p, size_t size, struct wire_headers *h)
{
	if (h->fragment_offset)
		return true;
	if (h->protocol == IPPROTO_UDP)
		return parse_udp(p, size, h);
	if (h->protocol == IPPROTO_ICMPV6 && size)
		h->icmp6_type = p[0];
	return true;
}

static bool parse_ipv4(const uint8_t *p, size_t size, struct wire_headers *h)
{
	if (size < IPV4_HEADER || p[0] >> 4 != 4)
		return false;
	h->family = AF_INET;
	h->header_bytes = (p[0] & 15u) * 4;
	h->dscp = p[1] >> 2;
	h->ecn = p[1] & 3;
	h->ip_bytes = be16(p + 2);
	h->id = be16(p + 4);
	h->df = p[6] & 0x40;
	h->mf = p[6] & 0x20;
	h->fragment_offset = (uint16_t)((be16(p + 6) & 0x1fff) * 8);
	h->ttl = p[8];
	h->protocol = p[9];
	memcpy(h->src, p + 12, 4);
	memcpy(h->dst, p + 16, 4);
	if (h->header_bytes < IPV4_HEADER || h->header_bytes > size || h->ip_bytes < h->header_bytes)
		return false;
	return parse_transport(p + h->header_bytes, size - h->header_bytes, h);
}

/* Skips the extension headers; h->header_bytes and h->protocol end up behind them. */
static bool skip_extensions(const uint8_t *p, size_t size, struct wire_headers *h)
{
	for (int i = 0; i < MAX_EXT_HEADERS; i++) {
		const uint8_t *ext = p + h->header_bytes;
		uint32_t length = 8;

		if (h->protocol != IPPROTO_HOPOPTS && h->protocol != IPPROTO_ROUTING &&
		    h->protocol != IPPROTO_DSTOPTS && h->protocol != IPPROTO_FRAGMENT)
			return true;
		if (h->header_bytes + length > size)
			return false;
		if (h->protocol == IPPROTO_FRAGMENT) {
			h->fragment_offset = be16(ext + 2) & 0xfff8;
			h->mf = ext[3] & 1;
			h->id = be32(ext + 4);
		} else {
			length += ext[1] * 8u;
		}
		h->protocol = ext[0];
		h->header_bytes += length;
		if (h->header_bytes > size)
			return false;
		if (h->fragment_offset)
			return true;
	}
	return false;
}

static bool parse_ipv6(const uint8_t *p, size_t size, struct wire_headers *h)
{
	if (size < IPV6_HEADER || p[0] >> 4 != 6)
		return false;
	h->family = AF_INET6;
	h->header_bytes = IPV6_HEADER;
	h->dscp = (be16(p) >> 6) & 63;
	h->ecn = (p[1] >> 4) & 3;
	h->flow_label = be32(p) & 0xfffff;
	h->ip_bytes = IPV6_HEADER + be16(p + 4);
	h->protocol = p[6];
	h->ttl = p[7];
	memcpy(h->src, p + 8, 16);
	memcpy(h->dst, p + 24, 16);
	if (!skip_extensions(p, size, h) || h->ip_bytes < h->header_bytes)
		return false;
	return parse_transport(p + h->header_bytes, size - h->header_bytes, h);
}

bool wire_parse(uint16_t ether_type, const uint8_t *packet, size_t size, struct wire_headers *ret_headers)
{
	struct wire_headers h = { .ether_type = ether_type };
	bool ok = true;

	if (ether_type == ETH_P_IP)
		ok = parse_ipv4(packet, size, &h);
	else if (ether_type == ETH_P_IPV6)
		ok = parse_ipv6(packet, size, &h);
	if (ok)
		*ret_headers = h;
	return ok;
}

static bool has_port(const struct wire_filter *filter, const struct wire_headers *h)
{
	for (size_t i = 0; i < filter->port_count; i++)
		if (filter->ports[i] == h->sport || filter->ports[i] == h->dport)
			return true;
	return false;
}

/* The kind of a UDP packet by its content; WIRE_OTHER if it is no message of WireGuard's. */
static enum wire_kind wireguard_kind(const struct wire_headers *h)
{
	if (h->message[1] || h->message[2] || h->message[3])
		return WIRE_OTHER;
	switch (h->message[0]) {
	case 1:
		return h->payload_bytes == WG_INITIATION ? WIRE_HANDSHAKE : WIRE_OTHER;
	case 2:
		return h->payload_bytes == WG_RESPONSE ? WIRE_HANDSHAKE : WIRE_OTHER;
	case 3:
		return h->payload_bytes == WG_COOKIE ? WIRE_HANDSHAKE : WIRE_OTHER;
	case 4:
		if (h->payload_bytes < WIRE_KEEPALIVE_BYTES)
			return WIRE_OTHER;
		return h->payload_bytes == WIRE_KEEPALIVE_BYTES ? WIRE_KEEPALIVE : WIRE_DATA;
	default:
		return WIRE_OTHER;
	}
}

/* What every IPv6 link carries without anybody sending anything: it tells nothing about the traffic. */
static bool is_link_icmp6(const struct wire_headers *h)
{
	return h->protocol == IPPROTO_ICMPV6 &&
	       ((h->icmp6_type >= ND_ROUTER_SOLICIT && h->icmp6_type <= ND_NEIGHBOR_ADVERT) ||
		(h->icmp6_type >= MLD_LISTENER_QUERY && h->icmp6_type <= MLD_LISTENER_REDUCTION) ||
		h->icmp6_type == MLD2_REPORT);
}

static bool same_address(const struct wire_address *a, const struct wire_headers *h, const uint8_t *addr)
{
	return h->family && a->family == h->family && !memcmp(a->addr, addr, h->family == AF_INET ? 4 : 16);
}

static bool is_control(const struct wire_filter *filter, const struct wire_headers *h)
{
	for (size_t i = 0; i < filter->control_count && h->protocol == IPPROTO_TCP; i++)
		if (same_address(&filter->control[i], h, h->src) ||
		    same_address(&filter->control[i], h, h->dst))
			return true;
	return false;
}

enum wire_kind wire_classify(const struct wire_filter *filter, const struct wire_headers *h)
{
	enum wire_kind kind;

	if (h->ether_type == ETH_P_ARP || is_link_icmp6(h))
		return WIRE_LINK;
	if (h->family && h->fragment_offset)
		return WIRE_FRAGMENT;
	if (is_control(filter, h))
		return WIRE_CONTROL;
	if (!h->is_udp || (filter->port_count && !has_port(filter, h)))
		return WIRE_CLEAR;
	kind = wireguard_kind(h);
	return kind == WIRE_OTHER && !filter->port_count ? WIRE_CLEAR : kind;
}

int wire_direction(const struct wire_filter *filter, const struct wire_headers *h)
{
	for (size_t i = 0; i < filter->edge_count; i++) {
		if (same_address(&filter->edge[i], h, h->src))
			return 1;
		if (same_address(&filter->edge[i], h, h->dst))
			return -1;
	}
	return 0;
}
