/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>

#include "roles.h"
#include "vault/call.h"

const struct child_kind roles[ROLES + 1] = {
	[GUARD] = { .name = "guard",
		    .sender = FROM_GUARD,
		    .sandbox = &sandbox_guard,
		    .socket = "agent.sock",
		    .socket_mode = 0600,
		    .takes_reload = true },
	[TRUST] = { .name = "trust",
		    .sender = FROM_TRUST,
		    .sandbox = &sandbox_trust,
		    .takes_stats = true,
		    .dispensable = true,
		    .keeps_trail = true },
	[VAULT] = { .name = "vault",
		    .sender = FROM_VAULT,
		    .sandbox = &sandbox_vault,
		    .socket = CALL_SOCKET,
		    .socket_mode = 0666,
		    .dispensable = true },
	[KEYS] = { .name = "keys", .sender = FROM_KEYS, .sandbox = &sandbox_keys, .dispensable = true },
	[ROLES] = { .name = NULL },
};

static const struct role runs[] = {
	[GUARD] = { .run = guard_run },
	[TRUST] = { .run = trust_run, .prepare = trust_prepare, .forget = trust_forget },
	[VAULT] = { .run = vault_run, .prepare = vault_prepare },
	[KEYS] = { .run = keys_run, .prepare = keys_prepare },
};

const struct role *role_of(const struct child_kind *kind)
{
	return &runs[kind - roles];
}

void agent_log(const char *line)
{
	fprintf(stderr, "tensorguard-agent: %s\n", line);
}
