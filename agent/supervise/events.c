/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "common/clock.h"
#include "supervise/events.h"

struct message_event event_of(unsigned code, uint32_t count, const char *subject, uint64_t a, uint64_t b)
{
	struct message_event event = {
		.code = (uint16_t)code, .count = count ? count : 1, .time_ms = realtime_ms(), .a = a, .b = b
	};

	for (size_t i = 0; subject[i] && i < sizeof(event.subject); i++)
		event.subject[i] = subject[i] >= ' ' && subject[i] <= '~' ? subject[i] : '?';
	return event;
}

static bool same(const struct message_event *a, const struct message_event *b)
{
	return a->code == b->code && a->a == b->a && a->b == b->b &&
	       !memcmp(a->subject, b->subject, sizeof(a->subject));
}

static uint32_t sum(uint32_t a, uint32_t b)
{
	return a > UINT32_MAX - b ? UINT32_MAX : a + b;
}

static bool is_quiet(bool sent, uint64_t sent_ns, uint64_t now)
{
	return sent && now - sent_ns < EVENTS_QUIET_NS;
}

/* The slot of an equal one, else one that nobody needs; NULL: there is none. */
static struct event_slot *find(struct events *events, const struct message_event *event, uint64_t now)
{
	struct event_slot *spare = NULL;

	for (size_t i = 0; i < EVENTS_MAX; i++) {
		struct event_slot *slot = &events->slots[i];

		if (slot->used && same(&slot->event, event))
			return slot;
		if (!slot->used || (!slot->event.count && !is_quiet(slot->sent, slot->sent_ns, now)))
			spare = slot;
	}
	if (spare)
		*spare = (struct event_slot){ .used = false };
	return spare;
}

void events_add(struct events *events, const struct message_event *event, uint64_t now)
{
	struct event_slot *slot = find(events, event, now);
	struct event_overflow *overflow = &events->overflow[event->code];

	if (!slot) {
		if (!overflow->count)
			overflow->time_ms = event->time_ms;
		overflow->count += event->count;
		return;
	}
	if (slot->used && slot->event.count) {
		slot->event.count = sum(slot->event.count, event->count);
		return;
	}
	slot->event = *event;
	slot->used = true;
	slot->arrival = events->arrivals++;
}

bool events_next(const struct events *events, uint64_t now, struct message_event *ret_event)
{
	const struct event_slot *best = NULL;

	for (size_t i = 0; i < EVENTS_MAX; i++) {
		const struct event_slot *slot = &events->slots[i];

		if (slot->used && slot->event.count && !is_quiet(slot->sent, slot->sent_ns, now) &&
		    (!best || slot->arrival < best->arrival))
			best = slot;
	}
	if (best) {
		*ret_event = best->event;
		return true;
	}
	for (unsigned code = 0; code < TG_AUDIT_CODES_END; code++) {
		const struct event_overflow *o = &events->overflow[code];

		if (!o->count || is_quiet(o->sent, o->sent_ns, now))
			continue;
		*ret_event = (struct message_event){ .code = TG_AUDIT_EVENTS_LIMITED,
						     .count = o->count > UINT32_MAX ? UINT32_MAX
										    : (uint32_t)o->count,
						     .time_ms = o->time_ms,
						     .a = code };
		return true;
	}
	return false;
}

void events_sent(struct events *events, const struct message_event *event, uint64_t now)
{
	if (event->code == TG_AUDIT_EVENTS_LIMITED) {
		struct event_overflow *o = &events->overflow[event->a];

		o->count -= event->count;
		o->sent = true;
		o->sent_ns = now;
		return;
	}
	for (size_t i = 0; i < EVENTS_MAX; i++) {
		struct event_slot *slot = &events->slots[i];

		if (!slot->used || !same(&slot->event, event))
			continue;
		/* more may have come while it was on its way */
		slot->event.count -= event->count < slot->event.count ? event->count : slot->event.count;
		slot->sent = true;
		slot->sent_ns = now;
	}
}
