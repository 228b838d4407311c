/* SPDX-License-Identifier: BSD-3-Clause */
/* One end of the socketpair between the supervisor and a child. */
#ifndef AGENT_SUPERVISE_CHANNEL_H
#define AGENT_SUPERVISE_CHANNEL_H

#include "supervise/message.h"

struct event_base;
struct channel;

struct channel_ops {
	void (*message)(void *ctx, const struct message *message);
	/* Nothing comes any more: 0 = the other end is closed, else what message_parse() or the kernel said.
	 * It may close the channel. */
	void (*end)(void *ctx, int error);
};

/* Takes `fd`, also when it fails: -ENOMEM. `peer` is who sits at the other end. */
int channel_open(int fd, enum message_sender peer, struct event_base *base, const struct channel_ops *ops,
		 void *ctx, struct channel **ret_channel);
void channel_close(struct channel *channel); /* NULL-safe */
/*
 * Hands over what a peer that has ended left behind, up to what is not a message. The callback must not close
 * the channel; `end` is not called. NULL-safe.
 */
void channel_drain(struct channel *channel);

/* Never waits: -EAGAIN when the other end does not read. */
int channel_send(struct channel *channel, const struct message *message);

#endif
