/* SPDX-License-Identifier: BSD-3-Clause */
/* What the programs hand to the agent for lean classes, and what they take back. */
#include <arpa/inet.h>
#include <linux/pkt_cls.h>
#include <netinet/in.h>
#include <string.h>

#include <bpf/bpf.h>

#include "fixture.h"
#include "harness.h"
#include "shared/lean.h"
#include "shared/mark.h"

#define V4(d) .family = 4, .src = "10.84.0.2", .dst = d
#define V6(d) .family = 6, .src = "fd54::2", .dst = d

enum { KIND = offsetof(struct tg_ether_meta, kind), BODY = TG_L2_LEN + 40 };

static const char text[] =
	"version = 1; name = \"t\"; policy_version = 1L; role = \"edge\"; profile = \"lab\"; engine = "
	"\"queue\";\n"
	"tunnels = ( { name = \"tg0\"; mtu = 1420; key_file = \"/k\"; addresses = ( \"fd54::2/64\" );\n"
	" peers = ( { public_key = \"HSo3RFFea3iFkp+sucbT4O36DBkmM0BNWmd0gY6bqLU=\";\n"
	"  allowed_ips = ( \"10.0.0.0/8\", \"fd54::1/128\" ); } );\n"
	" classes = ( { name = \"c\"; defence = \"lean\"; cell = 208; packet = 1200; tick = \"25ms\";\n"
	"  up = ( \"4ms\" ); down = ( \"4ms\" ); session = \"65s\"; idle = \"3s\"; } ); } );\n";

/* The mark of the agent's cells. */
static uint32_t cell_mark(void)
{
	struct tg_policy *policy = NULL;
	uint32_t mark;

	CU_ASSERT_EQUAL_FATAL(tg_policy_parse(text, strlen(text), "t", &policy, NULL), 0);
	mark = TG_MARK_PACED | TG_MARK_OF_CLASS(0) | tg_mark_tag(&policy->tunnels[0]);
	tg_policy_free(policy);
	return mark;
}

/* Whole, however large: the agent puts it into cells. Without the agent's mark nothing leaves. */
TEST(bpf_handover, packets_that_the_agent_let_through_come_back_to_it)
{
	const struct packet_spec packet = { V4("10.1.9.9"), .proto = IPPROTO_UDP, .payload = 1000, .tos = 3 };
	struct tg_ether_meta meta;
	struct outcome o;

	fixture_policy(text);
	o = fixture_run(DP_EGRESS, &(struct run){ .packet = &packet, .mark = TG_MARK_PACED | 5 });
	CU_ASSERT_EQUAL(o.verdict, TC_ACT_REDIRECT);
	CU_ASSERT_EQUAL(o.reasons[TG_PASS_TAKEN], 1);
	CU_ASSERT_EQUAL(o.len, TG_L2_LEN + 1028);
	memcpy(&meta, o.frame, sizeof(meta));
	CU_ASSERT(meta.kind == TG_CELL_TAKEN && meta.queue == 0 && meta.peer == 0 && meta.number == 5 &&
		  meta.h_proto == htons(0x0800));
	/* inside a cell nobody sees it */
	CU_ASSERT_EQUAL(o.frame[TG_L2_LEN + 1] & 3, 3);
	CU_ASSERT_EQUAL(fixture_stats(TG_OUT, 0).real_packets, 0);
	o = fixture_run(DP_EGRESS, &(struct run){ .packet = &packet, .mark = 5 });
	CU_ASSERT_EQUAL(o.verdict, TC_ACT_SHOT);
	CU_ASSERT_EQUAL(o.reasons[TG_DROP_OVERSIZE], 1);
}

TEST(bpf_handover, a_packet_with_a_cell_of_its_own_is_padded)
{
	const struct packet_spec packet = { V4("10.1.9.9"), .proto = IPPROTO_UDP, .payload = 60, .tos = 3 };
	uint8_t frame[PACKET_ROOM];
	size_t len = packet_build(&packet, frame);
	struct outcome o;

	fixture_policy(text);
	frame[KIND] = TG_CELL_SEGMENT;
	o = fixture_run(DP_SEGMENT, &(struct run){ .frame = frame, .frame_len = len, .mark = TG_MARK_PACED });
	CU_ASSERT_EQUAL(o.verdict, TC_ACT_REDIRECT);
	CU_ASSERT_EQUAL(o.reasons[TG_PASS_CELL_REAL], 1);
	CU_ASSERT_EQUAL(o.len, TG_L2_LEN + 208);
	CU_ASSERT_EQUAL(o.frame[TG_L2_LEN + 1] & 3, 0);
	CU_ASSERT_EQUAL(fixture_stats(TG_OUT, 0).real_packets, 1);
	o = fixture_run(DP_SEGMENT, &(struct run){ .frame = frame, .frame_len = len });
	CU_ASSERT_EQUAL(o.reasons[TG_DROP_UNRELEASED], 1);
}

TEST(bpf_handover, shared_cells_of_the_agent_pass)
{
	struct packet_spec cell = { V6("fd54::1"), .proto = TG_LEAN_PROTOCOL, .payload = 208 - 40 };
	struct outcome o;

	fixture_policy(text);
	o = fixture_run(DP_EGRESS, &(struct run){ .packet = &cell, .mark = cell_mark() });
	CU_ASSERT_EQUAL(o.verdict, TC_ACT_OK);
	CU_ASSERT_EQUAL(o.reasons[TG_PASS_SHARED], 1);
	CU_ASSERT(o.len == TG_L2_LEN + 208 && o.mark == 0);
	/* the agent counts what is in it */
	CU_ASSERT_EQUAL(fixture_stats(TG_OUT, 0).real_packets + fixture_stats(TG_OUT, 0).dummy_packets, 0);
	/* for a moment after a reload the cell is another */
	cell.payload = 160 - 40;
	o = fixture_run(DP_EGRESS, &(struct run){ .packet = &cell, .mark = cell_mark() });
	CU_ASSERT_EQUAL(o.len, TG_L2_LEN + 208);
	/* what was added is not its content */
	CU_ASSERT_EQUAL(o.frame[TG_L2_LEN + 4] << 8 | o.frame[TG_L2_LEN + 5], 160 - 40);
	o = fixture_run(DP_EGRESS,
			&(struct run){ .packet = &cell, .mark = cell_mark() ^ 1u << TG_MARK_TAG_SHIFT });
	CU_ASSERT_EQUAL(o.reasons[TG_DROP_STRAY], 1);
	/* somebody else's packet of that protocol has no schedule of its own */
	o = fixture_run(DP_EGRESS, &(struct run){ .packet = &cell });
	CU_ASSERT_EQUAL(o.reasons[TG_DROP_UNRELEASED], 1);
}

static int mute(uint8_t *frame, size_t len)
{
	DECLARE_LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = (uint32_t)len,
			    .repeat = 1);

	return bpf_prog_test_run_opts(fixture()->progs[DP_MUTE], &opts) ? -1 : (int)opts.retval;
}

TEST(bpf_handover, peers_cells_and_hellos_go_to_the_agent)
{
	const struct packet_spec cell = { V6("fd54::1"), .proto = TG_LEAN_PROTOCOL, .payload = 208 - 40 };
	const struct packet_spec dummy = { V6("fd54::1"), .proto = IPPROTO_NONE, .payload = 208 - 40 };
	const uint32_t magic = htonl(TG_HELLO_MAGIC);
	uint8_t frame[PACKET_ROOM];
	size_t len = packet_build(&dummy, frame);
	struct outcome o;

	fixture_policy(text);
	o = fixture_run(DP_INGRESS, &(struct run){ .packet = &cell });
	CU_ASSERT_EQUAL(o.verdict, TC_ACT_REDIRECT);
	CU_ASSERT(o.reasons[TG_PASS_GIVEN] == 1 && o.frame[KIND] == TG_CELL_GIVEN);
	CU_ASSERT_EQUAL(fixture_stats(TG_IN, 0).real_packets, 0);
	/* a dummy that says nothing ends here, one that does is counted and handed over */
	memset(frame + BODY, 0, 8);
	o = fixture_run(DP_INGRESS, &(struct run){ .frame = frame, .frame_len = len });
	CU_ASSERT(o.verdict == TC_ACT_SHOT && o.reasons[TG_PASS_GIVEN] == 0);
	memcpy(frame + BODY, &magic, sizeof(magic));
	o = fixture_run(DP_INGRESS, &(struct run){ .frame = frame, .frame_len = len });
	CU_ASSERT_EQUAL(o.verdict, TC_ACT_REDIRECT);
	CU_ASSERT(o.reasons[TG_PASS_GIVEN] == 1 && o.frame[KIND] == TG_CELL_GIVEN);
	CU_ASSERT_EQUAL(fixture_stats(TG_IN, 0).dummy_packets, 2);
	/* which is why the earlier hook lets it pass, and only it */
	CU_ASSERT_EQUAL(mute(frame, len), XDP_PASS);
	frame[BODY] ^= 1;
	CU_ASSERT_EQUAL(mute(frame, len), XDP_DROP);
}

/* On the pair: what the agent's socket has read ends, what it puts there goes into the tunnel's receive path.
 */
TEST(bpf_handover, the_pair)
{
	const struct packet_spec packet = { V4("10.1.9.9"), .proto = IPPROTO_UDP, .payload = 60 };
	static const char ended[] = { TG_CELL_TAKEN, TG_CELL_GIVEN };
	uint8_t frame[PACKET_ROOM];
	size_t len = packet_build(&packet, frame);
	struct outcome o;

	fixture_policy(text);
	for (size_t i = 0; i < sizeof(ended); i++) {
		frame[KIND] = (uint8_t)ended[i];
		o = fixture_run(DP_SEGMENT, &(struct run){ .frame = frame, .frame_len = len });
		CU_ASSERT(o.verdict == TC_ACT_SHOT && o.reasons[TG_PASS_HANDED] == 1);
	}
	frame[KIND] = TG_CELL_INNER;
	o = fixture_run(DP_SEGMENT, &(struct run){ .frame = frame, .frame_len = len });
	CU_ASSERT(o.verdict == TC_ACT_REDIRECT && o.reasons[TG_PASS_INNER] == 1);
	CU_ASSERT(o.len == len && !memcmp(o.frame, frame, len));
	frame[KIND] = '?';
	o = fixture_run(DP_SEGMENT, &(struct run){ .frame = frame, .frame_len = len });
	CU_ASSERT_EQUAL(o.reasons[TG_DROP_STRAY], 1);
}

/* Where no class shares cells, nothing of this is looked for. */
TEST(bpf_handover, other_policies_know_nothing_of_it)
{
	const struct packet_spec cell = { V6("fd54::1"), .proto = TG_LEAN_PROTOCOL, .payload = 208 - 40 };
	struct outcome o;

	fixture_policy("version = 1; name = \"t\"; policy_version = 1L; role = \"edge\"; profile = \"lab\";\n"
		       "tunnels = ( { name = \"tg0\"; external = \"wgx\"; mtu = 1420;\n"
		       " classes = ( { name = \"c\"; defence = \"pad\"; } ); } );\n");
	o = fixture_run(DP_INGRESS, &(struct run){ .packet = &cell });
	CU_ASSERT(o.verdict == TC_ACT_OK && o.reasons[TG_PASS_INGRESS] == 1);
}
