/* SPDX-License-Identifier: BSD-3-Clause */
/* Answers that evhttp gives by itself, said in our form. */
#include <event2/buffer.h>
#include <stdio.h>
#include <string.h>

#include "http/parts.h"

enum { LINE_SIZE = 64, BODY_SIZE = 256 };

static const struct {
	int status;
	const char *reason, *message;
} texts[] = {
	{ 400, "http", "this is no HTTP/1.1 request, or its headers are too long" },
	{ 413, "size", "the body is too large, or its chunks have no size" },
	{ 417, "expectation", "of all expectations only 100-continue can be met" },
	{ 501, "method", "no such method" },
	{ 0, "http", "this request cannot be answered" },
};

int foreign_answer(struct evbuffer *output)
{
	char line[LINE_SIZE];
	ev_ssize_t len = evbuffer_copyout(output, line, sizeof(line) - 1);
	int status;

	line[len > 0 ? len : 0] = '\0';
	/* the version is the request's, whatever it is */
	return sscanf(line, "HTTP/%*d.%*d %3d ", &status) == 1 && status >= 400 ? status : 0;
}

int answer_instead(struct evbuffer *output)
{
	int status = foreign_answer(output);
	char body[BODY_SIZE];
	size_t i = 0;

	if (!status)
		return 0;
	while (texts[i].status && texts[i].status != status)
		i++;
	snprintf(body, sizeof(body), "{\"error\":\"%s\",\"reason\":\"%s\"}\n", texts[i].message,
		 texts[i].reason);
	evbuffer_drain(output, evbuffer_get_length(output));
	evbuffer_add_printf(
		output,
		"HTTP/1.1 %d Refused\r\nContent-Type: application/json\r\nCache-Control: no-store\r\n"
		"Connection: close\r\nContent-Length: %zu\r\n\r\n%s",
		status, strlen(body), body);
	return status;
}
