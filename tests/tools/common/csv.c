/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/csv.h"

int csv_error(const struct csv *csv, struct tg_error *e, const char *text)
{
	return tg_error(e, -EINVAL, "%s:%u: %s", csv->name, csv->line, text);
}

int csv_next_line(struct csv *csv, struct tg_error *e)
{
	ssize_t len;

	errno = 0;
	len = getline(&csv->text, &csv->room, csv->file);
	if (len < 0)
		return errno ? tg_error(e, -errno, "cannot read %s: %s", csv->name, strerror(errno)) : 0;
	csv->line++;
	if (memchr(csv->text, '\0', (size_t)len))
		return csv_error(csv, e, "a NUL byte, expected text");
	csv->text[strcspn(csv->text, "\r\n")] = '\0';
	return 1;
}

int csv_open(struct csv *csv, const char *path, const char *const *headers, size_t count, size_t *ret_header,
	     struct tg_error *e)
{
	int ret;

	*csv = (struct csv){ .name = path };
	csv->file = fopen(path, "re");
	if (!csv->file)
		return tg_error(e, -errno, "cannot open %s: %s", path, strerror(errno));
	ret = csv_next_line(csv, e);
	if (ret < 0)
		return ret;
	for (size_t i = 0; ret && i < count; i++) {
		if (strcmp(csv->text, headers[i]))
			continue;
		*ret_header = i;
		return 0;
	}
	return tg_error(e, -EINVAL, "%s:1: expected the header '%s'", path, headers[0]);
}

int csv_next(struct csv *csv, int64_t *ret_fields, size_t count, struct tg_error *e)
{
	const char *p;
	int ret = csv_next_line(csv, e);

	if (ret <= 0)
		return ret;
	p = csv->text;
	for (size_t i = 0; i < count; i++) {
		char *end;
		long long value;

		errno = 0;
		value = strtoll(p, &end, 10);
		if (end == p || errno || (*p != '-' && (*p < '0' || *p > '9')))
			return csv_error(csv, e, "expected whole numbers separated by commas");
		if (*end != (i + 1 < count ? ',' : '\0'))
			return csv_error(csv, e, "the number of fields does not fit the header");
		ret_fields[i] = value;
		p = end + 1;
	}
	return 1;
}

void csv_close(struct csv *csv)
{
	if (csv->file)
		fclose(csv->file);
	free(csv->text);
	*csv = (struct csv){ 0 };
}
