/* SPDX-License-Identifier: BSD-3-Clause */
/* A call of tg-load that changes the instance: its lock, and what up, reload and apply have in common
 * (load.c). */
#ifndef AGENT_TG_LOAD_SESSION_H
#define AGENT_TG_LOAD_SESSION_H

#include "common/options.h"
#include "instance/instance.h"

struct session {
	struct instance in;
	int lock_fd;		/* state_lock()'s; -1: not taken */
	bool removed;		/* nothing is left: the lock file goes as well */
	bool falls_closed; /* a first start that fails leaves what a fail-closed policy matches blocked */
	bool closed;		/* so it has */
	char name[TG_NAME_LEN];	/* of the policy that was put in force */
	uint64_t version;
};

/* Needs root, and no arguments. session_close() in any case. */
int session_open(struct session *session, struct tg_cli *cli, struct tg_error *e);
void session_close(struct session *session);

/* With the lock: brings a policy up, or repairs it; -EBUSY when another one is up. Also in a lockdown, which
 * holds when that fails: ask lockdown_check() first where it must not end. */
int session_up(struct session *session, const char *policy_file, const char *site_file, struct tg_error *e);
/* With the lock: puts it in force in one step, whatever is up, a lockdown included; on failure the old one
 * stays. */
int session_switch(struct session *session, const char *policy_file, const char *site_file,
		   struct tg_error *e);
/* With the lock and nothing up: what the policy matches is blocked, and nothing else is left. `locked`: in a
 * lockdown, whose mark stays. Returns `err`, and says in `e` what has come of it. */
int session_fall_closed(struct session *session, struct tg_policy *policy, bool locked, int err,
			struct tg_error *e);

#endif
