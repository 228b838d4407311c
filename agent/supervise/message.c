/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "supervise/message.h"
#include "tensorguard/audit.h"

enum { FROM_CHILDREN = FROM_GUARD | FROM_TRUST | FROM_VAULT | FROM_KEYS };

static const struct {
	uint8_t from;	/* enum message_sender */
	uint16_t length;
} types[MESSAGE_TYPES] = {
	[MESSAGE_PING] = { FROM_SUPERVISOR, sizeof(struct message_ping) },
	[MESSAGE_PONG] = { FROM_CHILDREN, sizeof(struct message_pong) },
	[MESSAGE_READY] = { FROM_CHILDREN, 0 },
	[MESSAGE_RELOAD] = { FROM_SUPERVISOR, 0 },
	[MESSAGE_RELOADED] = { FROM_GUARD, sizeof(struct message_reloaded) },
	[MESSAGE_APPLY] = { FROM_TRUST, sizeof(struct message_ask) },
	[MESSAGE_REPAIR] = { FROM_GUARD, sizeof(struct message_ask) },
	[MESSAGE_EVENT] = { FROM_SUPERVISOR | FROM_GUARD | FROM_VAULT | FROM_KEYS,
			    sizeof(struct message_event) },
	[MESSAGE_RECORDED] = { FROM_TRUST, sizeof(struct message_recorded) },
	[MESSAGE_DONE] = { FROM_SUPERVISOR, sizeof(struct message_done) },
	[MESSAGE_STATS] = { FROM_SUPERVISOR | FROM_GUARD, sizeof(struct message_stats) },
};

static bool is_zero(const uint8_t *bytes, size_t size)
{
	while (size > 0 && !bytes[size - 1])
		size--;
	return !size;
}

static bool stats_in_range(const struct message_stats *s, enum message_sender from)
{
	/* of what the supervisor adds, a guard knows nothing */
	if (from != FROM_SUPERVISOR && (s->looping || s->troubles & MESSAGE_ABSENT))
		return false;
	return s->troubles < MESSAGE_TROUBLES && !(s->looping & ~FROM_CHILDREN) &&
	       s->state < MESSAGE_STATES && s->engine < MESSAGE_ENGINES &&
	       is_zero(s->reserved, sizeof(s->reserved)) &&
	       (s->real | s->pad | s->dummy | s->violations | s->restarts) <= INT64_MAX;
}

static unsigned actor(const char *name)
{
	if (!strcmp(name, "guard"))
		return FROM_GUARD;
	if (!strcmp(name, "vault"))
		return FROM_VAULT;
	if (!strcmp(name, "keys"))
		return FROM_KEYS;
	return strcmp(name, "supervisor") ? 0 : FROM_SUPERVISOR;
}

/* Whose code it is. What the supervisor sends may have come from a child. */
static bool may_report(const struct message_event *event, enum message_sender from)
{
	const struct tg_audit_meaning *meaning = tg_audit_meaning(event->code);
	unsigned of = meaning ? actor(meaning->actor) : 0;

	if (event->code == TG_AUDIT_EVENTS_LIMITED)
		return from == FROM_SUPERVISOR;
	return from == FROM_SUPERVISOR ? of != 0 : of == from;
}

static bool is_event(const struct message_event *event, enum message_sender from)
{
	size_t len = strnlen(event->subject, sizeof(event->subject));

	for (size_t i = 0; i < sizeof(event->subject); i++)
		if (i < len ? event->subject[i] < ' ' || event->subject[i] > '~' : event->subject[i] != 0)
			return false;
	return event->count > 0 && (event->number > 0) == (from == FROM_SUPERVISOR);
}

static bool is_in_range(const struct message *m, enum message_sender from)
{
	switch (m->type) {
	case MESSAGE_PING:
		return m->ping.number > 0 && !(m->ping.looping & ~(uint32_t)FROM_CHILDREN) &&
		       !m->ping.reserved;
	case MESSAGE_PONG:
		return m->pong.number > 0;
	case MESSAGE_RELOADED:
		return m->reloaded.result <= 0 && m->reloaded.result >= MESSAGE_ERROR_MIN &&
		       !m->reloaded.reserved;
	case MESSAGE_APPLY:
	case MESSAGE_REPAIR:
		return m->ask.number > 0;
	case MESSAGE_DONE:
		return m->done.number > 0 && m->done.result <= MESSAGE_STATUS_MAX &&
		       m->done.result >= MESSAGE_ERROR_MIN && !m->done.reserved;
	case MESSAGE_STATS:
		return stats_in_range(&m->stats, from);
	case MESSAGE_EVENT:
		return may_report(&m->event, from) && is_event(&m->event, from);
	case MESSAGE_RECORDED:
		return m->recorded.number > 0 && !m->recorded.reserved[0] && !m->recorded.reserved[1] &&
		       !m->recorded.reserved[2];
	default:
		return true;
	}
}

int message_parse(const void *data, size_t size, enum message_sender from, struct message *ret_message)
{
	struct message m;

	if (size != sizeof(m))
		return -EMSGSIZE;
	memcpy(&m, data, sizeof(m));
	/* 0 and gaps of the table have no sender */
	if (m.type >= MESSAGE_TYPES || !types[m.type].from || m.reserved)
		return -EBADMSG;
	if (!(types[m.type].from & from))
		return -EPERM;
	if (m.length != types[m.type].length || !is_zero(m.bytes + m.length, sizeof(m.bytes) - m.length) ||
	    !is_in_range(&m, from))
		return -EBADMSG;
	*ret_message = m;
	return 0;
}

unsigned message_sender_of(enum message_type type)
{
	return type < MESSAGE_TYPES ? types[type].from : 0;
}

struct message message_of(enum message_type type)
{
	return (struct message){ .type = (uint16_t)type, .length = types[type].length };
}
