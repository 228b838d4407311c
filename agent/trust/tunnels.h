/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The part `keys` of a sync (key_sync.h): what the process keys has put down goes to the Platform, and what
 * the Platform says is put down for it (keys/exchange.h). For the worker's thread.
 */
#ifndef AGENT_TRUST_TUNNELS_H
#define AGENT_TRUST_TUNNELS_H

#include "keys/exchange.h"
#include "tensorguard/sync.h"

struct trust_tunnels {
	struct timespec mark;	/* of keys.json, as it was sent */
	struct keys_book book;	/* what the Platform has said */
	struct tg_keys_wanted *wanted;
	size_t wanted_count, next; /* to be asked for next */
	bool round;		/* all of them were asked for once */
	char *written;		/* peers.json as it is */
};

void trust_tunnels_free(struct trust_tunnels *tunnels);
/* Whether there is something that the Platform was not told: of the loop's thread, while the worker rests. */
bool trust_tunnels_is_news(const struct trust_tunnels *tunnels, const char *run_dir);
/* False: there is nothing to say, and the part is left out. */
bool trust_tunnels_add(struct trust_tunnels *tunnels, const char *run_dir,
		       struct tg_keys_request *ret_request);
/* The answer to that. *ret_more: there are peers that were not asked for. */
int trust_tunnels_take(struct trust_tunnels *tunnels, const char *directory,
		       const struct tg_keys_request *asked, const struct tg_keys_answer *answer,
		       bool *ret_more, struct tg_error *e);

#endif
