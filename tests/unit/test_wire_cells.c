/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/wire_cells.h"
#include "common/wire_stats.h"
#include "harness.h"

enum { PERIOD_NS = 5000000 };

static struct wire_cell cell_at(int64_t time_ns, uint64_t counter, int64_t ecn)
{
	struct wire_cell cell = { .time_ns = time_ns, .counter = counter, .id = (uint32_t)counter };

	cell.field[CELL_FAMILY] = 4;
	cell.field[CELL_ECN] = ecn;
	cell.field[CELL_RECEIVER] = 77;
	return cell;
}

/* `count` cells on the grid; every second one is real. */
static void fill(struct wire_cells *link, struct wire_cells *inside, int count)
{
	for (int i = 0; i < count; i++) {
		struct wire_cell on_link = cell_at((int64_t)i * PERIOD_NS, (uint64_t)i + 1, 0);
		struct wire_cell in_clear = { .real = i % 2 };

		CU_ASSERT_EQUAL_FATAL(wire_cells_append(link, &on_link, NULL), 0);
		CU_ASSERT_EQUAL_FATAL(wire_cells_append(inside, &in_clear, NULL), 0);
	}
}

static json_t *compare(struct wire_cells *link, const struct wire_cells *inside)
{
	json_t *o = NULL;

	CU_ASSERT_EQUAL_FATAL(wire_cells_label(link, inside, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(wire_cells_compare(link, PERIOD_NS, &o, NULL), 0);
	return o;
}

static long long whole(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

TEST(wire_cells, like_cells_differ_in_nothing)
{
	struct wire_cells link = { 0 }, inside = { 0 };
	json_t *o;

	fill(&link, &inside, 400);
	o = compare(&link, &inside);
	CU_ASSERT_EQUAL(whole(o, "real"), 200);
	CU_ASSERT_EQUAL(whole(o, "dummy"), 200);
	CU_ASSERT_EQUAL(whole(o, "reordered"), 0);
	CU_ASSERT_EQUAL(json_array_size(json_object_get(o, "differing")), 0);
	CU_ASSERT_DOUBLE_EQUAL(json_real_value(json_object_get(json_object_get(o, "phase_us"), "distance")),
			       0, 1e-9);
	json_decref(o);
	wire_cells_free(&link);
	wire_cells_free(&inside);
}

TEST(wire_cells, a_field_that_only_some_real_cells_set_is_named)
{
	struct wire_cells link = { 0 }, inside = { 0 };
	json_t *o, *differing;

	fill(&link, &inside, 400);
	link.cells[201].field[CELL_ECN] = 2;
	o = compare(&link, &inside);
	differing = json_object_get(o, "differing");
	CU_ASSERT_EQUAL_FATAL(json_array_size(differing), 1);
	CU_ASSERT_STRING_EQUAL(json_string_value(json_array_get(differing, 0)), "ecn");
	json_decref(o);
	wire_cells_free(&link);
	wire_cells_free(&inside);
}

/* Two cells that overtake each other keep their labels, which go by the counter. */
TEST(wire_cells, overtaking_is_counted_and_labels_follow_the_counter)
{
	struct wire_cells link = { 0 }, inside = { 0 };
	json_t *o;

	fill(&link, &inside, 400);
	link.cells[100].counter = 102;
	link.cells[101].counter = 101;
	link.cells[100].field[CELL_ECN] = link.cells[101].field[CELL_ECN] = 0;
	o = compare(&link, &inside);
	CU_ASSERT_EQUAL(whole(o, "reordered"), 1);
	CU_ASSERT_TRUE(link.cells[100].real);
	CU_ASSERT_FALSE(link.cells[101].real);
	json_decref(o);
	wire_cells_free(&link);
	wire_cells_free(&inside);
}

TEST(wire_cells, a_new_key_begins_to_count_again)
{
	struct wire_cells link = { 0 }, inside = { 0 };
	json_t *o;

	fill(&link, &inside, 400);
	for (size_t i = 200; i < 400; i++) {
		link.cells[i].counter -= 200;
		link.cells[i].field[CELL_RECEIVER] = 78;
	}
	o = compare(&link, &inside);
	CU_ASSERT_EQUAL(whole(o, "reordered"), 0);
	CU_ASSERT_TRUE(link.cells[399].real);
	CU_ASSERT_FALSE(link.cells[398].real);
	json_decref(o);
	wire_cells_free(&link);
	wire_cells_free(&inside);
}

TEST(wire_cells, times_that_give_the_kind_away_are_found)
{
	struct wire_cells link = { 0 }, inside = { 0 };
	json_t *o, *phase;

	fill(&link, &inside, 400);
	for (size_t i = 1; i < 400; i += 2)
		link.cells[i].time_ns += 200000;
	o = compare(&link, &inside);
	phase = json_object_get(o, "phase_us");
	CU_ASSERT_TRUE(json_real_value(json_object_get(phase, "distance")) > 0.95);
	CU_ASSERT_TRUE(json_real_value(json_object_get(phase, "p")) < 1e-9);
	CU_ASSERT_TRUE(json_real_value(json_object_get(phase, "accuracy")) > 0.95);
	json_decref(o);
	wire_cells_free(&link);
	wire_cells_free(&inside);
}

TEST(wire_cells, recordings_of_different_lengths_are_refused)
{
	struct wire_cells link = { 0 }, inside = { 0 };
	struct tg_error e = { "" };

	fill(&link, &inside, 4);
	inside.count = 3;
	CU_ASSERT_TRUE(wire_cells_label(&link, &inside, &e) < 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.message, "4 cells on the link"));
	wire_cells_free(&link);
	wire_cells_free(&inside);
}

/* write_recording: a file of the lines of tg-wire --dump-headers. */
static void write_recording(char *path, const char *lines)
{
	int fd = mkstemp(path);
	FILE *f = fdopen(fd, "w");

	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	fprintf(f, "%s\n%s", WIRE_CSV_HEADERS, lines);
	fclose(f);
}

TEST(wire_cells, recordings_are_read_by_field)
{
	char path[] = "/tmp/test-wire-cells-XXXXXX", other[] = "/tmp/test-wire-cells-XXXXXX";
	struct wire_cells link = { 0 }, inside = { 0 };

	write_recording(
		path, "5,1,0,192.0.2.2,192.0.2.1,4,1340,20,1,2,64,1,0,0,9,0,17,51820,51821,1320,500,4,77,3\n"
		      "6,-1,0,192.0.2.1,192.0.2.2,4,1340,20,0,0,64,0,0,0,9,0,17,51820,51820,1320,500,4,78,3\n"
		      "7,0,4,-,-,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0\n"
		      "8,1,2,192.0.2.2,192.0.2.1,4,60,20,0,0,64,0,0,0,9,0,17,51820,51820,40,500,4,77,4\n");
	CU_ASSERT_EQUAL_FATAL(wire_cells_load(&link, path, 1, false, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(link.count, 1);
	CU_ASSERT_EQUAL(link.cells[0].time_ns, 5000);
	CU_ASSERT_EQUAL(link.cells[0].counter, 3);
	CU_ASSERT_EQUAL(link.cells[0].id, 9);
	CU_ASSERT_EQUAL(link.cells[0].field[CELL_DSCP], 1);
	CU_ASSERT_EQUAL(link.cells[0].field[CELL_ECN], 2);
	CU_ASSERT_EQUAL(link.cells[0].field[CELL_DF], 1);
	CU_ASSERT_EQUAL(link.cells[0].field[CELL_PROTOCOL], 17);
	CU_ASSERT_EQUAL(link.cells[0].field[CELL_DPORT], 51821);
	CU_ASSERT_EQUAL(link.cells[0].field[CELL_UDP_BYTES], 1320);
	CU_ASSERT_EQUAL(link.cells[0].field[CELL_CHECKSUM_PRESENT], 1);
	CU_ASSERT_EQUAL(link.cells[0].field[CELL_TYPE], 4);
	CU_ASSERT_EQUAL(link.cells[0].field[CELL_RECEIVER], 77);
	write_recording(other, "5,1,6,fd54::2,fd54::1,6,40,40,0,0,64,0,0,0,0,0,59,0,0,0,0,0,0,0\n"
			       "6,1,6,fd54::2,fd54::1,6,48,40,0,0,64,0,0,0,0,0,17,1,2,8,0,0,0,0\n");
	CU_ASSERT_EQUAL_FATAL(wire_cells_load(&inside, other, 1, true, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(inside.count, 2);
	CU_ASSERT_FALSE(inside.cells[0].real);
	CU_ASSERT_TRUE(inside.cells[1].real);
	wire_cells_free(&link);
	wire_cells_free(&inside);
	unlink(path);
	unlink(other);
}

TEST(wire_cells, a_wrong_line_is_named)
{
	char path[] = "/tmp/test-wire-cells-XXXXXX";
	struct wire_cells link = { 0 };
	struct tg_error e = { "" };

	write_recording(path, "5,1,0,192.0.2.2,192.0.2.1,4,1340\n");
	CU_ASSERT_TRUE(wire_cells_load(&link, path, 1, false, &e) < 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.message, ":2: not a line"));
	wire_cells_free(&link);
	unlink(path);
}
