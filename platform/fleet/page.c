/* SPDX-License-Identifier: BSD-3-Clause */
#include <event2/buffer.h>
#include <event2/http.h>
#include <string.h>

#include "api/platform.h"
#include "fleet/files.h"
#include "fleet/parts.h"

void add_browser_headers(struct evkeyvalq *headers)
{
	evhttp_add_header(headers, "Content-Security-Policy",
			  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
			  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
			  "require-trusted-types-for 'script'");
	evhttp_add_header(headers, "X-Content-Type-Options", "nosniff");
	evhttp_add_header(headers, "Referrer-Policy", "no-referrer");
	evhttp_add_header(headers, "Cross-Origin-Opener-Policy", "same-origin");
	evhttp_add_header(headers, "Cross-Origin-Resource-Policy", "same-origin");
}

/* A file of platform/web, which the program carries (mk/platform.mk). */
void get_page(struct request *request)
{
	const struct web_file *file = web_files;
	struct evbuffer *body = evbuffer_new();
	bool whole;

	while (file->path && strcmp(file->path, request->route->path))
		file++;
	whole = body && file->path && !evbuffer_add_reference(body, file->data, file->len, NULL, NULL);
	if (whole)
		add_browser_headers(evhttp_request_get_output_headers(request->http));
	request_send(request, whole ? 200 : 500, whole ? file->type : "text/plain", body);
	if (body)
		evbuffer_free(body);
}
