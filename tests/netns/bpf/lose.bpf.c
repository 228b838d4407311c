// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
/*
 * What the kernel does to a packet now and then: loses it, and tells nobody who sent it. On the egress of a
 * queue's head, before the queue.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#include "types.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

__u32 lost;

/* The first clock cell that passes is gone; each loading loses one. */
SEC("tc")
int lose_one(struct __sk_buff *skb)
{
	struct tg_ether_meta meta;

	if (lost || bpf_skb_load_bytes(skb, 0, &meta, sizeof(meta)) || meta.kind != TG_CELL_CLOCK)
		return TC_ACT_OK;
	lost = 1;
	return TC_ACT_STOLEN;
}
