/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The process vault: it keeps packages, opens them into sealed memory and hands the descriptors to the
 * programs that models.conf lets have them. It answers at RUNDIR/vault.sock (call.h), each connection in a
 * thread of its own; a program that has a model keeps its connection, and that is how long vault keeps the
 * memory as well.
 */
#ifndef AGENT_VAULT_VAULT_H
#define AGENT_VAULT_VAULT_H

#include <event2/event.h>
#include <sys/types.h>

#include "tensorguard/models.h"

struct vault_conf {
	const char *directory;	/* VAULT_DIRECTORY */
	const struct tg_models_conf *models;
	uid_t trust;		/* the user of the process trust */
	int fd;			/* the socket that listens; stays the caller's */
	uint64_t (*now)(void);	/* seconds since 1970 */
	void (*log)(const char *line);
	/* For the audit trail: a code of audit.h, with a release and perhaps an error. Called from any
	 * thread. */
	void (*event)(void *ctx, unsigned code, const char *model, uint64_t release, uint64_t error);
	void *ctx;
};

struct vault;

/* Works from `base`'s events on. `conf` and what it points to stay the caller's until vault_stop(). */
int vault_start(struct event_base *base, const struct vault_conf *conf, struct vault **ret_vault,
		struct tg_error *e);
/* Gives up what is under way; a download can be taken up again. NULL-safe. */
void vault_stop(struct vault *vault);

#endif
