/* SPDX-License-Identifier: BSD-3-Clause */
/* The change of a tunnel's key, at both ends: pure state machines, with time as a parameter. */
#include "harness.h"
#include "keys/rotate.h"

enum { START = 1000000, BOUND = 96 };

/* Everything is ready for a change but what the test takes away. */
static struct rotate_view ready_view(void)
{
	return (struct rotate_view){
		.due = true, .has_next = true, .published = true, .live = 2, .ready = 2, .bound_ms = BOUND
	};
}

TEST(keys_rotate, makes_publishes_asks_switches_and_commits)
{
	struct rotate_view view = { .live = 2, .bound_ms = BOUND };
	struct rotate r = { .phase = ROTATE_REST };

	CU_ASSERT_EQUAL(rotate_step(&r, &view, START), ROTATE_NOTHING);
	view.due = true;
	CU_ASSERT_EQUAL(rotate_step(&r, &view, START), ROTATE_DO_MAKE);
	view.has_next = true;
	for (int i = 0; i < 100000; i += 1000)
		CU_ASSERT_EQUAL(rotate_step(&r, &view, START + (uint64_t)i), ROTATE_NOTHING);
	CU_ASSERT_EQUAL(r.phase, ROTATE_PUBLISH);
	view.published = true;
	CU_ASSERT_EQUAL(rotate_step(&r, &view, START + 100000), ROTATE_DO_ASK);
	CU_ASSERT_EQUAL(rotate_step(&r, &view, START + 100000 + ROTATE_AGAIN_MS - 1), ROTATE_NOTHING);
	CU_ASSERT_EQUAL(rotate_step(&r, &view, START + 100000 + ROTATE_AGAIN_MS), ROTATE_DO_ASK);
	view.ready = 1;
	CU_ASSERT_EQUAL(rotate_step(&r, &view, START + 100000 + ROTATE_AGAIN_MS + 1), ROTATE_NOTHING);
	view.ready = 2;
	CU_ASSERT_EQUAL(rotate_step(&r, &view, START + 100300), ROTATE_DO_SWITCH);
	rotate_switched(&r, START + 100300);
	CU_ASSERT_EQUAL(rotate_step(&r, &view, START + 100301), ROTATE_NOTHING);
	view.moved = 1;
	CU_ASSERT_EQUAL(rotate_step(&r, &view, START + 100300 + BOUND - 1), ROTATE_NOTHING);
	view.moved = 2;
	CU_ASSERT_EQUAL(rotate_step(&r, &view, START + 100300 + BOUND + 1), ROTATE_DO_COMMIT);
	CU_ASSERT_EQUAL(r.phase, ROTATE_REST);
}

TEST(keys_rotate, never_switches_without_the_word_of_each_peer_that_has_a_session)
{
	struct rotate_view view = ready_view();
	struct rotate r = { .phase = ROTATE_REST };
	unsigned switched = 0, said = 0;

	view.ready = 1;
	for (uint64_t now = START; now < START + 3600000; now += 10) {
		enum rotate_action action = rotate_step(&r, &view, now);

		switched += action == ROTATE_DO_SWITCH;
		said += action == ROTATE_DO_SAY;
	}
	CU_ASSERT_EQUAL(switched, 0);
	/* about one try a minute, one in eight of them said aloud */
	CU_ASSERT(said >= 3600 / 90 / ROTATE_SAY_AFTER && said <= 3600 / 60 / ROTATE_SAY_AFTER + 2);
	view.ready = 2;
	for (uint64_t now = START + 3600000; !switched && now < START + 3600000 + 2 * ROTATE_WAIT_MAX_MS;
	     now++)
		switched += rotate_step(&r, &view, now) == ROTATE_DO_SWITCH;
	CU_ASSERT_EQUAL(switched, 1);
}

TEST(keys_rotate, without_a_session_there_is_nobody_to_ask)
{
	struct rotate_view view = ready_view();
	struct rotate r = { .phase = ROTATE_PUBLISH };

	view.live = view.ready = 0;
	CU_ASSERT_EQUAL(rotate_step(&r, &view, START), ROTATE_DO_SWITCH);
	rotate_switched(&r, START);
	CU_ASSERT_EQUAL(rotate_step(&r, &view, START), ROTATE_DO_COMMIT);
}

TEST(keys_rotate, goes_back_in_time_and_tries_again_later_and_later)
{
	struct rotate_view view = ready_view();
	struct rotate r = { .phase = ROTATE_REST };
	uint64_t now = START, waited, former = 0;

	for (int i = 0; i < 12; i++) {
		while (rotate_step(&r, &view, now) != ROTATE_DO_SWITCH)
			now++;
		rotate_switched(&r, now);
		CU_ASSERT_EQUAL(rotate_step(&r, &view, now + BOUND - 1), ROTATE_NOTHING);
		now += BOUND;
		CU_ASSERT_EQUAL(rotate_step(&r, &view, now), ROTATE_DO_BACK);
		waited = r.until_ms - now;
		CU_ASSERT(waited == 2 * former || !former || waited == ROTATE_WAIT_MAX_MS);
		CU_ASSERT(waited >= ROTATE_WAIT_MS && waited <= ROTATE_WAIT_MAX_MS);
		former = waited;
	}
	CU_ASSERT_EQUAL(former, ROTATE_WAIT_MAX_MS);
	/* a draw makes it up to half as long again */
	rotate_failed(&r, 1023, now);
	CU_ASSERT(r.until_ms - now > ROTATE_WAIT_MAX_MS * 149 / 100 &&
		  r.until_ms - now < ROTATE_WAIT_MAX_MS * 3 / 2);
}

TEST(keys_rotate, two_ends_do_not_change_at_once)
{
	struct rotate_view view = ready_view();
	struct rotate edge = { .phase = ROTATE_REST }, gateway = { .phase = ROTATE_REST };

	view.ready = 0;
	rotate_step(&edge, &view, START);
	rotate_step(&gateway, &view, START);
	CU_ASSERT_EQUAL(edge.phase, ROTATE_ASK);
	/* both ask: the edge goes first */
	CU_ASSERT_FALSE(rotate_yield(&edge, false, 0, START));
	CU_ASSERT(rotate_yield(&gateway, true, 0, START));
	CU_ASSERT_EQUAL(gateway.phase, ROTATE_WAIT);
	/* who has the next key in use promises nothing, gateway or not */
	rotate_switched(&edge, START);
	CU_ASSERT_FALSE(rotate_yield(&edge, true, 0, START));
	/* and who has promised waits */
	view.ready = 2;
	view.promised = true;
	for (uint64_t now = START; now < START + 5000; now++)
		CU_ASSERT_NOT_EQUAL(rotate_step(&gateway, &view, now), ROTATE_DO_SWITCH);
}

TEST(keys_rotate, a_key_that_could_not_be_made_is_not_tried_at_once)
{
	struct rotate_view view = { .due = true };
	struct rotate r = { .phase = ROTATE_REST };
	unsigned made = 0;

	for (uint64_t now = START; now < START + 60000; now += 10)
		if (rotate_step(&r, &view, now) == ROTATE_DO_MAKE) {
			made++;
			rotate_failed(&r, 0, now);
		}
	CU_ASSERT(made >= 5 && made <= 7);
}

TEST(keys_rotate, what_waits_fits_what_wireguard_keeps)
{
	static const uint64_t rates[] = { 100, 500, 1000, 2000, 3000 };

	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++)
		CU_ASSERT(rotate_bound_ms(rates[i]) * rates[i] / 1000 <= ROTATE_STAGED);
	CU_ASSERT_EQUAL(rotate_bound_ms(0), ROTATE_BOUND_MAX_MS);
	CU_ASSERT_EQUAL(rotate_bound_ms(1), ROTATE_BOUND_MAX_MS);
	CU_ASSERT_EQUAL(rotate_bound_ms(1000000), ROTATE_BOUND_MIN_MS);
}

/* ---- how old a key is, and who is there, whatever somebody does to the wall clock ---- */

TEST(keys_rotate, a_key_is_as_old_as_the_monotonic_clock_says)
{
	static const int64_t real = 1790000000;
	static const struct {
		int64_t made;
		uint64_t rotation_s, now;
		bool due;
	} table[] = {
		{ real, 0, UINT32_MAX, false },
		{ real, 3600, START, false },
		{ real, 3600, START + 3599999, false },
		{ real, 3600, START + 3600000, true },
		/* before the machine has started */
		{ real - 3599, 3600, START + 999, false },
		{ real - 3599, 3600, START + 1000, true },
		{ real - 86400, 3600, START, true },
		{ 0, 366 * 86400, START, true },
		/* by a clock that was wrong */
		{ real + 1, 3600, START, true },
		{ -1, 3600, START, true },
		{ INT64_MIN, 3600, START, true },
		{ INT64_MAX, 3600, START, true },
		{ INT64_MAX, 0, START, false },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		CU_ASSERT_EQUAL(rotate_is_due(rotate_made_ms(table[i].made, real, START),
					      table[i].rotation_s * 1000000000u, table[i].now),
				table[i].due);
}

TEST(keys_rotate, a_peer_is_there_until_it_has_been_silent)
{
	static const int64_t second = 1000000000, at = 1790000000 * second;
	/* what WireGuard says at the next look, and how long after the former one */
	static const struct {
		int64_t stamp;
		uint64_t after;
		bool there;
	} table[] = {
		/* an hour old, or in the future: nobody knows by which clock */
		{ at - 3600 * second, 0, true },
		{ at - 3600 * second, PRESENCE_MS - 1, true },
		{ at - 3600 * second, 1, false },
		{ at, 5000, true },
		/* set two hours forwards, and a handshake; back, and another one */
		{ at + 7200 * second, 120000, true },
		{ at + 7200 * second, PRESENCE_MS - 1, true },
		{ at + 10 * second, 0, true },
		{ at + 10 * second, 120000, true },
		{ at + 10 * second, 60000, false },
		/* one that went away while its stamps lay in the future does not come back when that comes */
		{ at + 10 * second, 7200000, false },
		/* the device is another one: who had a session with the former may be there */
		{ 0, 1000, true },
		{ 0, PRESENCE_MS, false },
		{ 1, 1000, true },
	};
	struct presence p = { .begun = false };
	uint64_t now = START;

	CU_ASSERT(presence_is_there(&p, now));
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		now += table[i].after;
		presence_step(&p, table[i].stamp, now);
		CU_ASSERT_EQUAL(presence_is_there(&p, now), table[i].there);
	}
	/* noticed later in this millisecond's work than it began */
	CU_ASSERT(presence_is_there(&p, now - 1));
}

TEST(keys_rotate, a_peer_has_moved_when_there_was_another_handshake)
{
	static const int64_t at = 1790000000000000000, hours = 7200000000000;

	CU_ASSERT_FALSE(presence_moved(at, at));
	CU_ASSERT_FALSE(presence_moved(0, 0));
	CU_ASSERT_FALSE(presence_moved(at, 0));
	CU_ASSERT(presence_moved(0, at));
	CU_ASSERT(presence_moved(at, at + 1));
	CU_ASSERT(presence_moved(at, at + hours));
	/* "later than" would wait for two hours */
	CU_ASSERT(presence_moved(at, at - hours));
}

/* ---- the other end ---- */

enum { CELL = 1312, HANDSHAKE = 148 };

/* A peer, as it is seen every millisecond: both keys' counters, and which one the active one is. */
struct scene {
	struct watch w;
	uint64_t rx[2], now;
	int active, swaps;
};

static void pass(struct scene *s, uint64_t ms, int sends, unsigned every)
{
	for (uint64_t end = s->now + ms; s->now < end; s->now++) {
		if (every && s->now % every == 0)
			s->rx[sends] += CELL;
		if (watch_step(&s->w, s->rx[!s->active], s->rx[s->active], s->now)) {
			s->active = !s->active;
			s->swaps++;
			watch_swapped(&s->w, s->now);
		}
	}
}

static struct scene scene_promised(void)
{
	struct scene s = { .now = START };

	pass(&s, 100, 0, 1);
	watch_promise(&s.w, BOUND, s.now);
	pass(&s, 50, 0, 1);
	return s;
}

TEST(keys_watch, swaps_when_a_handshake_begins_and_the_rest_has_arrived)
{
	struct scene s = scene_promised();

	CU_ASSERT_EQUAL(s.swaps, 0);
	s.rx[1] += HANDSHAKE;
	pass(&s, WATCH_SETTLE_MS, 0, 1);
	CU_ASSERT_EQUAL(s.swaps, 0);
	pass(&s, 1, 0, 0);
	CU_ASSERT_EQUAL(s.swaps, 1);
	/* from here on the new key brings everything */
	pass(&s, 10000, 1, 1);
	CU_ASSERT_EQUAL(s.swaps, 1);
}

TEST(keys_watch, what_comes_late_of_the_old_key_is_no_way_back)
{
	struct scene s = scene_promised();

	s.rx[1] += HANDSHAKE;
	pass(&s, WATCH_SETTLE_MS + 1, 0, 0);
	CU_ASSERT_EQUAL(s.swaps, 1);
	s.rx[0] += CELL;
	pass(&s, 20, 1, 1);
	s.rx[0] += CELL;
	pass(&s, 5000, 1, 1);
	CU_ASSERT_EQUAL(s.swaps, 1);
}

TEST(keys_watch, goes_back_with_a_peer_that_does)
{
	struct scene s = scene_promised();

	s.rx[1] += HANDSHAKE;
	pass(&s, BOUND, 0, 0);
	CU_ASSERT_EQUAL(s.swaps, 1);
	s.rx[0] += HANDSHAKE;
	pass(&s, WATCH_SETTLE_MS + 1, 0, 0);
	CU_ASSERT_EQUAL(s.swaps, 2);
	CU_ASSERT_EQUAL(s.active, 0);
	pass(&s, 5000, 0, 1);
	CU_ASSERT_EQUAL(s.swaps, 2);
}

TEST(keys_watch, a_process_that_stood_still_leaves_the_old_key_to_a_peer_that_goes_back)
{
	struct scene s = scene_promised();

	/* nobody looks for longer than half the bound: the handshake may be as old as that */
	s.rx[1] += HANDSHAKE;
	s.now += BOUND / 2 + 1;
	pass(&s, 200, 0, 1);
	CU_ASSERT_EQUAL(s.swaps, 0);
	/* but who went back is followed however late that is */
	s = scene_promised();
	s.rx[1] += HANDSHAKE;
	pass(&s, BOUND - 1, 0, 0);
	s.rx[0] += HANDSHAKE;
	s.now += 1500;
	pass(&s, 10, 0, 1);
	CU_ASSERT_EQUAL(s.swaps, 2);
}

TEST(keys_watch, a_change_without_a_word_is_believed_when_the_old_key_is_silent)
{
	struct scene s = { .now = START };

	pass(&s, 1000, 0, 1);
	s.rx[1] += HANDSHAKE;
	pass(&s, 10000, 0, 10);
	CU_ASSERT_EQUAL(s.swaps, 0);
	s.rx[1] += HANDSHAKE;
	pass(&s, WATCH_SILENT_MS - 20, 0, 0);
	CU_ASSERT_EQUAL(s.swaps, 0);
	pass(&s, 50, 0, 0);
	CU_ASSERT_EQUAL(s.swaps, 1);
}

TEST(keys_watch, another_candidate_begins_anew)
{
	struct scene s = scene_promised();

	s.rx[1] = 5 * HANDSHAKE;
	watch_restart(&s.w);
	pass(&s, 100, 0, 1);
	CU_ASSERT_EQUAL(s.swaps, 0);
	/* WireGuard made the peer anew: its counter begins at 0 */
	s.rx[1] = 0;
	pass(&s, 100, 0, 1);
	CU_ASSERT_EQUAL(s.swaps, 0);
}
