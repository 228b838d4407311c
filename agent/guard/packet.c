/* SPDX-License-Identifier: BSD-3-Clause */
#include <netinet/in.h>
#include <string.h>

#include "guard/packet.h"

enum {
	IPV4_HEADER = 20,
	IPV6_HEADER = 40,
	TCP_HEADER = 20,
	UDP_HEADER = 8,
	ICMP_HEADER = 8,
	SCTP_HEADER = 12,
	MAX_EXTENSIONS = 8,
};

/* What the IP layer leaves to the transport layer. */
struct body {
	const uint8_t *data;
	size_t size;		/* at hand */
	size_t total;
};

static uint16_t be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)be16(p) << 16 | be16(p + 2);
}

static void advance(struct body *body, size_t n)
{
	body->data += n;
	body->size -= n;
	body->total -= n;
}

static enum packet_kind parse_tcp(const struct body *body, struct packet *p)
{
	size_t header;

	if (body->size < TCP_HEADER)
		return PACKET_MALFORMED;
	header = (size_t)(body->data[12] >> 4) * 4;
	if (header < TCP_HEADER || header > body->size)
		return PACKET_MALFORMED;
	p->tcp_flags = body->data[13];
	p->seq = be32(body->data + 4);
	p->payload = body->data + header;
	p->payload_len = body->size - header;
	p->payload_total = body->total - header;
	return PACKET_FLOW;
}

static bool is_icmp_error(uint8_t proto, uint8_t type)
{
	if (proto == IPPROTO_ICMPV6)
		return type < 128;
	/* destination unreachable, source quench, redirect, time exceeded, parameter problem */
	return type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
}

static enum packet_kind parse_transport(const struct body *body, struct packet *p)
{
	size_t ports = 0;

	switch (p->key.proto) {
	case IPPROTO_TCP:
		ports = TCP_HEADER;
		break;
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
		ports = UDP_HEADER;
		break;
	case IPPROTO_SCTP:
		ports = SCTP_HEADER;
		break;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		if (body->size < ICMP_HEADER)
			return PACKET_MALFORMED;
		return is_icmp_error(p->key.proto, body->data[0]) ? PACKET_ICMP_ERROR : PACKET_FLOW;
	default:
		return PACKET_FLOW;
	}
	if (body->size < ports)
		return PACKET_MALFORMED;
	memcpy(&p->key.sport, body->data, 2);
	memcpy(&p->key.dport, body->data + 2, 2);
	return p->key.proto == IPPROTO_TCP ? parse_tcp(body, p) : PACKET_FLOW;
}

static const uint8_t ipv4_prefix[12] = { [10] = 0xff, [11] = 0xff };

bool packet_addr_is_ipv4(const uint8_t addr[16])
{
	return !memcmp(addr, ipv4_prefix, sizeof(ipv4_prefix));
}

static void map_ipv4(uint8_t to[16], const uint8_t *addr)
{
	memcpy(to, ipv4_prefix, sizeof(ipv4_prefix));
	memcpy(to + sizeof(ipv4_prefix), addr, 4);
}

static enum packet_kind parse_ipv4(struct body body, struct packet *p)
{
	size_t header, length;

	if (body.size < IPV4_HEADER)
		return PACKET_MALFORMED;
	header = (size_t)(body.data[0] & 15) * 4;
	length = be16(body.data + 2);
	/* super-packets beyond 64 KiB say 0: their length is what we were told */
	if (!length && body.total > UINT16_MAX)
		length = body.total;
	if (header < IPV4_HEADER || header > body.size || length < header || length > body.total)
		return PACKET_MALFORMED;
	map_ipv4(p->key.saddr, body.data + 12);
	map_ipv4(p->key.daddr, body.data + 16);
	p->key.proto = body.data[9];
	if (be16(body.data + 6) & 0x3fff)	/* more fragments, or an offset */
		return PACKET_FRAGMENT;
	body.total = length;
	if (body.size > length)
		body.size = length;
	advance(&body, header);
	return parse_transport(&body, p);
}

/* Size of the extension header at hand, 0 when it is cut off. */
static size_t extension_size(uint8_t type, const struct body *body)
{
	size_t size;

	if (body->size < 8)
		return 0;
	size = type == IPPROTO_AH ? ((size_t)body->data[1] + 2) * 4 : ((size_t)body->data[1] + 1) * 8;
	return size <= body->size ? size : 0;
}

static enum packet_kind parse_extensions(struct body body, struct packet *p)
{
	for (int i = 0; i < MAX_EXTENSIONS; i++) {
		uint8_t type = p->key.proto;
		size_t size;

		if (type == IPPROTO_FRAGMENT && body.size < 8)
			return PACKET_MALFORMED;
		if (type == IPPROTO_FRAGMENT) {
			/* of the protocol that is in it, as bpf/packet.h has it: rules ask for that one */
			p->key.proto = body.data[0];
			return PACKET_FRAGMENT;
		}
		if (type != IPPROTO_HOPOPTS && type != IPPROTO_ROUTING && type != IPPROTO_DSTOPTS &&
		    type != IPPROTO_AH)
			return parse_transport(&body, p);
		size = extension_size(type, &body);
		if (!size)
			return PACKET_MALFORMED;
		p->key.proto = body.data[0];
		advance(&body, size);
	}
	return PACKET_MALFORMED;
}

static enum packet_kind parse_ipv6(struct body body, struct packet *p)
{
	size_t length;

	if (body.size < IPV6_HEADER)
		return PACKET_MALFORMED;
	length = be16(body.data + 4);
	if (!length && body.total - IPV6_HEADER > UINT16_MAX)
		length = body.total - IPV6_HEADER;
	if (length > body.total - IPV6_HEADER)
		return PACKET_MALFORMED;
	memcpy(p->key.saddr, body.data + 8, 16);
	memcpy(p->key.daddr, body.data + 24, 16);
	p->key.proto = body.data[6];
	advance(&body, IPV6_HEADER);
	body.total = length;
	if (body.size > length)
		body.size = length;
	return parse_extensions(body, p);
}

enum packet_kind packet_parse(const uint8_t *data, size_t size, size_t total, struct packet *ret_packet)
{
	struct body body = { data, size, total < size ? size : total };

	memset(ret_packet, 0, sizeof(*ret_packet));
	if (!size)
		ret_packet->kind = PACKET_MALFORMED;
	else if (data[0] >> 4 == 4)
		ret_packet->kind = parse_ipv4(body, ret_packet);
	else if (data[0] >> 4 == 6)
		ret_packet->kind = parse_ipv6(body, ret_packet);
	else
		ret_packet->kind = PACKET_MALFORMED;
	return ret_packet->kind;
}
