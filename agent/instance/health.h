/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What `tg-load status --repair` leaves in RUN_DIR/health: what it found missing, what it mended, and which
 * peers do not answer. It alone sees WireGuard and iptables; the agent's guard, which may only read, tells of
 * it (guard/medical.h).
 *
 *	tensorguard health 1
 *	run NUMBER found N left N error ERRNO
 *	peer TUNNEL NUMBER tx BYTES silent 0|1
 */
#ifndef AGENT_INSTANCE_HEALTH_H
#define AGENT_INSTANCE_HEALTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "instance/instance.h"

#define HEALTH_FILE "health"

enum {
	HEALTH_PEERS_MAX = 4096,   /* of all tunnels; those beyond are not looked at */
	HEALTH_SILENT_S = 180,	   /* WireGuard gives a session up after this time (REJECT_AFTER_TIME) */
	HEALTH_FILE_MAX = 1 << 19, /* bytes */
};

struct health_peer {
	char tunnel[TG_TUNNEL_NAME_LEN];
	unsigned number;   /* in the policy, from 0 */
	uint64_t tx_bytes; /* as WireGuard counts, handshakes included */
	bool silent;
};

struct health {
	uint64_t number;	/* of the run, from 1; 0: there was none */
	uint64_t found, left;	/* what a repair can mend: before it, and after */
	int error;		/* why the repair failed: 0 or an errno, positive */
	size_t peer_count;
	struct health_peer *peers; /* health_free() */
};

/*
 * Whether a peer does not answer: something was sent to it since the last look, and its last handshake is
 * older than a session lives. While nothing is sent it stays what it was; NULL: it was not looked at before.
 */
bool health_peer_is_silent(const struct wg_peer_status *peer, const struct health_peer *before,
			   int64_t now_s);

/* 0; -ENOENT: there is none; -EBADMSG: it is not as it was written. */
int health_load(const char *run_dir, struct health *ret_health, struct tg_error *e);
int health_save(const char *run_dir, const struct health *health, struct tg_error *e);
void health_free(struct health *health);

/*
 * What of a device is worse than it should be although its data plane may look whole, in the words of a
 * heartbeat's faults (docs/api-sync.md): "process-loops:NAME", "data-plane-broken", "peer-silent".
 */
enum { DEGRADED_MAX = 8, DEGRADED_LEN = 32 };
struct degraded {
	char words[DEGRADED_MAX][DEGRADED_LEN];
	size_t count;
	size_t serious; /* of these: all but peers that do not answer, which may be off on purpose */
};
void degraded_read(const char *run_dir, struct degraded *ret_degraded);

/* The run after `before`, by its reports; the caller frees it. */
int health_make(const struct health *before, const struct tg_policy *policy, size_t found, int error,
		const struct report *after, struct health *ret_health);

#endif
