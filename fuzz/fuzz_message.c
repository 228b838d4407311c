/* SPDX-License-Identifier: BSD-3-Clause */
/* The first byte chooses who sends the rest. What is taken is right in every field, and the same bytes again.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "supervise/message.h"
#include "tensorguard/audit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct message *m)
{
	if (m->type < MESSAGE_PING || m->type >= MESSAGE_TYPES || m->length > MESSAGE_PAYLOAD || m->reserved)
		abort();
	for (size_t i = m->length; i < sizeof(m->bytes); i++)
		if (m->bytes[i])
			abort();
	if (m->type == MESSAGE_RELOADED && (m->reloaded.result > 0 || m->reloaded.result < MESSAGE_ERROR_MIN))
		abort();
	if ((m->type == MESSAGE_PING || m->type == MESSAGE_PONG) && !m->pong.number)
		abort();
	if ((m->type == MESSAGE_APPLY || m->type == MESSAGE_REPAIR || m->type == MESSAGE_DONE) &&
	    !m->ask.number)
		abort();
	if (m->type == MESSAGE_DONE &&
	    (m->done.result > MESSAGE_STATUS_MAX || m->done.result < MESSAGE_ERROR_MIN || m->done.reserved))
		abort();
	if (m->type == MESSAGE_STATS &&
	    (m->stats.state >= MESSAGE_STATES || m->stats.engine >= MESSAGE_ENGINES ||
	     (m->stats.real | m->stats.pad | m->stats.dummy | m->stats.violations | m->stats.restarts) >
		     INT64_MAX))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum message_sender senders[] = { FROM_SUPERVISOR, FROM_GUARD, FROM_TRUST };
	enum message_sender from;
	struct message m;

	if (size < 1)
		return 0;
	from = senders[data[0] % 3];
	if (message_parse(data + 1, size - 1, from, &m))
		return 0;
	if (size - 1 != sizeof(m) || memcmp(&m, data + 1, sizeof(m)))
		abort();
	if ((m.type == MESSAGE_PING || m.type == MESSAGE_RELOAD || m.type == MESSAGE_DONE) !=
	    (from == FROM_SUPERVISOR))
		abort();
	if (m.type == MESSAGE_EVENT &&
	    (from == FROM_TRUST || !m.event.count || !tg_audit_meaning(m.event.code)))
		abort();
	if (m.type == MESSAGE_RECORDED && (from != FROM_TRUST || !m.recorded.number))
		abort();
	if ((m.type == MESSAGE_RELOADED || m.type == MESSAGE_REPAIR) && from != FROM_GUARD)
		abort();
	if (m.type == MESSAGE_APPLY && from != FROM_TRUST)
		abort();
	check(&m);
	return 0;
}
