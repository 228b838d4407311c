/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The process keys: makes the private keys of tunnels whose peers are agents, changes them, and gives the
 * devices the keys that the peers have (docs/keys.md). What it may publish and what it learns goes through
 * files (exchange.h).
 */
#ifndef AGENT_KEYS_KEYS_H
#define AGENT_KEYS_KEYS_H

#include <event2/event.h>
#include <stdint.h>

#include "tensorguard/error.h"

struct keys_conf {
	const char *run_dir;	/* of the running instance; keys.json */
	const char *state_dir;	/* of trust: peers.json */
	void (*log)(const char *line);
	/* For the audit trail: a code of enum tg_audit_code, which tunnel or peer, and the code's two
	 * numbers. */
	void (*event)(void *ctx, unsigned code, const char *subject, uint64_t a, uint64_t b);
	void *ctx;
};

struct keys;

/* `conf` and what it points to stay the caller's until keys_stop(). */
int keys_start(struct event_base *base, const struct keys_conf *conf, struct keys **ret_keys,
	       struct tg_error *e);
void keys_stop(struct keys *keys); /* NULL-safe */

#endif
