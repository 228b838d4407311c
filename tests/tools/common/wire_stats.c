/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>

#include "common/quantile.h"
#include "common/wire_stats.h"

/* Distinct sizes are few in all that is measured here; the array's bound is that of an IP packet. */
static json_t *size_array(const struct wire_log *log, int direction)
{
	enum { SIZES = 1 << 17 };
	bool *seen = calloc(SIZES, sizeof(*seen));
	json_t *array = json_array();

	if (!seen) {
		json_decref(array);
		return NULL;
	}
	for (size_t i = 0; i < log->count; i++) {
		const struct wire_record *r = &log->records[i];

		if (r->kind == WIRE_DATA && r->direction == direction && r->bytes < SIZES)
			seen[r->bytes] = true;
	}
	for (int i = 0; i < SIZES; i++)
		if (seen[i])
			json_array_append_new(array, json_integer(i));
	free(seen);
	return array;
}

static json_t *scaled(const int64_t *sorted, size_t count, double percent, double unit)
{
	return count ? json_real((double)quantile(sorted, count, percent) / unit) : json_null();
}

static json_t *gap_object(const struct wire_log *log, int direction)
{
	int64_t *gaps = calloc(log->count + 1, sizeof(*gaps)), last_ns = -1;
	size_t count = 0;
	json_t *o;

	if (!gaps)
		return NULL;
	for (size_t i = 0; i < log->count; i++) {
		const struct wire_record *r = &log->records[i];

		if (r->kind != WIRE_DATA || r->direction != direction)
			continue;
		if (last_ns >= 0)
			gaps[count++] = r->time_ns - last_ns;
		last_ns = r->time_ns;
	}
	quantile_sort(gaps, count);
	o = json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "p1", scaled(gaps, count, 1, 1e6), "p10",
		      scaled(gaps, count, 10, 1e6), "p50", scaled(gaps, count, 50, 1e6), "p90",
		      scaled(gaps, count, 90, 1e6), "p99", scaled(gaps, count, 99, 1e6), "max",
		      scaled(gaps, count, 100, 1e6));
	free(gaps);
	return o;
}

static json_t *grid_object(const struct wire_log *log, int direction, int64_t period_ns, struct tg_error *e)
{
	struct wire_grid grid;
	int64_t *errors;
	json_t *o = NULL;

	if (wire_grid_fit(log, direction, period_ns, &grid, e))
		return NULL;
	errors = calloc(grid.count + 1, sizeof(*errors));
	if (errors) {
		for (size_t i = 0; i < grid.count; i++)
			errors[i] = llabs(grid.slots[i].error_ns);
		quantile_sort(errors, grid.count);
		o = json_pack("{s:f, s:o, s:{s:o, s:o, s:o}, s:I, s:I, s:I, s:I, s:I}", "period_us",
			      (double)period_ns / 1e3, "kept_us",
			      grid.period_ns > 0 ? json_real(grid.period_ns / 1e3) : json_null(), "error_us",
			      "p50", scaled(errors, grid.count, 50, 1e3), "p99",
			      scaled(errors, grid.count, 99, 1e3), "max",
			      scaled(errors, grid.count, 100, 1e3), "runs", (json_int_t)grid.runs, "missed",
			      (json_int_t)grid.missed, "breaks", (json_int_t)grid.breaks, "doubled",
			      (json_int_t)grid.doubled, "late", (json_int_t)grid.late);
	}
	free(errors);
	wire_grid_free(&grid);
	return o;
}

static json_t *direction_object(const struct wire_log *log, int direction, int64_t period_ns,
				struct tg_error *e)
{
	uint64_t packets[WIRE_KINDS] = { 0 }, bytes = 0;
	json_t *o;

	for (size_t i = 0; i < log->count; i++) {
		const struct wire_record *r = &log->records[i];

		if (r->direction != direction)
			continue;
		packets[r->kind]++;
		if (r->kind == WIRE_DATA)
			bytes += r->bytes;
	}
	o = json_pack("{s:I, s:I, s:o, s:o, s:I, s:I, s:I}", "packets", (json_int_t)packets[WIRE_DATA],
		      "bytes", (json_int_t)bytes, "sizes", size_array(log, direction), "gaps_ms",
		      gap_object(log, direction), "handshake", (json_int_t)packets[WIRE_HANDSHAKE],
		      "keepalive", (json_int_t)packets[WIRE_KEEPALIVE], "other",
		      (json_int_t)packets[WIRE_OTHER]);
	if (o && period_ns && json_object_set_new(o, "grid", grid_object(log, direction, period_ns, e))) {
		json_decref(o);
		o = NULL;
	}
	return o;
}

struct span {
	int64_t first_ns, last_ns;	/* of all data packets */
	int64_t run_ns;			/* the longest run without silence */
	uint64_t packets, bytes;
};

static struct span data_span(const struct wire_log *log)
{
	struct span s = { .first_ns = -1 };
	int64_t run_first_ns = 0;

	for (size_t i = 0; i < log->count; i++) {
		const struct wire_record *r = &log->records[i];

		if (r->kind != WIRE_DATA)
			continue;
		if (s.first_ns < 0)
			s.first_ns = run_first_ns = r->time_ns;
		else if (r->time_ns - s.last_ns > WIRE_SILENCE_NS)
			run_first_ns = r->time_ns;
		s.last_ns = r->time_ns;
		if (s.last_ns - run_first_ns > s.run_ns)
			s.run_ns = s.last_ns - run_first_ns;
		s.packets++;
		s.bytes += r->bytes;
	}
	return s;
}

int wire_summary(const struct wire_log *log, int64_t period_ns, json_t **ret_summary, struct tg_error *e)
{
	struct span s = data_span(log);
	double seconds = (double)(s.last_ns - s.first_ns) / 1e9;
	json_t *o;

	o = json_pack("{s:o, s:o, s:I, s:o, s:f}", "up", direction_object(log, 1, period_ns, e), "down",
		      direction_object(log, -1, period_ns, e), "packets", (json_int_t)s.packets, "kbit_s",
		      s.packets > 1 && seconds > 0 ? json_real((double)s.bytes * 8 / 1000 / seconds)
						   : json_null(),
		      "session_s", (double)s.run_ns / 1e9);
	if (!o)
		return tg_error(e, -ENOMEM, "out of memory");
	*ret_summary = o;
	return 0;
}

static json_t *slot_object(const struct wire_grid *grid, size_t at)
{
	const struct wire_slot *s;

	if (at >= grid->count)
		return json_null();
	s = &grid->slots[at];
	return json_pack("{s:I, s:I, s:I, s:f}", "run", (json_int_t)s->run, "slot", (json_int_t)s->slot,
			 "bytes", (json_int_t)s->bytes, "time_s",
			 (double)(s->time_ns - grid->slots[0].time_ns) / 1e9);
}

static bool same_place(const struct wire_grid *a, const struct wire_grid *b, size_t at)
{
	const struct wire_slot *x, *y;

	if (at >= a->count || at >= b->count)
		return false;
	x = &a->slots[at];
	y = &b->slots[at];
	return x->run == y->run && x->slot == y->slot && x->bytes == y->bytes;
}

static json_t *compare_grids(const struct wire_grid *a, const struct wire_grid *b, bool *equal)
{
	size_t longer = a->count > b->count ? a->count : b->count, first = longer;
	json_int_t differing = 0;
	json_t *difference = json_null();

	for (size_t i = 0; i < longer; i++) {
		if (same_place(a, b, i))
			continue;
		if (!differing++)
			first = i;
	}
	if (differing) {
		*equal = false;
		difference = json_pack("{s:I, s:o, s:o}", "index", (json_int_t)first, "a",
				       slot_object(a, first), "b", slot_object(b, first));
	}
	return json_pack("{s:[I, I], s:[I, I], s:I, s:o}", "packets", (json_int_t)a->count,
			 (json_int_t)b->count, "late", (json_int_t)a->late, (json_int_t)b->late, "differing",
			 differing, "first_difference", difference);
}

static json_t *compare_direction(const struct wire_log *a, const struct wire_log *b, int direction,
				 int64_t period_ns, bool *equal, struct tg_error *e)
{
	struct wire_grid x = { 0 }, y = { 0 };
	json_t *o = NULL;

	if (!wire_grid_fit(a, direction, period_ns, &x, e) && !wire_grid_fit(b, direction, period_ns, &y, e))
		o = compare_grids(&x, &y, equal);
	wire_grid_free(&x);
	wire_grid_free(&y);
	return o;
}

int wire_compare(const struct wire_log *a, const struct wire_log *b, int64_t period_ns, bool *ret_equal,
		 json_t **ret_result, struct tg_error *e)
{
	bool equal = true;
	json_t *up = compare_direction(a, b, 1, period_ns, &equal, e);
	json_t *down = compare_direction(a, b, -1, period_ns, &equal, e);
	json_t *o = json_pack("{s:b, s:o, s:o}", "equal", equal, "up", up, "down", down);

	if (!o)
		return tg_error(e, -ENOMEM, "out of memory");
	*ret_equal = equal;
	*ret_result = o;
	return 0;
}
