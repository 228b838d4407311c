/* SPDX-License-Identifier: BSD-3-Clause */
/* The public keys of agents' tunnels. No key is in two tunnels, of one agent or of two. */
#ifndef PLATFORM_STORE_TUNNEL_H
#define PLATFORM_STORE_TUNNEL_H

#include "store/store.h"
#include "tensorguard/key_sync.h"

struct store_tunnel {
	struct tg_tunnel_keys keys;
	int64_t since;		/* when its current key came */
};

/* Those of an agent, by the tunnels' names. */
int store_tunnel_each(struct store *store, const char *agent,
		      int (*each)(void *arg, const struct store_tunnel *tunnel), void *arg,
		      struct tg_error *e);
/*
 * What an agent's tunnels have from now on; what it does not name is gone. *ret_taken: nothing was changed,
 * as one of the keys is in another agent's tunnel.
 */
int store_tunnel_put(struct store *store, const char *agent, const struct tg_tunnel_keys *tunnels,
		     size_t count, int64_t now, bool *ret_taken, struct tg_error *e);
/*
 * The keys of an agent's tunnel for a peer of that fleet. -ENOENT: there are none, the agent is of another
 * fleet, or it is revoked.
 */
int store_tunnel_find(struct store *store, const char *fleet, const struct tg_keys_wanted *wanted,
		      struct tg_tunnel_keys *ret_keys, struct tg_error *e);

#endif
