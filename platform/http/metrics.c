/* SPDX-License-Identifier: BSD-3-Clause */
#include <event2/buffer.h>
#include <inttypes.h>
#include <string.h>

#include "http/metrics.h"

static const struct {
	const char *name, *help;
} texts[] = {
	[METRICS_CONNECTIONS] = { "connections_total", "Connections accepted." },
	[METRICS_CONNECTIONS_CLOSED] = { "connections_closed_total", "Connections that have ended." },
	[METRICS_CONNECTIONS_REFUSED] = { "connections_refused_total",
					  "Connections refused: too many, or too fast from one address." },
	[METRICS_HANDSHAKES_FAILED] = { "handshakes_failed_total", "TLS handshakes that failed." },
	[METRICS_TIMEOUTS] = { "timeouts_total", "Connections closed because the client was too slow." },
	[METRICS_ENROLMENTS] = { "enrolments_total", "Agents enrolled." },
	[METRICS_RENEWALS] = { "renewals_total", "Certificates renewed." },
	[METRICS_STORE_FAILURES] = { "store_failures_total", "Changes that the store did not take." },
};

void metrics_count(struct metrics *metrics, enum metrics_counter counter)
{
	atomic_fetch_add_explicit(&metrics->counters[counter], 1, memory_order_relaxed);
}

uint64_t metrics_value(const struct metrics *metrics, enum metrics_counter counter)
{
	return atomic_load_explicit(&metrics->counters[counter], memory_order_relaxed);
}

void metrics_request(struct metrics *metrics, size_t route, int status, uint64_t microseconds)
{
	if (route < METRICS_ROUTES && status >= 100 && status < 600)
		atomic_fetch_add(&metrics->requests[route][status / 100], 1);
	atomic_fetch_add(&metrics->seconds_sum_us, microseconds);
	atomic_fetch_add(&metrics->seconds_count, 1);
}

void metrics_refusal(struct metrics *metrics, const char *reason)
{
	for (size_t i = 0; i < METRICS_REASONS; i++) {
		const char *name = NULL;

		/* a free place becomes ours, unless another thread was faster: then `name` is what it wrote
		 */
		if (atomic_compare_exchange_strong(&metrics->refusals[i].name, &name, reason))
			name = reason;
		if (strcmp(name, reason))
			continue;
		atomic_fetch_add(&metrics->refusals[i].count, 1);
		return;
	}
}

static void head(struct evbuffer *out, const char *name, const char *type, const char *help)
{
	evbuffer_add_printf(out, "# HELP tensorguard_platform_%s %s\n# TYPE tensorguard_platform_%s %s\n",
			    name, help, name, type);
}

static void one(struct evbuffer *out, const char *name, const char *type, const char *help, uint64_t value)
{
	head(out, name, type, help);
	evbuffer_add_printf(out, "tensorguard_platform_%s %" PRIu64 "\n", name, value);
}

static void print_requests(const struct metrics *metrics, const struct metrics_gauges *gauges,
			   struct evbuffer *out)
{
	uint64_t sum = metrics->seconds_sum_us;

	head(out, "requests_total", "counter", "Requests by route and class of status.");
	for (size_t i = 0; i < gauges->route_count && i < METRICS_ROUTES; i++)
		for (unsigned status = 1; status < 6; status++) {
			uint64_t count = metrics->requests[i][status];

			if (count)
				evbuffer_add_printf(out,
						    "tensorguard_platform_requests_total{route=\"%s\","
						    "status=\"%uxx\"} %" PRIu64 "\n",
						    gauges->routes[i], status, count);
		}
	head(out, "request_seconds", "summary", "Time from a whole request to its answer.");
	evbuffer_add_printf(out,
			    "tensorguard_platform_request_seconds_sum %" PRIu64 ".%06" PRIu64 "\n"
			    "tensorguard_platform_request_seconds_count %" PRIu64 "\n",
			    sum / 1000000, sum % 1000000, (uint64_t)metrics->seconds_count);
}

static void print_refusals(const struct metrics *metrics, struct evbuffer *out)
{
	head(out, "refusals_total", "counter", "Refused enrolments, renewals and clients, by reason.");
	for (size_t i = 0; i < METRICS_REASONS && metrics->refusals[i].name; i++)
		evbuffer_add_printf(out, "tensorguard_platform_refusals_total{reason=\"%s\"} %" PRIu64 "\n",
				    (const char *)metrics->refusals[i].name,
				    (uint64_t)metrics->refusals[i].count);
}

void metrics_print(const struct metrics *metrics, const struct metrics_gauges *gauges, struct evbuffer *out)
{
	uint64_t closed = metrics_value(metrics, METRICS_CONNECTIONS_CLOSED);

	for (enum metrics_counter i = 0; i < METRICS_COUNTERS; i++)
		one(out, texts[i].name, "counter", texts[i].help, metrics_value(metrics, i));
	one(out, "connections", "gauge", "Connections that are open.",
	    metrics_value(metrics, METRICS_CONNECTIONS) - closed);
	one(out, "enrolment_sessions", "gauge", "Enrolments and renewals between their two messages.",
	    gauges->sessions);
	one(out, "store_waiting", "gauge", "Changes that wait for the store.", gauges->store_waiting);
	one(out, "store_changes_total", "counter", "Changes given to the store.", gauges->store_jobs);
	one(out, "store_transactions_total", "counter", "Transactions that these took.",
	    gauges->store_groups);
	one(out, "server_certificate_end_seconds", "gauge",
	    "When the server's certificate ends, in seconds since 1970.", gauges->server_end);
	one(out, "ca_certificate_end_seconds", "gauge", "When the CA's ends.", gauges->ca_end);
	one(out, "ek_crl_end_seconds", "gauge",
	    "When the first revocation list of a TPM vendor ends; 0 without any.", gauges->crl_end);
	print_requests(metrics, gauges, out);
	print_refusals(metrics, out);
}
