/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Keeps a device's identity alive: renews the certificate at two thirds of its lifetime, tries again when
 * that fails, and stops when the Platform will not have the device any more. It waits for an enrolment where
 * there is none yet, and takes over a new one by itself. In between it makes the system-time loop's requests
 * (sync.h), and has what they bring applied.
 */
#ifndef AGENT_TRUST_RUN_H
#define AGENT_TRUST_RUN_H

#include <event2/event.h>

#include "supervise/message.h"
#include "tensorguard/bytes.h"
#include "tensorguard/error.h"
#include "tensorguard/sync.h"

struct trust_conf {
	const char *directory;	/* TRUST_DIRECTORY */
	const struct tg_bytes *secret;	/* of keys in software, or NULL */
	const char *run_dir;	/* where vault listens; NULL: it is not served */
	void (*log)(const char *line);
	/*
	 * Has `tg-load apply` run for the folder, which trust_applied() tells the end of; 0, or a negative
	 * errno when that cannot be asked for just now. NULL: nobody applies anything.
	 */
	int (*apply)(void *ctx);
	/* What trust_event() took is on the disk. NULL: there is nobody to tell. */
	void (*recorded)(void *ctx, uint16_t number);
	void *ctx;
};

struct trust;

/*
 * Works from `base`'s events on; what has to wait for the TPM or the Platform does so in a thread of its own,
 * which `base` never waits for. `conf` and what it points to stay the caller's until trust_stop().
 */
int trust_start(struct event_base *base, const struct trust_conf *conf, struct trust **ret_trust,
		struct tg_error *e);
#define TRUST_PROCESSES_MAX 8	/* of the agent's */

/* Each is a fault in the heartbeat. */
struct trust_troubles {
	bool broken, peer_silent; /* of the data plane */
	bool absent;		  /* the guard: what it counts and sees is what it said last */
	/* those that end again and again, up to a NULL */
	const char *loops[TRUST_PROCESSES_MAX + 1];
};

/* What the guard counts and sees: only those fields of a heartbeat. */
void trust_take_stats(struct trust *trust, const struct tg_sync_heartbeat *stats,
		      const struct trust_troubles *troubles);
void trust_applied(struct trust *trust, int result);
/* For the audit trail; one at a time. */
void trust_event(struct trust *trust, const struct message_event *event);
/* Gives up a renewal that is under way, which is harmless. NULL is fine. */
void trust_stop(struct trust *trust);

#endif
