/* SPDX-License-Identifier: BSD-3-Clause */
/* tg_egress and tg_segment: class, size, verdict and reason of single packets. */
#include <linux/pkt_cls.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>

#include "fixture.h"
#include "harness.h"
#include "shared/mark.h"

static const char pad_policy[] =
	"version = 1; name = \"t\"; policy_version = 1L; role = \"edge\"; profile = \"lab\"; fail = "
	"\"closed\";\n"
	"tunnels = ( { name = \"tg0\"; external = \"wgx\"; mtu = 1420; default = \"rest\"; classes = (\n"
	" { name = \"rest\"; defence = \"pad\"; pad = \"cell\"; cell = 1420; },\n"
	" { name = \"small\"; defence = \"pad\"; pad = \"cell\"; cell = 256; },\n"
	" { name = \"steps\"; defence = \"pad\"; pad = \"buckets\"; cell = 1024; buckets = ( 128, 512, 1024 "
	"); },\n"
	" { name = \"power\"; defence = \"pad\"; pad = \"pow2\"; cell = 1024; },\n"
	" { name = \"any\"; defence = \"pad\"; pad = \"uniform\"; cell = 1024; } ); } );\n"
	"rules = (\n"
	" { tunnel = \"tg0\"; class = \"steps\"; to = ( \"10.1.2.0/24\" ); proto = \"tcp\"; ports = ( "
	"\"1000-1999\" ); },\n"
	" { tunnel = \"tg0\"; class = \"small\"; to = ( \"10.1.0.0/16\", \"fd00:1::/32\" ); proto = \"udp\"; "
	"},\n"
	" { tunnel = \"tg0\"; class = \"power\"; to = ( \"10.2.0.0/16\" ); from = ( \"10.9.0.0/16\" ); },\n"
	" { tunnel = \"tg0\"; class = \"any\"; to = ( \"10.3.0.0/16\" ); mark = \"0x10/0xff\"; },\n"
	" { tunnel = \"tg0\"; class = \"steps\"; to = ( \"224.0.0.9/32\" ); },\n"
	" { tunnel = \"tg0\"; class = \"steps\"; to = ( \"10.4.0.0/16\" ); proto = \"tcp\"; source_ports = ( "
	"5000 ); }\n"
	");\n";

struct guard_case {
	const char *name;
	struct packet_spec packet;
	uint32_t mark;
	int verdict;
	unsigned size;		/* inner, 0 = do not care (dropped) */
	unsigned reason;
};

#define V4(d) .family = 4, .src = "10.84.0.2", .dst = d
#define V6(d) .family = 6, .src = "fd54::2", .dst = d

static const struct guard_case guard_cases[] = {
	{ "no rule: default class",
	  { V4("10.50.0.1"), .proto = IPPROTO_UDP, .payload = 10 },
	  0,
	  TC_ACT_OK,
	  1420,
	  TG_PASS_PADDED },
	{ "IPv4 prefix and protocol",
	  { V4("10.1.9.9"), .proto = IPPROTO_UDP, .payload = 10 },
	  0,
	  TC_ACT_OK,
	  256,
	  TG_PASS_PADDED },
	{ "IPv6 prefix and protocol",
	  { V6("fd00:1::9"), .proto = IPPROTO_UDP, .payload = 10 },
	  0,
	  TC_ACT_OK,
	  256,
	  TG_PASS_PADDED },
	{ "prefix of another length",
	  { V6("fd00:2::9"), .proto = IPPROTO_UDP, .payload = 10 },
	  0,
	  TC_ACT_OK,
	  1420,
	  TG_PASS_PADDED },
	{ "other protocol",
	  { V4("10.1.9.9"), .proto = IPPROTO_TCP, .dport = 1500 },
	  0,
	  TC_ACT_OK,
	  1420,
	  TG_PASS_PADDED },
	{ "inner prefix, port inside",
	  { V4("10.1.2.3"), .proto = IPPROTO_TCP, .dport = 1500, .payload = 200 },
	  0,
	  TC_ACT_OK,
	  512,
	  TG_PASS_PADDED },
	{ "first port of the range",
	  { V4("10.1.2.3"), .proto = IPPROTO_TCP, .dport = 1000 },
	  0,
	  TC_ACT_OK,
	  128,
	  TG_PASS_PADDED },
	{ "last port of the range",
	  { V4("10.1.2.3"), .proto = IPPROTO_TCP, .dport = 1999 },
	  0,
	  TC_ACT_OK,
	  128,
	  TG_PASS_PADDED },
	{ "port below",
	  { V4("10.1.2.3"), .proto = IPPROTO_TCP, .dport = 999 },
	  0,
	  TC_ACT_OK,
	  1420,
	  TG_PASS_PADDED },
	{ "port above",
	  { V4("10.1.2.3"), .proto = IPPROTO_TCP, .dport = 2000 },
	  0,
	  TC_ACT_OK,
	  1420,
	  TG_PASS_PADDED },
	{ "inner prefix, rule of the outer one",
	  { V4("10.1.2.3"), .proto = IPPROTO_UDP },
	  0,
	  TC_ACT_OK,
	  256,
	  TG_PASS_PADDED },
	{ "source port",
	  { V4("10.4.0.1"), .proto = IPPROTO_TCP, .sport = 5000 },
	  0,
	  TC_ACT_OK,
	  128,
	  TG_PASS_PADDED },
	{ "other source port",
	  { V4("10.4.0.1"), .proto = IPPROTO_TCP, .sport = 5001 },
	  0,
	  TC_ACT_OK,
	  1420,
	  TG_PASS_PADDED },
	{ "from matches",
	  { .family = 4, .src = "10.9.1.1", .dst = "10.2.0.1", .proto = IPPROTO_UDP, .payload = 72 },
	  0,
	  TC_ACT_OK,
	  128,
	  TG_PASS_PADDED },
	{ "from does not match",
	  { V4("10.2.0.1"), .proto = IPPROTO_UDP, .payload = 72 },
	  0,
	  TC_ACT_OK,
	  1420,
	  TG_PASS_PADDED },
	{ "mark does not match",
	  { V4("10.3.0.1"), .proto = IPPROTO_UDP },
	  0x11,
	  TC_ACT_OK,
	  1420,
	  TG_PASS_PADDED },
	{ "fills its cell",
	  { V4("10.1.9.9"), .proto = IPPROTO_UDP, .payload = 228 },
	  0,
	  TC_ACT_OK,
	  256,
	  TG_PASS_PADDED },
	{ "one byte too long",
	  { V4("10.1.9.9"), .proto = IPPROTO_UDP, .payload = 229 },
	  0,
	  TC_ACT_SHOT,
	  0,
	  TG_DROP_OVERSIZE },
	{ "trailing bytes are no data",
	  { V4("10.1.9.9"), .proto = IPPROTO_UDP, .payload = 10, .trailer = 400 },
	  0,
	  TC_ACT_OK,
	  256,
	  TG_PASS_PADDED },
	{ "bucket edge",
	  { V4("10.1.2.3"), .proto = IPPROTO_TCP, .dport = 1500, .payload = 88 },
	  0,
	  TC_ACT_OK,
	  128,
	  TG_PASS_PADDED },
	{ "bucket edge + 1",
	  { V4("10.1.2.3"), .proto = IPPROTO_TCP, .dport = 1500, .payload = 89 },
	  0,
	  TC_ACT_OK,
	  512,
	  TG_PASS_PADDED },
	{ "IPv4 options",
	  { V4("10.1.2.3"), .proto = IPPROTO_TCP, .dport = 1500, .ihl = 15 },
	  0,
	  TC_ACT_OK,
	  128,
	  TG_PASS_PADDED },
	{ "first fragment: ports do not count",
	  { V4("10.1.2.3"), .proto = IPPROTO_TCP, .dport = 9, .frag_off = 0x2000 },
	  0,
	  TC_ACT_OK,
	  128,
	  TG_PASS_PADDED },
	{ "later fragment",
	  { V4("10.1.2.3"), .proto = IPPROTO_TCP, .frag_off = 100 },
	  0,
	  TC_ACT_OK,
	  128,
	  TG_PASS_PADDED },
	{ "IPv6 fragment",
	  { V6("fd00:1::9"), .proto = IPPROTO_UDP, .frag_off = 0x0100 },
	  0,
	  TC_ACT_OK,
	  256,
	  TG_PASS_PADDED },
	{ "hop-by-hop header",
	  { V6("fd00:1::9"), .proto = IPPROTO_UDP, .ext_hopopts = 1 },
	  0,
	  TC_ACT_OK,
	  256,
	  TG_PASS_PADDED },
	{ "too many extension headers",
	  { V6("fd00:1::9"), .proto = IPPROTO_UDP, .ext_hopopts = 7 },
	  0,
	  TC_ACT_OK,
	  1420,
	  TG_PASS_PADDED },
	{ "MLD report",
	  { V6("ff02::16"), .proto = IPPROTO_ICMPV6, .icmp_type = 143, .ext_hopopts = 1 },
	  0,
	  TC_ACT_SHOT,
	  0,
	  TG_DROP_LINK_CHATTER },
	{ "IGMP report",
	  { V4("224.0.0.22"), .proto = IPPROTO_IGMP, .payload = 8 },
	  0,
	  TC_ACT_SHOT,
	  0,
	  TG_DROP_LINK_CHATTER },
	{ "multicast of wider scope",
	  { V6("ff05::1"), .proto = IPPROTO_UDP },
	  0,
	  TC_ACT_OK,
	  1420,
	  TG_PASS_PADDED },
	{ "link multicast that a rule asks for",
	  { V4("224.0.0.9"), .proto = IPPROTO_UDP },
	  0,
	  TC_ACT_OK,
	  128,
	  TG_PASS_PADDED },
	{ "header length below 20",
	  { V4("10.1.9.9"), .proto = IPPROTO_UDP, .ihl = 4 },
	  0,
	  TC_ACT_SHOT,
	  0,
	  TG_DROP_TRUNCATED },
	{ "stated length above the packet",
	  { V4("10.1.9.9"), .proto = IPPROTO_UDP, .lie_length = 1 },
	  0,
	  TC_ACT_SHOT,
	  0,
	  TG_DROP_TRUNCATED },
	{ "stated length below the header",
	  { V4("10.1.9.9"), .proto = IPPROTO_UDP, .lie_length = -20 },
	  0,
	  TC_ACT_SHOT,
	  0,
	  TG_DROP_TRUNCATED },
	{ "no room for ports",
	  { V4("10.1.9.9"), .proto = IPPROTO_UDP, .lie_length = -6, .cut = 6 },
	  0,
	  TC_ACT_SHOT,
	  0,
	  TG_DROP_TRUNCATED },
	{ "IPv6 stated length too long",
	  { V6("fd00:1::9"), .proto = IPPROTO_UDP, .lie_length = 1 },
	  0,
	  TC_ACT_SHOT,
	  0,
	  TG_DROP_TRUNCATED },
	{ "IPv6 chain runs out",
	  { V6("fd00:1::9"), .proto = IPPROTO_HOPOPTS },
	  0,
	  TC_ACT_SHOT,
	  0,
	  TG_DROP_TRUNCATED },
	{ "ARP", { .ethertype = 0x0806, .payload = 28 }, 0, TC_ACT_SHOT, 0, TG_DROP_NOT_IP },
	{ "version does not fit the ethertype",
	  { V4("10.1.9.9"), .proto = IPPROTO_UDP, .payload = 60, .ethertype = 0x86dd },
	  0,
	  TC_ACT_SHOT,
	  0,
	  TG_DROP_TRUNCATED },
};

static void check_case(const struct guard_case *c)
{
	const struct run run = { .packet = &c->packet, .mark = c->mark };
	struct outcome o = fixture_run(DP_EGRESS, &run);

	if (o.verdict != c->verdict || !o.reasons[c->reason] || (c->size && o.len != c->size + TG_L2_LEN)) {
		printf("%s: verdict %d, length %zu, %s %llu\n", c->name, o.verdict, o.len,
		       dataplane_reason_name(c->reason), (unsigned long long)o.reasons[c->reason]);
		CU_FAIL("guard case");
	} else {
		CU_PASS("guard case");
	}
}

TEST(bpf_guard, table)
{
	fixture_policy(pad_policy);
	for (size_t i = 0; i < sizeof(guard_cases) / sizeof(guard_cases[0]); i++)
		check_case(&guard_cases[i]);
}

/* WireGuard would drop what no peer may have, behind the queue: the slot would stay empty on the wire. */
TEST(bpf_guard, what_no_peer_takes_is_dropped_before_the_queue)
{
	static const char policy[] =
		"version = 1; name = \"t\"; policy_version = 1L; role = \"edge\"; profile = \"lab\"; fail = "
		"\"closed\";\n"
		"tunnels = ( { name = \"tg0\"; key_file = \"/key\"; addresses = ( \"10.84.0.2/24\", "
		"\"fd54::2/64\" );\n"
		" peers = ( { public_key = \"HSo3RFFea3iFkp+sucbT4O36DBkmM0BNWmd0gY6bqLU=\"; endpoint = "
		"\"192.0.2.1:5\";\n"
		"  allowed_ips = ( \"10.90.0.0/16\", \"fd54::1/128\" ); } ); classes = ( { name = \"one\"; "
		"cell = 160;\n"
		"  defence = \"constant\"; period = \"5ms\"; session = \"always\"; } ); } );\n"
		"rules = ( { tunnel = \"tg0\"; class = \"one\"; to = ( \"10.0.0.0/8\", \"239.0.0.0/8\" ); } "
		");\n";
	static const struct packet_spec packets[] = {
		{ V4("10.90.0.1"), .proto = IPPROTO_UDP }, { V6("fd54::1"), .proto = IPPROTO_UDP },
		{ V4("10.84.0.7"), .proto = IPPROTO_UDP }, { V4("239.255.255.250"), .proto = IPPROTO_UDP },
		{ V6("fd54::3"), .proto = IPPROTO_UDP },   { V6("ff05::1"), .proto = IPPROTO_UDP },
	};

	fixture_policy(policy);
	for (size_t i = 0; i < sizeof(packets) / sizeof(packets[0]); i++) {
		struct outcome o = fixture_run(DP_EGRESS, &(struct run){ .packet = &packets[i] });

		CU_ASSERT_EQUAL(o.reasons[TG_DROP_NOT_ALLOWED], i >= 2);
		CU_ASSERT_EQUAL(o.reasons[TG_PASS_QUEUED], i < 2);
	}
}

/* Every run counts exactly one verdict; notes come on top. */
TEST(bpf_guard, one_verdict_each)
{
	fixture_policy(pad_policy);
	for (size_t i = 0; i < sizeof(guard_cases) / sizeof(guard_cases[0]); i++) {
		const struct run run = { .packet = &guard_cases[i].packet, .mark = guard_cases[i].mark };
		struct outcome o = fixture_run(DP_EGRESS, &run);
		uint64_t verdicts = 0;

		for (unsigned r = 0; r < TG_REASON_COUNT; r++)
			if (r < TG_NOTE_FRAGMENT || r >= TG_DROP_DUMMY)
				verdicts += o.reasons[r];
		CU_ASSERT_EQUAL(verdicts, 1);
	}
}

TEST(bpf_guard, padding_is_zero_and_data_is_untouched)
{
	const struct packet_spec packet = { V4("10.1.9.9"), .proto = IPPROTO_UDP, .payload = 21,
					    .trailer = 100 };
	const struct run run = { .packet = &packet };
	uint8_t sent[PACKET_ROOM];
	struct outcome o;

	fixture_policy(pad_policy);
	packet_build(&packet, sent);
	o = fixture_run(DP_EGRESS, &run);
	CU_ASSERT_EQUAL_FATAL(o.len, 256 + TG_L2_LEN);
	CU_ASSERT_EQUAL(memcmp(o.frame + TG_L2_LEN, sent + TG_L2_LEN, 20 + 8 + 21), 0);
	/* what was behind the IP packet (another program's padding) stays where it fits */
	CU_ASSERT_EQUAL(memcmp(o.frame + TG_L2_LEN + 49, sent + TG_L2_LEN + 49, 100), 0);
	for (size_t i = TG_L2_LEN + 149; i < o.len; i++)
		CU_ASSERT_EQUAL(o.frame[i], 0);
}

TEST(bpf_guard, mark_rule_draws_a_fresh_uniform_size)
{
	const struct packet_spec packet = { V4("10.3.0.1"), .proto = IPPROTO_UDP, .payload = 4 };
	const struct run run = { .packet = &packet, .mark = 0xab10 };
	unsigned seen[65] = { 0 }, distinct = 0;

	fixture_policy(pad_policy);
	for (int i = 0; i < 2000; i++) {
		struct outcome o = fixture_run(DP_EGRESS, &run);
		size_t size = o.len - TG_L2_LEN;

		CU_ASSERT_EQUAL_FATAL(o.verdict, TC_ACT_OK);
		CU_ASSERT_TRUE_FATAL(size >= 32 && size <= 1024 && size % 16 == 0);
		seen[size / 16]++;
	}
	for (int i = 2; i <= 64; i++)
		distinct += seen[i] > 0;
	/* 63 sizes, 2000 draws: one that is missing has probability 63 * (62/63)^2000 < 10^-12 */
	CU_ASSERT_EQUAL(distinct, 63);
}

static void check_ecn(int family, uint8_t tos, uint8_t expected)
{
	const struct packet_spec packet = { .family = family,
					    .src = family == 4 ? "10.84.0.2" : "fd54::2",
					    .dst = family == 4 ? "10.1.9.9" : "fd00:1::9",
					    .proto = IPPROTO_UDP,
					    .tos = tos,
					    .payload = 10 };
	const struct run run = { .packet = &packet };
	struct outcome o = fixture_run(DP_EGRESS, &run);
	const uint8_t *ip = o.frame + TG_L2_LEN;
	uint8_t seen = family == 4 ? ip[1] : (uint8_t)(ip[0] << 4 | ip[1] >> 4);

	CU_ASSERT_EQUAL(o.verdict, TC_ACT_OK);
	CU_ASSERT_EQUAL(seen, expected);
	CU_ASSERT_EQUAL(o.reasons[TG_NOTE_ECN], tos & 3 ? 1 : 0);
	if (family == 4)
		CU_ASSERT_EQUAL(packet_ipv4_check(ip), 0);
}

TEST(bpf_guard, ecn_is_cleared_and_dscp_is_kept)
{
	fixture_policy(pad_policy);
	for (unsigned tos = 0; tos < 256; tos += 23) {
		check_ecn(4, (uint8_t)tos, (uint8_t)(tos & 0xfc));
		check_ecn(6, (uint8_t)tos, (uint8_t)(tos & 0xfc));
	}
}

TEST(bpf_guard, notes)
{
	const struct packet_spec fragment = { V4("10.1.2.3"), .proto = IPPROTO_TCP, .frag_off = 100 };
	const struct packet_spec extension = { V6("fd00:1::9"), .proto = IPPROTO_UDP, .ext_hopopts = 2 };
	const struct packet_spec unreachable = { V4("10.1.2.3"), .proto = IPPROTO_ICMP, .icmp_type = 3,
						 .payload = 28 };
	const struct packet_spec echo = { V4("10.1.2.3"), .proto = IPPROTO_ICMP, .icmp_type = 8,
					  .payload = 28 };
	const struct packet_spec too_big = { V6("fd00:1::9"), .proto = IPPROTO_ICMPV6, .icmp_type = 2,
					     .payload = 48 };
	struct run run = { .packet = &fragment };

	fixture_policy(pad_policy);
	CU_ASSERT_EQUAL(fixture_run(DP_EGRESS, &run).reasons[TG_NOTE_FRAGMENT], 1);
	run.packet = &extension;
	CU_ASSERT_EQUAL(fixture_run(DP_EGRESS, &run).reasons[TG_NOTE_EXT_HEADER], 1);
	run.packet = &unreachable;
	CU_ASSERT_EQUAL(fixture_run(DP_EGRESS, &run).reasons[TG_NOTE_ICMP_ERROR], 1);
	run.packet = &echo;
	CU_ASSERT_EQUAL(fixture_run(DP_EGRESS, &run).reasons[TG_NOTE_ICMP_ERROR], 0);
	run.packet = &too_big;
	CU_ASSERT_EQUAL(fixture_run(DP_EGRESS, &run).reasons[TG_NOTE_ICMP_ERROR], 1);
}

TEST(bpf_guard, counters_add_up_to_the_byte)
{
	const unsigned payloads[] = { 0, 1, 17, 100, 228 };
	struct tg_stats st;
	uint64_t real = 0;

	fixture_policy(pad_policy);
	for (size_t i = 0; i < sizeof(payloads) / sizeof(payloads[0]); i++) {
		const struct packet_spec packet = { V4("10.1.9.9"), .proto = IPPROTO_UDP,
						    .payload = payloads[i] };
		const struct run run = { .packet = &packet };

		CU_ASSERT_EQUAL(fixture_run(DP_EGRESS, &run).verdict, TC_ACT_OK);
		real += 28 + payloads[i];
	}
	st = fixture_stats(TG_OUT, 1);
	CU_ASSERT_EQUAL(st.real_packets, 5);
	CU_ASSERT_EQUAL(st.real_bytes, real);
	CU_ASSERT_EQUAL(st.real_bytes + st.pad_bytes, 5 * 256);
}

TEST(bpf_guard, super_packets_go_to_the_segmenter)
{
	const struct packet_spec packet = { V4("10.1.2.3"), .proto = IPPROTO_TCP, .dport = 1500,
					    .payload = 3000 };
	const struct run run = { .packet = &packet, .gso_size = 1000 };
	struct outcome o;

	fixture_policy(pad_policy);
	o = fixture_run(DP_EGRESS, &run);
	CU_ASSERT_EQUAL(o.verdict, TC_ACT_REDIRECT);
	CU_ASSERT_EQUAL(o.reasons[TG_PASS_SEGMENT], 1);
	/* what comes out of it and still is one was not cut: offloads are on */
	o = fixture_run(DP_SEGMENT, &(struct run){ .frame = o.frame, .frame_len = o.len, .gso_size = 1000 });
	CU_ASSERT_EQUAL(o.verdict, TC_ACT_SHOT);
	CU_ASSERT_EQUAL(o.reasons[TG_DROP_GSO], 1);
}

TEST(bpf_guard, a_segment_is_padded_and_sent_to_the_tunnel)
{
	struct packet_spec packet = { V4("10.1.2.3"), .proto = IPPROTO_TCP, .dport = 1500, .payload = 30 };
	struct tg_ether_meta meta = { .kind = TG_CELL_SEGMENT };
	uint8_t frame[PACKET_ROOM];
	size_t len = packet_build(&packet, frame);
	struct outcome o;

	fixture_policy(pad_policy);
	memcpy(&meta.h_proto, frame + 12, 2);
	memcpy(frame, &meta, sizeof(meta));
	o = fixture_run(DP_SEGMENT, &(struct run){ .frame = frame, .frame_len = len });
	CU_ASSERT_EQUAL(o.verdict, TC_ACT_REDIRECT);
	CU_ASSERT_EQUAL(o.len, 128 + TG_L2_LEN);
	CU_ASSERT_EQUAL(o.reasons[TG_PASS_PADDED], 1);
	/* nobody else's packet gets through the internal pair */
	o = fixture_run(DP_SEGMENT, &(struct run){ .packet = &packet });
	CU_ASSERT_EQUAL(o.verdict, TC_ACT_SHOT);
	CU_ASSERT_EQUAL(o.reasons[TG_DROP_STRAY], 1);
}

TEST(bpf_guard, released_cells_pass_and_their_device_cannot_be_forged)
{
	const struct packet_spec packet = { V4("10.1.9.9"), .proto = IPPROTO_UDP, .payload = 10 };
	struct run run = { .packet = &packet, .ingress_ifindex = 77 };
	const struct dataplane *dp = fixture();
	struct outcome o;

	fixture_policy(pad_policy);
	o = fixture_run(DP_EGRESS, &run);
	if (o.verdict < 0) {
		harness_skip("test runs of this kernel cannot name the device that a packet came from");
		return;
	}
	CU_ASSERT_EQUAL(o.len, 256 + TG_L2_LEN);
	CU_ASSERT_EQUAL(dataplane_port_set(dp, 77, 0, NULL), 0);
	o = fixture_run(DP_EGRESS, &run);
	CU_ASSERT_EQUAL(o.verdict, TC_ACT_OK);
	CU_ASSERT_EQUAL(o.reasons[TG_PASS_RELEASED], 1);
	CU_ASSERT_EQUAL(o.len, 10 + 28 + TG_L2_LEN);
	CU_ASSERT_EQUAL(dataplane_port_clear(dp, 77, NULL), 0);
	run.ingress_ifindex = 0;
	run.mark = 0xffffffff;
	o = fixture_run(DP_EGRESS, &run);
	CU_ASSERT_EQUAL(o.reasons[TG_PASS_RELEASED], 0);
	CU_ASSERT_EQUAL(o.len, 256 + TG_L2_LEN);
}

static const char flow_policy[] =
	"version = 1; name = \"t\"; policy_version = 1L; role = \"edge\"; profile = \"lab\"; fail = "
	"\"closed\";\n"
	"tunnels = ( { name = \"tg0\"; external = \"wgx\"; mtu = 1420; default = \"rest\"; classes = (\n"
	" { name = \"rest\"; defence = \"pad\"; pad = \"cell\"; cell = 1420; },\n"
	" { name = \"video\"; defence = \"pad\"; pad = \"cell\"; cell = 512; } ); } );\n"
	"rules = ( { tunnel = \"tg0\"; class = \"video\"; to = ( \"10.1.0.0/16\" ); proto = \"tcp\"; ports = "
	"( 443 );"
	" sni = \"a.example\"; } );\n";

/* What the classifier decided counts by flow, else by mark; a mark of another class list counts for nothing.
 */
TEST(bpf_guard, decisions_of_the_classifier)
{
	const struct packet_spec packet = { V4("10.1.0.1"), .proto = IPPROTO_TCP, .sport = 5, .dport = 443 };
	struct tg_flow_key key = { .saddr = { [10] = 0xff, 0xff, 10, 84, 0, 2 },
				   .daddr = { [10] = 0xff, 0xff, 10, 1, 0, 1 },
				   .sport = 0x0500,
				   .dport = 0xbb01,
				   .proto = IPPROTO_TCP };
	struct tg_flow flow = { .class = 1 };
	const struct dataplane *dp = fixture();
	struct run run = { .packet = &packet };
	struct tg_policy *policy = NULL;
	uint64_t generation;
	uint32_t tag;

	CU_ASSERT_EQUAL_FATAL(tg_policy_parse(flow_policy, strlen(flow_policy), "t", &policy, NULL), 0);
	tag = tg_mark_tag(&policy->tunnels[0]);
	tg_policy_free(policy);
	fixture_policy(flow_policy);
	CU_ASSERT_EQUAL(dataplane_generation(dp, &generation, NULL), 0);
	CU_ASSERT_EQUAL(fixture_run(DP_EGRESS, &run).len, 1420 + TG_L2_LEN);
	run.mark = TG_MARK_OF_CLASS(1) | tag;
	CU_ASSERT_EQUAL(fixture_run(DP_EGRESS, &run).len, 512 + TG_L2_LEN);
	run.mark = TG_MARK_OF_CLASS(1) | (tag ^ 1u << TG_MARK_TAG_SHIFT);
	CU_ASSERT_EQUAL(fixture_run(DP_EGRESS, &run).len, 1420 + TG_L2_LEN);
	run.mark = TG_MARK_OF_CLASS(2) | tag;	/* no such class */
	CU_ASSERT_EQUAL(fixture_run(DP_EGRESS, &run).len, 1420 + TG_L2_LEN);
	run.mark = 0;
	flow.generation = (uint32_t)generation - 1;
	CU_ASSERT_EQUAL(bpf_map_update_elem(dp->maps[DP_FLOWS], &key, &flow, BPF_ANY), 0);
	CU_ASSERT_EQUAL(fixture_run(DP_EGRESS, &run).len, 1420 + TG_L2_LEN);
	flow.generation = (uint32_t)generation;
	CU_ASSERT_EQUAL(bpf_map_update_elem(dp->maps[DP_FLOWS], &key, &flow, BPF_ANY), 0);
	CU_ASSERT_EQUAL(fixture_run(DP_EGRESS, &run).len, 512 + TG_L2_LEN);
	CU_ASSERT_EQUAL(bpf_map_delete_elem(dp->maps[DP_FLOWS], &key), 0);
}

/* Every length of a packet, hostile or not: never more on the wire than a stated size, and never a crash. */
TEST(bpf_guard, every_truncation)
{
	const struct packet_spec packets[] = {
		{ V4("10.1.9.9"), .proto = IPPROTO_UDP, .payload = 40, .ihl = 8 },
		{ V6("fd00:1::9"), .proto = IPPROTO_UDP, .payload = 40, .ext_hopopts = 2 },
	};

	fixture_policy(pad_policy);
	for (size_t i = 0; i < 2; i++) {
		uint8_t frame[PACKET_ROOM];
		size_t len = packet_build(&packets[i], frame);

		for (size_t cut = TG_L2_LEN; cut < len; cut++) {
			struct outcome o =
				fixture_run(DP_EGRESS, &(struct run){ .frame = frame, .frame_len = cut });

			/* -1: the kernel itself refuses to run a program on it */
			CU_ASSERT_TRUE(o.verdict == TC_ACT_SHOT || o.verdict == -1);
		}
	}
}

TEST(bpf_guard, random_packets_leave_in_a_stated_size_or_not_at_all)
{
	uint8_t frame[PACKET_ROOM];

	fixture_policy(pad_policy);
	srandom(20261122);
	for (int i = 0; i < 20000; i++) {
		size_t len = 34 + (size_t)random() % 1500, size;
		struct outcome o;

		for (size_t j = 0; j < len; j++)
			frame[j] = (uint8_t)random();
		/* most of them near to something valid */
		frame[12] = random() & 1 ? 0x08 : 0x86;
		frame[13] = frame[12] == 0x08 ? 0x00 : 0xdd;
		frame[14] = frame[12] == 0x08 ? 0x45 : 0x60;
		frame[16] = frame[18] = 0;
		o = fixture_run(DP_EGRESS, &(struct run){ .frame = frame, .frame_len = len });
		if (o.verdict == TC_ACT_SHOT || o.verdict == -1)
			continue;
		size = o.len - TG_L2_LEN;
		CU_ASSERT_EQUAL_FATAL(o.verdict, TC_ACT_OK);
		CU_ASSERT_TRUE_FATAL(size == 1420 || size == 256 || size == 128 || size == 512 ||
				     (size <= 1024 && size % 16 == 0));
	}
}

#define AGENT_POLICY(fail)                                                                                   \
	"version = 1; name = \"t\"; policy_version = 1L; role = \"edge\"; profile = \"lab\"; fail = \"" fail \
	"\"; engine = \"queue\";\n"                                                                          \
	"tunnels = ( { name = \"tg0\"; external = \"wgx\"; mtu = 1420; default = \"c\";\n"                   \
	" dummy = { source = \"fd54::2\"; target = \"fd54::1\"; }; classes = (\n"                            \
	" { name = \"c\"; defence = \"constant\"; cell = 256; period = \"5ms\"; session = \"always\"; },\n"  \
	" { name = \"p\"; defence = \"pad\"; cell = 512; } ); } );\n"                                        \
	"rules = ( { tunnel = \"tg0\"; class = \"p\"; to = ( \"10.7.0.0/16\" ); } );\n"

/* What the agent paces passes in place with its mark, and not at all without, unless the policy fails open.
 */
TEST(bpf_guard, only_what_the_agent_released)
{
	const struct packet_spec packet = { V4("10.1.9.9"), .proto = IPPROTO_UDP, .payload = 10 };
	const struct packet_spec large = { V4("10.1.9.9"), .proto = IPPROTO_UDP, .payload = 300 };
	const struct packet_spec other = { V4("10.7.0.1"), .proto = IPPROTO_UDP, .payload = 10 };
	struct outcome o;

	fixture_policy(AGENT_POLICY("closed"));
	o = fixture_run(DP_EGRESS, &(struct run){ .packet = &packet });
	CU_ASSERT_EQUAL(o.verdict, TC_ACT_SHOT);
	CU_ASSERT_EQUAL(o.reasons[TG_DROP_UNRELEASED], 1);
	CU_ASSERT_EQUAL(fixture_stats(TG_OUT, 0).drop_packets, 1);
	o = fixture_run(DP_EGRESS, &(struct run){ .packet = &packet, .mark = TG_MARK_PACED | 5 });
	CU_ASSERT_EQUAL(o.verdict, TC_ACT_OK);
	CU_ASSERT_EQUAL(o.len, 256 + TG_L2_LEN);
	CU_ASSERT_EQUAL(o.reasons[TG_PASS_CELL_REAL], 1);
	CU_ASSERT_EQUAL(o.mark, 5);
	CU_ASSERT_EQUAL(fixture_stats(TG_OUT, 0).real_packets, 1);
	/* the other reasons come first: they say more */
	o = fixture_run(DP_EGRESS, &(struct run){ .packet = &large });
	CU_ASSERT_EQUAL(o.reasons[TG_DROP_OVERSIZE], 1);
	/* a class without a schedule has no need of the agent */
	o = fixture_run(DP_EGRESS, &(struct run){ .packet = &other });
	CU_ASSERT_EQUAL(o.verdict, TC_ACT_OK);
	CU_ASSERT_EQUAL(o.len, 512 + TG_L2_LEN);
	fixture_policy(AGENT_POLICY("open"));
	o = fixture_run(DP_EGRESS, &(struct run){ .packet = &packet });
	CU_ASSERT_EQUAL(o.verdict, TC_ACT_OK);
	CU_ASSERT_EQUAL(o.len, 256 + TG_L2_LEN);
	CU_ASSERT_EQUAL(o.reasons[TG_PASS_PADDED], 1);
}

TEST(bpf_guard, dummies_of_the_agent)
{
	struct packet_spec dummy = { V6("fd54::1"), .proto = IPPROTO_NONE, .payload = 256 - 40 };
	struct tg_policy *policy = NULL;
	struct outcome o;
	uint32_t tag;

	CU_ASSERT_EQUAL_FATAL(
		tg_policy_parse(AGENT_POLICY("closed"), strlen(AGENT_POLICY("closed")), "t", &policy, NULL),
		0);
	tag = tg_mark_tag(&policy->tunnels[0]);
	tg_policy_free(policy);
	fixture_policy(AGENT_POLICY("closed"));
	o = fixture_run(DP_EGRESS,
			&(struct run){ .packet = &dummy, .mark = TG_MARK_PACED | TG_MARK_OF_CLASS(0) | tag });
	CU_ASSERT_EQUAL(o.verdict, TC_ACT_OK);
	CU_ASSERT_EQUAL(o.len, 256 + TG_L2_LEN);
	CU_ASSERT_EQUAL(o.mark, 0);
	CU_ASSERT_EQUAL(o.reasons[TG_PASS_CELL_DUMMY], 1);
	CU_ASSERT_EQUAL(fixture_stats(TG_OUT, 0).dummy_packets, 1);
	CU_ASSERT_EQUAL(fixture_stats(TG_OUT, 0).dummy_bytes, 256);
	CU_ASSERT_EQUAL(fixture_stats(TG_OUT, 0).real_packets, 0);
	/* of another list of classes, of a class that nobody paces, of none */
	o = fixture_run(DP_EGRESS, &(struct run){ .packet = &dummy,
						  .mark = TG_MARK_PACED | TG_MARK_OF_CLASS(0) |
							  (tag ^ 1u << TG_MARK_TAG_SHIFT) });
	CU_ASSERT_EQUAL(o.reasons[TG_DROP_STRAY], 1);
	o = fixture_run(DP_EGRESS,
			&(struct run){ .packet = &dummy, .mark = TG_MARK_PACED | TG_MARK_OF_CLASS(1) | tag });
	CU_ASSERT_EQUAL(o.reasons[TG_DROP_STRAY], 1);
	o = fixture_run(DP_EGRESS, &(struct run){ .packet = &dummy, .mark = TG_MARK_PACED | tag });
	CU_ASSERT_EQUAL(o.reasons[TG_DROP_STRAY], 1);
}

/* The agent goes by the policy before for a moment: its slots are not left empty, nor seen by their size. */
TEST(bpf_guard, dummies_of_the_agent_take_the_new_size)
{
	static const unsigned before[] = { 48, 255, 257, 700 };
	struct packet_spec dummy = { V6("fd54::1"), .proto = IPPROTO_NONE };
	struct tg_policy *policy = NULL;
	struct run run = { .packet = &dummy };

	CU_ASSERT_EQUAL_FATAL(
		tg_policy_parse(AGENT_POLICY("closed"), strlen(AGENT_POLICY("closed")), "t", &policy, NULL),
		0);
	run.mark = TG_MARK_PACED | TG_MARK_OF_CLASS(0) | tg_mark_tag(&policy->tunnels[0]);
	tg_policy_free(policy);
	fixture_policy(AGENT_POLICY("closed"));
	for (unsigned i = 0; i < sizeof(before) / sizeof(before[0]); i++) {
		struct outcome o;

		dummy.payload = before[i] - 40;
		o = fixture_run(DP_EGRESS, &run);
		CU_ASSERT_EQUAL(o.verdict, TC_ACT_OK);
		CU_ASSERT_EQUAL(o.len, 256 + TG_L2_LEN);
		/* the length that its own header tells, is the new one as well */
		CU_ASSERT_EQUAL(o.frame[TG_L2_LEN + 4] << 8 | o.frame[TG_L2_LEN + 5], 256 - 40);
		CU_ASSERT_EQUAL(o.reasons[TG_PASS_CELL_DUMMY], 1);
	}
	CU_ASSERT_EQUAL(fixture_stats(TG_OUT, 0).dummy_packets, 4);
	CU_ASSERT_EQUAL(fixture_stats(TG_OUT, 0).dummy_bytes, 4 * 256);
}

/* The agent's dummies are asked for like the kernel's: 256 bytes and 60 around them, of 1000 a day. */
TEST(bpf_guard, dummies_of_the_agent_have_a_budget)
{
	const char *text =
		"version = 1; name = \"t\"; policy_version = 1L; role = \"edge\"; profile = \"lab\"; "
		"engine = \"queue\";\n"
		"tunnels = ( { name = \"tg0\"; external = \"wgx\"; mtu = 1420;\n"
		" budget = { dummy_bytes_per_day = 1000; };\n"
		" dummy = { source = \"fd54::2\"; target = \"fd54::1\"; }; classes = (\n"
		" { name = \"c\"; defence = \"constant\"; cell = 256; period = \"5ms\"; session = "
		"\"always\"; } ); } );\n";
	const struct packet_spec dummy = { V6("fd54::1"), .proto = IPPROTO_NONE, .payload = 256 - 40 };
	struct tg_policy *policy = NULL;
	struct run run = { .packet = &dummy };

	CU_ASSERT_EQUAL_FATAL(tg_policy_parse(text, strlen(text), "t", &policy, NULL), 0);
	run.mark = TG_MARK_PACED | TG_MARK_OF_CLASS(0) | tg_mark_tag(&policy->tunnels[0]);
	tg_policy_free(policy);
	fixture_policy(text);
	fixture_clear_spending();
	for (unsigned i = 0; i < 5; i++) {
		struct outcome o = fixture_run(DP_EGRESS, &run);

		CU_ASSERT_EQUAL(o.verdict, i < 3 ? TC_ACT_OK : TC_ACT_SHOT);
		CU_ASSERT_EQUAL(o.reasons[i < 3 ? TG_PASS_CELL_DUMMY : TG_PASS_CELL_WITHHELD], 1);
	}
	CU_ASSERT_EQUAL(fixture_stats(TG_OUT, 0).dummy_packets, 3);
	CU_ASSERT_EQUAL(fixture_stats(TG_OUT, 0).violations[TG_VIOLATION_DAY], 2);
}
