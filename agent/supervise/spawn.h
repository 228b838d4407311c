/* SPDX-License-Identifier: BSD-3-Clause */
/* Starting a child: this program executed anew (child.h). */
#ifndef AGENT_SUPERVISE_SPAWN_H
#define AGENT_SUPERVISE_SPAWN_H

#include <sys/types.h>

#include "supervise/child.h"

/*
 * `argv` is the supervisor's own; the child gets its options too. `socket_fd` (-1 = none) is given to it and
 * stays the caller's. Returns the supervisor's end of the channel.
 */
int spawn_child(const struct child_kind *kind, char **argv, int socket_fd, pid_t *ret_pid,
		int *ret_channel_fd, struct tg_error *e);

/* Takes what is meant for the supervisor alone out of the environment. */
void spawn_clean_environment(void);

#endif
