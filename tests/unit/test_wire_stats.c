/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/quantile.h"
#include "common/wire_stats.h"
#include "harness.h"

enum { PERIOD_NS = 5000000 };

static void add(struct wire_log *log, int64_t time_ns, int direction, uint32_t bytes, int kind)
{
	const struct wire_record r = { time_ns, bytes, (int8_t)direction, (uint8_t)kind };

	CU_ASSERT_EQUAL_FATAL(wire_log_append(log, &r, NULL), 0);
}

static void add_grid(struct wire_log *log, int64_t from_ns, int count, int direction, uint32_t bytes)
{
	for (int i = 0; i < count; i++)
		add(log, from_ns + (int64_t)i * PERIOD_NS, direction, bytes, WIRE_DATA);
}

static double number(const json_t *o, const char *a, const char *b, const char *c)
{
	o = json_object_get(o, a);
	if (b)
		o = json_object_get(o, b);
	if (c)
		o = json_object_get(o, c);
	CU_ASSERT_TRUE_FATAL(json_is_number(o));
	return json_number_value(o);
}

static struct wire_grid fit(const struct wire_log *log, int direction)
{
	struct wire_grid grid = { 0 };

	CU_ASSERT_EQUAL_FATAL(wire_grid_fit(log, direction, PERIOD_NS, &grid, NULL), 0);
	return grid;
}

TEST(wire_stats, quantiles_are_values_that_occur)
{
	int64_t v[] = { 50, 10, 40, 20, 30 };

	quantile_sort(v, 5);
	CU_ASSERT_EQUAL(quantile(v, 5, 0), 10);
	CU_ASSERT_EQUAL(quantile(v, 5, 20), 10);
	CU_ASSERT_EQUAL(quantile(v, 5, 20.1), 20);
	CU_ASSERT_EQUAL(quantile(v, 5, 50), 30);
	CU_ASSERT_EQUAL(quantile(v, 5, 99), 50);
	CU_ASSERT_EQUAL(quantile(v, 5, 100), 50);
	CU_ASSERT_EQUAL(quantile(v, 0, 50), 0);
}

TEST(wire_stats, summary_counts_data_packets_only)
{
	struct wire_log log = { 0 };
	json_t *o = NULL, *sizes;

	add(&log, 0, 1, 176, WIRE_HANDSHAKE);
	add(&log, 1000000, -1, 120, WIRE_HANDSHAKE);
	add(&log, 2000000, 1, 60, WIRE_KEEPALIVE);
	add(&log, 100000000, 1, 220, WIRE_DATA);
	add(&log, 200000000, -1, 124, WIRE_DATA);
	add(&log, 300000000, 1, 140, WIRE_DATA);
	add(&log, 400000000, 1, 220, WIRE_DATA);
	add(&log, 600000000, -1, 90, WIRE_OTHER);
	CU_ASSERT_EQUAL_FATAL(wire_summary(&log, 0, &o, NULL), 0);
	CU_ASSERT_EQUAL(number(o, "packets", NULL, NULL), 4);
	CU_ASSERT_EQUAL(number(o, "up", "packets", NULL), 3);
	CU_ASSERT_EQUAL(number(o, "up", "bytes", NULL), 580);
	CU_ASSERT_EQUAL(number(o, "up", "handshake", NULL), 1);
	CU_ASSERT_EQUAL(number(o, "up", "keepalive", NULL), 1);
	CU_ASSERT_EQUAL(number(o, "down", "other", NULL), 1);
	CU_ASSERT_DOUBLE_EQUAL(number(o, "up", "gaps_ms", "p50"), 100, 1e-9);
	CU_ASSERT_DOUBLE_EQUAL(number(o, "up", "gaps_ms", "max"), 200, 1e-9);
	CU_ASSERT_TRUE(
		json_is_null(json_object_get(json_object_get(json_object_get(o, "down"), "gaps_ms"), "p50")));
	CU_ASSERT_DOUBLE_EQUAL(number(o, "session_s", NULL, NULL), 0.3, 1e-9);
	CU_ASSERT_DOUBLE_EQUAL(number(o, "kbit_s", NULL, NULL), 704 * 8 / 0.3 / 1000, 1e-6);
	sizes = json_object_get(json_object_get(o, "up"), "sizes");
	CU_ASSERT_EQUAL_FATAL(json_array_size(sizes), 2);
	CU_ASSERT_EQUAL(json_integer_value(json_array_get(sizes, 0)), 140);
	CU_ASSERT_EQUAL(json_integer_value(json_array_get(sizes, 1)), 220);
	json_decref(o);
	wire_log_free(&log);
}

TEST(wire_stats, silence_of_more_than_a_second_ends_a_session)
{
	struct wire_log log = { 0 };
	json_t *o = NULL;

	add(&log, 0, 1, 100, WIRE_DATA);
	add(&log, 1000000000, -1, 100, WIRE_DATA);
	add(&log, 2000000000, 1, 100, WIRE_DATA);
	add(&log, 2500000000, 1, 60, WIRE_KEEPALIVE);
	add(&log, 3000000001, 1, 100, WIRE_DATA);
	add(&log, 3500000001, 1, 100, WIRE_DATA);
	CU_ASSERT_EQUAL_FATAL(wire_summary(&log, 0, &o, NULL), 0);
	CU_ASSERT_DOUBLE_EQUAL(number(o, "session_s", NULL, NULL), 2, 1e-9);
	json_decref(o);
	wire_log_free(&log);
}

TEST(wire_stats, perfect_grid_has_no_error)
{
	struct wire_log log = { 0 };
	struct wire_grid grid;

	add_grid(&log, 123456789, 1000, 1, 220);
	grid = fit(&log, 1);
	CU_ASSERT_EQUAL(grid.count, 1000);
	CU_ASSERT_EQUAL(grid.runs, 1);
	CU_ASSERT_EQUAL(grid.missed, 0);
	CU_ASSERT_EQUAL(grid.doubled, 0);
	CU_ASSERT_DOUBLE_EQUAL(grid.period_ns, PERIOD_NS, 1e-6);
	for (size_t i = 0; i < grid.count; i++) {
		CU_ASSERT_EQUAL(grid.slots[i].slot, (int64_t)i);
		CU_ASSERT_EQUAL(grid.slots[i].error_ns, 0);
	}
	wire_grid_free(&grid);
	wire_log_free(&log);
}

TEST(wire_stats, phase_survives_a_late_first_packet)
{
	struct wire_log log = { 0 };
	struct wire_grid grid;

	add(&log, 2000000, 1, 220, WIRE_DATA);
	add_grid(&log, PERIOD_NS, 500, 1, 220);
	grid = fit(&log, 1);
	CU_ASSERT_EQUAL(grid.slots[0].error_ns, 2000000);
	CU_ASSERT_EQUAL(grid.slots[1].slot, 1);
	CU_ASSERT_EQUAL(grid.slots[1].error_ns, 0);
	CU_ASSERT_EQUAL(grid.missed + grid.doubled, 0);
	wire_grid_free(&grid);
	wire_log_free(&log);
}

TEST(wire_stats, missed_and_doubled_slots_are_counted)
{
	struct wire_log log = { 0 };
	struct wire_grid grid;

	add_grid(&log, 0, 100, 1, 220);
	add(&log, 99 * (int64_t)PERIOD_NS + 1000, 1, 220, WIRE_DATA);
	add_grid(&log, 103 * (int64_t)PERIOD_NS, 100, 1, 220);
	grid = fit(&log, 1);
	CU_ASSERT_EQUAL(grid.doubled, 1);
	CU_ASSERT_EQUAL(grid.missed, 3);
	CU_ASSERT_EQUAL(grid.breaks, 1);
	CU_ASSERT_EQUAL(grid.slots[200].slot, 202);
	wire_grid_free(&grid);
	wire_log_free(&log);
}

/* A machine that stood still for 60 ms sends what it owes back to back: late, but every slot is served. */
TEST(wire_stats, packets_that_catch_up_are_late_but_in_their_slots)
{
	struct wire_log log = { 0 };
	struct wire_grid grid;

	add_grid(&log, 0, 100, 1, 220);
	for (int i = 0; i < 12; i++)
		add(&log, 111 * (int64_t)PERIOD_NS + i * 20000, 1, 220, WIRE_DATA);
	add_grid(&log, 112 * (int64_t)PERIOD_NS, 88, 1, 220);
	grid = fit(&log, 1);
	CU_ASSERT_EQUAL(grid.missed, 0);
	CU_ASSERT_EQUAL(grid.doubled, 0);
	CU_ASSERT_EQUAL(grid.late, 11);
	CU_ASSERT_EQUAL(grid.slots[100].slot, 100);
	CU_ASSERT_EQUAL(grid.slots[100].error_ns, 11 * (int64_t)PERIOD_NS);
	CU_ASSERT_EQUAL(grid.slots[199].slot, 199);
	wire_grid_free(&grid);
	wire_log_free(&log);
}

/* As recorded on a busy machine: the first two packets come together, the third where the grid wants it. */
TEST(wire_stats, a_recording_may_begin_with_packets_that_catch_up)
{
	static const int64_t late_us[][4] = {
		{ 3207, 0 }, { 8600, 3700, 0 }, { 14000, 9100, 4200, 0 }, { 1400, 0 }
	};

	for (size_t k = 0; k < sizeof(late_us) / sizeof(late_us[0]); k++) {
		struct wire_log log = { 0 };
		struct wire_grid grid;
		size_t late = 0;

		for (size_t i = 0; i < 200; i++) {
			int64_t off_us = i < 4 ? late_us[k][i] : 0;

			late += off_us * 1000 > PERIOD_NS / 2;
			add(&log, (int64_t)i * PERIOD_NS + off_us * 1000, 1, 220, WIRE_DATA);
		}
		grid = fit(&log, 1);
		CU_ASSERT_EQUAL(grid.doubled, 0);
		CU_ASSERT_EQUAL(grid.missed, 0);
		CU_ASSERT_EQUAL(grid.late, late);
		CU_ASSERT_EQUAL(grid.slots[199].slot, 199);
		CU_ASSERT_EQUAL(grid.slots[0].error_ns, late_us[k][0] * 1000);
		wire_grid_free(&grid);
		wire_log_free(&log);
	}
}

/* A packet too many early on: the grid before it is only two packets long, and yet they are not taken for
 * late. */
TEST(wire_stats, a_packet_too_many_is_found_near_the_beginning)
{
	struct wire_log log = { 0 };
	struct wire_grid grid;

	add_grid(&log, 0, 3, 1, 220);
	add(&log, 2 * (int64_t)PERIOD_NS + 30000, 1, 220, WIRE_DATA);
	add_grid(&log, 3 * (int64_t)PERIOD_NS, 300, 1, 220);
	grid = fit(&log, 1);
	CU_ASSERT_EQUAL(grid.doubled, 1);
	CU_ASSERT_EQUAL(grid.missed, 0);
	wire_grid_free(&grid);
	wire_log_free(&log);
}

/* The same without catching up: the slots are gone, and nothing is late. */
TEST(wire_stats, a_stall_that_is_not_made_up_for_is_missed_slots)
{
	struct wire_log log = { 0 };
	struct wire_grid grid;

	add_grid(&log, 0, 100, 1, 220);
	add_grid(&log, 111 * (int64_t)PERIOD_NS, 400, 1, 220);
	grid = fit(&log, 1);
	CU_ASSERT_EQUAL(grid.missed, 11);
	CU_ASSERT_EQUAL(grid.breaks, 1);
	CU_ASSERT_EQUAL(grid.doubled, 0);
	CU_ASSERT_EQUAL(grid.late, 0);
	CU_ASSERT_EQUAL(grid.slots[499].error_ns, 0);
	wire_grid_free(&grid);
	wire_log_free(&log);
}

/* Slots must be told apart although the grid moves by more than a period in all. */
TEST(wire_stats, a_grid_that_drifts_is_followed_but_reported)
{
	struct wire_log log = { 0 };
	struct wire_grid grid;

	for (int i = 0; i < 4000; i++)
		add(&log, (int64_t)i * (PERIOD_NS + 5000), 1, 220, WIRE_DATA);
	grid = fit(&log, 1);
	CU_ASSERT_EQUAL(grid.missed, 0);
	CU_ASSERT_EQUAL(grid.doubled, 0);
	CU_ASSERT_EQUAL(grid.slots[3999].slot, 3999);
	CU_ASSERT_DOUBLE_EQUAL(grid.period_ns, PERIOD_NS + 5000, 1e-6);
	CU_ASSERT_EQUAL(grid.slots[3999].error_ns - grid.slots[0].error_ns, 3999 * 5000);
	wire_grid_free(&grid);
	wire_log_free(&log);
}

TEST(wire_stats, each_run_has_a_phase_of_its_own)
{
	struct wire_log log = { 0 };
	struct wire_grid grid;

	add_grid(&log, 0, 10, 1, 220);
	add_grid(&log, 3001234567, 10, 1, 220);
	grid = fit(&log, 1);
	CU_ASSERT_EQUAL(grid.runs, 2);
	CU_ASSERT_EQUAL(grid.missed, 0);
	CU_ASSERT_EQUAL(grid.slots[10].run, 1);
	CU_ASSERT_EQUAL(grid.slots[10].slot, 0);
	CU_ASSERT_EQUAL(grid.slots[19].error_ns, 0);
	wire_grid_free(&grid);
	wire_log_free(&log);
}

static bool compare(const struct wire_log *a, const struct wire_log *b, json_t **ret_result)
{
	bool equal;

	CU_ASSERT_EQUAL_FATAL(wire_compare(a, b, PERIOD_NS, &equal, ret_result, NULL), 0);
	return equal;
}

TEST(wire_stats, sequences_are_equal_whatever_their_start)
{
	struct wire_log a = { 0 }, b = { 0 };
	json_t *o = NULL;

	add_grid(&a, 1000000, 50, 1, 220);
	add_grid(&a, 2000000000, 30, -1, 220);
	for (int i = 0; i < 50; i++)
		add(&b, 777000 + (int64_t)i * PERIOD_NS + (i % 3) * 400000, 1, 220, WIRE_DATA);
	add(&b, 1000000000, 1, 60, WIRE_KEEPALIVE);
	add_grid(&b, 1500000000, 30, -1, 220);
	CU_ASSERT_TRUE(compare(&a, &b, &o));
	CU_ASSERT_TRUE(json_is_null(json_object_get(json_object_get(o, "up"), "first_difference")));
	json_decref(o);
	wire_log_free(&a);
	wire_log_free(&b);
}

TEST(wire_stats, differences_in_slot_size_and_length_are_found)
{
	struct wire_log a = { 0 }, b = { 0 }, c = { 0 }, d = { 0 };
	json_t *o = NULL;

	add_grid(&a, 0, 50, 1, 220);
	add_grid(&b, 0, 50, 1, 220);
	b.records[7].bytes = 236;
	CU_ASSERT_FALSE(compare(&a, &b, &o));
	CU_ASSERT_EQUAL(number(o, "up", "differing", NULL), 1);
	CU_ASSERT_EQUAL(number(o, "up", "first_difference", "index"), 7);
	json_decref(o);
	add_grid(&c, 0, 49, 1, 220);
	CU_ASSERT_FALSE(compare(&a, &c, &o));
	CU_ASSERT_EQUAL(number(o, "up", "first_difference", "index"), 49);
	json_decref(o);
	add_grid(&d, 0, 20, 1, 220);
	add_grid(&d, 21 * (int64_t)PERIOD_NS, 30, 1, 220);
	CU_ASSERT_FALSE(compare(&a, &d, &o));
	CU_ASSERT_EQUAL(number(o, "up", "first_difference", "index"), 20);
	CU_ASSERT_EQUAL(number(o, "up", "differing", NULL), 30);
	json_decref(o);
	wire_log_free(&a);
	wire_log_free(&b);
	wire_log_free(&c);
	wire_log_free(&d);
}

/* ---- files ---- */

static int load_text(struct wire_log *log, const char *text, struct tg_error *e)
{
	char path[] = "/tmp/tg-wire-test-XXXXXX";
	int fd = mkstemp(path), ret;

	CU_ASSERT_TRUE_FATAL(fd >= 0);
	CU_ASSERT_EQUAL_FATAL(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	ret = wire_log_load(log, path, e);
	unlink(path);
	return ret;
}

TEST(wire_stats, recordings_come_back_as_they_were_written)
{
	char path[] = "/tmp/tg-wire-test-XXXXXX";
	struct wire_log log = { 0 }, data = { 0 }, all = { 0 };
	int fd = mkstemp(path);

	CU_ASSERT_TRUE_FATAL(fd >= 0);
	close(fd);
	add(&log, 7000, 1, 176, WIRE_HANDSHAKE);
	add(&log, 9000, 1, 220, WIRE_DATA);
	add(&log, 19000, -1, 124, WIRE_DATA);
	CU_ASSERT_EQUAL(wire_log_write(&log, path, false, NULL), 0);
	CU_ASSERT_EQUAL(wire_log_load(&data, path, NULL), 0);
	CU_ASSERT_EQUAL(wire_log_write(&log, path, true, NULL), 0);
	CU_ASSERT_EQUAL(wire_log_load(&all, path, NULL), 0);
	unlink(path);
	CU_ASSERT_EQUAL_FATAL(data.count, 2);
	CU_ASSERT_EQUAL(data.records[0].time_ns, 0);
	CU_ASSERT_EQUAL(data.records[1].time_ns, 10000);
	CU_ASSERT_EQUAL(data.records[1].direction, -1);
	CU_ASSERT_EQUAL(data.records[1].bytes, 124);
	CU_ASSERT_EQUAL_FATAL(all.count, 3);
	CU_ASSERT_EQUAL(all.records[0].kind, WIRE_HANDSHAKE);
	CU_ASSERT_EQUAL(all.records[2].time_ns, 12000);
	wire_log_free(&log);
	wire_log_free(&data);
	wire_log_free(&all);
}

TEST(wire_stats, bad_recordings_are_refused_with_their_line)
{
	static const char *const bad[] = {
		"time,direction,bytes\n",
		WIRE_CSV_HEADER "\n0,1,100\nx,1,100\n",
		WIRE_CSV_HEADER "\n0,1,100\n5,0,100\n",
		WIRE_CSV_HEADER "\n0,1,100\n5,1\n",
		WIRE_CSV_HEADER "\n0,1,100\n5,1,100,0\n",
		WIRE_CSV_HEADER "\n5,1,100\n4,1,100\n",
		WIRE_CSV_HEADER "\n0,1,100\n5,1,99999999\n",
		WIRE_CSV_HEADER "\n0,1,100\n99999999999999999999,1,100\n",
		WIRE_CSV_HEADER "\n0,1,100\n 5,1,100\n",
		WIRE_CSV_ALL_HEADER "\n0,1,100,0\n5,1,100,4\n",
		WIRE_CSV_HEADER "\n0,1,100\n\n",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct wire_log log = { 0 };
		struct tg_error e = { "" };

		CU_ASSERT_EQUAL(load_text(&log, bad[i], &e), -EINVAL);
		CU_ASSERT_PTR_NOT_NULL(strstr(e.message, i ? ":3: " : ":1: "));
		wire_log_free(&log);
	}
}
