/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Events on their way to the audit trail. Equal ones (code, numbers, subject) are put together: the first
 * goes on at once, those of the next minute as one with their number. What has no place among the EVENTS_MAX
 * different ones of a minute is counted by its code. So a flood makes few records, and none of it is
 * forgotten. Time is a parameter, in nanoseconds of a monotonic clock.
 */
#ifndef AGENT_SUPERVISE_EVENTS_H
#define AGENT_SUPERVISE_EVENTS_H

#include <stdbool.h>

#include "supervise/message.h"
#include "tensorguard/audit.h"

enum { EVENTS_MAX = 32 };
#define EVENTS_QUIET_NS 60000000000ull

struct events {
	struct event_slot {
		struct message_event event; /* count 0: nothing waits */
		bool used;
		uint64_t arrival;	/* its number: the clock may have been set since */
		bool sent;		/* at least once, at sent_ns */
		uint64_t sent_ns;
	} slots[EVENTS_MAX];
	uint64_t arrivals;
	struct event_overflow {
		uint64_t count, time_ms; /* of the first */
		bool sent;
		uint64_t sent_ns;
	} overflow[TG_AUDIT_CODES_END];
};

/* One that happens now; `subject` is cut, and what it may not hold replaced by '?'. */
struct message_event event_of(unsigned code, uint32_t count, const char *subject, uint64_t a, uint64_t b);

void events_add(struct events *events, const struct message_event *event, uint64_t now);
/*
 * The first that came of those that may go now; false: none. It stays until events_sent(); more of its kind
 * may come until then.
 */
bool events_next(const struct events *events, uint64_t now, struct message_event *ret_event);
void events_sent(struct events *events, const struct message_event *event, uint64_t now);

#endif
