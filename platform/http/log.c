/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "http/log.h"

static void stamp(char text[static 40])
{
	struct timespec now;
	struct tm tm;
	size_t len;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	len = strftime(text, 40, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text + len, 40 - len, ".%03ldZ", now.tv_nsec / 1000000);
}

/* One write, so that lines of several threads do not mix. */
static void write_line(const json_t *line)
{
	char *text = json_dumps(line, JSON_COMPACT | JSON_PRESERVE_ORDER), *whole;
	size_t len = text ? strlen(text) : 0;

	whole = text ? realloc(text, len + 2) : NULL;
	if (!whole) {
		free(text);
		return;
	}
	whole[len] = '\n';
	/* nobody can be told that the log cannot be written */
	if (write(STDERR_FILENO, whole, len + 1) < 0)
		whole[len] = '\0';
	free(whole);
}

static void write_event(const char *level, const char *event, json_t *fields)
{
	char at[40];
	json_t *line;

	stamp(at);
	line = json_pack("{s:s, s:s, s:s}", "time", at, "level", level, "event", event);
	if (line && fields)
		json_object_update(line, fields);
	if (line)
		write_line(line);
	json_decref(line);
	json_decref(fields);
}

void log_info(const char *event, json_t *fields)
{
	write_event("info", event, fields);
}

void log_error(const char *event, json_t *fields)
{
	write_event("error", event, fields);
}
