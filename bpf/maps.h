/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The maps of one tunnel; types and indices are documented in include/shared/types.h. */
#ifndef BPF_MAPS_H
#define BPF_MAPS_H

#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#include "budget.h"
#include "dither.h"
#include "lean.h"
#include "metronome.h"
#include "paced.h"
#include "session.h"
#include "types.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tg_policy_word);
} policy SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct tg_config);
} config SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 * TG_MAX_CLASSES);
	__type(key, __u32);
	__type(value, struct tg_class);
} classes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 * TG_MAX_RULES);
	__type(key, __u32);
	__type(value, struct tg_rule);
} rules SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, TG_MAX_PREFIXES);
	__type(key, struct tg_lpm4_key);
	__type(value, struct tg_rule_set);
} rules4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, TG_MAX_PREFIXES);
	__type(key, struct tg_lpm6_key);
	__type(value, struct tg_rule_set);
} rules6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, TG_MAX_FLOWS);
	__type(key, struct tg_flow_key);
	__type(value, struct tg_flow);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, TG_MAX_QUEUES);
	__type(key, __u32);
	__type(value, struct tg_queue);
} queues SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, TG_MAX_QUEUES);
	__type(key, __u32);
	__type(value, struct tg_session);
} sessions SEC(".maps");

/* Nothing looks into it here: the loader keeps the numbers in it, and operators read them. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tg_peer_entry);
} peers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, TG_MAX_CLASSES);
	__type(key, __u32);
	__type(value, struct tg_metronome);
} metronomes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, TG_MAX_CLASSES);
	__type(key, __u32);
	__type(value, struct tg_metronome_session);
} metronome_state SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tg_exponential);
} exponential SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tg_devices);
} devices SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, TG_MAX_PORTS);
	__type(key, struct tg_port_key);
	__type(value, struct tg_port);
} ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2 * TG_MAX_CLASSES);
	__type(key, __u32);
	__type(value, struct tg_stats);
} stats SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, TG_REASON_COUNT);
	__type(key, __u32);
	__type(value, struct tg_reason_count);
} reasons SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tg_draws);
} draws SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tg_budget);
} budget SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tg_spending);
} spending SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, TG_MAX_CLASSES);
	__type(key, __u32);
	__type(value, struct tg_paced);
} paced SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tg_session_state);
} paced_sessions SEC(".maps");

static __always_inline void count_reason(__u32 reason)
{
	struct tg_reason_count *c = bpf_map_lookup_elem(&reasons, &reason);

	if (c)
		c->packets++;
}

/* Drops the packet, for `reason`. */
static __always_inline int drop(int reason)
{
	count_reason(reason);
	return TC_ACT_SHOT;
}

static __always_inline __u32 tunnel_ifindex(void)
{
	__u32 zero = 0;
	struct tg_devices *d = bpf_map_lookup_elem(&devices, &zero);

	return d ? d->tunnel_ifindex : 0;
}

static __always_inline __u32 segmenter_ifindex(void)
{
	__u32 zero = 0;
	struct tg_devices *d = bpf_map_lookup_elem(&devices, &zero);

	return d ? d->segmenter_ifindex : 0;
}

/* The policy in force. The generation is read once, so that no packet sees two policies. */
static __always_inline struct tg_config *current_config(__u64 *ret_generation)
{
	__u32 zero = 0, slot;
	struct tg_policy_word *word = bpf_map_lookup_elem(&policy, &zero);

	if (!word)
		return 0;
	*ret_generation = word->generation;
	slot = *ret_generation & 1;
	return bpf_map_lookup_elem(&config, &slot);
}

/* Statistics of a class; 0 only for an index out of range. */
static __always_inline struct tg_stats *class_stats(__u32 direction, __u32 class)
{
	__u32 index = direction * TG_MAX_CLASSES + class;

	return bpf_map_lookup_elem(&stats, &index);
}

#endif
