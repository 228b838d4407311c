/* SPDX-License-Identifier: BSD-3-Clause */
/* RUNDIR/agent.sock, for one: SOCK_SEQPACKET. The supervisor makes it anew for each child that serves it, and
 * keeps no descriptor of it: who connects while there is no such child is refused. */
#ifndef AGENT_SUPERVISE_LISTEN_H
#define AGENT_SUPERVISE_LISTEN_H

#include <sys/stat.h>
#include <sys/un.h>

#include "tensorguard/error.h"

/* -ENAMETOOLONG with a message. */
int listen_address(const char *run_dir, const char *name, struct sockaddr_un *ret_address,
		   struct tg_error *e);

/* -EBUSY when somebody serves it, and still does after the second that a dying predecessor may take. */
int listen_check(const struct sockaddr_un *address, struct tg_error *e);

/* Makes the folder and the socket, with that mode, replacing one that nobody serves. */
int listen_open(const struct sockaddr_un *address, mode_t mode, int *ret_fd, struct tg_error *e);

/* Removes the socket, and the folder if it is empty: `tg-load down` left it to us if it came first. */
void listen_remove(const struct sockaddr_un *address);

#endif
