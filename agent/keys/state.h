/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a device keeps of a tunnel whose peers are agents, beside its key file, all of it root's:
 *
 *	KEY_FILE		the private key that is in use
 *	KEY_FILE.next		the one that is to come, as long as the change has not been made
 *	KEY_FILE.switching	there while the device may have the next key in use: who is awaited
 *	KEY_FILE.json		how many keys there have been, and the peers' public keys
 *
 * Each is replaced as a whole. What is given up is overwritten before it goes.
 */
#ifndef AGENT_KEYS_STATE_H
#define AGENT_KEYS_STATE_H

#include <limits.h>
#include <stdbool.h>

#include "tensorguard/key_sync.h"
#include "tensorguard/policy.h"

struct keys_peer {
	char agent[TG_AGENT_NAME_LEN];
	struct tg_tunnel_keys known;	/* as the Platform says; its tunnel's name is not kept */
	bool has_known;
	bool has_active;		/* the one of these that packets go to */
	uint8_t active[TG_KEY_LEN];
	/* of a change, kept apart in .switching */
	bool awaited;			/* it had a session when the key was set, */
	int64_t before;			/* of a handshake that WireGuard dates so; 0: it had none */
};

struct keys_state {
	uint64_t epoch;			/* so many keys have been in use here; 0: not counted yet */
	int64_t made;			/* when the current one came, seconds since 1970 */
	struct keys_peer *peers;	/* one for each peer of the policy that is an agent, in that order */
	size_t count;
};

/* What is kept for the tunnel's peers; what there is of others is left out. Nothing kept is no error. */
int keys_state_load(const struct tg_tunnel *tunnel, struct keys_state *ret_state, struct tg_error *e);
int keys_state_save(const struct tg_tunnel *tunnel, const struct keys_state *state, struct tg_error *e);
void keys_state_free(struct keys_state *state);

/*
 * The tunnel as WireGuard is to have it by what is kept: peers that are agents with their active keys, and
 * without those that have none yet. For a tunnel without agents it is the same one. It points into `tunnel`;
 * keys_resolved_free().
 */
int keys_resolve(const struct tg_tunnel *tunnel, struct tg_tunnel *ret_resolved, struct tg_error *e);
void keys_resolved_free(const struct tg_tunnel *tunnel, struct tg_tunnel *resolved);

/* Where the key file is. */
void keys_folder(const struct tg_tunnel *tunnel, char ret_folder[static PATH_MAX]);
/* A private key where the tunnel's peers are agents and there is none yet; its folder is made if need be. */
int keys_ensure(const struct tg_tunnel *tunnel, struct tg_error *e);

/* ---- key files ---- */

enum keys_which { KEYS_CURRENT, KEYS_NEXT };

int keys_read(const struct tg_tunnel *tunnel, enum keys_which which, uint8_t ret_private[static TG_KEY_LEN],
	      struct tg_error *e);
/* -ENOENT: there is none. */
int keys_read_public(const struct tg_tunnel *tunnel, enum keys_which which,
		     uint8_t ret_public[static TG_KEY_LEN], struct tg_error *e);
/* A new one; what was there is wiped. */
int keys_make(const struct tg_tunnel *tunnel, enum keys_which which, struct tg_error *e);
/* The next one becomes the current one, whose bytes are overwritten. */
int keys_promote(const struct tg_tunnel *tunnel, struct tg_error *e);

/* Says that the device may have the next key from now on, and which peers are awaited; or not any more. */
int keys_mark(const struct tg_tunnel *tunnel, const struct keys_state *state, struct tg_error *e);
int keys_unmark(const struct tg_tunnel *tunnel, struct tg_error *e);
bool keys_is_marked(const struct tg_tunnel *tunnel);
/* Which ones that were. -EBADMSG: it does not say. */
int keys_mark_load(const struct tg_tunnel *tunnel, struct keys_state *state, struct tg_error *e);

#endif
