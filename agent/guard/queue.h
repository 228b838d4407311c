/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One NFQUEUE: packets in batches, verdicts in batches. Verdicts of one batch
 * leave in the order in which they were given, in one system call.
 */
#ifndef AGENT_GUARD_QUEUE_H
#define AGENT_GUARD_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tensorguard/error.h"

struct queue_conf {
	uint16_t number;
	uint32_t length;	/* packets that the kernel keeps for us at most */
	bool fail_open;		/* beyond that: let them pass (true) or drop them */
	bool headers_only; /* the first QUEUE_HEADERS bytes of each, and super-packets cut into their pieces
			    */
};

enum { QUEUE_HEADERS = 256 };	/* IPv6 with extension headers, and the ports */

struct queue_packet {
	uint32_t id;
	uint32_t mark;
	const uint8_t *data;	/* valid during the callback */
	size_t size;		/* bytes at hand */
	size_t total;		/* of the packet */
	bool local;		/* sent by this host */
	bool has_uid;
	uint32_t uid;
	uint32_t out_ifindex;	/* 0 = not routed yet */
};

struct queue_stats {
	uint64_t packets;
	uint64_t enobufs;	/* times that the socket's buffer ran over: packets were lost to it */
	uint64_t verdict_errors; /* the kernel refused a verdict, or what became of it is unknown */
	uint64_t bad_messages;
};

struct queue;

/* -EBUSY when another program serves this queue. */
int queue_open(const struct queue_conf *conf, struct queue **ret_queue, struct tg_error *e);
void queue_close(struct queue *queue); /* NULL-safe; the kernel applies its default to what is still queued */
int queue_fd(const struct queue *queue);

/* Another length or behaviour for the same number. What is queued stays. A refusal counts among
 * verdict_errors. */
void queue_change(struct queue *queue, const struct queue_conf *conf);

/*
 * Receives one batch and calls `handle` for each packet, then sends the verdicts
 * given. Returns the number of packets; 0 when none was waiting; negative errno
 * when the queue cannot be used any longer.
 */
int queue_receive(struct queue *queue, void (*handle)(void *ctx, const struct queue_packet *packet),
		  void *ctx);

/* `verdict` is NF_ACCEPT or NF_DROP; `mark` replaces the packet's mark unless NULL. May be called at any
 * time; outside of queue_receive() follow it by queue_flush(). */
void queue_verdict(struct queue *queue, uint32_t id, unsigned verdict, const uint32_t *mark);
void queue_flush(struct queue *queue);

const struct queue_stats *queue_stats(const struct queue *queue);

#endif
