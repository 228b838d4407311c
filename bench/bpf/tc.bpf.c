// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
/*
 * The programs that bench/tc.c times: the product's own text (bpf/guard.h),
 * with no more around it than a repetition needs. BPF_PROG_TEST_RUN knows
 * Ethernet only, hence TG_L2_LEN.
 */
#include "guard.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Length of the frame as it came: what `pad` added must go before the next repetition. */
const volatile __u32 frame_len = 0;

SEC("tc")
int bench_empty(struct __sk_buff *skb)
{
	return TC_ACT_OK;
}

SEC("tc")
int bench_guard(struct __sk_buff *skb)
{
	return guard(skb, TG_L2_LEN, 1);
}

SEC("tc")
int bench_guard_trim(struct __sk_buff *skb)
{
	int verdict = guard(skb, TG_L2_LEN, 1);

	return bpf_skb_change_tail(skb, frame_len, 0) ? TC_ACT_SHOT : verdict;
}
