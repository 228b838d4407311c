/* SPDX-License-Identifier: BSD-3-Clause */
/* What the process is to the rest of the system: its rights, and its word to the service manager. */
#ifndef AGENT_TENSORGUARD_AGENT_PROCESS_H
#define AGENT_TENSORGUARD_AGENT_PROCESS_H

#include "tensorguard/error.h"

/* Keeps CAP_NET_ADMIN and CAP_BPF (CAP_SYS_ADMIN on kernels before 5.8) only, for ever, and makes the process
 * undumpable. */
int process_drop_rights(struct tg_error *e);

/* Sends `state` ("READY=1") to $NOTIFY_SOCKET; does nothing when there is none. */
void process_notify(const char *state);

#endif
