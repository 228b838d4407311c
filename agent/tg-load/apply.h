/* SPDX-License-Identifier: BSD-3-Clause */
/* One call of tg-load apply (apply.c), and what it does when it may not or cannot put a policy in force
 * (closed.c). */
#ifndef AGENT_TG_LOAD_APPLY_H
#define AGENT_TG_LOAD_APPLY_H

#include <limits.h>

#include "commands.h"
#include "session.h"
#include "tensorguard/signed_policy.h"
#include "trust/policy.h"

/* Who this device is, as root remembers it. */
struct pin {
	char agent[TG_ID_LEN], fleet[TG_ID_LEN];
	struct tg_bytes key;
};

struct apply {
	struct session session;
	const struct agent_options *options;
	const char *state_dir;
	char keep[PATH_MAX];		/* STATE_DIR-applied */
	char text[PATH_MAX];		/* the policy's text in it */
	char spare[PATH_MAX];		/* the same in run_dir, when `keep` takes nothing; "" */
	bool pinned, has_kept, has_offer;
	bool kept_damaged;		/* there is a kept policy, and it cannot be read */
	struct pin pin;
	struct tg_signed_policy kept, offer;
	char revoked[TRUST_POLICY_REASON_LEN]; /* why, or "" */
	char offer_error[sizeof(((struct tg_error *)0)->message)]; /* why the offer is not taken, or "" */
	char keep_error[sizeof(((struct tg_error *)0)->message)]; /* why the text is not kept, or "" */
	const char *done;		/* for the operator */
};

/* Finds out where root keeps what; makes no folder. */
int apply_find_keep(struct apply *a, struct tg_error *e);
/* The last policy that was put in force, as the folder has it: not verified. -ENOENT: there is none. */
int apply_read_kept(struct apply *a, struct tg_error *e);
/* The device's own settings: those in force, else the operator's. Free *ret_site, which may be NULL. */
int apply_choose_site(const struct apply *a, char **ret_site, struct tg_error *e);
/* A file with the policy's text; a disk that takes none does not keep it from being in force. */
int apply_place_text(struct apply *a, const struct tg_signed_policy *policy, const char **ret_path,
		     struct tg_error *e);

/*
 * What runs is locked first, whatever the disk says and whatever comes of the policy that the lockdown names
 * (NULL: none), which is blocked as well. The first failure is returned; what could be locked stays so.
 */
int apply_lock_down(struct apply *a, const struct tg_signed_policy *policy, const char *reason,
		    const char *site, struct tg_error *e);
/*
 * After a failure `err`, which is returned. With nothing up, what the last policy matches is blocked if that
 * says so, or if nothing may leave anyway: at boot nobody is there to see that the start has failed.
 */
int apply_stay_closed(struct apply *a, int err, struct tg_error *e);
/* Whether what was in force has ended, and leaves the way open. */
bool apply_ended_open(const struct apply *a);

#endif
