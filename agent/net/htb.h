/* SPDX-License-Identifier: BSD-3-Clause */
/* The arithmetic of HTB's netlink interface (qdisc.c), which counts a burst in scheduler ticks of 64 ns. */
#ifndef AGENT_NET_HTB_H
#define AGENT_NET_HTB_H

#include <linux/pkt_sched.h>

#include "net/net.h"

/* The burst of a clock of this period, in ticks. */
uint32_t htb_slack_ticks(uint64_t period_ns);
void htb_options(const struct net_clock *clock, struct tc_htb_opt *ret_options);

#endif
