// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
/*
 * The one thing that the data plane cannot do without, and nothing else: bytes
 * behind the inner packet, added on a tunnel's egress, change the outer size
 * and nothing more. Shows whether a kernel is at fault or our own programs.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#define CELL 1420

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("tc")
int fact_pad(struct __sk_buff *skb)
{
	if (skb->gso_size || skb->len > CELL)
		return TC_ACT_SHOT;
	if (skb->len < CELL && bpf_skb_change_tail(skb, CELL, 0))
		return TC_ACT_SHOT;
	return TC_ACT_OK;
}
