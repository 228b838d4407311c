/* SPDX-License-Identifier: BSD-3-Clause */
#include <event2/buffer.h>
#include <stdio.h>
#include <time.h>

#include "api/platform.h"
#include "fleet/metrics.h"
#include "http/log.h"

enum { LABEL_SIZE = 80, DAY = 86400, WARN_SECONDS = 30 * DAY, WARN_CRL_SECONDS = 2 * DAY };

/* 200 only when the store can be read: what this process is good for without it is nothing. */
void get_healthz(struct request *request)
{
	struct tg_error e = { "" };

	if (store_ping(request->store, &e)) {
		log_error("store", json_pack("{s:s}", "error", e.message));
		request_fail(request, 503, "store", "the store does not answer");
		return;
	}
	request_json(request, 200, json_pack("{s:s, s:s}", "status", "ok", "version", TG_VERSION));
}

static size_t route_labels(char ret_texts[static METRICS_ROUTES][LABEL_SIZE],
			   const char *ret_labels[static METRICS_ROUTES])
{
	size_t n = 0;

	for (const struct route *route = platform_routes; route->path && n < METRICS_ROUTES; route++, n++) {
		snprintf(ret_texts[n], LABEL_SIZE, "%s %s",
			 route->method == EVHTTP_REQ_GET    ? "GET"
			 : route->method == EVHTTP_REQ_HEAD ? "HEAD"
							    : "POST",
			 route->path);
		ret_labels[n] = ret_texts[n];
	}
	return n;
}

static void warn(const char *name, int64_t end, int64_t now)
{
	if (end - now < WARN_SECONDS)
		log_error("certificate-ends-soon",
			  json_pack("{s:s, s:I, s:I}", "certificate", name, "not_after", (json_int_t)end,
				    "days_left", (json_int_t)((end - now) / DAY)));
}

void platform_warn(const struct platform *platform, int64_t now)
{
	int64_t crl_end = platform->crl_end;

	warn("server", platform->server_end, now);
	warn("ca", platform->ca_end, now);
	/* afterwards no TPM of that vendor enrols or renews */
	if (crl_end && crl_end - now < WARN_CRL_SECONDS)
		log_error("ek-crl-ends-soon", json_pack("{s:I, s:I}", "next_update", (json_int_t)crl_end,
							"hours_left", (json_int_t)((crl_end - now) / 3600)));
}

void get_metrics(struct request *request)
{
	struct platform *platform = request->context;
	struct tg_error e = { "" };
	char texts[METRICS_ROUTES][LABEL_SIZE];
	const char *labels[METRICS_ROUTES];
	struct writer_counts counts;
	struct evbuffer *body = evbuffer_new();
	struct metrics_gauges gauges = { .routes = labels };

	writer_count(platform->writer, &counts);
	gauges.route_count = route_labels(texts, labels);
	gauges.sessions = sessions_count(platform->sessions);
	gauges.store_waiting = counts.waiting;
	gauges.store_groups = counts.groups;
	gauges.store_jobs = counts.jobs;
	gauges.server_end = (uint64_t)platform->server_end;
	gauges.ca_end = (uint64_t)platform->ca_end;
	gauges.crl_end = (uint64_t)platform->crl_end;
	if (body)
		metrics_print(&platform->metrics, &gauges, body);
	/* the server's own figures are worth having when the store's are not to be had */
	if (body && fleet_metrics(request->store, time(NULL), platform->period, body, &e))
		log_error("store", json_pack("{s:s}", "error", e.message));
	request_send(request, body ? 200 : 500, "text/plain; version=0.0.4", body);
	if (body)
		evbuffer_free(body);
}
