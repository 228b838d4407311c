/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One session of the `lean` defence, of one class and one peer: packets that
 * wait as bytes, and what each slot sends of them. Pure: time comes as a
 * parameter, and what is done with a cell is the caller's business.
 */
#ifndef AGENT_PACE_LEAN_H
#define AGENT_PACE_LEAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/paced.h"
#include "tensorguard/aggfrag.h"
#include "tensorguard/tick.h"

/* What it works by and on; all of it must outlive it. */
struct lean_setup {
	const struct tg_schedule *schedule;
	unsigned peer;		/* its number */
	struct tg_session_state *session; /* where tgctl sees it, as the counters of the class */
	struct tg_paced *shared;
	const uint8_t *dummy;	/* of the class: a whole cell with its hello, but for the destination */
	const uint8_t *target;	/* ... which is this IPv6 address */
	uint32_t sequence;	/* number of the first cell that is shared; any will do */
};

/* A packet that waits. */
struct lean_packet {
	uint64_t arrived_ns;
	uint32_t size;
	uint32_t mark;		/* as it came; a packet that gets a cell of its own leaves with it */
	bool bare;		/* a TCP acknowledgement and nothing else: nobody waits for it */
};

struct lean {
	struct lean_setup setup;
	uint64_t phase_ns;	/* of the slots in which it learns */
	uint64_t next_ns;	/* when something is to be sent; 0 = nothing is */
	uint64_t heard_ns;	/* when the peer said last that it can take cells apart; 0 = never */
	uint64_t said_ns;	/* when we did */
	bool answers;		/* it has asked since */

	/* those that wait, and their bytes one after the other */
	struct lean_packet *packets;
	size_t packet_room, first, count;
	uint8_t *bytes;
	size_t byte_room, start, length;
	size_t sent;		/* of the first packet, in cells before */
	uint32_t sequence;	/* of the next shared cell */

	/* what came while the session learns */
	uint64_t arrivals[TG_TICK_MOST];
	size_t arrival_count;

	struct tg_aggfrag_reader reader;
};

/* What a slot sends. */
enum lean_step {
	LEAN_NOTHING, /* not yet, or nothing to send in this slot */
	LEAN_DUMMY,   /* `cell` is one */
	LEAN_SHARED,  /* `cell` holds what waits */
	LEAN_SINGLE,  /* `cell` begins with a packet of `size` bytes that is to be padded, with `mark` */
};

struct lean_cell {
	uint32_t size, mark;	/* LEAN_SINGLE */
};

/* Goes on where the session is. -ENOMEM. */
int lean_init(struct lean *lean, const struct lean_setup *setup, uint64_t now);
void lean_free(struct lean *lean);	/* of zeros, too */

/* Whether cells are shared: the peer has said in this session that it can take them apart, and not long ago.
 */
bool lean_shares(const struct lean *lean, uint64_t now);

/* A whole packet of packet->size bytes. False: it is one too many or too long, and counted as dropped. */
bool lean_admit(struct lean *lean, const struct lean_packet *packet, const uint8_t *bytes);

/* The peer can take cells apart; it `asks` whether we can. */
void lean_hear(struct lean *lean, bool asks, uint64_t now);

/* To be called at or after next_ns, again and again until it returns LEAN_NOTHING. `cell` has room for a
 * cell. */
enum lean_step lean_step(struct lean *lean, uint64_t now, uint8_t *cell, struct lean_cell *ret_cell);

/* What `from` holds comes before all that comes later. */
void lean_take_over(struct lean *lean, struct lean *from, uint64_t now);

#endif
