/* SPDX-License-Identifier: BSD-3-Clause */
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <string.h>

#include "common/wire_packet.h"
#include "harness.h"

enum { PORT = 51820, EDGE_PORT = 40000 };

struct frame {
	uint8_t bytes[256];
	size_t size;		/* captured */
};

static void put16(uint8_t *p, unsigned value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

/* A UDP packet from 192.0.2.2 to 192.0.2.1 whose payload begins with `type` and three zeros. */
static struct frame ipv4_udp(uint8_t type, unsigned payload)
{
	struct frame f = { .size = 28 + (payload < 16 ? payload : 16) };

	f.bytes[0] = 0x45;
	f.bytes[1] = 46 << 2 | 1;
	put16(f.bytes + 2, 28 + payload);
	put16(f.bytes + 4, 4711);
	f.bytes[6] = 0x40;
	f.bytes[8] = 63;
	f.bytes[9] = IPPROTO_UDP;
	inet_pton(AF_INET, "192.0.2.2", f.bytes + 12);
	inet_pton(AF_INET, "192.0.2.1", f.bytes + 16);
	put16(f.bytes + 20, EDGE_PORT);
	put16(f.bytes + 22, PORT);
	put16(f.bytes + 24, 8 + payload);
	put16(f.bytes + 26, 0xbeef);
	f.bytes[28] = type;
	f.bytes[32] = 0x44;
	f.bytes[33] = 0x33;
	return f;
}

/* The same over IPv6 with `ext` bytes for extension headers, which the caller fills in. */
static struct frame ipv6_udp(uint8_t type, unsigned payload, uint8_t next, unsigned ext)
{
	struct frame f = { .size = 48 + ext + (payload < 16 ? payload : 16) };
	uint8_t *udp = f.bytes + 40 + ext;

	f.bytes[0] = 0x60 | 46 >> 2;
	f.bytes[1] = (uint8_t)((46 << 6 & 0xc0) | 2 << 4 | 0xa);
	put16(f.bytes + 2, 0xbcde);
	put16(f.bytes + 4, ext + 8 + payload);
	f.bytes[6] = next;
	f.bytes[7] = 64;
	inet_pton(AF_INET6, "2001:db8::1", f.bytes + 8);
	inet_pton(AF_INET6, "2001:db8::2", f.bytes + 24);
	put16(udp, PORT);
	put16(udp + 2, EDGE_PORT);
	put16(udp + 4, 8 + payload);
	udp[8] = type;
	return f;
}

static struct wire_filter filter(const char *edge, unsigned port)
{
	struct wire_filter f = { .edge_count = 1 };

	f.edge[0].family = strchr(edge, ':') ? AF_INET6 : AF_INET;
	inet_pton(f.edge[0].family, edge, f.edge[0].addr);
	if (port)
		f.ports[f.port_count++] = (uint16_t)port;
	return f;
}

static int kind_of(const struct wire_filter *f, uint16_t ether_type, const struct frame *frame)
{
	struct wire_headers h;

	return wire_parse(ether_type, frame->bytes, frame->size, &h) ? (int)wire_classify(f, &h) : -1;
}

TEST(wire_packet, reads_every_ipv4_field)
{
	struct frame f = ipv4_udp(4, 112);
	struct wire_headers h;

	CU_ASSERT_TRUE_FATAL(wire_parse(ETH_P_IP, f.bytes, f.size, &h));
	CU_ASSERT_EQUAL(h.family, AF_INET);
	CU_ASSERT_EQUAL(h.ip_bytes, 140);
	CU_ASSERT_EQUAL(h.header_bytes, 20);
	CU_ASSERT_EQUAL(h.dscp, 46);
	CU_ASSERT_EQUAL(h.ecn, 1);
	CU_ASSERT_EQUAL(h.ttl, 63);
	CU_ASSERT_TRUE(h.df);
	CU_ASSERT_FALSE(h.mf);
	CU_ASSERT_EQUAL(h.id, 4711);
	CU_ASSERT_EQUAL(h.sport, EDGE_PORT);
	CU_ASSERT_EQUAL(h.dport, PORT);
	CU_ASSERT_EQUAL(h.payload_bytes, 112);
	CU_ASSERT_EQUAL(h.udp_checksum, 0xbeef);
	CU_ASSERT_EQUAL(h.receiver, 0x3344);
}

TEST(wire_packet, reads_every_ipv6_field)
{
	struct frame f = ipv6_udp(4, 112, IPPROTO_UDP, 0);
	struct wire_headers h;

	CU_ASSERT_TRUE_FATAL(wire_parse(ETH_P_IPV6, f.bytes, f.size, &h));
	CU_ASSERT_EQUAL(h.family, AF_INET6);
	CU_ASSERT_EQUAL(h.ip_bytes, 160);
	CU_ASSERT_EQUAL(h.dscp, 46);
	CU_ASSERT_EQUAL(h.ecn, 2);
	CU_ASSERT_EQUAL(h.flow_label, 0xabcde);
	CU_ASSERT_EQUAL(h.ttl, 64);
	CU_ASSERT_EQUAL(h.dport, EDGE_PORT);
	CU_ASSERT_EQUAL(h.payload_bytes, 112);
}

TEST(wire_packet, counts_tcp_with_a_named_host_apart)
{
	struct wire_filter f = filter("198.51.100.2", PORT);
	struct frame tcp = ipv4_udp(4, 112), udp = ipv4_udp(9, 112);
	struct wire_headers h;

	tcp.bytes[9] = IPPROTO_TCP;
	CU_ASSERT_EQUAL(kind_of(&f, ETH_P_IP, &tcp), WIRE_CLEAR);
	CU_ASSERT_TRUE_FATAL(wire_parse(ETH_P_IP, tcp.bytes, tcp.size, &h));
	f.control_count = 1;
	f.control[0].family = AF_INET;
	memcpy(f.control[0].addr, h.dst, 4);
	CU_ASSERT_EQUAL(kind_of(&f, ETH_P_IP, &tcp), WIRE_CONTROL);
	CU_ASSERT_EQUAL(kind_of(&f, ETH_P_IP, &udp), WIRE_OTHER);
	f.control[0].addr[3] ^= 1;
	CU_ASSERT_EQUAL(kind_of(&f, ETH_P_IP, &tcp), WIRE_CLEAR);
}

TEST(wire_packet, sorts_messages_by_type_and_length)
{
	static const struct {
		uint8_t type;
		unsigned payload;
		int kind;
	} cases[] = {
		{ 1, 148, WIRE_HANDSHAKE }, { 2, 92, WIRE_HANDSHAKE }, { 3, 64, WIRE_HANDSHAKE },
		{ 4, 32, WIRE_KEEPALIVE },  { 4, 33, WIRE_DATA },      { 4, 112, WIRE_DATA },
		{ 1, 147, WIRE_OTHER },     { 2, 148, WIRE_OTHER },    { 3, 92, WIRE_OTHER },
		{ 4, 31, WIRE_OTHER },      { 5, 112, WIRE_OTHER },    { 0, 112, WIRE_OTHER },
		{ 4, 4, WIRE_OTHER },
	};
	struct wire_filter with_port = filter("192.0.2.2", PORT), any_port = filter("192.0.2.2", 0);

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct frame v4 = ipv4_udp(cases[i].type, cases[i].payload);
		struct frame v6 = ipv6_udp(cases[i].type, cases[i].payload, IPPROTO_UDP, 0);

		CU_ASSERT_EQUAL(kind_of(&with_port, ETH_P_IP, &v4), cases[i].kind);
		CU_ASSERT_EQUAL(kind_of(&with_port, ETH_P_IPV6, &v6), cases[i].kind);
		CU_ASSERT_EQUAL(kind_of(&any_port, ETH_P_IP, &v4),
				cases[i].kind == WIRE_OTHER ? WIRE_CLEAR : cases[i].kind);
	}
}

TEST(wire_packet, reserved_bytes_tell_other_protocols)
{
	struct wire_filter f = filter("192.0.2.2", PORT);
	struct frame frame = ipv4_udp(4, 112);

	frame.bytes[30] = 1;
	CU_ASSERT_EQUAL(kind_of(&f, ETH_P_IP, &frame), WIRE_OTHER);
}

TEST(wire_packet, what_is_not_the_tunnel_is_clear)
{
	struct wire_filter f = filter("192.0.2.2", PORT);
	struct frame other_port = ipv4_udp(4, 112), tcp = ipv4_udp(4, 112);

	put16(other_port.bytes + 22, PORT + 1);
	tcp.bytes[9] = IPPROTO_TCP;
	CU_ASSERT_EQUAL(kind_of(&f, ETH_P_IP, &other_port), WIRE_CLEAR);
	CU_ASSERT_EQUAL(kind_of(&f, ETH_P_IP, &tcp), WIRE_CLEAR);
	CU_ASSERT_EQUAL(kind_of(&f, 0x88cc, &tcp), WIRE_CLEAR);
	CU_ASSERT_EQUAL(kind_of(&f, ETH_P_ARP, &tcp), WIRE_LINK);
}

TEST(wire_packet, icmp6_of_the_link_only)
{
	static const struct {
		uint8_t type;
		int kind;
	} cases[] = {
		{ 133, WIRE_LINK },  { 134, WIRE_LINK },  { 135, WIRE_LINK },
		{ 136, WIRE_LINK },  { 143, WIRE_LINK },  { 1, WIRE_CLEAR },
		{ 128, WIRE_CLEAR }, { 129, WIRE_CLEAR }, { 137, WIRE_CLEAR },
	};
	struct wire_filter f = filter("2001:db8::2", PORT);

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct frame frame = ipv6_udp(4, 112, IPPROTO_ICMPV6, 0);

		frame.bytes[40] = cases[i].type;
		CU_ASSERT_EQUAL(kind_of(&f, ETH_P_IPV6, &frame), cases[i].kind);
	}
}

TEST(wire_packet, extension_headers_are_skipped)
{
	struct wire_filter f = filter("2001:db8::2", PORT);
	struct frame frame = ipv6_udp(4, 112, IPPROTO_HOPOPTS, 24);

	frame.bytes[40] = IPPROTO_DSTOPTS;
	frame.bytes[48] = IPPROTO_UDP;
	frame.bytes[49] = 1;
	CU_ASSERT_EQUAL(kind_of(&f, ETH_P_IPV6, &frame), WIRE_DATA);
}

TEST(wire_packet, later_fragments_are_neither_data_nor_clear)
{
	struct wire_filter f = filter("192.0.2.2", PORT);
	struct frame v4 = ipv4_udp(4, 112), v6 = ipv6_udp(4, 112, IPPROTO_FRAGMENT, 8);

	v4.bytes[7] = 1;
	v6.bytes[40] = IPPROTO_UDP;
	v6.bytes[43] = 8;
	CU_ASSERT_EQUAL(kind_of(&f, ETH_P_IP, &v4), WIRE_FRAGMENT);
	CU_ASSERT_EQUAL(kind_of(&f, ETH_P_IPV6, &v6), WIRE_FRAGMENT);
	v6.bytes[43] = 1;
	CU_ASSERT_EQUAL(kind_of(&f, ETH_P_IPV6, &v6), WIRE_DATA);
}

TEST(wire_packet, packets_cut_short_are_refused)
{
	struct frame v4 = ipv4_udp(4, 112), v6 = ipv6_udp(4, 112, IPPROTO_HOPOPTS, 8);
	struct wire_headers h;

	v6.bytes[40] = IPPROTO_UDP;
	for (size_t size = 0; size < 28; size++)
		CU_ASSERT_FALSE(wire_parse(ETH_P_IP, v4.bytes, size, &h));
	for (size_t size = 0; size < 56; size++)
		CU_ASSERT_FALSE(wire_parse(ETH_P_IPV6, v6.bytes, size, &h));
	CU_ASSERT_TRUE(wire_parse(ETH_P_IP, v4.bytes, 28, &h));
	CU_ASSERT_TRUE(wire_parse(ETH_P_IPV6, v6.bytes, 56, &h));
	v4.bytes[0] = 0x44;
	CU_ASSERT_FALSE(wire_parse(ETH_P_IP, v4.bytes, v4.size, &h));
	CU_ASSERT_FALSE(wire_parse(ETH_P_IPV6, v4.bytes, v4.size, &h));
}

TEST(wire_packet, direction_is_seen_from_the_edge)
{
	struct wire_filter up = filter("192.0.2.2", 0), down = filter("192.0.2.1", 0),
			   none = filter("192.0.2.3", 0);
	struct wire_filter v6 = filter("2001:db8::2", 0);
	struct frame four = ipv4_udp(4, 112), six = ipv6_udp(4, 112, IPPROTO_UDP, 0);
	struct wire_headers h;

	CU_ASSERT_TRUE_FATAL(wire_parse(ETH_P_IP, four.bytes, four.size, &h));
	CU_ASSERT_EQUAL(wire_direction(&up, &h), 1);
	CU_ASSERT_EQUAL(wire_direction(&down, &h), -1);
	CU_ASSERT_EQUAL(wire_direction(&none, &h), 0);
	CU_ASSERT_EQUAL(wire_direction(&v6, &h), 0);
	CU_ASSERT_TRUE_FATAL(wire_parse(ETH_P_IPV6, six.bytes, six.size, &h));
	CU_ASSERT_EQUAL(wire_direction(&v6, &h), -1);
}
