/* SPDX-License-Identifier: BSD-3-Clause */
/* One tunnel of the process keys: what the files of agent/keys share, and nobody else uses. */
#ifndef AGENT_KEYS_TUNNEL_H
#define AGENT_KEYS_TUNNEL_H

#include "keys/control.h"
#include "keys/device.h"
#include "keys/exchange.h"
#include "keys/keys.h"
#include "keys/rotate.h"

/* A peer that is an agent. */
struct link {
	const struct tg_peer *conf;
	struct keys_peer *peer;	/* of the tunnel's state */
	struct control_address address;
	struct watch watch;
	struct presence presence;
	uint64_t ready_ms;	/* when it last said that it watches; 0: not in this try */
};

struct tunnel {
	struct keys *keys;
	const struct tg_tunnel *conf;
	struct keys_state state;
	struct link *links;	/* state.count of them */
	struct control control;
	struct rotate rotate;
	struct tg_tunnel_keys own; /* public ones */
	bool has_own, published;
	bool said_published;	/* of this pair */
	struct wg_status status; /* of the device, at the last look */
	bool has_status;
	enum wg_backend backend; /* of the device then */
	uint64_t number;	/* of this end's try */
	int64_t made_ms;	/* when the current key came, by the monotonic clock: rotate_made_ms() */
	uint64_t switched_ms;	/* when the next key was set */
	int lock_fd;		/* held while it may be in use; -1: not */
	char failure[384];	/* why the last try failed, or "" */
	bool said_absent;
};

struct keys {
	const struct keys_conf *conf;
	struct event_base *base;
	struct event *timer;
	struct net *net;
	struct tg_policy *policy;
	struct timespec policy_mark, site_mark, book_mark;
	struct keys_book book;
	bool has_book;
	struct tunnel *tunnels;
	size_t count;
	char *folders[TG_MAX_TUNNELS + 1]; /* that it may write to; the first one is the run state's */
	size_t folder_count;
	uint64_t looked_ms, watched_ms;
	char *written;		/* keys.json as it is */
};

__attribute__((format(printf, 2, 3))) void keys_say(const struct keys *k, const char *format, ...);
/* The lock that whoever changes the instance holds, if it is to be had at once: a descriptor, or -EBUSY. */
int keys_lock(const struct keys *k);
void keys_unlock(const struct keys *k, int fd);

/* ---- tunnel.c ---- */

int tunnel_begin(struct tunnel *t, struct keys *k, const struct tg_tunnel *conf, struct tg_error *e);
/* What a former one for the same tunnel knows by having watched; its policy is still there. */
void tunnel_inherit(struct tunnel *t, const struct tunnel *former);
/* The device keeps what it has. */
void tunnel_end(struct tunnel *t);
/* What the Platform says: the peers' keys, and that it has this end's. */
void tunnel_learn(struct tunnel *t, const struct keys_book *book);
/* Once a second: sockets, a device that is not as it should be. */
void tunnel_tend(struct tunnel *t, uint64_t now_ms);
/* Whether tunnel_step() is wanted every millisecond. */
bool tunnel_is_hasty(const struct tunnel *t, uint64_t now_ms);
void tunnel_step(struct tunnel *t, uint64_t now_ms);
/* Looks at the device; false: there is none. */
bool tunnel_look(struct tunnel *t);
/* The last handshake of the peer's active key at the last look, by the wall clock of then; 0: none. */
int64_t tunnel_handshake_ns(const struct tunnel *t, const struct link *l);
void tunnel_report(const struct tunnel *t, unsigned code, const char *agent, uint64_t a, uint64_t b);

/* ---- change.c: this end's key ---- */

void change_step(struct tunnel *t, uint64_t now_ms);
/* What a device has that a former process of ours was about to change. */
void change_resume(struct tunnel *t, uint64_t now_ms);

#endif
