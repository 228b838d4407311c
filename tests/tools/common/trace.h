/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A captured or generated TCP session of a controller and a robot: times,
 * directions and sizes. File format: CSV with the header TRACE_HEADER, rows in
 * order of time.
 */
#ifndef TESTS_TOOLS_TRACE_H
#define TESTS_TOOLS_TRACE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "tensorguard/error.h"

#define TRACE_HEADER "time_us,direction,ip_bytes,payload_bytes"

enum { TRACE_TO_ROBOT = 1, TRACE_TO_CONTROLLER = -1 };

/* the largest IPv4 packet */
enum { TRACE_MAX_BYTES = 65535 };

struct trace_row {
	int64_t time_us;	/* since the first row */
	int direction;		/* TRACE_TO_* */
	uint32_t ip_bytes;	/* of the packet that was seen, 0 when not known */
	uint32_t payload_bytes;	/* of TCP; 0 = a pure acknowledgement */
};

struct trace {
	struct trace_row *rows;
	size_t count, room;
};

int trace_append(struct trace *trace, const struct trace_row *row, struct tg_error *e);

/* Appends the rows of the file at `path`. On failure the trace holds the rows before the bad one. */
int trace_load(struct trace *trace, const char *path, struct tg_error *e);

int trace_write(const struct trace *trace, FILE *f, struct tg_error *e);

/* Drops the rows without payload, and those later than `max_us` (0 = keep). */
void trace_keep_messages(struct trace *trace, int64_t max_us);

/* Puts the rows in order of time; rows of the same time keep their order. */
void trace_sort(struct trace *trace);

void trace_free(struct trace *trace);

#endif
