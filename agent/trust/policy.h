/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the agent keeps of policies, in STATE_DIR/policy, mode 0700:
 *
 *	policy.json	the signed policy that the Platform gave last; verified each time that it is read
 *	revoked		only when the Platform refuses this device for good: why, and in a second line which
 *			generation of its identity
 *	sync.json	how the last request ended; its time of modification is that of the last one
 *
 * Each is replaced as a whole. tg-load apply reads the first two.
 */
#ifndef AGENT_TRUST_POLICY_H
#define AGENT_TRUST_POLICY_H

#include "tensorguard/signed_policy.h"
#include "trust/state.h"

#define TRUST_POLICY_FOLDER "policy"
#define TRUST_POLICY_FILE "policy.json"
#define TRUST_REVOKED_FILE "revoked"
#define TRUST_POLICY_REASON_LEN 160

/* -ENOENT: there is none; -EKEYREJECTED: it is not the Platform's, or not for this device. */
int trust_policy_load(const char *directory, const struct trust_identity *identity,
		      struct tg_signed_policy *ret_policy, struct tg_error *e);
int trust_policy_save(const char *directory, const struct tg_signed_policy *policy, struct tg_error *e);

/*
 * Notes that the Platform refuses this identity for good: first in `revoked`, by which the device is locked
 * down, then beside the identity. Whoever is cut off in between, or finds no room for the second, has not
 * lost the first; without the first there is no second.
 */
int trust_revoked_note(const char *directory, const struct trust_identity *identity, const char *reason,
		       struct tg_error *e);

struct trust_revocation {
	char reason[TRUST_REASON_LEN];
	unsigned generation;	/* of the identity that is refused; 0: the note does not say */
};

/* -ENOENT: there is no note. One that cannot be read is one all the same: another error. */
int trust_revoked_load(const char *directory, struct trust_revocation *ret_revocation, struct tg_error *e);
/* Another identity is not revoked. 0 too when there was no note. */
int trust_revoked_remove(const char *directory, struct tg_error *e);

struct trust_sync_note {
	int64_t time;		/* of the last request; 0: none yet */
	bool good;
	char error[TRUST_POLICY_REASON_LEN]; /* why not, or what was refused of the answer; or "" */
	int64_t period;		/* seconds; 0: not known yet */
};
int trust_sync_note_load(const char *directory, struct trust_sync_note *ret_note, struct tg_error *e);
/* The file is written only when it changes, but for its time. */
int trust_sync_note_save(const char *directory, const struct trust_sync_note *note, struct tg_error *e);

/* For root, who enrols a device anew: tg-load apply forgets who the device was. */
int trust_pin_forget(const char *directory, struct tg_error *e);

#endif
