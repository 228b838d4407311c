/* SPDX-License-Identifier: BSD-3-Clause */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "guard/packet.h"
#include "harness.h"

struct bytes {
	uint8_t data[512];
	size_t len;
};

static void put(struct bytes *b, const void *data, size_t len)
{
	memcpy(b->data + b->len, data, len);
	b->len += len;
}

/* Headers without lengths; seal() fills them in. */
static void put_ipv4(struct bytes *b, uint8_t proto, uint16_t fragment)
{
	uint8_t h[20] = { 0x45,
			  [6] = (uint8_t)(fragment >> 8),
			  [7] = (uint8_t)fragment,
			  [8] = 64,
			  [9] = proto,
			  [12] = 10,
			  1,
			  2,
			  3,
			  10,
			  4,
			  5,
			  6 };

	b->len = 0;
	put(b, h, sizeof(h));
}

static void put_ipv6(struct bytes *b, uint8_t next)
{
	uint8_t h[40] = { 0x60, [6] = next, [7] = 64, [8] = 0xfd, [23] = 1, [24] = 0xfd, [39] = 2 };

	b->len = 0;
	put(b, h, sizeof(h));
}

static void put_tcp(struct bytes *b, uint8_t flags, size_t options)
{
	uint8_t h[60] = { 0x30, 0x39, 0x01, 0xbb, 0x11, 0x22, 0x33, 0x44, [13] = flags };

	h[12] = (uint8_t)((20 + options) / 4 << 4);
	put(b, h, 20 + options);
}

static void seal(struct bytes *b)
{
	size_t len = b->data[0] >> 4 == 4 ? b->len : b->len - 40;
	size_t at = b->data[0] >> 4 == 4 ? 2 : 4;

	b->data[at] = (uint8_t)(len >> 8);
	b->data[at + 1] = (uint8_t)len;
}

/* From memory of exactly that size, so that the sanitizers see every byte too far. */
static enum packet_kind parse(const struct bytes *b, size_t size, size_t total, struct packet *p)
{
	uint8_t *exact = malloc(size ? size : 1);
	enum packet_kind kind;

	memcpy(exact, b->data, size);
	kind = packet_parse(exact, size, total, p);
	/* pointers into `exact` end here: tests look at lengths, and at bytes through their own copy */
	if (p->payload)
		p->payload = b->data + (p->payload - exact);
	free(exact);
	return kind;
}

TEST(classify_packet, tcp_over_ipv4)
{
	struct bytes b;
	struct packet p;

	put_ipv4(&b, IPPROTO_TCP, 0x4000);
	put_tcp(&b, PACKET_SYN, 12);
	put(&b, "abc", 3);
	seal(&b);
	CU_ASSERT_EQUAL(parse(&b, b.len, b.len, &p), PACKET_FLOW);
	CU_ASSERT_EQUAL(p.key.proto, IPPROTO_TCP);
	CU_ASSERT_EQUAL(ntohs(p.key.sport), 12345);
	CU_ASSERT_EQUAL(ntohs(p.key.dport), 443);
	CU_ASSERT_FALSE(memcmp(p.key.saddr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\x01\x02\x03", 16));
	CU_ASSERT_FALSE(memcmp(p.key.daddr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\x04\x05\x06", 16));
	CU_ASSERT(packet_addr_is_ipv4(p.key.saddr));
	CU_ASSERT_EQUAL(p.seq, 0x11223344);
	CU_ASSERT_EQUAL(p.tcp_flags, PACKET_SYN);
	CU_ASSERT_EQUAL(p.payload_len, 3);
	CU_ASSERT_FALSE(memcmp(p.payload, "abc", 3));
}

TEST(classify_packet, padding_behind_the_ip_length_is_no_payload)
{
	struct bytes b;
	struct packet p;

	put_ipv4(&b, IPPROTO_TCP, 0);
	put_tcp(&b, 0, 0);
	seal(&b);
	put(&b, "padding", 7);
	CU_ASSERT_EQUAL(parse(&b, b.len, b.len, &p), PACKET_FLOW);
	CU_ASSERT_EQUAL(p.payload_len, 0);
	CU_ASSERT_EQUAL(p.payload_total, 0);
}

TEST(classify_packet, a_capture_of_the_head_knows_what_is_missing)
{
	struct bytes b;
	struct packet p;

	put_ipv4(&b, IPPROTO_TCP, 0);
	put_tcp(&b, 0, 0);
	put(&b, "0123456789", 10);
	seal(&b);
	CU_ASSERT_EQUAL(parse(&b, b.len - 6, b.len, &p), PACKET_FLOW);
	CU_ASSERT_EQUAL(p.payload_len, 4);
	CU_ASSERT_EQUAL(p.payload_total, 10);
	CU_ASSERT_EQUAL(parse(&b, 39, b.len, &p), PACKET_MALFORMED);
}

TEST(classify_packet, every_truncation_is_malformed)
{
	struct bytes b;
	struct packet p;

	put_ipv4(&b, IPPROTO_TCP, 0);
	put_tcp(&b, 0, 8);
	put(&b, "xyz", 3);
	seal(&b);
	for (size_t len = 0; len < b.len; len++)
		CU_ASSERT_EQUAL(parse(&b, len, len, &p), PACKET_MALFORMED);
	put_ipv6(&b, IPPROTO_HOPOPTS);
	put(&b, "\x06\x00\x01\x04\0\0\0\0", 8);
	put_tcp(&b, 0, 0);
	seal(&b);
	CU_ASSERT_EQUAL(parse(&b, b.len, b.len, &p), PACKET_FLOW);
	for (size_t len = 0; len < b.len; len++)
		CU_ASSERT_EQUAL(parse(&b, len, len, &p), PACKET_MALFORMED);
}

TEST(classify_packet, ipv6_extension_headers)
{
	struct bytes b;
	struct packet p;

	put_ipv6(&b, IPPROTO_HOPOPTS);
	put(&b, "\x3c\x00\x01\x04\0\0\0\0", 8);	/* hop by hop, then destination options */
	put(&b, "\x33\x01\x01\x0c\0\0\0\0\0\0\0\0\0\0\0\0", 16);	/* then AH */
	put(&b, "\x06\x01\0\0\0\0\0\x01\0\0\0\x01", 12);
	put_tcp(&b, 0, 0);
	put(&b, "hello", 5);
	seal(&b);
	CU_ASSERT_EQUAL(parse(&b, b.len, b.len, &p), PACKET_FLOW);
	CU_ASSERT_EQUAL(p.key.proto, IPPROTO_TCP);
	CU_ASSERT_EQUAL(ntohs(p.key.dport), 443);
	CU_ASSERT_EQUAL(p.payload_len, 5);
	CU_ASSERT_FALSE(packet_addr_is_ipv4(p.key.daddr));
}

TEST(classify_packet, an_endless_chain_of_extensions_ends)
{
	struct bytes b;
	struct packet p;

	put_ipv6(&b, IPPROTO_DSTOPTS);
	for (int i = 0; i < 40; i++)
		put(&b, "\x3c\x00\x01\x04\0\0\0\0", 8);
	seal(&b);
	CU_ASSERT_EQUAL(parse(&b, b.len, b.len, &p), PACKET_MALFORMED);
}

TEST(classify_packet, fragments_belong_to_no_flow)
{
	static const uint16_t fields[] = { 0x2000, 0x2001, 0x0001 };
	struct bytes b;
	struct packet p;

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		put_ipv4(&b, IPPROTO_TCP, fields[i]);
		put_tcp(&b, 0, 0);
		seal(&b);
		CU_ASSERT_EQUAL(parse(&b, b.len, b.len, &p), PACKET_FRAGMENT);
		CU_ASSERT_EQUAL(p.key.sport, 0);
	}
	put_ipv6(&b, IPPROTO_FRAGMENT);
	put(&b, "\x06\x00\x00\x01\0\0\0\x01", 8);
	put_tcp(&b, 0, 0);
	seal(&b);
	CU_ASSERT_EQUAL(parse(&b, b.len, b.len, &p), PACKET_FRAGMENT);
	/* rules ask for the protocol, whose fragments have no ports */
	CU_ASSERT_EQUAL(p.key.proto, IPPROTO_TCP);
	CU_ASSERT_EQUAL(p.key.sport, 0);
}

TEST(classify_packet, header_lengths_out_of_range)
{
	struct bytes b;
	struct packet p;

	put_ipv4(&b, IPPROTO_TCP, 0);
	put_tcp(&b, 0, 0);
	seal(&b);
	b.data[0] = 0x44;
	CU_ASSERT_EQUAL(parse(&b, b.len, b.len, &p), PACKET_MALFORMED);
	b.data[0] = 0x4f;
	CU_ASSERT_EQUAL(parse(&b, b.len, b.len, &p), PACKET_MALFORMED);
	b.data[0] = 0x45;
	b.data[32] = 0x40;
	CU_ASSERT_EQUAL(parse(&b, b.len, b.len, &p), PACKET_MALFORMED);
	b.data[32] = 0x60;
	CU_ASSERT_EQUAL(parse(&b, b.len, b.len, &p), PACKET_MALFORMED);
	b.data[32] = 0x50;
	CU_ASSERT_EQUAL(parse(&b, b.len, b.len, &p), PACKET_FLOW);
	b.data[3]++;
	CU_ASSERT_EQUAL(parse(&b, b.len, b.len, &p), PACKET_MALFORMED);
	b.data[0] = 0x55;
	CU_ASSERT_EQUAL(parse(&b, b.len, b.len, &p), PACKET_MALFORMED);
}

TEST(classify_packet, icmp_errors_and_echoes)
{
	static const struct {
		uint8_t proto, type;
		enum packet_kind kind;
	} cases[] = {
		{ IPPROTO_ICMP, 8, PACKET_FLOW },       { IPPROTO_ICMP, 0, PACKET_FLOW },
		{ IPPROTO_ICMP, 3, PACKET_ICMP_ERROR }, { IPPROTO_ICMP, 11, PACKET_ICMP_ERROR },
		{ IPPROTO_ICMPV6, 128, PACKET_FLOW },   { IPPROTO_ICMPV6, 2, PACKET_ICMP_ERROR },
	};
	struct bytes b;
	struct packet p;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t icmp[8] = { cases[i].type };

		if (cases[i].proto == IPPROTO_ICMP)
			put_ipv4(&b, IPPROTO_ICMP, 0);
		else
			put_ipv6(&b, IPPROTO_ICMPV6);
		put(&b, icmp, sizeof(icmp));
		seal(&b);
		CU_ASSERT_EQUAL(parse(&b, b.len, b.len, &p), cases[i].kind);
		CU_ASSERT_EQUAL(p.key.sport, 0);
		CU_ASSERT_EQUAL(parse(&b, b.len - 1, b.len - 1, &p), PACKET_MALFORMED);
	}
}

TEST(classify_packet, super_packets_beyond_64k)
{
	static uint8_t big[70000];
	struct bytes b;
	struct packet p;

	put_ipv6(&b, IPPROTO_TCP);
	put_tcp(&b, 0, 0);
	memcpy(big, b.data, b.len);	/* length field 0 */
	CU_ASSERT_EQUAL(packet_parse(big, 2000, sizeof(big), &p), PACKET_FLOW);
	CU_ASSERT_EQUAL(p.payload_total, sizeof(big) - 60);
	CU_ASSERT_EQUAL(p.payload_len, 2000 - 60);
	/* a packet of ordinary size that says 0 has no payload, and so no TCP header */
	CU_ASSERT_EQUAL(packet_parse(big, 2000, 2000, &p), PACKET_MALFORMED);
}
