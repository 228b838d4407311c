/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The TCP flows whose server name is still being read. Memory is fixed: a table
 * of flows, least recently used ones make room, and a small pool for segments
 * that came early.
 *
 * A flow's bytes are read in order. Retransmitted and overlapping bytes keep
 * what came first. A segment beyond a gap goes on its way undecided, and a copy
 * of its first TRACKER_EARLY_BYTES waits in the pool for the gap to be filled;
 * when the pool is full the oldest copy makes room, and a flow that lacks it
 * ends at one of the limits below.
 *
 * A flow has no name, as far as rules are concerned, once TG_SNI_MAX_BYTES have
 * been read without an answer, or TRACKER_MAX_IDLE packets came that moved
 * nothing, or TRACKER_MAX_NS have passed since its first payload.
 */
#ifndef AGENT_GUARD_TRACKER_H
#define AGENT_GUARD_TRACKER_H

#include "guard/packet.h"
#include "tensorguard/sni.h"

#define TRACKER_MAX_IDLE 16u	/* bare ACKs, repeated or early segments; a SYN does not count */
#define TRACKER_MAX_NS 3000000000ull
#define TRACKER_KEEP_NS 30000000000ull	/* a silent flow is forgotten */
#define TRACKER_EARLY_BYTES 2048u

enum tracker_state {
	TRACKER_WAIT,		/* the name is not known yet */
	TRACKER_NAMED,		/* *ret_host holds it */
	TRACKER_NAMELESS,	/* there is none, or it cannot be had */
};

/* Why a flow stayed nameless; counts over all flows. */
struct tracker_stats {
	uint64_t flows;		/* taken up */
	uint64_t named, no_name, not_tls, malformed;
	uint64_t limit_idle, limit_time, closed;
	uint64_t evicted;	/* undecided flows that made room for others */
	uint64_t early, early_lost; /* segments beyond a gap: kept, and thrown away again */
};

struct tracker;

/* `seed` keys the hash of the table: unpredictable to whoever can choose flows. */
int tracker_new(size_t flows, size_t early_segments, uint64_t seed, struct tracker **ret_tracker);
void tracker_free(struct tracker *tracker);	/* NULL-safe */

/*
 * Takes one TCP packet of kind PACKET_FLOW at time `now` (CLOCK_MONOTONIC).
 * *ret_host is set when the answer is TRACKER_NAMED and valid until the next
 * call. A flow keeps its answer: a part of its hello that is sent again, or was
 * queued when the answer was found, must not be taken for a hello of its own.
 */
enum tracker_state tracker_packet(struct tracker *tracker, const struct packet *packet, uint64_t now,
				  const char **ret_host);

/* Forgets flows that have been silent for TRACKER_KEEP_NS. */
void tracker_expire(struct tracker *tracker, uint64_t now);

size_t tracker_count(const struct tracker *tracker);
const struct tracker_stats *tracker_stats(const struct tracker *tracker);

#endif
