/* SPDX-License-Identifier: BSD-3-Clause */
/* The arithmetic of TBF's netlink interface (qdisc.c), which counts a burst in scheduler ticks of 64 ns. */
#ifndef AGENT_NET_TBF_H
#define AGENT_NET_TBF_H

#include <linux/pkt_sched.h>

#include "net/net.h"

/* Ticks that `bytes` take at `rate` bytes per second (not 0), at most UINT32_MAX. */
uint32_t tbf_ticks(uint64_t rate, uint32_t bytes);
/* The inverse, to the nearest byte: exact up to 15 Mbyte/s. */
uint32_t tbf_bytes(uint64_t rate, uint32_t ticks);
/* Whether the kernel's `ticks` are what a burst of `bytes` became. */
bool tbf_same_burst(uint64_t rate, uint32_t bytes, uint32_t ticks);
void tbf_options(const struct net_tbf *tbf, unsigned mtu, struct tc_tbf_qopt *ret_options);

#endif
