/* SPDX-License-Identifier: BSD-3-Clause */
/* Whether something of the network was changed, by anybody: the kernel's notifications, without their
 * contents. */
#ifndef AGENT_NET_WATCH_H
#define AGENT_NET_WATCH_H

#include <stdbool.h>

#include "tensorguard/error.h"

/* Links, addresses' queues and filters, routes and rules. A descriptor for poll(2); close it. */
int net_watch_open(int *ret_fd, struct tg_error *e);
/* The rules of nftables, and so of an iptables that is built on it. -EPROTONOSUPPORT where there is none. */
int net_watch_open_filters(int *ret_fd, struct tg_error *e);

/* Takes all that has come; false when nothing had. Notifications that were lost count as one. */
bool net_watch_take(int fd);

#endif
