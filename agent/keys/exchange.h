/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the processes keys and trust have for one another, as files that each replaces as a whole:
 *
 *	RUNDIR/keys.json		by keys, who is root: the public keys of this device's tunnels, which
 *					agents are peers of them, and how the keys are (also for tgctl)
 *	STATE_DIR/policy/peers.json	by trust: what of that the Platform has, and the peers' public keys;
 *read as if an enemy had written it
 */
#ifndef AGENT_KEYS_EXCHANGE_H
#define AGENT_KEYS_EXCHANGE_H

#include <jansson.h>
#include <time.h>

#include "tensorguard/key_sync.h"

#define KEYS_FILE "keys.json"	      /* in RUNDIR */
#define KEYS_PEERS_FOLDER "policy"    /* in STATE_DIR */
#define KEYS_PEERS_FILE "peers.json"
enum { KEYS_FILE_MAX = 4 << 20, KEYS_FORMAT = 1 };

/* A peer that is known to the Platform, and the tunnels that it was told of. */
struct keys_book {
	struct tg_tunnel_keys stored[TG_MAX_TUNNELS];
	size_t stored_count;
	char refused[TG_KEYS_REFUSED_LEN]; /* why they were not taken; or "" */
	struct tg_peer_keys *peers;
	size_t peer_count;
};
void keys_book_free(struct keys_book *book);
const struct tg_tunnel_keys *keys_book_find(const struct keys_book *book, const char *agent,
					    const char *tunnel);

/* peers.json as text (free() it), and back: -EBADMSG. */
char *keys_book_encode(const struct keys_book *book);
int keys_book_decode(const void *text, size_t len, struct keys_book *ret_book, struct tg_error *e);

/*
 * peers.json, if it is another one than *mark says, which is then set: 1. 0: it is the same, or there is
 * none. -EBADMSG and other errors, once per file.
 */
int keys_book_read(const char *state_dir, struct timespec *mark, struct keys_book *ret_book,
		   struct tg_error *e);

/* "current" and "next" of an object. */
void keys_put(json_t *object, const struct tg_tunnel_keys *keys);
/* False unless they are keys. */
bool keys_take(const json_t *object, struct tg_tunnel_keys *ret_keys);

#endif
