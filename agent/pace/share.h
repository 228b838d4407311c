/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lean classes between the plan and the sockets: packets that the programs hand
 * over wait in their session, cells of peers are taken apart, and what is in
 * them goes into the tunnel's receive path. In the pacing thread alone.
 */
#ifndef AGENT_PACE_SHARE_H
#define AGENT_PACE_SHARE_H

#include "pace/plan.h"
#include "pace/tap.h"

struct share;

/* The sockets, before the process gives up its rights. */
int share_new(struct share **ret_share, struct tg_error *e);
void share_free(struct share *share);	/* NULL-safe */

/* Listens for the tunnels of that plan, and no others. 0 or -errno. */
int share_adopt(struct share *share, const struct plan *plan);

/* The descriptor of the n-th tunnel of the plan; -1 = it has no lean class. */
int share_fd(const struct share *share, const struct plan *plan, size_t n);

/* Takes what has come for it. 0 or -errno. */
int share_receive(struct share *share, struct plan *plan, size_t n);

/* What a slot is to send. `dummy` and `shared` cells go into the tunnel as they are. */
struct share_cell {
	enum lean_step step;
	const uint8_t *data;
};

/* One step of a session; a packet that gets a cell of its own is on its way then. -errno: it could not be
 * sent. */
int share_step(struct share *share, const struct plan *plan, size_t n, struct lean *lean, uint64_t now,
	       struct share_cell *ret_cell);

#endif
