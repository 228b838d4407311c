/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/csv.h"
#include "common/wire_stats.h"

int wire_log_append(struct wire_log *log, const struct wire_record *record, struct tg_error *e)
{
	if (log->count == log->room) {
		size_t room = log->room ? 2 * log->room : 4096;
		struct wire_record *records = reallocarray(log->records, room, sizeof(*records));

		if (!records)
			return tg_error(e, -ENOMEM, "out of memory");
		log->records = records;
		log->room = room;
	}
	log->records[log->count++] = *record;
	return 0;
}

void wire_log_free(struct wire_log *log)
{
	free(log->records);
	*log = (struct wire_log){ 0 };
}

static int check_record(const struct csv *csv, const int64_t field[static 4], struct tg_error *e)
{
	if (field[0] < 0 || field[0] > INT64_MAX / 1000)
		return csv_error(csv, e, "time_us is out of range");
	if (field[1] != 1 && field[1] != -1)
		return csv_error(csv, e, "direction, expected 1 or -1");
	if (field[2] < 0 || field[2] > UINT16_MAX + 40)
		return csv_error(csv, e, "bytes, expected the length of an IP packet");
	if (field[3] < WIRE_DATA || field[3] > WIRE_OTHER)
		return csv_error(csv, e, "kind, expected 0 to 3");
	return 0;
}

static int load_records(struct wire_log *log, struct csv *csv, size_t fields, struct tg_error *e)
{
	int64_t field[4] = { 0 }, previous_us = 0;
	int ret;

	while ((ret = csv_next(csv, field, fields, e)) > 0) {
		ret = check_record(csv, field, e);
		if (!ret && field[0] < previous_us)
			ret = csv_error(csv, e, "time_us goes backwards");
		if (!ret)
			ret = wire_log_append(log,
					      &(struct wire_record){ .time_ns = field[0] * 1000,
								     .direction = (int8_t)field[1],
								     .bytes = (uint32_t)field[2],
								     .kind = (uint8_t)field[3] },
					      e);
		if (ret)
			return ret;
		previous_us = field[0];
	}
	return ret;
}

int wire_log_load(struct wire_log *log, const char *path, struct tg_error *e)
{
	static const char *const headers[] = { WIRE_CSV_HEADER, WIRE_CSV_ALL_HEADER };
	struct csv csv;
	size_t header;
	int ret;

	ret = csv_open(&csv, path, headers, 2, &header, e);
	if (!ret)
		ret = load_records(log, &csv, header ? 4 : 3, e);
	csv_close(&csv);
	return ret;
}

static void write_records(const struct wire_log *log, bool all, FILE *f)
{
	int64_t start_ns = -1;

	fprintf(f, "%s\n", all ? WIRE_CSV_ALL_HEADER : WIRE_CSV_HEADER);
	for (size_t i = 0; i < log->count; i++) {
		const struct wire_record *r = &log->records[i];

		if (!all && r->kind != WIRE_DATA)
			continue;
		if (start_ns < 0)
			start_ns = r->time_ns;
		fprintf(f, "%lld,%d,%u", (long long)(r->time_ns - start_ns) / 1000, r->direction, r->bytes);
		if (all)
			fprintf(f, ",%u", r->kind);
		fputc('\n', f);
	}
}

int wire_log_write(const struct wire_log *log, const char *path, bool all, struct tg_error *e)
{
	FILE *f = fopen(path, "we");
	int ret = 0;

	if (!f)
		return tg_error(e, -errno, "cannot create %s: %s", path, strerror(errno));
	write_records(log, all, f);
	if (fflush(f) || ferror(f))
		ret = tg_error(e, -EIO, "cannot write %s", path);
	fclose(f);
	return ret;
}
