/* SPDX-License-Identifier: BSD-3-Clause */
/* The supervisor's word to the service manager (sd_notify(3)). */
#ifndef AGENT_SUPERVISE_NOTIFY_H
#define AGENT_SUPERVISE_NOTIFY_H

#include <stdint.h>

/* Sends `state` ("READY=1") to $NOTIFY_SOCKET, for which it waits 200 ms at most; does nothing when there is
 * none. */
void notify(const char *state);

/* Microseconds between two WATCHDOG=1, half of what the service manager waits; 0 = it does not watch us. */
uint64_t notify_watchdog_us(void);

#endif
