/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <event2/buffer.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api/platform.h"
#include "api/range.h"
#include "blob/blob.h"
#include "http/log.h"
#include "store/release.h"
#include "tensorguard/hex.h"

/* OpenSSL is given a chain of the buffer at a time, with its length as an int. */
enum { PIECE = 16 * 1024 * 1024 };

/* The file is mapped, not read: what a connection costs is a few bytes for each piece. */
static int add_file(struct evbuffer *body, int fd, uint64_t first, uint64_t len)
{
	struct evbuffer_file_segment *file;
	int ret = 0;

	file = evbuffer_file_segment_new(fd, (ev_off_t)first, (ev_off_t)len, EVBUF_FS_CLOSE_ON_FREE);
	if (!file) {
		close(fd);
		return -ENOMEM;
	}
	for (uint64_t at = 0; !ret && at < len; at += PIECE)
		ret = evbuffer_add_file_segment(body, file, (ev_off_t)at,
						(ev_off_t)(len - at < PIECE ? len - at : PIECE));
	evbuffer_file_segment_free(file);
	return ret ? -ENOMEM : 0;
}

static bool is_head(const struct request *request)
{
	return evhttp_request_get_command(request->http) == EVHTTP_REQ_HEAD;
}

static void add_headers(struct request *request, const char *hex, uint64_t len)
{
	struct evkeyvalq *headers = evhttp_request_get_output_headers(request->http);
	char text[BLOB_HEX_SIZE + 2];

	snprintf(text, sizeof(text), "\"%s\"", hex);
	evhttp_add_header(headers, "ETag", text);
	evhttp_add_header(headers, "Accept-Ranges", "bytes");
	snprintf(text, sizeof(text), "%llu", (unsigned long long)len);
	evhttp_add_header(headers, "Content-Length", text);
}

static void add_range(struct request *request, uint64_t first, uint64_t len, uint64_t size)
{
	char text[96];

	if (len)
		snprintf(text, sizeof(text), "bytes %llu-%llu/%llu", (unsigned long long)first,
			 (unsigned long long)(first + len - 1), (unsigned long long)size);
	else
		snprintf(text, sizeof(text), "bytes */%llu", (unsigned long long)size);
	evhttp_add_header(evhttp_request_get_output_headers(request->http), "Content-Range", text);
}

/* A range of another content than the one that the client has part of is of no use to it. */
static const char *range_header(const struct request *request, const char *hex)
{
	const struct evkeyvalq *headers = evhttp_request_get_input_headers(request->http);
	const char *condition = evhttp_find_header(headers, "If-Range");

	if (is_head(request))
		return NULL;
	if (condition && (condition[0] != '"' || strncmp(condition + 1, hex, strlen(hex)) ||
			  strcmp(condition + 1 + strlen(hex), "\"")))
		return NULL;
	return evhttp_find_header(headers, "Range");
}

static void send_file(struct request *request, const char *hex, int fd, uint64_t size)
{
	uint64_t first = 0, len = size;
	enum range_kind kind = range_parse(range_header(request, hex), size, &first, &len);
	struct evbuffer *body = evbuffer_new();

	if (kind == RANGE_NONE) {
		close(fd);
		add_range(request, 0, 0, size);
		request_fail(request, 416, "range", "nothing of this range is there");
	} else if (!body || (!is_head(request) && add_file(body, fd, first, len))) {
		request_fail(request, 503, "internal", "the Platform cannot do this now");
	} else {
		if (is_head(request))
			close(fd);
		add_headers(request, hex, len);
		if (kind == RANGE_PART)
			add_range(request, first, len, size);
		request_send(request, kind == RANGE_PART ? 206 : 200, "application/octet-stream", body);
	}
	if (body)
		evbuffer_free(body);
}

void get_blob(struct request *request)
{
	const struct platform *platform = request->context;
	struct tg_error e = { "" };
	uint8_t hash[BLOB_HASH_LEN];
	bool allowed = false;
	uint64_t size;
	int fd, ret;

	ret = tg_unhex(request->argument, hash, sizeof(hash));
	if (!ret)
		ret = store_blob_allowed(request->store, request->agent.fleet, hash, &allowed, &e);
	if (!ret && !allowed) {
		/* said of what there is not, too: who may not read a blob learns nothing of it */
		request_fail(request, 403, "blob", "this is not for this agent");
		return;
	}
	if (!ret)
		ret = blob_open(platform->data, hash, &fd, &size, &e);
	if (ret) {
		log_error("blob", json_pack("{s:s}", "error", e.message));
		request_fail(request, 503, "internal", "the Platform cannot do this now");
		return;
	}
	send_file(request, request->argument, fd, size);
}
