/* SPDX-License-Identifier: BSD-3-Clause */
#include <arpa/inet.h>
#include <string.h>

#include "guard/decide.h"
#include "guard/packet.h"

static bool prefix_matches(const uint8_t *prefix, const uint8_t *addr, unsigned length)
{
	unsigned bytes = length / 8, bits = length % 8;

	if (memcmp(prefix, addr, bytes))
		return false;
	return !bits || !((prefix[bytes] ^ addr[bytes]) & (uint8_t)(0xff00 >> bits));
}

static bool cidr_matches(const struct tg_cidr *cidr, const uint8_t addr[16])
{
	bool ipv4 = packet_addr_is_ipv4(addr);

	if (ipv4 != (cidr->family == AF_INET))
		return false;
	return prefix_matches(cidr->addr, ipv4 ? addr + 12 : addr, cidr->length);
}

static bool any_cidr(const struct tg_cidr *list, size_t count, const uint8_t addr[16])
{
	for (size_t i = 0; i < count; i++)
		if (cidr_matches(&list[i], addr))
			return true;
	return !count;
}

static bool any_port(const struct tg_port_range *list, size_t count, __be16 port)
{
	uint16_t host_order = ntohs(port);

	for (size_t i = 0; i < count; i++)
		if (host_order >= list[i].lo && host_order <= list[i].hi)
			return true;
	return !count;
}

static bool ports_match(const struct tg_policy_rule *rule, const struct tg_flow_key *key)
{
	return any_port(rule->ports, rule->port_count, key->dport) &&
	       any_port(rule->source_ports, rule->source_port_count, key->sport);
}

/* All but the ports of what every packet answers by itself. */
static bool address_matches(const struct tg_policy_rule *rule, const struct tg_flow_key *key, uint32_t mark)
{
	if (rule->proto && rule->proto != key->proto)
		return false;
	if (rule->has_mark && (mark & rule->mark_mask) != rule->mark)
		return false;
	return any_cidr(rule->to, rule->to_count, key->daddr) &&
	       any_cidr(rule->from, rule->from_count, key->saddr);
}

/* The conditions that every packet of the flow answers by itself. */
static bool header_matches(const struct tg_policy_rule *rule, const struct decide_facts *f)
{
	return address_matches(rule, f->key, f->mark) && ports_match(rule, f->key);
}

bool decide_by_header(const struct tg_policy *policy, unsigned tunnel, const struct tg_flow_key *key,
		      uint32_t mark, bool fragment, unsigned *ret_class)
{
	for (size_t i = 0; i < policy->rule_count; i++) {
		const struct tg_policy_rule *rule = &policy->rules[i];

		if (rule->tunnel != tunnel || tg_rule_is_flow(rule) || !address_matches(rule, key, mark))
			continue;
		if (fragment || ports_match(rule, key)) {
			*ret_class = rule->class;
			return true;
		}
	}
	return false;
}

/* As the kernel's routing rules do: they know no names and cgroups, and ICMP goes along. */
static bool is_routed_by(const struct tg_policy_rule *rule, const struct decide_facts *f, bool fragment)
{
	int family = packet_addr_is_ipv4(f->key->daddr) ? AF_INET : AF_INET6;
	struct tg_policy_rule icmp;

	/* of a packet that does not tell it may hold */
	if (rule->has_uid && f->has_uid && (f->uid < rule->uid_lo || f->uid > rule->uid_hi))
		return false;
	if (address_matches(rule, f->key, f->mark) && (fragment || ports_match(rule, f->key)))
		return true;
	return tg_rule_icmp(rule, family, &icmp) && address_matches(&icmp, f->key, f->mark);
}

unsigned decide_route_mtu(const struct tg_policy *policy, const struct decide_facts *f, bool fragment)
{
	for (size_t i = 0; i < policy->rule_count; i++) {
		const struct tg_policy_rule *rule = &policy->rules[i];

		if (rule->tunnel == (unsigned)f->tunnel && is_routed_by(rule, f, fragment))
			return tg_rule_packet(policy, rule);
	}
	return tg_tunnel_smallest_cell(&policy->tunnels[f->tunnel]);
}

static bool uid_matches(const struct tg_policy_rule *rule, const struct decide_ops *ops,
			const struct decide_facts *f)
{
	uint32_t uid = f->uid;

	if (!rule->has_uid)
		return true;
	if (!f->local || (!f->has_uid && !ops->uid(ops->ctx, f->key, &uid)))
		return false;
	return uid >= rule->uid_lo && uid <= rule->uid_hi;
}

bool decide_host_matches(const char *pattern, const char *host)
{
	size_t pattern_len = strlen(pattern), host_len = strlen(host);

	if (pattern[0] != '.')
		return !strcmp(pattern, host);
	if (!strcmp(pattern + 1, host))
		return true;
	return host_len > pattern_len && !strcmp(host + host_len - pattern_len, pattern);
}

/* Everything but a name not known yet. The cheap conditions first: in_cgroup() asks the kernel. */
static bool may_hold(const struct tg_policy_rule *rule, size_t index, const struct decide_ops *ops,
		     const struct decide_facts *f)
{
	if (!header_matches(rule, f))
		return false;
	if (rule->sni && f->name == DECIDE_NAME_NONE)
		return false;
	if (rule->sni && f->name == DECIDE_NAME_KNOWN && !decide_host_matches(rule->sni, f->host))
		return false;
	if (!uid_matches(rule, ops, f))
		return false;
	return !rule->cgroup || (f->local && ops->in_cgroup(ops->ctx, f->key, index));
}

static unsigned default_tunnel(const struct tg_policy *policy, const struct decide_facts *f)
{
	if (f->tunnel >= 0)
		return (unsigned)f->tunnel;
	for (size_t i = 0; i < policy->rule_count; i++)
		if (header_matches(&policy->rules[i], f))
			return policy->rules[i].tunnel;
	return 0;
}

enum decide_answer decide(const struct tg_policy *policy, const struct decide_ops *ops,
			  const struct decide_facts *f, struct decision *ret_decision)
{
	for (size_t i = 0; i < policy->rule_count; i++) {
		const struct tg_policy_rule *rule = &policy->rules[i];

		if (!may_hold(rule, i, ops, f))
			continue;
		*ret_decision = (struct decision){ rule->tunnel, rule->class, i };
		return rule->sni && f->name == DECIDE_NAME_UNKNOWN ? DECIDE_WAIT : DECIDE_RULE;
	}
	ret_decision->tunnel = default_tunnel(policy, f);
	ret_decision->class = policy->tunnels[ret_decision->tunnel].default_class;
	return DECIDE_DEFAULT;
}
