/* SPDX-License-Identifier: BSD-3-Clause */
/* Strict reader of CSV files whose fields are all whole numbers. */
#ifndef TESTS_TOOLS_CSV_H
#define TESTS_TOOLS_CSV_H

#include <stdint.h>
#include <stdio.h>

#include "tensorguard/error.h"

struct csv {
	FILE *file;
	const char *name;
	char *text;		/* the current line */
	size_t room;
	unsigned line;
};

/*
 * Opens `path` and checks that its first line is one of `headers` (`count` of
 * them); *ret_header says which. csv_close() in any case.
 */
int csv_open(struct csv *csv, const char *path, const char *const *headers, size_t count, size_t *ret_header,
	     struct tg_error *e);

/* Reads one line of exactly `count` numbers. Returns 1, 0 at the end of the file, or a negative errno. */
int csv_next(struct csv *csv, int64_t *ret_fields, size_t count, struct tg_error *e);

/* The same for lines with other fields: the line in csv->text, without its end. */
int csv_next_line(struct csv *csv, struct tg_error *e);

/* "FILE:LINE: text" */
int csv_error(const struct csv *csv, struct tg_error *e, const char *text);

void csv_close(struct csv *csv);

#endif
