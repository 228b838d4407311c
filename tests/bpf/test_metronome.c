/* SPDX-License-Identifier: BSD-3-Clause */
/* The ticks of metronomes: what goes out, what goes round and when. */
#include <linux/pkt_cls.h>
#include <netinet/in.h>
#include <string.h>
#include <time.h>

#include <bpf/bpf.h>

#include "fixture.h"
#include "harness.h"

#define POLICY(class)                                                                                        \
	"version = 1; name = \"t\"; policy_version = 1L; role = \"edge\"; profile = \"lab\"; fail = "        \
	"\"closed\";\n"                                                                                      \
	"tunnels = ( { name = \"tg0\"; external = \"wgx\"; mtu = 1420; default = \"c\";\n"                   \
	" dummy = { source = \"fd54::2\"; target = \"fd54::1\"; };\n"                                        \
	" classes = ( { name = \"c\"; cell = 160; " class " } ); } );\n"                                     \
							  "rules = ( { tunnel = \"tg0\"; class = \"c\"; to " \
							  "= ( \"10.1.0.0/16\" ); } );\n"
#define FRONT "defence = \"front\"; dummies = 9; window = ( \"1ms\", \"1ms\" ); idle = \"1h\";"
#define NEVER "( ( \"infinity\", 1 ) )"
#define WTF_PAD "defence = \"wtf-pad\"; burst = ( ( \"1ms\", 60000 ), ( \"infinity\", 1 ) ); gap = " NEVER ";"

static const struct packet_spec small = {
	.family = 4, .src = "10.84.0.2", .dst = "10.1.0.1", .proto = IPPROTO_UDP, .payload = 10
};

static struct outcome frame_run(enum dp_prog prog, const struct tg_ether_meta *meta)
{
	const struct packet_spec dummy = {
		.family = 6, .src = "fd54::2", .dst = "fd54::1", .proto = IPPROTO_NONE, .payload = 120
	};
	uint8_t frame[PACKET_ROOM] = { 0 };
	size_t len = packet_build(&dummy, frame);

	memcpy(frame, meta, sizeof(*meta));
	return fixture_run(prog, &(struct run){ .frame = frame, .frame_len = len });
}

static struct outcome kind_run(enum dp_prog prog, unsigned kind, unsigned queue)
{
	const struct tg_ether_meta meta = { .kind = (uint8_t)kind,
					    .queue = (uint8_t)queue,
					    .h_proto = 0xdd86 };

	return frame_run(prog, &meta);
}

static struct tg_metronome_state state(void)
{
	struct tg_metronome_state s = { 0 };

	dataplane_metronome_state(fixture(), 0, &s, NULL);
	return s;
}

/* The packet whose turn it is; both are put in first when there is none. */
static struct outcome tick(void)
{
	struct tg_ether_meta meta = { .kind = TG_CELL_START, .h_proto = 0xdd86 };
	struct tg_twins clocks = state().clocks;

	for (meta.number = 0; meta.number < TG_TWINS; meta.number++)
		if (!clocks.number[meta.number])
			frame_run(DP_METRONOME, &meta);
	clocks = state().clocks;
	meta = (struct tg_ether_meta){ .kind = TG_CELL_TICK,
				       .peer = clocks.number[!clocks.last],
				       .h_proto = 0xdd86 };
	return frame_run(DP_METRONOME, &meta);
}

static void wait_ms(long ms)
{
	const struct timespec pause = { .tv_nsec = ms * 1000000 };

	nanosleep(&pause, NULL);
}

TEST(bpf_metronome, a_real_packet_is_padded_and_leaves_at_once)
{
	struct outcome o;

	fixture_policy(POLICY(FRONT));
	o = fixture_run(DP_EGRESS, &(struct run){ .packet = &small });
	CU_ASSERT(o.verdict == TC_ACT_OK && o.len == 160 + 14 && o.reasons[TG_PASS_PADDED] == 1);
	CU_ASSERT(state().sessions == 1 && state().mode == TG_FRONT_START);
	CU_ASSERT_EQUAL(fixture_stats(TG_OUT, 0).real_packets, 1);
}

TEST(bpf_metronome, without_a_session_a_tick_sends_nothing)
{
	struct outcome o;

	fixture_policy(POLICY(FRONT));
	o = tick();
	CU_ASSERT(o.verdict == TC_ACT_REDIRECT && o.reasons[TG_PASS_TICK] == 1 && o.priority == 2);
	CU_ASSERT_EQUAL(o.reasons[TG_NOTE_TICK_DUMMY], 0);
	CU_ASSERT(state().ticks == 1 && state().last_tick_ns != 0);
}

/* All nine at most are due within 5 ms of a window of 1 ms, four of them in each tick. */
TEST(bpf_metronome, front_sends_what_it_planned_four_in_a_tick)
{
	unsigned sent = 0;

	fixture_policy(POLICY(FRONT));
	fixture_run(DP_EGRESS, &(struct run){ .packet = &small });
	wait_ms(20);
	for (unsigned i = 0; i < 4; i++) {
		unsigned now = (unsigned)tick().reasons[TG_NOTE_TICK_DUMMY];

		CU_ASSERT(now <= TG_METRONOME_DUMMIES);
		sent += now;
		CU_ASSERT(sent == state().front.planned || now == TG_METRONOME_DUMMIES);
	}
	CU_ASSERT(sent >= 1 && sent <= 9 && sent == state().front.planned && state().mode == TG_FRONT_REST);
	CU_ASSERT(fixture_stats(TG_OUT, 0).dummy_packets == sent &&
		  fixture_stats(TG_OUT, 0).dummy_bytes == sent * 160);
}

TEST(bpf_metronome, every_session_draws_anew)
{
	unsigned seen = 0;

	for (unsigned i = 0; i < 40; i++) {
		fixture_policy(POLICY(FRONT));
		fixture_run(DP_EGRESS, &(struct run){ .packet = &small });
		tick();
		CU_ASSERT_FATAL(state().front.planned >= 1 && state().front.planned <= 9);
		seen |= 1u << state().front.planned;
	}
	/* fewer than four of nine values in 40 draws: once in 10^15 runs */
	CU_ASSERT(__builtin_popcount(seen) >= 4);
}

TEST(bpf_metronome, wtfpad_follows_a_real_packet_by_a_dummy)
{
	struct outcome o;

	fixture_policy(POLICY(WTF_PAD));
	fixture_run(DP_EGRESS, &(struct run){ .packet = &small });
	CU_ASSERT_EQUAL(state().mode, TG_WTFPAD_BURST_DRAW);
	wait_ms(5);
	o = tick();
	/* its gap histogram knows but infinity: back to burst mode after it */
	CU_ASSERT_EQUAL(o.reasons[TG_NOTE_TICK_DUMMY], 1);
	CU_ASSERT_EQUAL(state().mode, TG_WTFPAD_BURST_DRAW);
	CU_ASSERT_EQUAL(state().wtfpad.burst[0], 59999);
	/* the interval that a real packet ends takes a token as well */
	fixture_run(DP_EGRESS, &(struct run){ .packet = &small });
	CU_ASSERT(state().wtfpad.burst[0] + state().wtfpad.burst[TG_MAX_BINS] == 59999 &&
		  state().sessions == 1);
}

TEST(bpf_metronome, the_fq_clock_is_told_when)
{
	struct tg_ether_meta meta;
	struct outcome o;

	fixture_policy(POLICY(FRONT " clock = \"fq\";"));
	o = tick();
	memcpy(&meta, o.frame, sizeof(meta));
	/* nothing is due: a tick later */
	CU_ASSERT_EQUAL(meta.departs_ns, state().last_tick_ns + 1000000);
	o = frame_run(DP_TIMED, &meta);
	CU_ASSERT(o.verdict == TC_ACT_OK && o.reasons[TG_PASS_TIMED] == 1);
	CU_ASSERT_EQUAL(o.tstamp, meta.departs_ns);
	/* something is: at its time, or at once */
	fixture_run(DP_EGRESS, &(struct run){ .packet = &small });
	o = tick();
	memcpy(&meta, o.frame, sizeof(meta));
	if (state().mode == TG_FRONT_WAIT && state().due_ns > state().last_tick_ns &&
	    state().due_ns < state().last_tick_ns + 1000000)
		CU_ASSERT_EQUAL(meta.departs_ns, state().due_ns);
	CU_ASSERT(meta.departs_ns >= state().last_tick_ns &&
		  meta.departs_ns <= state().last_tick_ns + 1000000);
}

TEST(bpf_metronome, strangers_are_refused)
{
	fixture_policy(POLICY(FRONT));
	tick();
	CU_ASSERT_EQUAL(kind_run(DP_METRONOME, 'x', 0).reasons[TG_DROP_STRAY], 1);
	CU_ASSERT_EQUAL(kind_run(DP_METRONOME, TG_CELL_TICK, 7).reasons[TG_DROP_STRAY], 1);
	CU_ASSERT_EQUAL(kind_run(DP_METRONOME, TG_CELL_TICK, 200).reasons[TG_DROP_STRAY], 1);
	CU_ASSERT_EQUAL(kind_run(DP_TIMED, TG_CELL_REAL, 0).reasons[TG_DROP_STRAY], 1);
	/* under a number that nobody gave away */
	CU_ASSERT_EQUAL(kind_run(DP_METRONOME, TG_CELL_TICK, 0).reasons[TG_DROP_STRAY], 1);
	CU_ASSERT_EQUAL(kind_run(DP_METRONOME, TG_CELL_START, 0).reasons[TG_PASS_CELL_START], 1);
}

TEST(bpf_metronome, a_lost_packet_comes_back)
{
	struct tg_ether_meta meta = { .kind = TG_CELL_TICK, .h_proto = 0xdd86 };
	unsigned made = 0;
	struct outcome o;

	fixture_policy(POLICY(FRONT " clock = \"fq\";"));
	tick();
	meta.peer = state().clocks.number[0];
	for (unsigned i = 0; i <= TG_TWINS_ALONE + 1 && !made; i++) {
		o = frame_run(DP_METRONOME, &meta);
		made = o.reasons[TG_NOTE_TWIN];
		CU_ASSERT_EQUAL(o.verdict, TC_ACT_REDIRECT);
	}
	CU_ASSERT_EQUAL(made, 1);
	CU_ASSERT_EQUAL(state().clocks.number[1], 3);
	memcpy(&meta, o.frame, sizeof(meta));
	CU_ASSERT_EQUAL(meta.peer, state().clocks.number[0]);
	CU_ASSERT_EQUAL(meta.departs_ns, state().last_tick_ns + 1000000);
}

TEST(bpf_metronome, a_class_whose_metronome_is_missing_fails_closed)
{
	const struct tg_metronome none = { .head_ifindex = 0 };
	struct outcome o;

	fixture_policy(POLICY(FRONT));
	dataplane_metronome_set(fixture(), 0, &none, NULL);
	o = fixture_run(DP_EGRESS, &(struct run){ .packet = &small });
	CU_ASSERT(o.verdict == TC_ACT_SHOT && o.reasons[TG_DROP_NO_CLASS] == 1);
}
