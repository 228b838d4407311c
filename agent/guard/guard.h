/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The guard: serves the policy's queue, decides flows, writes what it decided
 * into the flow maps and the packets' marks, and holds packets back while their
 * tunnel is down. One thread around a libevent loop.
 */
#ifndef AGENT_GUARD_GUARD_H
#define AGENT_GUARD_GUARD_H

#include <jansson.h>
#include <stdbool.h>

#include "tensorguard/policy.h"

struct event_base;

struct guard_ops {
	/* One line of news for the operator, without a final newline. */
	void (*log)(void *ctx, const char *line);
	/* A policy was loaded (0) or not taken (negative errno); `in_force` is the one that is, NULL at
	 * first. */
	void (*loaded)(void *ctx, int result, const struct tg_policy *in_force);
	void *ctx;
};

struct guard_conf {
	const char *policy;	/* NULL = run_dir/policy.conf, with run_dir/site.conf if that exists */
	const char *site;	/* may be NULL */
	const char *pin_dir;
	const char *run_dir;
	bool verbose;		/* a line per decision, with the server's name */
	struct guard_ops ops;
};

struct guard;

/* Loads the policy and opens queue, maps and watches; they are served when the base runs. The strings of
 * `conf` must outlive the guard. */
int guard_new(const struct guard_conf *conf, struct event_base *base, struct guard **ret_guard,
	      struct tg_error *e);
void guard_free(struct guard *guard);	/* NULL-safe */

/* Loads the policy again. On failure the old one stays in force. */
int guard_reload(struct guard *guard, struct tg_error *e);

/* The policy in force; until the next reload. */
const struct tg_policy *guard_policy(const struct guard *guard);

/* The error that made the guard break its event loop, 0 if none. */
int guard_failure(const struct guard *guard);

/* What it serves; valid until the next event. */
const struct tg_policy *guard_policy(const struct guard *guard);

/* The counters as one object; NULL when out of memory. */
json_t *guard_stats(const struct guard *guard);

#endif
