/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PLATFORM_FLEET_METRICS_H
#define PLATFORM_FLEET_METRICS_H

#include "store/store.h"

struct evbuffer;

/* Appends the fleet's gauges to `out`, or nothing. `period`: seconds between two syncs of an agent. */
int fleet_metrics(struct store *store, int64_t now, int64_t period, struct evbuffer *out, struct tg_error *e);

#endif
