/* SPDX-License-Identifier: BSD-3-Clause */
/* A tunnel's device as its keys want it: the peers' active keys with their allowed IPs, candidates without.
 */
#ifndef AGENT_KEYS_DEVICE_H
#define AGENT_KEYS_DEVICE_H

#include "keys/state.h"
#include "net/net.h"

/* The key of a peer that is known and is not the active one, or NULL. */
const uint8_t *keys_candidate(const struct keys_peer *peer);

/* That of the status, or NULL. */
const struct wg_peer_status *device_peer(const struct wg_status *status, const uint8_t *key);

/* Whether the device has this end's key `own`, and the peers as `state` says. */
bool device_fits(const struct tg_tunnel *tunnel, const struct keys_state *state,
		 const struct wg_status *status, const uint8_t *own);

/*
 * Makes it so, in one message where that is not too long: what a peer's active key is given its candidate
 * loses in the same instant. A candidate gets a preshared key that nobody knows: its handshakes are noticed
 * and come to nothing.
 */
int device_configure(struct net *net, const struct tg_tunnel *tunnel, enum wg_backend backend,
		     const struct keys_state *state, const struct wg_status *status, enum keys_which which,
		     struct tg_error *e);

#endif
