/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * When a tunnel's private key is changed, as pure state machines: time is a parameter, in milliseconds of a
 * monotonic clock. What another clock says is never compared with it: that one may be set at any moment.
 * docs/keys.md says why it goes like this.
 *
 * The end that gets a new key (struct rotate) makes it, has it published, asks all peers that it has a
 * session with whether they know it and watch for it, and then sets it: from then on it sends nothing but
 * handshakes, and packets wait in WireGuard. If a peer does not come over in time it goes back to the old
 * key, which loses nothing, and tries again later.
 *
 * The other end (struct watch) knows two keys of a peer: the active one, which has the allowed IPs, and the
 * candidate, which has none and cannot complete a handshake. A handshake that begins with the candidate says
 * that the peer has changed over: then the two swap.
 */
#ifndef AGENT_KEYS_ROTATE_H
#define AGENT_KEYS_ROTATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	ROTATE_ASK_MS = 1500,   /* so long peers are asked, */
	ROTATE_AGAIN_MS = 200,  /* so often, */
	ROTATE_FRESH_MS = 1000, /* and so long a peer's word holds */
	ROTATE_WAIT_MS = 1000,  /* after the first failure; then twice as long each time, up to */
	ROTATE_WAIT_MAX_MS = 60000,
	ROTATE_YIELD_MS = 300, /* to another one that was first */
	ROTATE_STAGED = 96,    /* packets of the 128 that WireGuard keeps for a peer without a session */
	ROTATE_BOUND_MIN_MS = 30,
	ROTATE_BOUND_MAX_MS = 1000,
	ROTATE_SAY_AFTER = 8, /* failures in a row that are said aloud: peers may not have heard of the key */
};

enum rotate_phase {
	ROTATE_REST,	 /* one key */
	ROTATE_PUBLISH,	 /* the next key is made, and not known to the Platform */
	ROTATE_ASK,	 /* peers are asked */
	ROTATE_SWITCHED, /* the device has the next key */
	ROTATE_WAIT,	 /* for the next try */
};
const char *rotate_phase_name(enum rotate_phase phase);

struct rotate {
	enum rotate_phase phase;
	uint64_t since_ms, until_ms;
	uint64_t asked_ms;	/* last */
	unsigned failures;	/* in a row */
};

struct rotate_view {
	bool due;	 /* the current key is old enough */
	bool has_next;	 /* there is a next one */
	bool published;	 /* and the Platform has it */
	bool promised;	 /* this end has told a peer that it stays as it is for a moment */
	size_t live;	 /* peers that may have a session */
	size_t ready;	 /* of these, who have just said that they watch */
	size_t moved;	 /* of those that were live when the key was set, who have a session with it */
	uint64_t bound_ms; /* how long they may take */
	uint32_t draw;	 /* any number */
};

enum rotate_action {
	ROTATE_NOTHING,
	ROTATE_DO_MAKE,	  /* a next key */
	ROTATE_DO_ASK,	  /* the peers that are not ready, once more */
	ROTATE_DO_SWITCH, /* to the next key; rotate_switched() if that worked, else rotate_failed() */
	ROTATE_DO_COMMIT, /* the next key is the current one */
	ROTATE_DO_BACK,	  /* to the current key: it did not work */
	ROTATE_DO_SAY,	  /* that peers do not answer */
};

enum rotate_action rotate_step(struct rotate *r, const struct rotate_view *view, uint64_t now_ms);
void rotate_switched(struct rotate *r, uint64_t now_ms);
void rotate_failed(struct rotate *r, uint32_t draw, uint64_t now_ms);
/* Whether a peer that asks may go first; then this end's own try is put off. An edge does not yield. */
bool rotate_yield(struct rotate *r, bool gateway, uint32_t draw, uint64_t now_ms);

/* How long peers may take when so many cells a second wait in WireGuard meanwhile. */
uint64_t rotate_bound_ms(uint64_t cells_per_s);

/* ---- how old a key is ---- */

/*
 * When it was made, by the monotonic clock, which may not have run then: below 0. Of the wall clock's `made`
 * and `real`, in seconds since 1970, only the difference counts, and only now. What was made in the future
 * was made by a clock that was wrong: as long ago as can be.
 */
int64_t rotate_made_ms(int64_t made, int64_t real, uint64_t now_ms);
/* `rotation_ns` 0: never. */
bool rotate_is_due(int64_t made_ms, uint64_t rotation_ns, uint64_t now_ms);

/* ---- who is there ---- */

/* So long after its handshake a session has ended: WireGuard's REJECT_AFTER_TIME. */
enum { PRESENCE_MS = 180000 };

/*
 * A peer. WireGuard says when its last handshake was by the wall clock: a stamp that is another one than at
 * the last look means that there was a handshake in between, and how old it is nobody can tell from it. So
 * one that this process has seen no handshake of counts as there until it has been silent for that long.
 */
struct presence {
	bool begun;
	int64_t stamp;		/* of the last handshake; 0: none */
	uint64_t heard_ms;	/* when that was noticed */
};

void presence_step(struct presence *p, int64_t stamp, uint64_t now_ms);
bool presence_is_there(const struct presence *p, uint64_t now_ms);
/* Whether there was a handshake since the stamp was `before`. */
bool presence_moved(int64_t before, int64_t stamp);

/* ---- the other end ---- */

enum {
	WATCH_PROMISE_MS = 2000, /* so long a peer's change is awaited */
	WATCH_SETTLE_MS = 5,	 /* what the old key sent before the handshake began has arrived by then */
	WATCH_SILENT_MS = 2000,	 /* a change that was not announced: the active key must have been silent */
};

struct watch {
	bool begun;
	bool moved;		/* the peer has changed over, and may go back */
	uint64_t bound_ms;	/* when it goes back if it has no session by then, from its change on */
	uint64_t promised_ms;	/* until */
	uint64_t quiet_ms;	/* until: what comes of the candidate is late, and means nothing */
	uint64_t polled_ms;	/* last */
	uint64_t came_ms, seen_ms; /* a handshake of the candidate: not before, noticed; 0: none */
	uint64_t candidate_rx, active_rx; /* bytes received */
	uint64_t active_ms;	/* when the active key last brought something */
};

/* The peer, which may change over from now on, has said that it goes back `bound_ms` after that. */
void watch_promise(struct watch *w, uint64_t bound_ms, uint64_t now_ms);
bool watch_is_promised(const struct watch *w, uint64_t now_ms);
/* Another candidate, or none. */
void watch_restart(struct watch *w);
/* Whether the two are to be swapped; then watch_swapped(), if that worked. */
bool watch_step(struct watch *w, uint64_t candidate_rx, uint64_t active_rx, uint64_t now_ms);
void watch_swapped(struct watch *w, uint64_t now_ms);

#endif
