/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What can be concluded from the packets that were seen: sizes, gaps, the
 * length of sessions, how well the packets keep to a grid. Pure; the CSV files
 * aside.
 */
#ifndef TESTS_TOOLS_WIRE_STATS_H
#define TESTS_TOOLS_WIRE_STATS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/wire_packet.h"
#include "tensorguard/error.h"

/* silence between data packets that ends a session, as an eavesdropper would set it */
#define WIRE_SILENCE_NS 1000000000LL

struct wire_record {
	int64_t time_ns;
	uint32_t bytes;		/* outer IP length */
	int8_t direction;	/* 1 up, -1 down */
	uint8_t kind;		/* enum wire_kind, WIRE_DATA to WIRE_OTHER */
};

struct wire_log {
	struct wire_record *records;
	size_t count, room;
};

int wire_log_append(struct wire_log *log, const struct wire_record *record, struct tg_error *e);
void wire_log_free(struct wire_log *log);

#define WIRE_CSV_HEADER "time_us,direction,bytes"
#define WIRE_CSV_ALL_HEADER "time_us,direction,bytes,kind"

/* of the outer headers of every packet; an address that there is none of is "-" */
#define WIRE_CSV_HEADERS                                                                                     \
	"time_us,direction,kind,src,dst,family,ip_bytes,header_bytes,dscp,ecn,ttl,df,mf,fragment_offset,id," \
	"flow_label,protocol,sport,dport,udp_bytes,udp_checksum,type,receiver,counter"

/* Reads either header; without kinds all packets are data. */
int wire_log_load(struct wire_log *log, const char *path, struct tg_error *e);
/* Times count from the first record that is written. `all` false: data packets only. */
int wire_log_write(const struct wire_log *log, const char *path, bool all, struct tg_error *e);

/*
 * A data packet's place on the grid of its direction. Runs are parted by
 * silence (WIRE_SILENCE_NS, or three periods if that is longer) and count their
 * slots from their first packet.
 */
struct wire_slot {
	uint32_t run;
	int64_t slot;
	int64_t error_ns;	/* from the grid of its run, whose phase is the median */
	int64_t phase_ns; /* from the grid that slowly follows the packets, by less than half a period */
	int64_t time_ns;
	uint32_t bytes;
};

struct wire_grid {
	struct wire_slot *slots;
	size_t count;
	uint32_t runs;
	uint64_t missed; /* slots between packets of a run that no packet took, nor made up for later */
	uint64_t breaks;	/* places where slots are missed: in each of them time stood still once */
	uint64_t doubled;	/* packets too many: their slot was taken */
	uint64_t late;		/* packets that came more than half a period after their slot */
	double period_ns;	/* the mean that was kept, over the longest run */
};

int wire_grid_fit(const struct wire_log *log, int direction, int64_t period_ns, struct wire_grid *ret_grid,
		  struct tg_error *e);
void wire_grid_free(struct wire_grid *grid);

/*
 * The summary as JSON: "up" and "down" each with packets, bytes, sizes, gaps_ms,
 * handshake, keepalive, other and (period_ns not 0) grid; and packets, kbit_s,
 * session_s over both.
 */
int wire_summary(const struct wire_log *log, int64_t period_ns, json_t **ret_summary, struct tg_error *e);

/*
 * Compares the (run, slot, size) sequences of two captures, direction by
 * direction, as JSON: "equal", and under "up" and "down" packets and late
 * (of both), differing and the first difference or null.
 */
int wire_compare(const struct wire_log *a, const struct wire_log *b, int64_t period_ns, bool *ret_equal,
		 json_t **ret_result, struct tg_error *e);

#endif
