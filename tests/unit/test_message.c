/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages between the processes: every one that is not exactly right is refused. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "harness.h"
#include "supervise/message.h"
#include "tensorguard/audit.h"

static struct message parsed;

static int parse(const struct message *m, enum message_sender from)
{
	memset(&parsed, 0xee, sizeof(parsed));
	return message_parse(m, sizeof(*m), from, &parsed);
}

static struct message ping_of(uint64_t number)
{
	struct message m = message_of(MESSAGE_PING);

	m.ping.number = number;
	return m;
}

TEST(message, what_is_right_is_taken_as_it_is)
{
	struct message m = ping_of(7);

	m.ping.restarts = 3;
	m.ping.faults = 2;
	m.ping.hangs = 1;
	m.ping.looping = FROM_GUARD | FROM_TRUST;
	CU_ASSERT_EQUAL(parse(&m, FROM_SUPERVISOR), 0);
	CU_ASSERT_EQUAL(memcmp(&m, &parsed, sizeof(m)), 0);
	m = message_of(MESSAGE_RELOADED);
	m.reloaded.result = -EINVAL;
	CU_ASSERT_EQUAL(parse(&m, FROM_GUARD), 0);
	CU_ASSERT_EQUAL(parsed.reloaded.result, -EINVAL);
}

TEST(message, each_type_has_its_senders)
{
	static const struct {
		enum message_type type;
		int from_supervisor, from_guard, from_trust;
	} cases[] = {
		{ MESSAGE_PING, 0, -EPERM, -EPERM },     { MESSAGE_PONG, -EPERM, 0, 0 },
		{ MESSAGE_READY, -EPERM, 0, 0 },         { MESSAGE_RELOAD, 0, -EPERM, -EPERM },
		{ MESSAGE_RELOADED, -EPERM, 0, -EPERM }, { MESSAGE_APPLY, -EPERM, -EPERM, 0 },
		{ MESSAGE_REPAIR, -EPERM, 0, -EPERM },   { MESSAGE_DONE, 0, -EPERM, -EPERM },
		{ MESSAGE_STATS, 0, 0, -EPERM },         { MESSAGE_EVENT, 0, -EBADMSG, -EPERM },
		{ MESSAGE_RECORDED, -EPERM, -EPERM, 0 },
	};

	CU_ASSERT_EQUAL(sizeof(cases) / sizeof(cases[0]), MESSAGE_TYPES - 1);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct message m = message_of(cases[i].type);

		/* each type that has one begins with its number */
		if (m.length && cases[i].type != MESSAGE_RELOADED)
			m.pong.number = 1;
		/* one of the guard's, as the supervisor passes it on */
		if (cases[i].type == MESSAGE_EVENT)
			m.event = (struct message_event){ .code = TG_AUDIT_POLICY_LOADED,
							  .number = 1,
							  .count = 1 };
		CU_ASSERT_EQUAL(parse(&m, FROM_SUPERVISOR), cases[i].from_supervisor);
		CU_ASSERT_EQUAL(parse(&m, FROM_GUARD), cases[i].from_guard);
		CU_ASSERT_EQUAL(parse(&m, FROM_TRUST), cases[i].from_trust);
	}
}

TEST(message, a_datagram_of_another_size_is_none)
{
	struct message m[2] = { ping_of(1), ping_of(2) };

	for (size_t size = 0; size <= sizeof(m); size++)
		CU_ASSERT_EQUAL(message_parse(m, size, FROM_SUPERVISOR, &parsed),
				size == sizeof(m[0]) ? 0 : -EMSGSIZE);
}

TEST(message, unknown_types_are_refused)
{
	struct message m = ping_of(1);

	for (unsigned type = 0; type <= UINT16_MAX; type++) {
		if (type >= MESSAGE_PING && type < MESSAGE_TYPES)
			continue;
		m.type = (uint16_t)type;
		if (parse(&m, FROM_SUPERVISOR) != -EBADMSG || parse(&m, FROM_GUARD) != -EBADMSG)
			CU_FAIL("an unknown type was taken");
	}
}

TEST(message, every_other_length_is_refused)
{
	struct message m = ping_of(1);

	for (unsigned length = 0; length <= UINT16_MAX; length++) {
		m.length = (uint16_t)length;
		if (parse(&m, FROM_SUPERVISOR) != (length == sizeof(m.ping) ? 0 : -EBADMSG))
			CU_FAIL("a wrong length was taken");
	}
}

TEST(message, what_must_be_zero_is_zero)
{
	struct message m = message_of(MESSAGE_RELOAD);

	for (size_t i = 0; i < sizeof(m.bytes); i++) {
		m.bytes[i] = 1;
		CU_ASSERT_EQUAL(parse(&m, FROM_SUPERVISOR), -EBADMSG);
		m.bytes[i] = 0;
	}
	m.reserved = 1;
	CU_ASSERT_EQUAL(parse(&m, FROM_SUPERVISOR), -EBADMSG);
	m = message_of(MESSAGE_RELOADED);
	m.reloaded.reserved = 1;
	CU_ASSERT_EQUAL(parse(&m, FROM_GUARD), -EBADMSG);
}

TEST(message, fields_have_their_ranges)
{
	static const struct {
		int32_t result;
		int want;
	} cases[] = { { 0, 0 },
		      { -1, 0 },
		      { MESSAGE_ERROR_MIN, 0 },
		      { MESSAGE_ERROR_MIN - 1, -EBADMSG },
		      { 1, -EBADMSG },
		      { INT32_MAX, -EBADMSG },
		      { INT32_MIN, -EBADMSG } };
	struct message m = ping_of(0);

	CU_ASSERT_EQUAL(parse(&m, FROM_SUPERVISOR), -EBADMSG);
	m = ping_of(1);
	m.ping.looping = FROM_SUPERVISOR;
	CU_ASSERT_EQUAL(parse(&m, FROM_SUPERVISOR), -EBADMSG);
	m = message_of(MESSAGE_PONG);
	CU_ASSERT_EQUAL(parse(&m, FROM_GUARD), -EBADMSG);
	m = message_of(MESSAGE_RELOADED);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		m.reloaded.result = cases[i].result;
		CU_ASSERT_EQUAL(parse(&m, FROM_GUARD), cases[i].want);
	}
}

TEST(message, requests_have_numbers_and_their_ends_have_results)
{
	static const struct {
		uint64_t number;
		int32_t result;
		uint32_t reserved;
		int want;
	} cases[] = {
		{ 1, 0, 0, 0 },        { UINT64_MAX, 255, 0, 0 }, { 1, MESSAGE_ERROR_MIN, 0, 0 },
		{ 0, 0, 0, -EBADMSG }, { 1, 256, 0, -EBADMSG },   { 1, MESSAGE_ERROR_MIN - 1, 0, -EBADMSG },
		{ 1, 0, 1, -EBADMSG }
	};
	struct message m = message_of(MESSAGE_DONE);

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		m.done = (struct message_done){ cases[i].number, 5, cases[i].result, cases[i].reserved };
		CU_ASSERT_EQUAL(parse(&m, FROM_SUPERVISOR), cases[i].want);
	}
	m = message_of(MESSAGE_REPAIR);
	CU_ASSERT_EQUAL(parse(&m, FROM_GUARD), -EBADMSG);
	m = message_of(MESSAGE_APPLY);
	CU_ASSERT_EQUAL(parse(&m, FROM_TRUST), -EBADMSG);
	CU_ASSERT_EQUAL(message_sender_of(MESSAGE_APPLY), FROM_TRUST);
	CU_ASSERT_EQUAL(message_sender_of(MESSAGE_TYPES), 0);
}

TEST(message, what_is_refused_leaves_the_result_alone)
{
	struct message m = ping_of(1), untouched;

	memset(&untouched, 0xee, sizeof(untouched));
	CU_ASSERT_EQUAL(parse(&m, FROM_GUARD), -EPERM);
	CU_ASSERT_EQUAL(memcmp(&parsed, &untouched, sizeof(parsed)), 0);
}

TEST(message, stats_are_in_their_ranges)
{
	struct message m = message_of(MESSAGE_STATS);

	m.stats = (struct message_stats){ .real = INT64_MAX,
					  .state = MESSAGE_LOCKED,
					  .engine = MESSAGE_ENGINE_QUEUE };
	CU_ASSERT_EQUAL(parse(&m, FROM_GUARD), 0);
	CU_ASSERT_EQUAL(parsed.stats.real, INT64_MAX);
	m.stats.real++;
	CU_ASSERT_EQUAL(parse(&m, FROM_GUARD), -EBADMSG);
	m.stats.real = 0;
	m.stats.dummy = UINT64_MAX;
	CU_ASSERT_EQUAL(parse(&m, FROM_GUARD), -EBADMSG);
	m.stats.dummy = 0;
	m.stats.state = MESSAGE_STATES;
	CU_ASSERT_EQUAL(parse(&m, FROM_GUARD), -EBADMSG);
	m.stats.state = 0;
	m.stats.engine = MESSAGE_ENGINES;
	CU_ASSERT_EQUAL(parse(&m, FROM_GUARD), -EBADMSG);
	m.stats.engine = 0;
	m.stats.reserved[3] = 1;
	CU_ASSERT_EQUAL(parse(&m, FROM_GUARD), -EBADMSG);
}

TEST(message, an_event_is_of_its_actor)
{
	struct message m = message_of(MESSAGE_EVENT);

	m.event = (struct message_event){ .code = TG_AUDIT_POLICY_LOADED, .count = 1, .subject = "lab" };
	CU_ASSERT_EQUAL(parse(&m, FROM_GUARD), 0);
	CU_ASSERT_EQUAL(memcmp(&m, &parsed, sizeof(m)), 0);
	m.event.code = TG_AUDIT_PROCESS_ENDED;
	CU_ASSERT_EQUAL(parse(&m, FROM_GUARD), -EBADMSG);
	m.event.code = TG_AUDIT_RENEWED;
	CU_ASSERT_EQUAL(parse(&m, FROM_GUARD), -EBADMSG);
	m.event.number = 1;
	CU_ASSERT_EQUAL(parse(&m, FROM_SUPERVISOR), -EBADMSG);
	m.event.code = TG_AUDIT_EVENTS_LIMITED;
	CU_ASSERT_EQUAL(parse(&m, FROM_SUPERVISOR), 0);
	m.event.code = TG_AUDIT_CODES_END;
	CU_ASSERT_EQUAL(parse(&m, FROM_SUPERVISOR), -EBADMSG);
	m.event.code = 0;
	CU_ASSERT_EQUAL(parse(&m, FROM_SUPERVISOR), -EBADMSG);
}

TEST(message, an_events_fields_are_looked_at)
{
	struct message m = message_of(MESSAGE_EVENT);
	const struct message_event good = { .code = TG_AUDIT_VIOLATION_DELAY, .count = 5, .subject = "lab" };

	m.event = good;
	m.event.count = 0;
	CU_ASSERT_EQUAL(parse(&m, FROM_GUARD), -EBADMSG);
	m.event = good;
	m.event.number = 1;
	CU_ASSERT_EQUAL(parse(&m, FROM_GUARD), -EBADMSG);
	CU_ASSERT_EQUAL(parse(&m, FROM_SUPERVISOR), 0);
	m.event = good;
	m.event.subject[5] = 'x';
	CU_ASSERT_EQUAL(parse(&m, FROM_GUARD), -EBADMSG);
	m.event = good;
	m.event.subject[1] = '\n';
	CU_ASSERT_EQUAL(parse(&m, FROM_GUARD), -EBADMSG);
	memset(m.event.subject, 'y', sizeof(m.event.subject));
	CU_ASSERT_EQUAL(parse(&m, FROM_GUARD), 0);
}

TEST(message, what_the_supervisor_adds_to_statistics_is_its_own)
{
	struct message m = message_of(MESSAGE_STATS);

	m.stats.troubles = MESSAGE_BROKEN | MESSAGE_PEER_SILENT;
	CU_ASSERT_EQUAL(parse(&m, FROM_GUARD), 0);
	m.stats.troubles |= MESSAGE_ABSENT;
	m.stats.looping = FROM_GUARD | FROM_VAULT;
	CU_ASSERT_EQUAL(parse(&m, FROM_SUPERVISOR), 0);
	CU_ASSERT_EQUAL(parse(&m, FROM_GUARD), -EBADMSG);
	m.stats.troubles = 0;
	CU_ASSERT_EQUAL(parse(&m, FROM_GUARD), -EBADMSG);
	m.stats.looping = FROM_SUPERVISOR;
	CU_ASSERT_EQUAL(parse(&m, FROM_SUPERVISOR), -EBADMSG);
	m.stats.looping = 0;
	m.stats.troubles = MESSAGE_TROUBLES;
	CU_ASSERT_EQUAL(parse(&m, FROM_SUPERVISOR), -EBADMSG);
}
