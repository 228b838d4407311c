/* SPDX-License-Identifier: BSD-3-Clause */
/* Counters of a running server, and their text for Prometheus. Any thread. */
#ifndef PLATFORM_HTTP_METRICS_H
#define PLATFORM_HTTP_METRICS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct evbuffer;

enum { METRICS_ROUTES = 64, METRICS_REASONS = 128 };

enum metrics_counter {
	METRICS_CONNECTIONS,		/* accepted */
	METRICS_CONNECTIONS_CLOSED,
	METRICS_CONNECTIONS_REFUSED,	/* too many, or too fast from one address */
	METRICS_HANDSHAKES_FAILED,
	METRICS_TIMEOUTS,		/* closed because a client was too slow */
	METRICS_ENROLMENTS,
	METRICS_RENEWALS,
	METRICS_STORE_FAILURES,
	METRICS_COUNTERS
};

struct metrics {
	_Atomic uint64_t counters[METRICS_COUNTERS];
	_Atomic uint64_t requests[METRICS_ROUTES][6];	/* by the status' first digit */
	_Atomic uint64_t seconds_sum_us, seconds_count;
	struct {
		_Atomic(const char *) name;
		_Atomic uint64_t count;
	} refusals[METRICS_REASONS];
};

void metrics_count(struct metrics *metrics, enum metrics_counter counter);
uint64_t metrics_value(const struct metrics *metrics, enum metrics_counter counter);
/* `route` as its index in the server's table. */
void metrics_request(struct metrics *metrics, size_t route, int status, uint64_t microseconds);
/* A refused enrolment, renewal or client; `reason` must be a constant. */
void metrics_refusal(struct metrics *metrics, const char *reason);

/* What the server knows beside the counters. */
struct metrics_gauges {
	const char *const *routes;	/* "POST /v1/enrol/start" */
	size_t route_count;
	uint64_t sessions, store_waiting, store_groups, store_jobs;
	uint64_t server_end, ca_end;	/* of the certificates, seconds since 1970 */
	uint64_t crl_end;	/* of the first revocation list of TPM vendors; 0: there is none */
};
void metrics_print(const struct metrics *metrics, const struct metrics_gauges *gauges, struct evbuffer *out);

#endif
