/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The schedule of one session that the agent paces, of one class and one peer:
 * which held packet leaves when, and when a dummy does. Pure: time comes as a
 * parameter, and what is done with a packet is the caller's business.
 */
#ifndef AGENT_PACE_PACER_H
#define AGENT_PACE_PACER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/paced.h"

enum { PACER_WORDS = 2 };	/* random words per packet */

/* A packet that the kernel holds for us. */
struct pacer_packet {
	uint64_t arrived_ns;
	uint32_t id;		/* in the netfilter queue */
	uint32_t mark;		/* it leaves with this one */
	uint32_t size;		/* of the IP packet */
	/* the pacer's own business */
	uint32_t number;	/* among the admitted */
	uint64_t departs_ns;	/* jitter */
};

/* What a pacer works by and on; all of it must outlive the pacer. */
struct pacer_setup {
	const struct tg_schedule *schedule;
	const struct tg_exponential *table; /* for jitter */
	unsigned peer;		/* its number */
	struct tg_session_state *session; /* where tgctl sees it, as the counters of the class */
	struct tg_paced *shared;
};

struct pacer {
	const struct tg_schedule *schedule;
	const struct tg_exponential *table;
	unsigned peer;
	struct tg_session_state *session;
	struct tg_paced *shared;
	uint64_t phase_ns;	/* constant: of its slots */
	bool settled, real;	/* constant with a dither: what leaves in this slot is settled, and is real */
	uint64_t slot_ns;	/* regulator: the next slot; 0 = none; constant: the one that is settled */
	uint64_t ahead_ns;	/* jitter: when the newest packet departs */
	struct pacer_packet *ring;
	size_t room, first, count;
	uint64_t next_ns;	/* when something is to be sent; 0 = nothing is */
};

enum pacer_step {
	PACER_NOTHING,		/* not yet, or nothing to send in this slot */
	PACER_REAL,		/* let the returned packet go */
	PACER_DUMMY,		/* send a dummy */
};

/* Whether the sessions that a class has in the maps can go on under that schedule. */
bool pacer_continues(const struct tg_paced *shared, const struct tg_schedule *schedule);

/* With room for what the schedule lets wait. Goes on from where the session is. -ENOMEM. */
int pacer_init(struct pacer *pacer, const struct pacer_setup *setup, uint64_t now);
void pacer_free(struct pacer *pacer);	/* of zeros, too */

/* A packet comes in at its arrived_ns. False: it is one too many, and counted as dropped. */
bool pacer_admit(struct pacer *pacer, const struct pacer_packet *packet, const uint32_t random[PACER_WORDS]);

/* To be called at or after next_ns, again and again until it returns PACER_NOTHING; each time with another
 * random word. */
enum pacer_step pacer_step(struct pacer *pacer, uint64_t now, uint32_t random,
			   struct pacer_packet *ret_packet);

/* What `from` holds comes before all that comes later, in slots from `now` on. What finds no room, or does
 * not fit the cell, is given to `drop`. */
void pacer_take_over(struct pacer *pacer, struct pacer *from, uint64_t now,
		     const uint32_t random[PACER_WORDS],
		     void (*drop)(void *ctx, const struct pacer_packet *packet), void *ctx);

/* Gives all that it holds to `drop`. */
void pacer_clear(struct pacer *pacer, void (*drop)(void *ctx, const struct pacer_packet *packet), void *ctx);

#endif
