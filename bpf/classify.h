/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Which class a packet belongs to: what the classifier decided for its flow,
 * else the class in its mark, else the first rule that matches, else the
 * default. Rules are found by intersecting two sets, the rules whose `to`
 * prefixes contain the destination and those whose `from` prefixes contain the
 * source; only the survivors' ports, protocol and mark are looked at.
 */
#ifndef BPF_CLASSIFY_H
#define BPF_CLASSIFY_H

#include "maps.h"
#include "mark.h"
#include "chatter.h"
#include "packet.h"

static __always_inline __u64 rules_around(const struct packet *p, const __u8 *addr, __u32 slot, __u16 side)
{
	struct tg_rule_set *set;

	if (p->family == 4) {
		struct tg_lpm4_key key = { .prefixlen = 64, .slot = slot, .side = side };

		__builtin_memcpy(key.addr, addr + 12, 4);
		set = bpf_map_lookup_elem(&rules4, &key);
	} else {
		struct tg_lpm6_key key = { .prefixlen = 160, .slot = slot, .side = side };

		__builtin_memcpy(key.addr, addr, 16);
		set = bpf_map_lookup_elem(&rules6, &key);
	}
	return set ? set->rules : 0;
}

static __always_inline int in_range(__be16 port, __u16 lo, __u16 hi)
{
	__u16 value = bpf_ntohs(port);

	return value >= lo && value <= hi;
}

static __always_inline int rule_matches(const struct tg_rule *rule, const struct packet *p, __u32 mark)
{
	if (rule->flags & TG_RULE_FLOW)
		return 0;
	if (rule->proto && rule->proto != p->flow.proto)
		return 0;
	if ((mark & rule->mark_mask) != rule->mark)
		return 0;
	/* A fragment has no ports: it goes with the flow that it may belong to. */
	if (p->fragment)
		return 1;
	return in_range(p->flow.dport, rule->dport_lo, rule->dport_hi) &&
	       in_range(p->flow.sport, rule->sport_lo, rule->sport_hi);
}

/*
 * Number of trailing zero bits of a value that is not 0: the bits below the
 * lowest one, counted in parallel. No branches, for the verifier's sake: it
 * follows each of them in each round of the rule walk.
 */
static __always_inline __u32 lowest_bit(__u64 v)
{
	v = (v & -v) - 1;
	v -= (v >> 1) & 0x5555555555555555ull;
	v = (v & 0x3333333333333333ull) + ((v >> 2) & 0x3333333333333333ull);
	v = (v + (v >> 4)) & 0x0f0f0f0f0f0f0f0full;
	return (v * 0x0101010101010101ull) >> 56;
}

#define NO_CLASS 0xffffffffu

#define NO_PEER 0xffffffffu

/*
 * The number of the peer that takes the packet. WireGuard drops what none takes
 * behind us: such cells would leave a slot of the schedule empty, for all to see.
 */
static __always_inline __u32 peer_of(const struct tg_config *conf, const struct packet *p, __u32 slot)
{
	if (!(conf->flags & TG_CONFIG_ALLOWED))
		return 0;
	return (__u32)rules_around(p, p->flow.daddr, slot, TG_LPM_ALLOWED) - 1;
}

/* NO_CLASS for what is to be dropped. */
static __always_inline __u32 walk_rules(const struct tg_config *conf, const struct packet *p, __u32 slot,
					__u32 mark)
{
	__u64 set = rules_around(p, p->flow.daddr, slot, TG_LPM_TO);
	int i;

	if (set && conf->flags & TG_CONFIG_FROM)
		set &= rules_around(p, p->flow.saddr, slot, TG_LPM_FROM);
	for (i = 0; i < TG_MAX_RULES && set; i++) {
		__u32 index = slot * TG_MAX_RULES + lowest_bit(set);
		struct tg_rule *rule = bpf_map_lookup_elem(&rules, &index);

		if (rule && rule_matches(rule, p, mark))
			return rule->class;
		set &= set - 1;
	}
	if (tg_is_link_chatter(p->flow.daddr, p->family == 4))
		return NO_CLASS;
	count_reason(TG_NOTE_DEFAULT);
	return conf->default_class;
}

/* Returns 1 and the class if the agent decided about this flow. */
static __always_inline int decided_class(const struct tg_config *conf, const struct packet *p,
					 __u64 generation, __u32 mark, __u32 *ret_class)
{
	struct tg_flow *flow = bpf_map_lookup_elem(&flows, &p->flow);
	__u32 in_mark = (mark & TG_MARK_CLASS_MASK) >> TG_MARK_CLASS_SHIFT;

	if (flow && flow->generation == (__u32)generation && flow->class < conf->class_count) {
		*ret_class = flow->class;
		return 1;
	}
	/* The flow map forgets its oldest entries; the connection mark remembers. */
	if (in_mark && (mark & TG_MARK_TAG_MASK) == conf->mark_tag && in_mark <= conf->class_count) {
		*ret_class = in_mark - 1;
		return 1;
	}
	return 0;
}

static __always_inline __u32 classify(const struct tg_config *conf, const struct packet *p, __u64 generation,
				      __u32 mark)
{
	__u32 class;

	if (conf->flags & TG_CONFIG_FLOWS && decided_class(conf, p, generation, mark, &class))
		return class;
	return walk_rules(conf, p, generation & 1, mark);
}

#endif
