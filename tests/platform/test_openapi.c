/* SPDX-License-Identifier: BSD-3-Clause */
/* docs/openapi.yaml lists the routes of the server, no more and no fewer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/platform.h"
#include "harness.h"
#include "tensorguard/file.h"

enum { MAX_DOCUMENTED = 64 };

struct documented {
	char path[96];
	enum evhttp_cmd_type method;
};

/* Paths stand two columns in, their methods four. */
static size_t read_document(struct documented ret_routes[static MAX_DOCUMENTED])
{
	FILE *file = fopen("docs/openapi.yaml", "re");
	char line[512], path[96] = "";
	bool in_paths = false;
	size_t n = 0;

	CU_ASSERT_PTR_NOT_NULL_FATAL(file);
	while (fgets(line, sizeof(line), file)) {
		char method[8] = "";

		if (line[0] != ' ')
			in_paths = !strcmp(line, "paths:\n");
		if (!in_paths)
			continue;
		if (!strncmp(line, "  /", 3))
			snprintf(path, sizeof(path), "%.*s", (int)strcspn(line + 2, ":\n"), line + 2);
		else if (sscanf(line, "    %7[a-z]:", method) == 1 && !strncmp(line, "    ", 4) &&
			 line[4] != ' ' && n < MAX_DOCUMENTED) {
			CU_ASSERT(!strcmp(method, "get") || !strcmp(method, "post") ||
				  !strcmp(method, "head"));
			memcpy(ret_routes[n].path, path, sizeof(path));
			ret_routes[n++].method = method[0] == 'g'   ? EVHTTP_REQ_GET
						 : method[0] == 'h' ? EVHTTP_REQ_HEAD
								    : EVHTTP_REQ_POST;
		}
	}
	fclose(file);
	return n;
}

static bool same(const struct documented *documented, const struct route *route)
{
	return !strcmp(documented->path, route->path) && documented->method == route->method;
}

/* A certificate that has ended opens these two, or is refused for reasons of their own. */
TEST(openapi, says_how_late_renewals_are_refused)
{
	static const char *const reasons[] = { "certificate-expired", "grace-ended",
					       "certificate-superseded" };
	struct tg_bytes text = { 0 };
	char *document, *start, *end;

	CU_ASSERT_EQUAL_FATAL(tg_file_read("docs/openapi.yaml", 1 << 20, &text, NULL), 0);
	document = strndup((const char *)text.data, text.len);
	for (const struct route *route = platform_routes; route->path; route++) {
		if (route->client != ROUTE_AGENT_LATE)
			continue;
		start = strstr(document, route->path);
		CU_ASSERT_PTR_NOT_NULL_FATAL(start);
		end = strstr(start, "\n  /v1");
		*end = '\0';
		for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
			CU_ASSERT_PTR_NOT_NULL(strstr(start, reasons[i]));
		*end = '\n';
	}
	free(document);
	tg_bytes_free(&text);
}

TEST(openapi, lists_the_routes)
{
	static struct documented documented[MAX_DOCUMENTED];
	size_t count = read_document(documented), routes = 0;

	for (const struct route *route = platform_routes; route->path; route++, routes++) {
		size_t i;

		for (i = 0; i < count && !same(&documented[i], route); i++)
			;
		if (i == count)
			printf("fail openapi: %s is not in docs/openapi.yaml\n", route->path);
		CU_ASSERT(i < count);
	}
	CU_ASSERT(count > 0);
	/* each route was found, so that equal numbers mean that nothing else is there */
	CU_ASSERT_EQUAL(count, routes);
	CU_ASSERT(routes < METRICS_ROUTES);
}
