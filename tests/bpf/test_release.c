/* SPDX-License-Identifier: BSD-3-Clause */
/* The paced path: admission into a queue, release from it, and what the peer's dummies meet. */
#include <arpa/inet.h>
#include <linux/pkt_cls.h>
#include <netinet/in.h>
#include <string.h>
#include <time.h>

#include <bpf/bpf.h>

#include "fixture.h"
#include "harness.h"

#define PACED(session, overflow) PACED_SESSION("session = \"" session "\"; idle = \"10ms\";", overflow)
#define PACED_SESSION(session, overflow) PACED_BUDGET("", session, overflow)
#define PACED_BUDGET(budget, session, overflow) PACED_PERIOD(budget, "5ms", "25ms", session, overflow)
#define PACED_PERIOD(budget, period, delay, session, overflow)                                               \
	"version = 1; name = \"t\"; policy_version = 1L; role = \"edge\"; profile = \"lab\"; fail = "        \
	"\"closed\";\n"                                                                                      \
	"tunnels = ( { name = \"tg0\"; external = \"wgx\"; mtu = 1420; default = \"c\"; " budget "\n"        \
	" dummy = { source = \"fd54::2\"; target = \"fd54::1\"; };\n"                                        \
	" classes = ( { name = \"c\"; defence = \"constant\"; cell = 160; period = \"" period "\"; " session \
	" delay_budget = \"" delay "\"; overflow = \"" overflow "\"; } ); } );\n"                            \
	"rules = ( { tunnel = \"tg0\"; class = \"c\"; to = ( \"10.1.0.0/16\" ); } );\n"

static const struct packet_spec small = {
	.family = 4, .src = "10.84.0.2", .dst = "10.1.0.1", .proto = IPPROTO_UDP, .payload = 10
};

static struct outcome send_real(void)
{
	return fixture_run(DP_EGRESS, &(struct run){ .packet = &small });
}

static struct outcome release(const struct tg_ether_meta *meta, size_t len)
{
	uint8_t frame[PACKET_ROOM] = { 0 };
	const struct packet_spec dummy = { .family = 6,
					   .src = "fd54::2",
					   .dst = "fd54::1",
					   .proto = IPPROTO_NONE,
					   .payload = (unsigned)len - 40 };

	packet_build(&dummy, frame);
	memcpy(frame, meta, sizeof(*meta));
	return fixture_run(DP_RELEASE, &(struct run){ .frame = frame, .frame_len = len + TG_L2_LEN });
}

static struct outcome release_kind(unsigned kind)
{
	const struct tg_ether_meta meta = { .kind = (uint8_t)kind, .h_proto = 0xdd86 };

	return release(&meta, 160);
}

static struct tg_session_state session_of(unsigned peer)
{
	struct tg_session_state s = { 0 };

	dataplane_session_get(fixture(), peer, &s, NULL);
	return s;
}

static uint32_t backlog_of(unsigned peer)
{
	const struct tg_session_state s = session_of(peer);

	return tg_session_backlog(&s);
}

/* The clock cell whose turn it is; both are put in first when there is none. */
static struct outcome release_clock_of(unsigned peer)
{
	struct tg_ether_meta meta = { .kind = TG_CELL_START, .peer = (uint16_t)peer, .h_proto = 0xdd86 };
	struct tg_twins clocks = session_of(peer).clocks;

	for (meta.number = 0; meta.number < TG_TWINS; meta.number++)
		if (!clocks.number[meta.number])
			release(&meta, 160);
	clocks = session_of(peer).clocks;
	meta.kind = TG_CELL_CLOCK;
	meta.number = clocks.number[!clocks.last];
	return release(&meta, 160);
}

/* As the clock has it: a period after the cell before, or nearly so. */
static struct outcome release_clock(void)
{
	const struct timespec pause = { .tv_nsec = 4000000 };

	nanosleep(&pause, NULL);
	return release_clock_of(0);
}

static struct tg_session_state session(void)
{
	return session_of(0);
}

TEST(bpf_release, a_real_packet_enters_the_queue_with_its_time)
{
	struct tg_ether_meta meta;
	struct outcome o;
	struct timespec now;

	fixture_policy(PACED("10s", "drop"));
	o = send_real();
	clock_gettime(CLOCK_MONOTONIC, &now);
	memcpy(&meta, o.frame, sizeof(meta));
	CU_ASSERT_EQUAL(o.verdict, TC_ACT_REDIRECT);
	CU_ASSERT_EQUAL(o.len, tg_dither_length(160 + TG_L2_LEN, 0));
	CU_ASSERT_EQUAL(o.priority, 6);
	CU_ASSERT_EQUAL(meta.kind, TG_CELL_REAL);
	CU_ASSERT_EQUAL(meta.h_proto, 0x0008);
	CU_ASSERT_TRUE(tg_stamp_age(meta.enqueued,
				    (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec) < 1000000000);
	CU_ASSERT_EQUAL(meta.number, 1);
	CU_ASSERT_EQUAL(backlog_of(0), 1);
	CU_ASSERT_EQUAL(session().sessions, 1);
	CU_ASSERT_EQUAL(session().left, 2000);
}

TEST(bpf_release, a_released_real_cell_goes_to_the_tunnel_and_is_timed)
{
	struct tg_ether_meta meta;
	struct outcome o;
	struct tg_stats st;

	fixture_policy(PACED("10s", "drop"));
	o = send_real();
	memcpy(&meta, o.frame, sizeof(meta));
	o = fixture_run(DP_RELEASE, &(struct run){ .frame = o.frame, .frame_len = o.len });
	CU_ASSERT_EQUAL(o.verdict, TC_ACT_REDIRECT);
	CU_ASSERT_EQUAL(o.reasons[TG_PASS_CELL_REAL], 1);
	CU_ASSERT_EQUAL(o.len, 160 + TG_L2_LEN);
	CU_ASSERT_EQUAL(backlog_of(0), 0);
	CU_ASSERT_EQUAL(session().left, 1999);
	st = fixture_stats(TG_OUT, 0);
	CU_ASSERT_EQUAL(st.real_packets, 1);
	CU_ASSERT_EQUAL(st.dummy_packets, 0);
	for (unsigned i = 1; i < TG_DELAY_BUCKETS; i++)
		st.delay[0] += st.delay[i];
	CU_ASSERT_EQUAL(st.delay[0], 1);
}

/* What goes round must not be what a socket sent: the clone does, and a clone is no tick. */
TEST(bpf_release, the_starting_cell_is_replaced_by_a_clone)
{
	struct tg_ether_meta meta;
	struct outcome o;

	fixture_policy(PACED("10s", "drop"));
	o = release_kind(TG_CELL_START);
	memcpy(&meta, o.frame, sizeof(meta));
	CU_ASSERT_EQUAL(o.verdict, TC_ACT_SHOT);
	CU_ASSERT_EQUAL(o.reasons[TG_PASS_CELL_START], 1);
	CU_ASSERT_EQUAL(meta.kind, TG_CELL_CLOCK);
	CU_ASSERT_EQUAL(session().ticks, 0);
	CU_ASSERT_EQUAL(meta.number, 1);
}

/* The clock goes on as two although the kernel dropped one: the other one tells when it was alone for long.
 */
TEST(bpf_release, a_lost_clock_cell_comes_back)
{
	struct tg_ether_meta meta = { .kind = TG_CELL_CLOCK, .h_proto = 0xdd86 };
	const struct timespec pause = { .tv_nsec = 4000000 };
	unsigned made = 0;
	struct outcome o;

	fixture_policy(PACED("10s", "drop"));
	release_clock();
	meta.number = session().clocks.number[0];
	for (unsigned i = 0; i <= TG_TWINS_ALONE + 1 && !made; i++) {
		nanosleep(&pause, NULL);
		o = release(&meta, 160);
		made = o.reasons[TG_NOTE_TWIN];
		CU_ASSERT_EQUAL(o.verdict, TC_ACT_REDIRECT);
	}
	CU_ASSERT_EQUAL(made, 1);
	CU_ASSERT_EQUAL(session().clocks.number[0], meta.number);
	CU_ASSERT_EQUAL(session().clocks.number[1], 3);
	/* the packet itself keeps its number */
	memcpy(&meta, o.frame, sizeof(meta));
	CU_ASSERT_EQUAL(meta.number, session().clocks.number[0]);
	/* the one that was given up is a stray, should it turn up after all */
	meta.number = 2;
	o = release(&meta, 160);
	CU_ASSERT_EQUAL(o.verdict, TC_ACT_SHOT);
	CU_ASSERT_EQUAL(o.reasons[TG_DROP_STRAY], 1);
}

TEST(bpf_release, without_a_session_the_clock_cell_goes_round_in_silence)
{
	struct outcome o;

	fixture_policy(PACED("10s", "drop"));
	o = release_clock();
	CU_ASSERT_EQUAL(o.verdict, TC_ACT_REDIRECT);
	CU_ASSERT_EQUAL(o.priority, 2);
	CU_ASSERT_EQUAL(o.reasons[TG_PASS_CELL_IDLE], 1);
	CU_ASSERT_EQUAL(o.reasons[TG_PASS_CELL_DUMMY], 0);
	CU_ASSERT_EQUAL(o.len, tg_dither_length(160 + TG_L2_LEN, 0));
	CU_ASSERT_EQUAL(session().ticks, 1);
}

enum { DITHER_RUNS = 2000 };

/* What a cell's length in the queue says, in steps. */
static int step_of(unsigned len)
{
	return (int)(len % TG_DITHER_CYCLE) - TG_DITHER_MOST;
}

/* Real cells get their step where they enter, and the session's sum with it; what leaves has its size. */
TEST(bpf_release, a_real_cell_costs_what_was_drawn)
{
	int sum = 0, most = 0, least = 0;

	fixture_policy(PACED_SESSION("session = \"10s\"; idle = \"10ms\"; dither = true;", "drop"));
	for (unsigned i = 0; i < DITHER_RUNS; i++) {
		struct outcome o = send_real();
		int step = step_of(o.len);

		CU_ASSERT_EQUAL_FATAL(o.verdict, TC_ACT_REDIRECT);
		CU_ASSERT_TRUE(o.len >= 160 + TG_L2_LEN && o.len < 160 + TG_L2_LEN + TG_DITHER_CYCLE);
		CU_ASSERT_TRUE(step >= -TG_DITHER_MOST && step < TG_DITHER_MOST);
		sum += step;
		most = step > most ? step : most;
		least = step < least ? step : least;
		CU_ASSERT_EQUAL(session().offset, sum);
		o = fixture_run(DP_RELEASE, &(struct run){ .frame = o.frame, .frame_len = o.len });
		CU_ASSERT_EQUAL(o.reasons[TG_PASS_CELL_REAL], 1);
		CU_ASSERT_EQUAL(o.len, 160 + TG_L2_LEN);
	}
	CU_ASSERT_EQUAL(backlog_of(0), 0);
	/* 2,000 draws that miss the outer tenth: less than one in 2^90 */
	CU_ASSERT_TRUE(most > 90 && least < -90);
}

/* The clock cell is drawn anew each time that it goes round. */
TEST(bpf_release, the_clock_cell_costs_what_was_drawn)
{
	int sum = 0, before = 1000, same = 0;

	fixture_policy(PACED_SESSION("session = \"10s\"; idle = \"10ms\"; dither = true;", "drop"));
	for (unsigned i = 0; i < 100; i++) {
		struct outcome o = release_clock();
		int step = step_of(o.len);

		CU_ASSERT_EQUAL(o.reasons[TG_PASS_CELL_IDLE], 1);
		CU_ASSERT_TRUE(step >= -TG_DITHER_MOST && step < TG_DITHER_MOST);
		sum += step;
		same += step == before;
		before = step;
		CU_ASSERT_EQUAL(session().offset, sum);
	}
	CU_ASSERT_TRUE(same < 20);
}

/* What leaves as a dummy is the clock cell itself, cut to its size; what goes round is a copy of it. */
TEST(bpf_release, a_dummy_leaves_as_a_real_cell_does)
{
	struct outcome o;

	fixture_policy(PACED_SESSION("session = \"always\"; dither = true;", "drop"));
	o = release_clock();
	CU_ASSERT_EQUAL(o.reasons[TG_PASS_CELL_DUMMY], 1);
	CU_ASSERT_EQUAL(o.verdict, TC_ACT_REDIRECT);
	CU_ASSERT_EQUAL(o.len, 160 + TG_L2_LEN);
	CU_ASSERT_EQUAL(o.priority, 6);
	CU_ASSERT_TRUE(session().offset != 0);
}

/* A quantum is a number of cells: real ones and dummies together, whatever the payload was. */
TEST(bpf_release, a_session_lasts_exactly_its_quantum)
{
	const struct timespec silence = { .tv_nsec = 15000000 };
	unsigned sent = 1, dummies = 0;
	struct outcome o;

	fixture_policy(PACED("50ms", "drop"));
	o = send_real();
	fixture_run(DP_RELEASE, &(struct run){ .frame = o.frame, .frame_len = o.len });
	nanosleep(&silence, NULL);
	for (int i = 0; i < 30; i++) {
		o = release_clock();
		dummies += o.reasons[TG_PASS_CELL_DUMMY] == 1;
	}
	sent += dummies;
	CU_ASSERT_EQUAL(sent, 10);
	CU_ASSERT_EQUAL(fixture_stats(TG_OUT, 0).dummy_bytes, 9 * 160);
	CU_ASSERT_EQUAL(session().extensions, 0);
}

TEST(bpf_release, a_session_that_is_not_idle_gets_another_quantum)
{
	struct outcome o;
	unsigned sent = 0;

	fixture_policy(PACED("50ms", "drop"));
	for (int i = 0; i < 10; i++) {
		o = send_real();
		o = fixture_run(DP_RELEASE, &(struct run){ .frame = o.frame, .frame_len = o.len });
		sent += o.reasons[TG_PASS_CELL_REAL] == 1;
	}
	CU_ASSERT_EQUAL(sent, 10);
	CU_ASSERT_EQUAL(session().extensions, 1);
	CU_ASSERT_EQUAL(session().left, 10);
}

TEST(bpf_release, always_needs_no_real_packet)
{
	fixture_policy(PACED_SESSION("session = \"always\";", "drop"));
	CU_ASSERT_EQUAL(release_clock().reasons[TG_PASS_CELL_DUMMY], 1);
}

TEST(bpf_release, overflow_drop_keeps_the_delay_budget)
{
	unsigned queued = 0, dropped = 0;

	fixture_policy(PACED("10s", "drop"));
	for (int i = 0; i < 8; i++) {
		struct outcome o = send_real();

		queued += o.reasons[TG_PASS_QUEUED];
		dropped += o.verdict == TC_ACT_SHOT && o.reasons[TG_DROP_OVERFLOW];
	}
	CU_ASSERT_EQUAL(queued, 5); /* 25 ms at 5 ms a cell */
	CU_ASSERT_EQUAL(dropped, 3);
	CU_ASSERT_EQUAL(fixture_stats(TG_OUT, 0).drop_packets, 3);
	/* what was dropped was not sent */
	CU_ASSERT_EQUAL(fixture_stats(TG_OUT, 0).real_packets, 5);
	CU_ASSERT_EQUAL(fixture_stats(TG_OUT, 0).real_bytes + fixture_stats(TG_OUT, 0).pad_bytes, 5 * 160);
}

static unsigned long long violations(enum tg_violation violation)
{
	return fixture_stats(TG_OUT, 0).violations[violation];
}

/* Beyond the budget of five cells: dropped or stretched, each is a violation. */
TEST(bpf_release, overflow_is_a_violation)
{
	fixture_policy(PACED("10s", "drop"));
	for (int i = 0; i < 8; i++)
		send_real();
	CU_ASSERT_EQUAL(violations(TG_VIOLATION_OVERFLOW), 3);
	fixture_policy(PACED("10s", "stretch"));
	for (int i = 0; i < 8; i++)
		send_real();
	CU_ASSERT_EQUAL(violations(TG_VIOLATION_OVERFLOW), 3);
	CU_ASSERT_EQUAL(fixture_stats(TG_OUT, 0).drop_packets, 0);
}

/* The budget of 25 ms is stricter than the profile's 50 ms. */
TEST(bpf_release, a_long_wait_is_a_violation)
{
	const struct timespec pause = { .tv_nsec = 30000000 };
	struct outcome o;

	fixture_policy(PACED("10s", "drop"));
	o = send_real();
	fixture_run(DP_RELEASE, &(struct run){ .frame = o.frame, .frame_len = o.len });
	CU_ASSERT_EQUAL(violations(TG_VIOLATION_DELAY), 0);
	o = send_real();
	nanosleep(&pause, NULL);
	fixture_run(DP_RELEASE, &(struct run){ .frame = o.frame, .frame_len = o.len });
	CU_ASSERT_EQUAL(violations(TG_VIOLATION_DELAY), 1);
}

/* Ten slots under a budget: how many dummies went out. */
static unsigned budgeted(const char *policy, enum tg_violation violation, unsigned long long expected)
{
	unsigned dummies = 0, withheld = 0;

	fixture_policy(policy);
	fixture_clear_spending();
	for (int i = 0; i < 10; i++) {
		struct outcome o = release_clock();

		CU_ASSERT_EQUAL(o.verdict, TC_ACT_REDIRECT);
		dummies += o.reasons[TG_PASS_CELL_DUMMY] == 1;
		withheld += o.reasons[TG_PASS_CELL_WITHHELD] == 1;
	}
	CU_ASSERT_EQUAL(dummies + withheld, 10);
	CU_ASSERT_EQUAL(violations(violation), expected);
	CU_ASSERT_EQUAL(fixture_stats(TG_OUT, 0).dummy_packets, dummies);
	return dummies;
}

/* A dummy of 160 bytes is 220 on the wire. */
TEST(bpf_release, dummies_beyond_a_budget_stay_in)
{
	struct tg_spending_state s;

	CU_ASSERT_EQUAL(budgeted(PACED_BUDGET("budget = { dummy_bytes_per_day = 1539; };",
					      "session = \"always\";", "drop"),
				 TG_VIOLATION_DAY, 4),
			6);
	CU_ASSERT_EQUAL(dataplane_spending_get(fixture(), &s, NULL), 0);
	CU_ASSERT_EQUAL(s.day_bytes, 6 * 220);
	CU_ASSERT_EQUAL(budgeted(PACED_BUDGET("budget = { dummy_bytes_per_day = 1539; violation = \"count\"; "
					      "};",
					      "session = \"always\";", "drop"),
				 TG_VIOLATION_DAY, 4),
			10);
	CU_ASSERT_EQUAL(
		budgeted(PACED_BUDGET("budget = { metered = true; metered_dummy_bytes_per_day = 0; };",
				      "session = \"always\";", "drop"),
			 TG_VIOLATION_METERED, 10),
		0);
	/* a byte per second: one is let through, and overdraws for minutes */
	CU_ASSERT_EQUAL(budgeted(PACED_BUDGET("budget = { dummy_share = 1; link_kbit_s = 1; };",
					      "session = \"always\";", "drop"),
				 TG_VIOLATION_SHARE, 9),
			1);
}

/* What was spent today stays spent: a reload is no new day. */
TEST(bpf_release, a_reload_keeps_what_was_spent)
{
	static const char policy[] =
		PACED_BUDGET("budget = { dummy_bytes_per_day = 220; };", "session = \"always\";", "drop");

	fixture_policy(policy);
	fixture_clear_spending();
	CU_ASSERT_EQUAL(release_clock().reasons[TG_PASS_CELL_DUMMY], 1);
	fixture_policy(policy);
	CU_ASSERT_EQUAL(release_clock().reasons[TG_PASS_CELL_WITHHELD], 1);
}

TEST(bpf_release, overflow_stretch_goes_on_to_the_limit)
{
	struct tg_queue queue;
	unsigned queued = 0;

	fixture_policy(PACED("10s", "stretch"));
	dataplane_queue_get(fixture(), 0, &queue, NULL);
	for (unsigned i = 0; i < queue.limit_cells + 5; i++)
		queued += send_real().reasons[TG_PASS_QUEUED] == 1;
	CU_ASSERT_TRUE(queue.limit_cells > 5);
	CU_ASSERT_EQUAL(queued, queue.limit_cells);
}

/* Two robots behind one gateway's tunnel, the second one within the first one's network. */
static const char two_peers[] =
	"version = 1; name = \"t\"; policy_version = 1L; role = \"gateway\"; profile = \"lab\"; fail = "
	"\"closed\";\n"
	"tunnels = ( { name = \"tg0\"; external = \"wgx\"; mtu = 1420; dummy = { source = \"fd54::ff\"; };\n"
	" peers = ( { allowed_ips = ( \"10.1.0.0/16\", \"fd54::1\" ); },\n"
	"  { allowed_ips = ( \"10.1.2.0/24\", \"fd54::2\" ); } );\n"
	" classes = ( { name = \"c\"; defence = \"constant\"; cell = 160; period = \"5ms\"; session = "
	"\"10s\";\n"
	"  idle = \"10ms\"; delay_budget = \"25ms\"; overflow = \"drop\"; } ); } );\n"
	"rules = ( { tunnel = \"tg0\"; class = \"c\"; to = ( \"10.1.0.0/16\" ); } );\n";

TEST(bpf_release, one_peers_overflow_leaves_the_other_alone)
{
	const struct packet_spec to[] = {
		{ .family = 4, .src = "10.84.0.2", .dst = "10.1.0.1", .proto = IPPROTO_UDP, .payload = 10 },
		{ .family = 4, .src = "10.84.0.2", .dst = "10.1.2.1", .proto = IPPROTO_UDP, .payload = 10 },
	};
	struct tg_ether_meta meta;
	struct outcome o;
	unsigned dropped = 0;

	fixture_policy(two_peers);
	for (int i = 0; i < 8; i++)
		dropped +=
			fixture_run(DP_EGRESS, &(struct run){ .packet = &to[0] }).reasons[TG_DROP_OVERFLOW];
	CU_ASSERT_EQUAL(dropped, 3);
	CU_ASSERT_EQUAL(backlog_of(0), 5);
	CU_ASSERT_EQUAL(session_of(1).sessions, 0);
	o = fixture_run(DP_EGRESS, &(struct run){ .packet = &to[1] });
	CU_ASSERT_EQUAL(o.reasons[TG_PASS_QUEUED], 1);
	memcpy(&meta, o.frame, sizeof(meta));
	CU_ASSERT_EQUAL(meta.peer, 1);
	CU_ASSERT_EQUAL(backlog_of(0), 5);
	CU_ASSERT_EQUAL(backlog_of(1), 1);
	CU_ASSERT_EQUAL(session_of(1).sessions, 1);
	o = fixture_run(DP_RELEASE, &(struct run){ .frame = o.frame, .frame_len = o.len });
	CU_ASSERT_EQUAL(o.reasons[TG_PASS_CELL_REAL], 1);
	CU_ASSERT_EQUAL(session_of(0).ticks, 0);
	CU_ASSERT_EQUAL(session_of(1).ticks, 1);
	CU_ASSERT_EQUAL(session_of(1).left, 1999);
}

/* A clock ticks for its own session alone, and what goes round is the cell itself, with its target. */
TEST(bpf_release, each_peer_has_a_clock_of_its_own)
{
	const struct packet_spec to_second = {
		.family = 4, .src = "10.84.0.2", .dst = "10.1.2.1", .proto = IPPROTO_UDP, .payload = 10
	};
	struct tg_ether_meta meta;
	struct outcome o;

	fixture_policy(two_peers);
	fixture_run(DP_EGRESS, &(struct run){ .packet = &to_second });
	o = release_clock_of(0);
	CU_ASSERT_EQUAL(o.reasons[TG_PASS_CELL_IDLE], 1);
	CU_ASSERT_EQUAL(session_of(0).ticks, 1);
	CU_ASSERT_EQUAL(session_of(1).ticks, 0);
	o = release_clock_of(1);
	CU_ASSERT_EQUAL(o.reasons[TG_PASS_CELL_DUMMY], 1);
	CU_ASSERT_EQUAL(session_of(1).ticks, 1);
	memcpy(&meta, o.frame, sizeof(meta));
	CU_ASSERT_EQUAL(meta.peer, 1);
}

/* The size of queue 0 from here on, as a reload changes it. */
static void set_cell(unsigned cell)
{
	struct tg_queue queue;
	struct tg_error e;

	CU_ASSERT_EQUAL(dataplane_queue_get(fixture(), 0, &queue, &e), 0);
	queue.cell = (uint16_t)cell;
	CU_ASSERT_EQUAL(dataplane_queue_set(fixture(), 0, &queue, &e), 0);
}

/* What a reload finds in the queue leaves with the new size, smaller or larger, and the same packet in it. */
TEST(bpf_release, cells_take_the_size_that_their_queue_has_now)
{
	static const unsigned cells[] = { 1280, 64, 160 };
	uint8_t zero[PACKET_ROOM] = { 0 };

	fixture_policy(PACED_SESSION("session = \"always\";", "drop"));
	for (unsigned i = 0; i < 3; i++) {
		struct outcome real, o;
		unsigned ip_len = 20 + 8 + 10;
		uint16_t payload;

		set_cell(160);
		real = send_real();
		set_cell(cells[i]);
		o = fixture_run(DP_RELEASE, &(struct run){ .frame = real.frame, .frame_len = real.len });
		CU_ASSERT_EQUAL(o.verdict, TC_ACT_REDIRECT);
		CU_ASSERT_EQUAL(o.len, cells[i] + TG_L2_LEN);
		CU_ASSERT_EQUAL(memcmp(o.frame + TG_L2_LEN, real.frame + TG_L2_LEN, ip_len), 0);
		CU_ASSERT_EQUAL(memcmp(o.frame + TG_L2_LEN + ip_len, zero, o.len - TG_L2_LEN - ip_len), 0);
		o = release_clock();
		CU_ASSERT_EQUAL(o.reasons[TG_PASS_CELL_DUMMY], 1);
		CU_ASSERT_EQUAL(o.len, cells[i] + TG_L2_LEN);
		memcpy(&payload, o.frame + TG_L2_LEN + 4, sizeof(payload));
		CU_ASSERT_EQUAL(ntohs(payload), cells[i] - 40);
		if (cells[i] > 160)
			CU_ASSERT_EQUAL(memcmp(o.frame + TG_L2_LEN + 160, zero, cells[i] - 160), 0);
	}
}

/* It would be cut: it is dropped, counted, and does not count as waiting. */
TEST(bpf_release, a_packet_that_is_too_large_by_now_is_dropped)
{
	struct packet_spec large = small;
	struct outcome o;

	fixture_policy(PACED("10s", "drop"));
	large.payload = 100;
	o = fixture_run(DP_EGRESS, &(struct run){ .packet = &large });
	CU_ASSERT_EQUAL(o.reasons[TG_PASS_QUEUED], 1);
	set_cell(112);
	o = fixture_run(DP_RELEASE, &(struct run){ .frame = o.frame, .frame_len = o.len });
	CU_ASSERT_EQUAL(o.verdict, TC_ACT_SHOT);
	CU_ASSERT_EQUAL(o.reasons[TG_DROP_OVERSIZE], 1);
	CU_ASSERT_EQUAL(fixture_stats(TG_OUT, 0).drop_packets, 1);
	CU_ASSERT_EQUAL(backlog_of(0), 0);
}

/* The clock cell of session 0 in that queue, put in first when there is none. */
static struct outcome clock_in(unsigned queue)
{
	struct tg_ether_meta meta = { .kind = TG_CELL_START, .queue = (uint8_t)queue, .h_proto = 0xdd86 };
	struct tg_session_state s = session();
	struct tg_twins *t = s.queue == queue ? &s.clocks : &s.waiting;

	for (meta.number = 0; meta.number < TG_TWINS; meta.number++)
		if (!t->number[meta.number])
			release(&meta, 160);
	s = session();
	meta.kind = TG_CELL_CLOCK;
	meta.number = t->number[!t->last];
	return release(&meta, 160);
}

/* While its session is in another queue, which shares its entries, a packet goes there. */
TEST(bpf_release, a_packet_goes_to_the_queue_that_its_session_is_in)
{
	const struct timespec pause = { .tv_nsec = 4000000 };
	struct tg_ether_meta meta;
	struct tg_queue queue;
	struct tg_error e;
	struct outcome o;

	fixture_policy(PACED_SESSION("session = \"always\";", "drop"));
	CU_ASSERT_EQUAL(dataplane_queue_get(fixture(), 0, &queue, &e), 0);
	CU_ASSERT_EQUAL(dataplane_queue_set(fixture(), 7, &queue, &e), 0);
	CU_ASSERT_EQUAL(dataplane_session_clear(fixture(), 0, 7, &e), 0);
	o = send_real();
	memcpy(&meta, o.frame, sizeof(meta));
	CU_ASSERT_EQUAL(meta.queue, 7);
	/* the clock of queue 0 waits for it, then takes over; that of queue 7, whose sessions belong there,
	 * ends */
	CU_ASSERT_EQUAL(clock_in(0).reasons[TG_PASS_CELL_IDLE], 1);
	CU_ASSERT_EQUAL(clock_in(7).reasons[TG_PASS_CELL_DUMMY], 1);
	CU_ASSERT_EQUAL(session().queue, 7);
	fixture_run(DP_RELEASE, &(struct run){ .frame = o.frame, .frame_len = o.len });
	nanosleep(&pause, NULL);
	CU_ASSERT_EQUAL(clock_in(0).reasons[TG_PASS_CELL_DUMMY], 1);
	CU_ASSERT_EQUAL(session().queue, 0);
	o = clock_in(7);
	CU_ASSERT_EQUAL(o.verdict, TC_ACT_SHOT);
	CU_ASSERT_EQUAL(o.reasons[TG_PASS_CELL_RETIRED], 1);
	o = send_real();
	memcpy(&meta, o.frame, sizeof(meta));
	CU_ASSERT_EQUAL(meta.queue, 0);
	memset(&queue, 0, sizeof(queue));
	CU_ASSERT_EQUAL(dataplane_queue_set(fixture(), 7, &queue, &e), 0);
}

TEST(bpf_release, strangers_are_refused)
{
	struct tg_ether_meta meta = { .kind = 'x', .h_proto = 0xdd86 };
	struct outcome o;

	fixture_policy(PACED("10s", "drop"));
	o = release(&meta, 160);
	CU_ASSERT_EQUAL(o.verdict, TC_ACT_SHOT);
	CU_ASSERT_EQUAL(o.reasons[TG_DROP_STRAY], 1);
	meta.kind = TG_CELL_REAL;
	meta.queue = 9; /* not configured */
	o = release(&meta, 160);
	CU_ASSERT_EQUAL(o.reasons[TG_DROP_STRAY], 1);
	meta.queue = 0;
	meta.peer = 4;		/* beyond the queue's room */
	o = release(&meta, 160);
	CU_ASSERT_EQUAL(o.reasons[TG_DROP_STRAY], 1);
	meta.queue = 200;	/* beyond the map */
	o = release(&meta, 160);
	CU_ASSERT_EQUAL(o.reasons[TG_DROP_STRAY], 1);
}

static uint64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/*
 * A slow machine paces by itself: what is judged are cells that came behind so many others
 * of which each was sure to be less than half a period behind the one before, as seen from
 * outside. All of these must be dropped. The period is long, so that an emulated machine is
 * fast enough as well.
 */
TEST(bpf_release, a_queue_that_nobody_paces_sends_no_flood)
{
	enum { PERIOD_NS = 200000000, MANY = 20, MOST = 5000 };
	const struct timespec period = { .tv_nsec = PERIOD_NS };
	unsigned calls = 0, dummies = 0, dropped = 0, judged = 0, fast = 0;
	uint64_t before = 0;

	fixture_policy(PACED_PERIOD("", "200ms", "400ms", "session = \"always\";", "drop"));
	for (; calls < MOST && judged < MANY; calls++) {
		uint64_t begin = clock_ns();
		struct outcome o = release_clock_of(0);
		bool drop = o.reasons[TG_DROP_UNPACED] == 1 && o.verdict == TC_ACT_SHOT;

		fast = calls && clock_ns() - before < PERIOD_NS / 2 ? fast + 1 : 0;
		before = begin;
		dummies += o.reasons[TG_PASS_CELL_DUMMY] == 1;
		dropped += drop;
		if (fast >= TG_FAST_TICKS) {
			CU_ASSERT_TRUE(drop);
			judged++;
		}
	}
	CU_ASSERT_EQUAL(dummies + dropped, calls);
	CU_ASSERT_EQUAL(judged, MANY);
	nanosleep(&period, NULL);
	CU_ASSERT_EQUAL(release_clock_of(0).reasons[TG_PASS_CELL_DUMMY], 1);
}

TEST(bpf_release, a_missing_clock_cell_is_counted)
{
	/* an emulated machine makes the two calls within two of these periods */
	const struct timespec silence = { .tv_nsec = 600000000 };

	fixture_policy(PACED_PERIOD("", "200ms", "400ms", "session = \"10s\"; idle = \"400ms\";", "drop"));
	release_clock_of(0);
	CU_ASSERT_EQUAL(send_real().reasons[TG_NOTE_CLOCK], 0);
	nanosleep(&silence, NULL);
	CU_ASSERT_EQUAL(send_real().reasons[TG_NOTE_CLOCK], 1);
	CU_ASSERT_EQUAL(session().overdue, 1);
	release_clock_of(0);
	CU_ASSERT_EQUAL(session().overdue, 0);
}

/* The queue lost the first of two: when the second leaves, nothing waits any more. */
TEST(bpf_release, a_lost_cell_leaves_no_backlog)
{
	struct outcome o;

	fixture_policy(PACED("10s", "drop"));
	send_real();
	o = send_real();
	CU_ASSERT_EQUAL(backlog_of(0), 2);
	fixture_run(DP_RELEASE, &(struct run){ .frame = o.frame, .frame_len = o.len });
	CU_ASSERT_EQUAL(backlog_of(0), 0);
	CU_ASSERT_EQUAL(session().lost, 1);
}

TEST(bpf_ingress, dummies_are_dropped_and_counted)
{
	const struct packet_spec dummy = {
		.family = 6, .src = "fd54::1", .dst = "fd54::2", .proto = IPPROTO_NONE, .payload = 120
	};
	struct outcome o;

	fixture_policy(PACED("10s", "drop"));
	o = fixture_run(DP_INGRESS, &(struct run){ .packet = &dummy });
	CU_ASSERT_EQUAL(o.verdict, TC_ACT_SHOT);
	CU_ASSERT_EQUAL(o.reasons[TG_DROP_DUMMY], 1);
	CU_ASSERT_EQUAL(fixture_stats(TG_IN, 0).dummy_packets, 1);
	CU_ASSERT_EQUAL(fixture_stats(TG_IN, 0).dummy_bytes, 160);
}

static int run_mute(const struct packet_spec *packet)
{
	uint8_t frame[PACKET_ROOM];
	DECLARE_LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .repeat = 1);

	opts.data_size_in = (uint32_t)packet_build(packet, frame);
	return bpf_prog_test_run_opts(fixture()->progs[DP_MUTE], &opts) ? -1 : (int)opts.retval;
}

TEST(bpf_ingress, xdp_mutes_dummies_and_nothing_else)
{
	struct packet_spec packet = {
		.family = 6, .src = "fd54::1", .dst = "fd54::2", .proto = IPPROTO_NONE, .payload = 120
	};

	fixture_policy(PACED("10s", "drop"));
	CU_ASSERT_EQUAL(run_mute(&packet), XDP_DROP);
	CU_ASSERT_EQUAL(fixture_stats(TG_IN, 0).dummy_bytes, 160);
	packet.proto = IPPROTO_UDP;
	CU_ASSERT_EQUAL(run_mute(&packet), XDP_PASS);
	packet = (struct packet_spec){
		.family = 4, .src = "10.1.0.1", .dst = "10.84.0.2", .proto = 59, .payload = 99
	};
	CU_ASSERT_EQUAL(run_mute(&packet), XDP_PASS);
	CU_ASSERT_EQUAL(fixture_stats(TG_IN, 0).dummy_packets, 1);
}

TEST(bpf_ingress, real_packets_pass_and_are_counted_under_their_class)
{
	const struct packet_spec answer = {
		.family = 4, .src = "10.1.0.1", .dst = "10.84.0.2", .proto = IPPROTO_UDP, .payload = 10
	};
	const struct packet_spec hidden = {
		.family = 6, .src = "fd54::1", .dst = "fd54::2", .proto = IPPROTO_NONE, .ext_hopopts = 1
	};
	struct outcome o;

	fixture_policy(PACED("10s", "drop"));
	o = fixture_run(DP_INGRESS, &(struct run){ .packet = &answer });
	CU_ASSERT_EQUAL(o.verdict, TC_ACT_OK);
	CU_ASSERT_EQUAL(fixture_stats(TG_IN, 0).real_packets, 1);
	CU_ASSERT_EQUAL(fixture_stats(TG_IN, 0).real_bytes, 38);
	/* next header 59 behind other headers is not one of ours: it is the stack's */
	o = fixture_run(DP_INGRESS, &(struct run){ .packet = &hidden });
	CU_ASSERT_EQUAL(o.verdict, TC_ACT_OK);
}
