/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RUNDIR/agent.sock, which the supervisor made: a client sends the one word "stats" and gets the counters as
 * one JSON object, or {"error": ...} for any other word; then the connection is closed.
 */
#ifndef AGENT_TENSORGUARD_AGENT_CONTROL_H
#define AGENT_TENSORGUARD_AGENT_CONTROL_H

#include "guard/guard.h"
#include "heal/heal.h"
#include "pace/pace.h"
#include "supervise/child.h"

struct control;

/* What it tells of. */
struct control_parts {
	const struct guard *guard;
	const struct pace *pace;
	struct heal *heal;
	const struct child *child;
};

/* Takes `fd`, a socket that listens, also when it fails. */
int control_new(int fd, const struct control_parts *parts, struct event_base *base,
		struct control **ret_control, struct tg_error *e);
void control_free(struct control *control); /* NULL-safe */

#endif
