/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Notices when something of the data plane is missing that the running policy wants, and asks for its repair.
 * It looks when the kernel tells of a change, and every few seconds without one; what a look costs decides
 * how often. A thread of its own: telling a clock that is late from one that is lost takes half a second.
 */
#ifndef AGENT_HEAL_HEAL_H
#define AGENT_HEAL_HEAL_H

#include <jansson.h>
#include <stdbool.h>

#include "tensorguard/error.h"

struct event_base;

struct heal_conf {
	const char *pin_dir, *run_dir;
	int (*settle)(struct tg_error *e); /* what the thread does first; NULL = nothing */
	/* Of the base's thread. `ask` wants a repair, of which heal_done() tells; if it fails, it is called
	 * again. */
	int (*ask)(void *ctx);
	void (*log)(void *ctx, const char *line);
	void *ctx;
};

struct heal;

/* The strings of `conf` must outlive it. */
int heal_new(const struct heal_conf *conf, struct event_base *base, struct heal **ret_heal,
	     struct tg_error *e);
void heal_free(struct heal *heal); /* NULL-safe */

/* The repair has ended, well (0) or not. */
void heal_done(struct heal *heal, int result);

/* Something was missing at the last look, and is not back. */
bool heal_is_broken(struct heal *heal);
/* The counters as one object; NULL when out of memory. */
json_t *heal_stats(struct heal *heal);

#endif
