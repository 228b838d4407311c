/* SPDX-License-Identifier: BSD-3-Clause */
/* The arithmetic of HTB's netlink interface (qdisc.c), which counts a burst in scheduler ticks of 64 ns. */
#ifndef AGENT_NET_HTB_H
#define AGENT_NET_HTB_H

#include <linux/pkt_sched.h>

#include "net/net.h"
#include "shared/dither.h"

/* What a cell costs in bytes, whatever its size, but for the dither. */
#define HTB_CELL TG_CELL_COST

/* One cell per period in HTB's bytes per second. */
uint64_t htb_rate(uint64_t period_ns);
/* The burst of a clock of this period, in ticks. */
uint32_t htb_slack_ticks(uint64_t period_ns);
/* The size table: a cell's length in the queue, modulo its entries, says what the cell costs (dither.h). */
void htb_size_table(uint16_t ret_entries[static TG_DITHER_CYCLE]);
void htb_options(uint64_t period_ns, struct tc_htb_opt *ret_options);

#endif
