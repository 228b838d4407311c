/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "http/log.h"
#include "sync/sync.h"

static void (*const parts[])(struct sync *sync) = { sync_heartbeat, sync_policy, sync_audit, sync_models,
						    sync_keys };

static void send_answer(struct sync *sync)
{
	struct tg_bytes text = { 0 };
	struct tg_error e = { "" };
	struct evbuffer *body = evbuffer_new();
	int ret = tg_sync_answer_encode(&sync->answer, &text, &e);

	if (!ret && (!body || evbuffer_add(body, text.data, text.len)))
		ret = tg_error(&e, -ENOMEM, "out of memory");
	if (ret) {
		log_error("sync", json_pack("{s:s}", "error", e.message));
		request_fail(sync->request, 503, "internal", "the Platform cannot do this now");
	} else {
		request_send(sync->request, 200, "application/json", body);
	}
	if (body)
		evbuffer_free(body);
	tg_bytes_free(&text);
}

static void finish(struct sync *sync)
{
	if (sync->status)
		request_fail(sync->request, sync->status, sync->reason, sync->text);
	else
		send_answer(sync);
	if (sync->held)
		request_release(sync->request);
	tg_sync_request_clear(&sync->message);
	tg_sync_answer_clear(&sync->answer);
	free(sync);
}

void sync_refuse(struct sync *sync, int status, const char *reason, const char *text)
{
	if (sync->status)
		return;
	metrics_refusal(&sync->platform->metrics, reason);
	sync->status = status;
	sync->reason = reason;
	sync->text = text;
}

int sync_wait(struct sync *sync, struct sync_step *step)
{
	if (!sync->held) {
		struct request *held = request_hold(sync->request);

		if (!held)
			return -ENOMEM;
		sync->request = held;
		sync->held = true;
	}
	step->sync = sync;
	sync->waiting++;
	return 0;
}

static void on_resumed(struct request_call *call)
{
	struct sync_step *step = (void *)((char *)call - offsetof(struct sync_step, call));
	struct sync *sync = step->sync;

	step->finish(step);
	if (!--sync->waiting)
		finish(sync);
}

void sync_resume(struct sync_step *step)
{
	step->call.run = on_resumed;
	request_call(step->sync->request, &step->call);
}

static void malformed(struct request *request, const struct tg_error *e)
{
	struct platform *platform = request->context;
	char actor[STORE_TEXT_SIZE];

	snprintf(actor, sizeof(actor), "address %s", request->address);
	metrics_refusal(&platform->metrics, "malformed");
	if (platform_may_record(platform, request->agent.id, "malformed"))
		platform_audit(platform, actor, "sync", request->agent.id, "malformed", e->message);
	request_fail(request, 400, "malformed", e->message);
}

static struct sync *sync_new(struct request *request, struct tg_sync_request *message)
{
	struct sync *sync = calloc(1, sizeof(*sync));

	if (!sync)
		return NULL;
	sync->request = request;
	sync->platform = request->context;
	sync->message = *message;
	sync->now = time(NULL);
	sync->answer = (struct tg_sync_answer){ .format = TG_SYNC_FORMAT,
						.time = sync->now,
						.period = sync->platform->period };
	return sync;
}

void post_sync(struct request *request)
{
	struct tg_sync_request message;
	struct tg_error e = { "" };
	struct sync *sync;
	const char *body;
	size_t len;

	body = request_body(request, &len);
	if (tg_sync_request_decode(body, len, &message, &e)) {
		malformed(request, &e);
		return;
	}
	sync = sync_new(request, &message);
	if (!sync) {
		tg_sync_request_clear(&message);
		request_fail(request, 503, "internal", "the Platform cannot do this now");
		return;
	}
	/* or a part that comes back at once would have it answered before the last one was asked */
	sync->waiting = 1;
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]) && !sync->status; i++)
		parts[i](sync);
	if (!--sync->waiting)
		finish(sync);
}
