/* SPDX-License-Identifier: BSD-3-Clause */
/* Whose socket a flow of this host belongs to, asked of the kernel (inet_diag). */
#ifndef AGENT_GUARD_SOCKDIAG_H
#define AGENT_GUARD_SOCKDIAG_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/types.h"
#include "tensorguard/error.h"

struct socket_owner {
	uint32_t uid;
	bool has_cgroup;	/* false on kernels before 5.8 */
	uint64_t cgroup;	/* id in the cgroup v2 hierarchy */
};

struct sockdiag;

int sockdiag_open(struct sockdiag **ret_diag, struct tg_error *e);
void sockdiag_close(struct sockdiag *diag);	/* NULL-safe */

/* The socket that sends `flow`, TCP or UDP. -ENOENT: there is none; -EPROTONOSUPPORT: another protocol. */
int sockdiag_lookup(struct sockdiag *diag, const struct tg_flow_key *flow, struct socket_owner *ret_owner);

#endif
