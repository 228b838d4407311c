/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RUNDIR/agent.sock: SOCK_SEQPACKET, mode 0600. A client sends the one word
 * "stats" and gets the counters as one JSON object, or {"error": ...} for any
 * other word; then the connection is closed.
 */
#ifndef AGENT_TENSORGUARD_AGENT_CONTROL_H
#define AGENT_TENSORGUARD_AGENT_CONTROL_H

#include "guard/guard.h"

struct control;

/* -EBUSY when another agent serves the socket. One that nobody serves any longer is replaced. */
int control_new(const char *run_dir, const struct guard *guard, struct event_base *base,
		struct control **ret_control, struct tg_error *e);
void control_free(struct control *control);	/* NULL-safe; removes the socket */

#endif
