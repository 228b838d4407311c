/* SPDX-License-Identifier: BSD-3-Clause */
/* Events on their way to the audit trail: a flood makes few records, and none of it is forgotten. */
#include <string.h>

#include "harness.h"
#include "supervise/events.h"

enum { SECOND = 1000000000 };
static const uint64_t quiet = EVENTS_QUIET_NS;

/* Takes all that may go; the sum of their counts in *ret_total. */
static unsigned drain(struct events *events, uint64_t now, uint64_t *ret_total)
{
	struct message_event event;
	unsigned records = 0;

	*ret_total = 0;
	while (events_next(events, now, &event)) {
		events_sent(events, &event, now);
		*ret_total += event.count;
		records++;
	}
	return records;
}

TEST(events, the_first_goes_at_once_and_its_like_together)
{
	static struct events events;
	struct message_event event = event_of(TG_AUDIT_VIOLATION_DELAY, 2, "lab", 1, 0), got;
	uint64_t total;

	memset(&events, 0, sizeof(events));
	CU_ASSERT_FALSE(events_next(&events, SECOND, &got));
	events_add(&events, &event, SECOND);
	CU_ASSERT_TRUE(events_next(&events, SECOND, &got));
	CU_ASSERT_EQUAL(memcmp(&event, &got, sizeof(got)), 0);
	/* it stays until it is on the disk, and takes up what comes meanwhile */
	events_add(&events, &event, SECOND);
	events_sent(&events, &got, SECOND);
	CU_ASSERT_FALSE(events_next(&events, SECOND, &got));
	for (int i = 0; i < 1000; i++)
		events_add(&events, &event, 2ull * SECOND);
	CU_ASSERT_EQUAL(drain(&events, SECOND + quiet - 1, &total), 0);
	CU_ASSERT_EQUAL(drain(&events, SECOND + quiet, &total), 1);
	CU_ASSERT_EQUAL(total, 2002);
}

TEST(events, different_ones_are_different_records)
{
	static struct events events;
	uint64_t total;

	memset(&events, 0, sizeof(events));
	for (uint64_t i = 0; i < 4; i++) {
		struct message_event event =
			event_of(TG_AUDIT_VIOLATION_DELAY, 1, i % 2 ? "lab" : "arm", i / 2, 0);

		events_add(&events, &event, SECOND);
	}
	CU_ASSERT_EQUAL(drain(&events, SECOND, &total), 4);
	CU_ASSERT_EQUAL(total, 4);
}

/* Somebody sets the clock back and forth while events wait: they go in the order in which they came. */
TEST(events, the_order_is_that_of_arrival)
{
	static const uint64_t times[] = { 1790000000000, 1790000000005, 1789992800000,
					  1790007200000, 1789992800000, 1 };
	static struct events events;
	struct message_event got;

	memset(&events, 0, sizeof(events));
	for (uint64_t round = 0; round < 3; round++) {
		uint64_t now = SECOND + round * quiet;

		/* what has been sent comes again, at another place */
		for (uint64_t i = 0; i < 6; i++) {
			struct message_event event =
				event_of(TG_AUDIT_PROCESS_ENDED, 1, "guard", (i + round) % 6, 0);

			event.time_ms = times[i];
			events_add(&events, &event, now);
			/* and one more of it is no newer */
			if (i == 3)
				events_add(&events, &event, now);
		}
		for (uint64_t i = 0; i < 6; i++) {
			CU_ASSERT_TRUE_FATAL(events_next(&events, now, &got));
			CU_ASSERT(got.a == (i + round) % 6 && got.time_ms == times[i]);
			events_sent(&events, &got, now);
		}
		CU_ASSERT_FALSE(events_next(&events, now, &got));
	}
}

/* Half a million events, each different, in an hour: a bounded number of records that stand for all of them.
 */
TEST(events, a_flood_is_counted)
{
	static struct events events;
	uint64_t sent = 0, told = 0, total, now = SECOND;
	unsigned records = 0;

	memset(&events, 0, sizeof(events));
	for (unsigned minute = 0; minute < 60; minute++) {
		for (unsigned i = 0; i < 10000; i++, sent++) {
			struct message_event event = event_of(TG_AUDIT_VIOLATION_DELAY, 1, "lab", sent, 0);

			events_add(&events, &event, now);
			records += drain(&events, now, &total);
			told += total;
			now += quiet / 10000;
		}
	}
	now += 2 * quiet;
	records += drain(&events, now, &total);
	told += total;
	CU_ASSERT_EQUAL(told, sent);
	CU_ASSERT(records <= 62 * (EVENTS_MAX + 1));
}

TEST(events, subjects_are_made_fit)
{
	struct message_event event =
		event_of(TG_AUDIT_PROCESS_ENDED, 0, "a\nb\xff much longer than there is room for", 1, 2);

	CU_ASSERT_EQUAL(event.count, 1);
	CU_ASSERT_EQUAL(memcmp(event.subject, "a?b? much longer than th", sizeof(event.subject)), 0);
	CU_ASSERT(event.time_ms > 1700000000000);
}
