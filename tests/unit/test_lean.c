/* SPDX-License-Identifier: BSD-3-Clause */
/* Sessions of the lean defence, driven by a clock that the test owns. */
#include <arpa/inet.h>
#include <netinet/ip6.h>
#include <string.h>

#include "harness.h"
#include "pace/lean.h"

#define MS 1000000ull
#define S (1000 * MS)
#define START (7 * S + 123456)

enum { CELL = 208, PAYLOAD = CELL - 44 };

static const struct tg_schedule schedule = {
	.defence = TG_DEFENCE_LEAN,
	.budget_ns = 100 * MS,
	.queue = { .period_ns = 8 * MS,
		   .idle_ns = 300 * MS,
		   .slots = 260,
		   .budget_cells = 12,
		   .limit_cells = 12,
		   .guard_ns = 50 * MS,
		   .cell = CELL,
		   .overflow = TG_OVERFLOW_DROP },
	.lean = { .tick_ns = 24 * MS,
		  .learn_period_ns = 5 * MS,
		  .learn_slots = 20,
		  .listen_slots = 20,
		  .first_slots = 260,
		  .more_slots = 300,
		  .slot_count = 3,
		  .slot_ns = { 2 * MS, 8 * MS, 18 * MS },
		  .mtu = 1280 },
};

/* What the maps hold, and the other end. */
struct bed {
	struct tg_paced paced;
	struct tg_session_state session;
	struct lean lean;
	uint8_t dummy[CELL], target[16], cell[CELL];
	struct lean_cell single;
	uint64_t now;
	unsigned got;		/* packets out of shared cells */
	size_t got_bytes;
	uint8_t buffer[1280];
	struct tg_aggfrag_reader reader;
};

static struct bed bed;

static const struct tg_schedule *in_force = &schedule;

static void start(void)
{
	const struct lean_setup setup = { .schedule = in_force,
					  .session = &bed.session,
					  .shared = &bed.paced,
					  .dummy = bed.dummy,
					  .target = bed.target,
					  .sequence = 77 };

	CU_ASSERT_EQUAL_FATAL(lean_init(&bed.lean, &setup, bed.now), 0);
}

static void begin(void)
{
	const struct tg_hello hello = { .magic = htonl(TG_HELLO_MAGIC), .version = TG_HELLO_VERSION };
	struct ip6_hdr ip = { .ip6_nxt = IPPROTO_NONE };

	lean_free(&bed.lean);
	memset(&bed, 0, sizeof(bed));
	ip.ip6_flow = htonl(6u << 28);
	ip.ip6_plen = htons(CELL - 40);
	memcpy(bed.dummy, &ip, sizeof(ip));
	memcpy(bed.dummy + sizeof(ip), &hello, sizeof(hello));
	bed.target[15] = 9;
	bed.reader = (struct tg_aggfrag_reader){ .buffer = bed.buffer, .room = sizeof(bed.buffer) };
	bed.now = START;
	start();
}

static void end(void)
{
	lean_free(&bed.lean);
	memset(&bed.lean, 0, sizeof(bed.lean));
}

static bool admit_as(size_t size, bool bare)
{
	uint8_t packet[1500] = { 0x45, 0, (uint8_t)(size >> 8), (uint8_t)size };
	const struct lean_packet p = {
		.arrived_ns = bed.now, .size = (uint32_t)size, .mark = 5, .bare = bare
	};

	return lean_admit(&bed.lean, &p, packet);
}

static bool admit(size_t size)
{
	return admit_as(size, false);
}

static void got_packet(void *ctx, const uint8_t *packet, size_t len)
{
	(void)ctx;
	(void)packet;
	bed.got++;
	bed.got_bytes += len;
}

/* One slot at its time; what it shares is read. */
static enum lean_step step(void)
{
	enum lean_step step;
	struct ip6_hdr ip;

	bed.now = bed.lean.next_ns;
	step = lean_step(&bed.lean, bed.now, bed.cell, &bed.single);
	memcpy(&ip, bed.cell, sizeof(ip));
	if (step == LEAN_SHARED) {
		CU_ASSERT_EQUAL(ip.ip6_nxt, TG_LEAN_PROTOCOL);
		CU_ASSERT(!memcmp(&ip.ip6_dst, bed.target, 16));
		tg_aggfrag_read(&bed.reader, ntohl(ip.ip6_flow) & TG_AGGFRAG_SEQUENCE_MASK, bed.cell + 40,
				CELL - 40, got_packet, NULL);
	}
	return step;
}

/* Whether the dummy says anything, and whether it asks. */
static bool says(void)
{
	struct tg_hello hello;

	memcpy(&hello, bed.cell + 40, sizeof(hello));
	return hello.magic == htonl(TG_HELLO_MAGIC) && hello.version == TG_HELLO_VERSION;
}

static bool asks(void)
{
	struct tg_hello hello;

	memcpy(&hello, bed.cell + 40, sizeof(hello));
	CU_ASSERT(says() || !hello.flags);
	return hello.flags & TG_HELLO_ASKS;
}

/* Slots until the session ends, of which `real` is the number with something real; returns their number. */
static unsigned to_the_end(unsigned *ret_real)
{
	unsigned slots = 0;

	*ret_real = 0;
	while (bed.lean.next_ns && slots < 10000) {
		*ret_real += step() != LEAN_DUMMY;
		slots++;
	}
	return slots;
}

TEST(lean, a_session_is_so_many_slots)
{
	uint64_t last = 0;
	unsigned real;

	begin();
	CU_ASSERT_EQUAL(bed.lean.next_ns, 0);
	CU_ASSERT(admit(100));
	for (unsigned i = 0; i < 20; i++) {
		CU_ASSERT_EQUAL(step(), i ? LEAN_DUMMY : LEAN_SINGLE);
		CU_ASSERT_EQUAL(bed.now % (5 * MS), 0);
		CU_ASSERT(!last || bed.now == last + 5 * MS);
		last = bed.now;
	}
	/* the pattern: gaps of 6, 10 and 8 ms in turn */
	CU_ASSERT(bed.lean.next_ns >= last + 25 * MS / 10);
	last = 0;
	for (unsigned i = 0; i < 240; i++) {
		CU_ASSERT_EQUAL(step(), LEAN_DUMMY);
		CU_ASSERT(!last || bed.now - last == 6 * MS || bed.now - last == 10 * MS ||
			  bed.now - last == 8 * MS);
		last = bed.now;
	}
	CU_ASSERT_EQUAL(bed.lean.next_ns, 0);
	CU_ASSERT_EQUAL(bed.session.left, 0);
	/* traffic at the end: a quantum more */
	CU_ASSERT(admit(100));
	for (unsigned i = 0; i < 250; i++)
		step();
	CU_ASSERT(admit(100));
	CU_ASSERT_EQUAL(to_the_end(&real), 10 + 300);
	CU_ASSERT_EQUAL(real, 1);
	CU_ASSERT_EQUAL(bed.session.sessions, 2);
	CU_ASSERT_EQUAL(bed.session.extensions, 1);
	end();
}

/* Without a word of the peer each packet has a cell of its own, with it they share. */
TEST(lean, cells_are_shared_when_the_peer_was_heard)
{
	unsigned real;

	begin();
	admit(60);
	admit(60);
	CU_ASSERT_EQUAL(step(), LEAN_SINGLE);
	CU_ASSERT(bed.single.size == 60 && bed.single.mark == 5);
	CU_ASSERT_EQUAL(step(), LEAN_SINGLE);
	CU_ASSERT_EQUAL(step(), LEAN_DUMMY);
	CU_ASSERT(asks());
	lean_hear(&bed.lean, false, bed.now);
	CU_ASSERT_EQUAL(step(), LEAN_DUMMY);
	CU_ASSERT(!asks());
	for (int i = 0; i < 5; i++)
		admit(60);
	CU_ASSERT_EQUAL(step(), LEAN_SHARED);
	CU_ASSERT_EQUAL(bed.got, 2);
	CU_ASSERT_EQUAL(step(), LEAN_SHARED);
	CU_ASSERT_EQUAL(bed.got, 5);
	/* eight cells for one packet */
	CU_ASSERT(admit(1200));
	for (int i = 0; i < 8; i++)
		CU_ASSERT_EQUAL(step(), LEAN_SHARED);
	CU_ASSERT(bed.got == 6 && bed.got_bytes == 5 * 60 + 1200);
	CU_ASSERT_EQUAL(bed.paced.stats.real_packets, 6);
	CU_ASSERT_EQUAL(bed.paced.stats.real_bytes + bed.paced.stats.pad_bytes, 10 * CELL);
	CU_ASSERT_EQUAL(bed.paced.lean.shared_cells, 10);
	/* the next session begins without */
	to_the_end(&real);
	bed.now += S;
	admit(60);
	CU_ASSERT_EQUAL(step(), LEAN_SINGLE);
	end();
}

/* A peer that does not go on saying it has another policy now. */
TEST(lean, what_was_heard_lapses)
{
	begin();
	admit(60);
	step();
	lean_hear(&bed.lean, false, bed.now);
	admit(1280);
	CU_ASSERT_EQUAL(step(), LEAN_SHARED);
	bed.now += 4 * S;
	bed.lean.next_ns = bed.now;
	/* the rest of what has begun is lost, and what comes has a cell of its own */
	CU_ASSERT_EQUAL(step(), LEAN_DUMMY);
	CU_ASSERT(asks());
	CU_ASSERT_EQUAL(bed.paced.stats.drop_packets, 1);
	CU_ASSERT(!admit(209));
	CU_ASSERT(admit(208));
	CU_ASSERT_EQUAL(step(), LEAN_SINGLE);
	CU_ASSERT_EQUAL(bed.session.admitted, bed.session.released);
	end();
}

/* At a session's beginning a large packet waits for half a second, with dummies going that ask. */
TEST(lean, large_packets_wait_for_the_peer)
{
	unsigned dummies = 0;

	begin();
	CU_ASSERT(admit(1280));
	CU_ASSERT_EQUAL(step(), LEAN_DUMMY);
	CU_ASSERT(asks());
	lean_hear(&bed.lean, false, bed.now);
	CU_ASSERT_EQUAL(step(), LEAN_SHARED);
	begin();
	CU_ASSERT(admit(1280));
	CU_ASSERT(admit(50));
	while (step() == LEAN_DUMMY)
		dummies++;
	CU_ASSERT(bed.now - START >= 500 * MS && bed.now - START < 520 * MS);
	CU_ASSERT_EQUAL(bed.single.size, 50);
	CU_ASSERT_EQUAL(bed.paced.stats.drop_packets, 1);
	CU_ASSERT(dummies > 40);
	end();
}

/* One that is asked begins a session, and does not ask in it: two ends must not keep each other awake. */
TEST(lean, a_session_that_was_asked_for_asks_nobody)
{
	unsigned real, slots = 0;

	begin();
	lean_hear(&bed.lean, false, bed.now);
	CU_ASSERT_EQUAL(bed.lean.next_ns, 0);
	lean_hear(&bed.lean, true, bed.now);
	CU_ASSERT(bed.lean.next_ns);
	for (; bed.lean.next_ns; slots++) {
		CU_ASSERT_EQUAL(step(), LEAN_DUMMY);
		CU_ASSERT(!asks());
	}
	CU_ASSERT_EQUAL(slots, 260);
	/* while one runs, being asked changes nothing */
	bed.now += S;
	admit(100);
	for (int i = 0; i < 100; i++)
		step();
	lean_hear(&bed.lean, true, bed.now);
	CU_ASSERT_EQUAL(to_the_end(&real), 160);
	end();
}

/* Twice a second, and at once when asked: the rest of the dummies need not go to the peer's agent. */
TEST(lean, hellos_are_few)
{
	unsigned said = 0, slots = 0;

	begin();
	lean_hear(&bed.lean, true, bed.now);
	step();
	CU_ASSERT(says());
	step();
	CU_ASSERT(!says());
	lean_hear(&bed.lean, true, bed.now);
	step();
	CU_ASSERT(says());
	for (; bed.lean.next_ns; slots++) {
		step();
		said += says();
	}
	CU_ASSERT(said >= 3 && said <= 4);
	CU_ASSERT_EQUAL(slots, 257);
	end();
}

/* The wire's picture is the same whatever is sent, but for the phase. */
TEST(lean, loaded_and_idle_sessions_have_the_same_gaps)
{
	uint64_t gaps[2][260], last;

	for (int loaded = 0; loaded < 2; loaded++) {
		begin();
		admit(100);
		last = 0;
		for (unsigned i = 0; i < 260; i++) {
			if (loaded && i % 3 != 1)
				admit(40 + i % 160);
			if (loaded && i == 30)
				lean_hear(&bed.lean, false, bed.now);
			step();
			gaps[loaded][i] = bed.now - last;
			last = bed.now;
		}
		CU_ASSERT_EQUAL(bed.lean.next_ns != 0, loaded);
	}
	CU_ASSERT(!memcmp(gaps[0] + 1, gaps[1] + 1, 19 * sizeof(gaps[0][0])));
	for (unsigned i = 21; i < 240; i++) {
		unsigned shift = 0;

		/* which slot of the tick was the first may differ: then all do so alike */
		while (shift < 3 && gaps[0][21] != gaps[1][21 + shift])
			shift++;
		CU_ASSERT_EQUAL(gaps[0][i], gaps[1][i + shift]);
	}
	end();
}

/* 800 ms of learning, with a packet per tick, `early` into it in the first half. When is a tick of the frozen
 * pattern? */
static uint64_t learnt_from(uint64_t early, unsigned listen_slots, unsigned bare)
{
	struct tg_schedule longer = schedule;
	uint64_t origin;

	longer.lean.learn_slots = 160;
	longer.lean.listen_slots = listen_slots;
	longer.lean.first_slots = longer.queue.slots = 400;
	in_force = &longer;
	begin();
	admit(60);
	for (uint64_t tick = 1; tick < 33; tick++) {
		uint64_t at = START + tick * 24 * MS + (tick < 17 ? early : 15 * MS);

		while (bed.lean.next_ns <= at)
			step();
		bed.now = at;
		admit(60);
		for (unsigned i = 0; i < bare; i++, bed.now += MS)
			admit_as(52, true);
	}
	CU_ASSERT_EQUAL(bed.session.clock_due_ns, 0);
	while (!bed.session.clock_due_ns)
		step();
	CU_ASSERT_EQUAL(bed.paced.lean.locked, 1);
	origin = bed.session.clock_due_ns;
	end();
	in_force = &schedule;
	return origin;
}

/* What the peer delays by other times while it learns itself is not listened to. */
TEST(lean, what_comes_last_tells_the_tick)
{
	CU_ASSERT_EQUAL(learnt_from(3 * MS, 80, 0), learnt_from(9 * MS, 80, 0));
	CU_ASSERT_NOT_EQUAL(learnt_from(3 * MS, 160, 0), learnt_from(9 * MS, 160, 0));
}

/* TCP acknowledges at once or after 40 ms, and nobody waits for that. */
TEST(lean, acknowledgements_do_not_tell_the_tick)
{
	CU_ASSERT_EQUAL(learnt_from(3 * MS, 80, 3), learnt_from(3 * MS, 80, 0));
}

TEST(lean, the_backlog_is_bounded)
{
	unsigned admitted = 0;

	begin();
	admit(100);
	step();
	lean_hear(&bed.lean, false, bed.now);
	for (int i = 0; i < 1000; i++)
		admitted += admit(100);
	CU_ASSERT_EQUAL(admitted, 12 * PAYLOAD / 100);
	CU_ASSERT_EQUAL(bed.paced.stats.drop_packets, 1000 - admitted);
	CU_ASSERT_EQUAL(bed.paced.stats.violations[TG_VIOLATION_OVERFLOW], 1000 - admitted);
	for (int i = 0; i < 12; i++)
		CU_ASSERT_EQUAL(step(), LEAN_SHARED);
	CU_ASSERT_EQUAL(bed.got, admitted);
	CU_ASSERT_EQUAL(step(), LEAN_DUMMY);
	end();
}

/* Another agent goes on with the slots that are left, in the pattern that was learnt. */
TEST(lean, a_session_outlives_its_agent)
{
	uint64_t origin, tick, before;
	unsigned real;

	begin();
	admit(100);
	for (int i = 0; i < 100; i++)
		step();
	origin = bed.session.clock_due_ns;
	tick = bed.session.last_clock_ns;
	before = bed.now;
	CU_ASSERT(origin && tick == 24 * MS);
	lean_free(&bed.lean);
	bed.now += 777 * MS;
	start();
	CU_ASSERT_EQUAL(bed.lean.next_ns, tg_lean_slot(&schedule.lean, origin, tick, bed.now));
	CU_ASSERT(bed.paced.missed_slots >= (bed.now - before) / (8 * MS) - 1);
	CU_ASSERT_EQUAL(to_the_end(&real), 160);
	end();
}

TEST(lean, another_policy_takes_over_what_waits)
{
	static struct lean old;
	unsigned real;

	begin();
	admit(100);
	step();
	lean_hear(&bed.lean, false, bed.now);
	admit(1000);
	admit(70);
	step();
	bed.lean.reader.have = 17;
	old = bed.lean;
	start();
	lean_take_over(&bed.lean, &old, bed.now);
	lean_free(&old);
	CU_ASSERT_EQUAL(bed.lean.reader.have, 17);
	for (int i = 0; i < 6; i++)
		CU_ASSERT_EQUAL(step(), LEAN_SHARED);
	CU_ASSERT(bed.got == 2 && bed.got_bytes == 1070);
	CU_ASSERT_EQUAL(bed.session.lost, 0);
	CU_ASSERT_EQUAL(to_the_end(&real), 260 - 8);
	end();
}

/* A slot that comes late takes no other's place. */
TEST(lean, lateness_closes_no_gap)
{
	uint64_t due;

	begin();
	admit(100);
	for (int i = 0; i < 30; i++)
		step();
	due = bed.lean.next_ns;
	bed.now = due + 21 * MS;
	lean_step(&bed.lean, bed.now, bed.cell, &bed.single);
	CU_ASSERT(bed.lean.next_ns >= bed.now + 3 * MS);
	CU_ASSERT(bed.paced.missed_slots == 2 || bed.paced.missed_slots == 3);
	CU_ASSERT_EQUAL(bed.paced.late_wakes, 1);
	CU_ASSERT_EQUAL(lean_step(&bed.lean, bed.now, bed.cell, &bed.single), LEAN_NOTHING);
	end();
}
