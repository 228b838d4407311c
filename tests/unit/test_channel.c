/* SPDX-License-Identifier: BSD-3-Clause */
/* The socketpair between the supervisor and a child: what a child says before it ends is heard. */
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "harness.h"
#include "supervise/channel.h"

struct heard {
	uint64_t numbers[64];
	unsigned count, ends;
	int error;
};

static void on_message(void *ctx, const struct message *m)
{
	struct heard *heard = ctx;

	if (heard->count < 64)
		heard->numbers[heard->count++] = m->pong.number;
}

static void on_end(void *ctx, int error)
{
	struct heard *heard = ctx;

	heard->ends++;
	heard->error = error;
}

static void say(int fd, uint64_t number)
{
	struct message m = message_of(MESSAGE_PONG);

	m.pong.number = number;
	CU_ASSERT_EQUAL(send(fd, &m, sizeof(m), MSG_DONTWAIT), (ssize_t)sizeof(m));
}

/* A guard's channel, at whose other end `count` pongs were sent and which was closed then, with an unread
 * ping or without. */
static struct channel *left_behind(struct event_base *base, unsigned count, bool unread, struct heard *heard)
{
	static const struct channel_ops ops = { on_message, on_end };
	struct message ping = message_of(MESSAGE_PING);
	struct channel *channel = NULL;
	int ends[2];

	ping.ping.number = 1;
	CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	CU_ASSERT_EQUAL_FATAL(channel_open(ends[0], FROM_GUARD, base, &ops, heard, &channel), 0);
	if (unread)
		CU_ASSERT_EQUAL(channel_send(channel, &ping), 0);
	for (unsigned i = 1; i <= count; i++)
		say(ends[1], i);
	close(ends[1]);
	return channel;
}

TEST(channel, the_last_messages_come_before_the_end)
{
	for (int unread = 0; unread < 2; unread++) {
		struct event_base *base = event_base_new();
		struct heard heard = { .count = 0 };
		struct channel *channel = left_behind(base, 3, unread, &heard);

		event_base_dispatch(base);
		CU_ASSERT_EQUAL(heard.count, 3);
		CU_ASSERT_EQUAL(heard.numbers[0], 1);
		CU_ASSERT_EQUAL(heard.numbers[2], 3);
		CU_ASSERT_EQUAL(heard.ends, 1);
		CU_ASSERT_EQUAL(heard.error, 0);
		channel_close(channel);
		event_base_free(base);
	}
}

/* Who has ended before the loop looks at its channel. */
TEST(channel, what_was_left_behind_is_handed_over)
{
	for (int unread = 0; unread < 2; unread++) {
		struct event_base *base = event_base_new();
		struct heard heard = { .count = 0 };
		struct channel *channel = left_behind(base, 40, unread, &heard);

		channel_drain(channel);
		CU_ASSERT_EQUAL(heard.count, 40);
		CU_ASSERT_EQUAL(heard.numbers[39], 40);
		CU_ASSERT_EQUAL(heard.ends, 0);
		channel_close(channel);
		event_base_free(base);
	}
	channel_drain(NULL);
}
