/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/csv.h"
#include "common/two_sample.h"
#include "common/wire_cells.h"
#include "common/wire_packet.h"
#include "common/wire_stats.h"

/* More distinct values than any field but the IP ID has in a run that is all right. */
enum { MOST_VALUES = 16 };

static const char *const field_names[CELL_COMPARED] = {
	"family", "ip_bytes",   "header_bytes", "dscp",  "ecn",   "ttl",       "df",
	"mf",     "flow_label", "protocol",     "sport", "dport", "udp_bytes", "checksum_present",
	"type",
};

int wire_cells_append(struct wire_cells *list, const struct wire_cell *cell, struct tg_error *e)
{
	if (list->count == list->room) {
		size_t room = list->room ? 2 * list->room : 4096;
		struct wire_cell *cells = reallocarray(list->cells, room, sizeof(*cells));

		if (!cells)
			return tg_error(e, -ENOMEM, "out of memory");
		list->cells = cells;
		list->room = room;
	}
	list->cells[list->count++] = *cell;
	return 0;
}

void wire_cells_free(struct wire_cells *list)
{
	free(list->cells);
	*list = (struct wire_cells){ 0 };
}

/* ---- recordings ---- */

/* Returns the number of fields that were understood: all 22 that are numbers, or the line is wrong. */
static int parse_line(const char *line, long long *time_us, int *direction, int *kind, struct wire_cell *cell)
{
	unsigned long long v[16], counter, type, receiver;
	int n;

	n = sscanf(
		line,
		"%lld,%d,%d,%*[^,],%*[^,],%llu,%llu,%llu,%llu,%llu,%llu,%llu,%llu,%llu,%llu,%llu,%llu,%llu,"
		"%llu,%llu,%llu,%llu,%llu,%llu",
		time_us, direction, kind, &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7], &v[8],
		&v[9], &v[10], &v[11], &v[12], &v[13], &v[14], &v[15], &type, &receiver, &counter);
	if (n != 22)
		return -EINVAL;
	*cell = (struct wire_cell){ .time_ns = *time_us * 1000, .counter = counter, .id = (uint32_t)v[9] };
	for (int i = CELL_FAMILY; i <= CELL_MF; i++)
		cell->field[i] = (int64_t)v[i];
	for (int i = CELL_FLOW_LABEL; i <= CELL_UDP_BYTES; i++)
		cell->field[i] = (int64_t)v[i + 2];	/* behind the fragment offset and the ID */
	cell->field[CELL_CHECKSUM_PRESENT] = v[15] != 0;
	cell->field[CELL_TYPE] = (int64_t)type;
	cell->field[CELL_RECEIVER] = (int64_t)receiver;
	return 0;
}

static bool is_dummy(const struct wire_cell *inside)
{
	return inside->field[CELL_FAMILY] == 6 && inside->field[CELL_PROTOCOL] == IPPROTO_NONE;
}

static int load_lines(struct wire_cells *list, struct csv *csv, int wanted, bool inside, struct tg_error *e)
{
	struct wire_cell cell;
	int direction, kind, ret;
	long long time_us;

	while ((ret = csv_next_line(csv, e)) > 0) {
		if (parse_line(csv->text, &time_us, &direction, &kind, &cell))
			return csv_error(csv, e, "not a line that tg-wire --dump-headers writes");
		if (direction != wanted || (!inside && kind != WIRE_DATA))
			continue;
		cell.real = inside && !is_dummy(&cell);
		ret = wire_cells_append(list, &cell, e);
		if (ret)
			return ret;
	}
	return ret;
}

int wire_cells_load(struct wire_cells *list, const char *path, int direction, bool inside, struct tg_error *e)
{
	static const char *const header[] = { WIRE_CSV_HEADERS };
	struct csv csv;
	size_t which;
	int ret = csv_open(&csv, path, header, 1, &which, e);

	if (!ret)
		ret = load_lines(list, &csv, direction, inside, e);
	csv_close(&csv);
	return ret;
}

static int by_counter(const void *a, const void *b)
{
	const struct wire_cell *x = a, *y = b;

	if (x->key != y->key)
		return x->key > y->key ? 1 : -1;
	return (x->counter > y->counter) - (x->counter < y->counter);
}

static int by_time(const void *a, const void *b)
{
	const struct wire_cell *x = a, *y = b;

	if (x->time_ns != y->time_ns)
		return x->time_ns > y->time_ns ? 1 : -1;
	return by_counter(a, b);
}

/* Counters begin again with every new key, which has a receiver index of its own. */
static void number_keys(struct wire_cells *link)
{
	for (size_t i = 1; i < link->count; i++) {
		struct wire_cell *cell = &link->cells[i], *last = cell - 1;
		bool same = cell->field[CELL_RECEIVER] == last->field[CELL_RECEIVER];

		cell->key = last->key + !same;
	}
}

int wire_cells_label(struct wire_cells *link, const struct wire_cells *inside, struct tg_error *e)
{
	if (link->count != inside->count)
		return tg_error(e, -EBADMSG, "%zu cells on the link, but %zu packets in the tunnel device",
				link->count, inside->count);
	if (!link->count)
		return 0;
	number_keys(link);
	qsort(link->cells, link->count, sizeof(*link->cells), by_counter);
	for (size_t i = 0; i < link->count; i++)
		link->cells[i].real = inside->cells[i].real;
	qsort(link->cells, link->count, sizeof(*link->cells), by_time);
	return 0;
}

/* ---- comparison ---- */

struct values {
	int64_t value[MOST_VALUES];
	size_t count;
};

static int ascending(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static void collect(const struct wire_cells *link, enum cell_field field, bool real, struct values *values)
{
	values->count = 0;
	for (size_t i = 0; i < link->count && values->count < MOST_VALUES; i++) {
		int64_t value = link->cells[i].field[field];
		size_t k = 0;

		if (link->cells[i].real != real)
			continue;
		while (k < values->count && values->value[k] != value)
			k++;
		if (k == values->count)
			values->value[values->count++] = value;
	}
	qsort(values->value, values->count, sizeof(*values->value), ascending);
}

static json_t *value_array(const struct values *values)
{
	json_t *array = json_array();

	for (size_t i = 0; i < values->count; i++)
		json_array_append_new(array, json_integer(values->value[i]));
	return array;
}

static void compare_fields(const struct wire_cells *link, json_t *differing, json_t *object)
{
	for (int field = 0; field < CELL_COMPARED; field++) {
		struct values real, dummy;

		collect(link, (enum cell_field)field, true, &real);
		collect(link, (enum cell_field)field, false, &dummy);
		if (real.count != dummy.count ||
		    memcmp(real.value, dummy.value, real.count * sizeof(*real.value)))
			json_array_append_new(differing, json_string(field_names[field]));
		json_object_set_new(
			object, field_names[field],
			json_pack("{s:o, s:o}", "real", value_array(&real), "dummy", value_array(&dummy)));
	}
}

static size_t count_reordered(const struct wire_cells *link)
{
	const struct wire_cell *last = link->cells;
	size_t n = 0;

	for (size_t i = 1; i < link->count; i++) {
		if (by_counter(&link->cells[i], last) < 0)
			n++;
		else
			last = &link->cells[i];
	}
	return n;
}

static json_t *sample_object(const struct labelled *values, size_t count)
{
	struct two_sample r;

	if (two_sample(values, count, &r))
		return NULL;
	return json_pack("{s:f, s:f, s:f, s:f}", "distance", r.distance, "p", r.p, "accuracy", r.accuracy,
			 "sigmas", r.sigmas);
}

/* The part from the first real cell to the last. */
static struct wire_cells between_real(const struct wire_cells *link)
{
	struct wire_cells part = *link;

	while (part.count && !part.cells[part.count - 1].real)
		part.count--;
	while (part.count && !part.cells[0].real) {
		part.cells++;
		part.count--;
	}
	return part;
}

/* What the step to a cell says about that cell. */
static json_t *steps(const struct wire_cells *link, struct labelled *room, bool id)
{
	size_t n = 0;

	for (size_t i = 1; i < link->count; i++, n++) {
		const struct wire_cell *cell = &link->cells[i], *last = &link->cells[i - 1];

		room[n].real = cell->real;
		room[n].value = id ? (uint16_t)(cell->id - last->id) : (cell->time_ns - last->time_ns) / 1000;
	}
	return sample_object(room, n);
}

/* What the step from a cell says about it, and (`bend`) that less the step to it. */
static json_t *steps_after(const struct wire_cells *link, struct labelled *room, bool bend)
{
	size_t n = 0;

	for (size_t i = 1; i + 1 < link->count; i++, n++) {
		const struct wire_cell *cell = &link->cells[i];
		int64_t before = (cell->time_ns - cell[-1].time_ns) / 1000;

		room[n].real = cell->real;
		room[n].value = (cell[1].time_ns - cell->time_ns) / 1000 - (bend ? before : 0);
	}
	return sample_object(room, n);
}

static json_t *phases(const struct wire_cells *link, struct labelled *room, int64_t period_ns,
		      struct tg_error *e)
{
	struct wire_grid grid = { 0 };
	struct wire_log log = { 0 };
	json_t *o = NULL;
	int ret = 0;

	for (size_t i = 0; i < link->count && !ret; i++)
		ret = wire_log_append(&log,
				      &(struct wire_record){ .time_ns = link->cells[i].time_ns,
							     .direction = 1,
							     .kind = WIRE_DATA },
				      e);
	if (!ret && !wire_grid_fit(&log, 1, period_ns, &grid, e)) {
		for (size_t i = 0; i < grid.count; i++)
			room[i] = (struct labelled){ grid.slots[i].phase_ns / 1000, link->cells[i].real };
		o = sample_object(room, grid.count);
	}
	wire_grid_free(&grid);
	wire_log_free(&log);
	return o;
}

int wire_cells_compare(const struct wire_cells *link, int64_t period_ns, json_t **ret_result,
		       struct tg_error *e)
{
	struct labelled *room = calloc(link->count + 1, sizeof(*room));
	json_t *differing = json_array(), *values = json_object(), *o;
	const struct wire_cells part = between_real(link);
	size_t real = 0;

	if (!room) {
		json_decref(differing);
		json_decref(values);
		return tg_error(e, -ENOMEM, "out of memory");
	}
	for (size_t i = 0; i < link->count; i++)
		real += link->cells[i].real;
	compare_fields(link, differing, values);
	o = json_pack("{s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "real", (json_int_t)real, "dummy",
		      (json_int_t)(link->count - real), "reordered", (json_int_t)count_reordered(link),
		      "differing", differing, "values", values, "id_step", steps(&part, room, true), "gap_us",
		      steps(&part, room, false), "gap_after_us", steps_after(&part, room, false), "bend_us",
		      steps_after(&part, room, true), "phase_us", phases(&part, room, period_ns, e));
	free(room);
	if (!o)
		return tg_error(e, -ENOMEM, "out of memory");
	*ret_result = o;
	return 0;
}
