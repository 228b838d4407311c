/* SPDX-License-Identifier: BSD-3-Clause */
/* The ledger as C2SP tlog-tiles. Hashes are for anybody; what the records say is for operators. */
#include <errno.h>
#include <event2/buffer.h>
#include <stdio.h>

#include "api/platform.h"
#include "http/log.h"
#include "ledger/ledger.h"

static void answer_failed(struct request *request, int ret, const struct tg_error *e)
{
	if (ret == -ENOENT) {
		request_fail(request, 404, "tile", "the ledger has no such tile");
		return;
	}
	log_error("ledger", json_pack("{s:s}", "error", e->message));
	request_fail(request, 503, "store", "the ledger cannot be read");
}

static void send_bytes(struct request *request, const char *type, const struct tg_bytes *data)
{
	struct evbuffer *body = evbuffer_new();
	bool ok = body && !evbuffer_add(body, data->data, data->len);

	request_send(request, ok ? 200 : 500, type, body);
	if (body)
		evbuffer_free(body);
}

void get_checkpoint(struct request *request)
{
	const struct platform *platform = request->context;
	struct ledger_checkpoint checkpoint;
	struct tg_error e = { "" };
	int ret = ledger_checkpoint(request->store, &platform->ledger, 0, &checkpoint, &e);

	if (ret) {
		answer_failed(request, ret, &e);
		return;
	}
	send_bytes(request, "text/plain; charset=utf-8", &checkpoint.note);
	ledger_checkpoint_clear(&checkpoint);
}

static void send_tile(struct request *request, const char *name)
{
	struct tg_error e = { "" };
	struct tg_tlog_tile tile;
	struct tg_bytes data;
	int ret = tg_tlog_tile_parse(name, &tile) ? -ENOENT : ledger_tile(request->store, &tile, &data, &e);

	if (ret) {
		answer_failed(request, ret, &e);
		return;
	}
	send_bytes(request, "application/octet-stream", &data);
	tg_bytes_free(&data);
}

void get_tile(struct request *request)
{
	send_tile(request, request->argument);
}

void get_entries(struct request *request)
{
	char name[TG_ID_LEN + 16];

	snprintf(name, sizeof(name), "entries/%s", request->argument);
	send_tile(request, name);
}
