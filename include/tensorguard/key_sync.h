/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The part `keys` of POST /v1/sync: the public keys of a device's tunnels, and those of the peers that it
 *asks for (docs/keys.md).
 *
 *	request  {"tunnels": [{tunnel, current, next}, ...], "peers": [{agent, tunnel}, ...]}
 *	answer   {"refused": WORD, "peers": [{agent, tunnel, current, next}, ...]}
 *
 * A key pair has two public keys at most: the one that is in use, and while it is being changed the one that
 *is to come. A peer that is asked for and is not in an answer has none, or is not one that this device may
 *have: then it has lost it. Private keys are in no message.
 */
#ifndef TENSORGUARD_KEY_SYNC_H
#define TENSORGUARD_KEY_SYNC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tensorguard/certificate.h"
#include "tensorguard/error.h"
#include "tensorguard/policy.h"

#define TG_KEYS_PEERS_MAX 64	/* in one request: who has more asks for the others in the next one */
#define TG_KEYS_REFUSED_LEN 32	/* with the final NUL */

struct tg_tunnel_keys {
	char tunnel[TG_TUNNEL_NAME_LEN];
	uint8_t current[TG_KEY_LEN];
	bool has_next;
	uint8_t next[TG_KEY_LEN];
};

struct tg_keys_wanted {
	char agent[TG_ID_LEN];
	char tunnel[TG_TUNNEL_NAME_LEN]; /* of that agent's */
};

struct tg_keys_request {
	struct tg_tunnel_keys
		tunnels[TG_MAX_TUNNELS]; /* all that the device has: those that are missing go */
	size_t tunnel_count;
	struct tg_keys_wanted peers[TG_KEYS_PEERS_MAX];
	size_t peer_count;
};

struct tg_peer_keys {
	char agent[TG_ID_LEN];
	struct tg_tunnel_keys keys;
};

struct tg_keys_answer {
	char refused[TG_KEYS_REFUSED_LEN]; /* why the device's own keys were not taken: "key-taken"; or "" */
	struct tg_peer_keys peers[TG_KEYS_PEERS_MAX];
	size_t peer_count;
};

bool tg_tunnel_keys_equal(const struct tg_tunnel_keys *a, const struct tg_tunnel_keys *b);

/*
 * What the tables cannot say: keys of zeros, the same key twice, a tunnel or a peer twice, names that are
 * none. -EINVAL.
 */
int tg_keys_request_check(const struct tg_keys_request *request, struct tg_error *e);
int tg_keys_answer_check(const struct tg_keys_answer *answer, struct tg_error *e);

#endif
