/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The schedule of one class that the agent paces: which held packet leaves when,
 * and when a dummy does. Pure: time comes as a parameter, and what is done with
 * a packet is the caller's business.
 */
#ifndef AGENT_PACE_PACER_H
#define AGENT_PACE_PACER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/paced.h"

/* A packet that the kernel holds for us. */
struct pacer_packet {
	uint64_t arrived_ns;
	uint32_t id;		/* in the netfilter queue */
	uint32_t mark;		/* it leaves with this one */
	uint32_t size;		/* of the IP packet */
	uint32_t number;	/* among the admitted; the pacer's own business */
};

struct pacer {
	struct tg_queue queue;	/* the schedule */
	struct tg_paced *shared; /* session and counters, where tgctl sees them */
	struct pacer_packet *ring;
	size_t room, first, count;
	uint64_t next_ns;	/* the next slot; 0 = none, as nothing is to be sent */
};

enum pacer_step {
	PACER_NOTHING,		/* not yet, or nothing to send in this slot */
	PACER_REAL,		/* let the returned packet go */
	PACER_DUMMY,		/* send a dummy */
};

/* Room for what the schedule lets wait: -ENOMEM. */
int pacer_init(struct pacer *pacer, const struct tg_queue *schedule);
/*
 * Takes over `shared`: a session that ran under the same schedule goes on where
 * it was, one under another begins anew.
 */
void pacer_start(struct pacer *pacer, struct tg_paced *shared, uint64_t now);
void pacer_free(struct pacer *pacer);	/* of zeros, too */

/* A packet comes in at its arrived_ns. False: it is one too many, and counted as dropped. */
bool pacer_admit(struct pacer *pacer, const struct pacer_packet *packet);

/* To be called at or after next_ns, again and again until it returns PACER_NOTHING. */
enum pacer_step pacer_step(struct pacer *pacer, uint64_t now, struct pacer_packet *ret_packet);

/* What `from` holds comes before all that comes later. What finds no room is given to `drop`. */
void pacer_take_over(struct pacer *pacer, struct pacer *from,
		     void (*drop)(void *ctx, const struct pacer_packet *packet), void *ctx);

/* Gives all that it holds to `drop`. */
void pacer_clear(struct pacer *pacer, void (*drop)(void *ctx, const struct pacer_packet *packet), void *ctx);

#endif
