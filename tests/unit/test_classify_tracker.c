/* SPDX-License-Identifier: BSD-3-Clause */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "guard/flowhash.h"
#include "guard/tracker.h"
#include "harness.h"

/* A ClientHello for "robot.example", written out: the parser has tests of its own. */
static const uint8_t hello[] = "\x16\x03\x01\x00\x49\x01\x00\x00\x45\x03\x03"
			       "0123456789abcdef0123456789abcdef"
			       "\x00\x00\x02\x13\x01\x01\x00\x00\x1a"
			       "\x0a\x0a\x00\x00\x00\x00\x00\x12\x00\x10\x00\x00\x0d"
			       "robot.example";
enum { HELLO = sizeof(hello) - 1, ISN = 0xfffffff0 };

static struct packet segment(uint16_t port, uint32_t offset, const uint8_t *data, size_t len)
{
	struct packet p = { .kind = PACKET_FLOW,
			    .seq = ISN + 1u + offset,
			    .payload = data,
			    .payload_len = len,
			    .payload_total = len };

	p.key.proto = IPPROTO_TCP;
	p.key.sport = port;
	return p;
}

static struct packet syn(uint16_t port)
{
	struct packet p = segment(port, 0, NULL, 0);

	p.seq = ISN;
	p.tcp_flags = PACKET_SYN;
	return p;
}

static struct tracker *new_tracker(size_t flows, size_t pool)
{
	struct tracker *t = NULL;

	CU_ASSERT_EQUAL_FATAL(tracker_new(flows, pool, 42, &t), 0);
	return t;
}

static enum tracker_state give(struct tracker *t, struct packet p, uint64_t now)
{
	const char *host = NULL;
	enum tracker_state state = tracker_packet(t, &p, now, &host);

	if (state == TRACKER_NAMED) {
		CU_ASSERT_PTR_NOT_NULL_FATAL(host);
		CU_ASSERT_STRING_EQUAL(host, "robot.example");
	}
	return state;
}

TEST(classify_tracker, a_hello_in_one_segment)
{
	struct tracker *t = new_tracker(8, 2);

	CU_ASSERT_EQUAL(give(t, syn(1), 1), TRACKER_WAIT);
	CU_ASSERT_EQUAL(give(t, segment(1, 0, NULL, 0), 2), TRACKER_WAIT);
	CU_ASSERT_EQUAL(give(t, segment(1, 0, hello, HELLO), 3), TRACKER_NAMED);
	CU_ASSERT_EQUAL(tracker_stats(t)->named, 1);
	CU_ASSERT_EQUAL(tracker_count(t), 1);
	tracker_free(t);
}

TEST(classify_tracker, byte_by_byte_across_the_sequence_wrap)
{
	struct tracker *t = new_tracker(8, 2);

	give(t, syn(1), 1);
	for (uint32_t i = 0; i < HELLO - 1; i++)
		CU_ASSERT_EQUAL(give(t, segment(1, i, hello + i, 1), 2), TRACKER_WAIT);
	CU_ASSERT_EQUAL(give(t, segment(1, HELLO - 1, hello + HELLO - 1, 1), 3), TRACKER_NAMED);
	tracker_free(t);
}

TEST(classify_tracker, retransmissions_and_overlaps_keep_the_first_bytes)
{
	struct tracker *t = new_tracker(8, 2);
	uint8_t other[HELLO];

	memset(other, 'x', sizeof(other));
	give(t, syn(1), 1);
	CU_ASSERT_EQUAL(give(t, segment(1, 0, hello, 30), 2), TRACKER_WAIT);
	CU_ASSERT_EQUAL(give(t, segment(1, 0, other, 30), 2), TRACKER_WAIT);
	memcpy(other + 30, hello + 30, 20);
	CU_ASSERT_EQUAL(give(t, segment(1, 10, other + 10, 40), 2), TRACKER_WAIT);
	CU_ASSERT_EQUAL(give(t, segment(1, 50, hello + 50, HELLO - 50), 3), TRACKER_NAMED);
	tracker_free(t);
}

TEST(classify_tracker, segments_in_every_order)
{
	static const uint8_t orders[6][3] = { { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 },
					      { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 } };
	static const uint32_t cuts[] = { 0, 20, 55, HELLO };

	for (size_t i = 0; i < 6; i++) {
		struct tracker *t = new_tracker(8, 4);
		enum tracker_state state = TRACKER_WAIT;

		give(t, syn(1), 1);
		for (size_t k = 0; k < 3; k++) {
			uint32_t from = cuts[orders[i][k]], to = cuts[orders[i][k] + 1];

			CU_ASSERT_EQUAL(state, TRACKER_WAIT);
			state = give(t, segment(1, from, hello + from, to - from), 2);
		}
		CU_ASSERT_EQUAL(state, TRACKER_NAMED);
		tracker_free(t);
	}
}

TEST(classify_tracker, early_segments_that_overlap_keep_the_first_bytes)
{
	struct tracker *t = new_tracker(8, 4);
	uint8_t other[HELLO];

	memset(other, 'x', sizeof(other));
	memcpy(other + 10, hello + 10, 10);
	memcpy(other + 60, hello + 60, 5);
	give(t, syn(1), 1);
	give(t, segment(1, 20, hello + 20, 40), 2);
	give(t, segment(1, 10, other + 10, 55), 2);	/* holds 10..19 and 60..64 right, the rest wrong */
	CU_ASSERT_EQUAL(give(t, segment(1, 0, hello, 10), 2), TRACKER_WAIT);
	CU_ASSERT_EQUAL(give(t, segment(1, 65, hello + 65, HELLO - 65), 3), TRACKER_NAMED);
	tracker_free(t);
}

TEST(classify_tracker, the_pool_for_early_segments_is_bounded)
{
	struct tracker *t = new_tracker(64, 2);

	for (uint16_t i = 0; i < 10; i++) {
		give(t, syn(i), 1);
		give(t, segment(i, 20, hello + 20, HELLO - 20), 2);
	}
	CU_ASSERT_EQUAL(tracker_stats(t)->early, 10);
	CU_ASSERT_EQUAL(tracker_stats(t)->early_lost, 8);
	CU_ASSERT_EQUAL(give(t, segment(9, 0, hello, 20), 3), TRACKER_NAMED);
	CU_ASSERT_EQUAL(give(t, segment(0, 0, hello, 20), 3), TRACKER_WAIT);
	CU_ASSERT_EQUAL(give(t, segment(0, 20, hello + 20, HELLO - 20), 3), TRACKER_NAMED);
	tracker_free(t);
}

TEST(classify_tracker, other_protocols_have_no_name)
{
	struct tracker *t = new_tracker(8, 2);

	give(t, syn(1), 1);
	CU_ASSERT_EQUAL(give(t, segment(1, 0, (const uint8_t *)"SSH-2.0-x", 9), 2), TRACKER_NAMELESS);
	CU_ASSERT_EQUAL(tracker_stats(t)->not_tls, 1);
	/* and the answer stays, whatever comes */
	CU_ASSERT_EQUAL(give(t, segment(1, 9, hello, HELLO), 3), TRACKER_NAMELESS);
	tracker_free(t);
}

TEST(classify_tracker, gives_up_when_nothing_moves)
{
	struct tracker *t = new_tracker(8, 2);

	give(t, syn(1), 1);
	for (unsigned i = 1; i < TRACKER_MAX_IDLE; i++)
		CU_ASSERT_EQUAL(give(t, segment(1, 0, NULL, 0), 2), TRACKER_WAIT);
	CU_ASSERT_EQUAL(give(t, segment(1, 0, NULL, 0), 2), TRACKER_NAMELESS);
	CU_ASSERT_EQUAL(tracker_stats(t)->limit_idle, 1);
	tracker_free(t);
}

TEST(classify_tracker, gives_up_after_three_seconds_of_payload)
{
	const uint64_t start = 50000000000ull;
	struct tracker *t = new_tracker(8, 2);

	give(t, syn(1), 1);
	/* a tunnel that took long to come up does not count */
	CU_ASSERT_EQUAL(give(t, segment(1, 0, hello, 10), start), TRACKER_WAIT);
	CU_ASSERT_EQUAL(give(t, segment(1, 10, hello + 10, 10), start + TRACKER_MAX_NS - 1), TRACKER_WAIT);
	CU_ASSERT_EQUAL(give(t, segment(1, 20, hello + 20, 10), start + TRACKER_MAX_NS), TRACKER_NAMELESS);
	CU_ASSERT_EQUAL(tracker_stats(t)->limit_time, 1);
	tracker_free(t);
}

TEST(classify_tracker, gives_up_when_the_connection_ends)
{
	struct tracker *t = new_tracker(8, 2);
	struct packet fin = segment(1, 10, NULL, 0), late = segment(2, 30, NULL, 0);

	fin.tcp_flags = late.tcp_flags = PACKET_FIN;
	give(t, syn(1), 1);
	give(t, segment(1, 0, hello, 10), 2);
	CU_ASSERT_EQUAL(give(t, fin, 3), TRACKER_NAMELESS);
	/* the FIN overtook the rest */
	give(t, syn(2), 1);
	CU_ASSERT_EQUAL(give(t, late, 3), TRACKER_WAIT);
	CU_ASSERT_EQUAL(give(t, segment(2, 0, hello, HELLO), 4), TRACKER_NAMED);
	tracker_free(t);
}

TEST(classify_tracker, a_new_connection_on_the_same_ports_starts_afresh)
{
	struct tracker *t = new_tracker(8, 2);
	struct packet again = syn(1), data = segment(1, 0, hello, HELLO);

	give(t, syn(1), 1);
	give(t, segment(1, 0, (const uint8_t *)"SSH-2.0-x", 9), 2);
	CU_ASSERT_EQUAL(give(t, syn(1), 3), TRACKER_NAMELESS);	/* the old SYN once more */
	again.seq = 5000;
	data.seq = 5001;
	CU_ASSERT_EQUAL(give(t, again, 4), TRACKER_WAIT);
	CU_ASSERT_EQUAL(give(t, data, 5), TRACKER_NAMED);
	CU_ASSERT_EQUAL(tracker_count(t), 1);
	tracker_free(t);
}

TEST(classify_tracker, the_least_recently_used_flow_makes_room)
{
	struct tracker *t = new_tracker(4, 2);

	for (uint16_t i = 0; i < 4; i++)
		give(t, syn(i), 1);
	give(t, segment(0, 0, hello, 10), 2);	/* flow 0 is in use again: flow 1 is the oldest */
	give(t, syn(4), 3);
	CU_ASSERT_EQUAL(tracker_count(t), 4);
	CU_ASSERT_EQUAL(tracker_stats(t)->evicted, 1);
	CU_ASSERT_EQUAL(give(t, segment(0, 10, hello + 10, HELLO - 10), 3), TRACKER_NAMED);
	tracker_free(t);
}

TEST(classify_tracker, many_flows_interleaved)
{
	enum { FLOWS = 3000 };
	struct tracker *t = new_tracker(4096, 8);

	for (uint16_t i = 0; i < FLOWS; i++)
		give(t, syn(i), 1);
	for (uint16_t i = 0; i < FLOWS; i++)
		CU_ASSERT_EQUAL(give(t, segment(i, 0, hello, 40), 2), TRACKER_WAIT);
	for (uint16_t i = 0; i < FLOWS; i++)
		CU_ASSERT_EQUAL(give(t, segment(i, 40, hello + 40, HELLO - 40), 3), TRACKER_NAMED);
	CU_ASSERT_EQUAL(tracker_count(t), FLOWS);
	CU_ASSERT_EQUAL(tracker_stats(t)->evicted, 0);
	tracker_expire(t, 2 + TRACKER_KEEP_NS);
	CU_ASSERT_EQUAL(tracker_count(t), FLOWS);
	tracker_expire(t, 3 + TRACKER_KEEP_NS);
	CU_ASSERT_EQUAL(tracker_count(t), 0);
	CU_ASSERT_EQUAL(give(t, syn(1), 4 + TRACKER_KEEP_NS), TRACKER_WAIT);
	tracker_free(t);
}

TEST(classify_tracker, silent_flows_are_forgotten_in_order_of_use)
{
	struct tracker *t = new_tracker(8, 2);

	give(t, syn(1), 1000);
	give(t, syn(2), 2000);
	give(t, segment(1, 30, hello, 10), 3000);
	tracker_expire(t, 2500 + TRACKER_KEEP_NS);
	CU_ASSERT_EQUAL(tracker_count(t), 1);
	tracker_expire(t, 3000 + TRACKER_KEEP_NS);
	CU_ASSERT_EQUAL(tracker_count(t), 0);
	tracker_free(t);
}

TEST(classify_tracker, the_hash_depends_on_key_and_seed)
{
	struct tg_flow_key a = { .sport = 1 }, b = { .sport = 2 };
	unsigned used[16] = { 0 };

	CU_ASSERT_NOT_EQUAL(flow_hash(&a, 1), flow_hash(&b, 1));
	CU_ASSERT_NOT_EQUAL(flow_hash(&a, 1), flow_hash(&a, 2));
	for (uint16_t i = 0; i < 4096; i++) {
		a.sport = i;
		used[flow_hash(&a, 7) & 15]++;
	}
	/* 256 expected each, standard deviation 15.5 */
	for (size_t i = 0; i < 16; i++)
		CU_ASSERT(used[i] > 180 && used[i] < 332);
}
