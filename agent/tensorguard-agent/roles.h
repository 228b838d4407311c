/* SPDX-License-Identifier: BSD-3-Clause */
/* The processes of tensorguard-agent beside its supervisor: what each is, and its main function. */
#ifndef AGENT_TENSORGUARD_AGENT_ROLES_H
#define AGENT_TENSORGUARD_AGENT_ROLES_H

#include "guard/guard.h"
#include "supervise/child.h"
#include "tensorguard/cli.h"

struct agent_conf {
	struct guard_conf guard;
	const char *state_dir;	/* of trust */
	const char *trust_user; /* who trust is */
	const char *models;	/* models.conf */
	const char *vault_dir, *vault_user;
	bool respawn;
};

/* In its sandbox already; returns when it is told to end (0) or has failed. */
typedef int role_run(const struct agent_conf *conf, struct tg_error *e);

struct role {
	role_run *run;
	/* Before the sandbox: takes what only root can read; NULL = nothing. */
	int (*prepare)(struct tg_error *e);
	void (*forget)(void); /* that, where there is no run() */
};

role_run guard_run, trust_run, vault_run, keys_run;
int keys_prepare(struct tg_error *e);
int vault_prepare(struct tg_error *e);
int trust_prepare(struct tg_error *e);
void trust_forget(void);

enum { GUARD, TRUST, VAULT, KEYS, ROLES };

/* The kinds as the supervisor starts them; name NULL ends the table. */
extern const struct child_kind roles[ROLES + 1];

/* What runs as `kind`, one of the table. */
const struct role *role_of(const struct child_kind *kind);

/* For the operator, on standard error. */
void agent_log(const char *line);

#endif
