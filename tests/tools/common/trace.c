/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>

#include "common/csv.h"
#include "common/trace.h"

int trace_append(struct trace *trace, const struct trace_row *row, struct tg_error *e)
{
	if (trace->count == trace->room) {
		size_t room = trace->room ? 2 * trace->room : 1024;
		struct trace_row *rows = reallocarray(trace->rows, room, sizeof(*rows));

		if (!rows)
			return tg_error(e, -ENOMEM, "out of memory");
		trace->rows = rows;
		trace->room = room;
	}
	trace->rows[trace->count++] = *row;
	return 0;
}

static int check_row(const struct csv *csv, const int64_t field[static 4], int64_t previous_us,
		     struct tg_error *e)
{
	if (field[0] < 0 || field[0] < previous_us)
		return csv_error(csv, e, "time_us goes backwards");
	if (field[1] != TRACE_TO_ROBOT && field[1] != TRACE_TO_CONTROLLER)
		return csv_error(csv, e, "direction, expected 1 or -1");
	if (field[2] < 0 || field[2] > TRACE_MAX_BYTES || field[3] < 0 || field[3] > TRACE_MAX_BYTES)
		return csv_error(csv, e, "a size, expected 0 to 65535");
	return 0;
}

static int load_rows(struct trace *trace, struct csv *csv, struct tg_error *e)
{
	int64_t field[4], previous_us = 0;
	int ret;

	while ((ret = csv_next(csv, field, 4, e)) > 0) {
		struct trace_row row = {
			.time_us = field[0],
			.direction = (int)field[1],
			.ip_bytes = (uint32_t)field[2],
			.payload_bytes = (uint32_t)field[3],
		};

		ret = check_row(csv, field, previous_us, e);
		if (!ret)
			ret = trace_append(trace, &row, e);
		if (ret)
			return ret;
		previous_us = field[0];
	}
	return ret;
}

int trace_load(struct trace *trace, const char *path, struct tg_error *e)
{
	static const char *const headers[] = { TRACE_HEADER };
	struct csv csv;
	size_t header;
	int ret;

	ret = csv_open(&csv, path, headers, 1, &header, e);
	if (!ret)
		ret = load_rows(trace, &csv, e);
	csv_close(&csv);
	return ret;
}

int trace_write(const struct trace *trace, FILE *f, struct tg_error *e)
{
	fputs(TRACE_HEADER "\n", f);
	for (size_t i = 0; i < trace->count; i++) {
		const struct trace_row *r = &trace->rows[i];

		fprintf(f, "%lld,%d,%u,%u\n", (long long)r->time_us, r->direction, r->ip_bytes,
			r->payload_bytes);
	}
	if (fflush(f) || ferror(f))
		return tg_error(e, -EIO, "cannot write the trace");
	return 0;
}

void trace_keep_messages(struct trace *trace, int64_t max_us)
{
	size_t kept = 0;

	for (size_t i = 0; i < trace->count; i++)
		if (trace->rows[i].payload_bytes && (!max_us || trace->rows[i].time_us <= max_us))
			trace->rows[kept++] = trace->rows[i];
	trace->count = kept;
}

/* Rows are nearly in order as they are generated: insertion is stable and fast then, qsort neither. */
void trace_sort(struct trace *trace)
{
	for (size_t i = 1; i < trace->count; i++) {
		struct trace_row row = trace->rows[i];
		size_t at = i;

		for (; at && trace->rows[at - 1].time_us > row.time_us; at--)
			trace->rows[at] = trace->rows[at - 1];
		trace->rows[at] = row;
	}
}

void trace_free(struct trace *trace)
{
	free(trace->rows);
	*trace = (struct trace){ 0 };
}
