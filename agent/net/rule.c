/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <linux/fib_rules.h>
#include <stdlib.h>
#include <string.h>

#include "net/internal.h"
#include "net/rule.h"

/* ---- what a rule means ---- */

/*
 * The kernel takes port ranges within 1..65534 only. Port 0 is never used, so
 * that a range which begins with it may begin with 1, and one that then covers
 * everything is no restriction.
 */
static struct tg_port_range plain_ports(struct tg_port_range range)
{
	if (range.lo <= 1 && range.hi == 65535)
		return (struct tg_port_range){ 0, 0 };
	if (!range.lo && range.hi)
		range.lo = 1;
	return range;
}

static struct net_rule plain(const struct net_rule *rule)
{
	struct net_rule copy = *rule;

	copy.dport = plain_ports(rule->dport);
	copy.sport = plain_ports(rule->sport);
	copy.mark &= copy.mark_mask;
	copy.has_to = rule->has_to && rule->to.length;
	copy.has_from = rule->has_from && rule->from.length;
	if (copy.blackhole)
		copy.table = 0;
	return copy;
}

static bool same_prefix(bool has_a, const struct tg_cidr *a, bool has_b, const struct tg_cidr *b)
{
	return has_a == has_b && (!has_a || net_cidr_equal(a, b));
}

static bool same_ports(const struct tg_port_range *a, const struct tg_port_range *b)
{
	return a->lo == b->lo && a->hi == b->hi;
}

bool net_rule_equal(const struct net_rule *rule_a, const struct net_rule *rule_b)
{
	struct net_rule a = plain(rule_a), b = plain(rule_b);

	return a.family == b.family && a.priority == b.priority && a.proto == b.proto && a.mark == b.mark &&
	       a.mark_mask == b.mark_mask && a.blackhole == b.blackhole && a.table == b.table &&
	       same_prefix(a.has_to, &a.to, b.has_to, &b.to) &&
	       same_prefix(a.has_from, &a.from, b.has_from, &b.from) && same_ports(&a.dport, &b.dport) &&
	       same_ports(&a.sport, &b.sport) && a.has_uid == b.has_uid &&
	       (!a.has_uid || (a.uid_lo == b.uid_lo && a.uid_hi == b.uid_hi));
}

/*
 * Whether the kernel, asked to delete `request`, would take `other` for it: it
 * compares only the attributes that the request has.
 */
static bool delete_hits(const struct net_rule *rule_a, const struct net_rule *rule_b)
{
	struct net_rule request = plain(rule_a), other = plain(rule_b);

	if (!request.has_to)
		other.has_to = false;
	if (!request.has_from)
		other.has_from = false;
	if (!request.proto)
		other.proto = 0;
	if (!request.dport.lo)
		other.dport = request.dport;
	if (!request.sport.lo)
		other.sport = request.sport;
	if (!request.has_uid)
		other.has_uid = false;
	if (!request.mark)
		other.mark = 0;
	if (!request.mark_mask)
		other.mark_mask = 0;
	return net_rule_equal(&request, &other);
}

/* ---- reading ---- */

static bool read_prefix(const struct nlattr *attr, int family, uint8_t length, struct tg_cidr *ret_cidr)
{
	if (!attr || mnl_attr_get_payload_len(attr) < net_family_bytes(family))
		return false;
	*ret_cidr = (struct tg_cidr){ .family = family, .length = length };
	memcpy(ret_cidr->addr, mnl_attr_get_payload(attr), net_family_bytes(family));
	return true;
}

static void read_ports(const struct nlattr *attr, struct tg_port_range *ret_range)
{
	struct fib_rule_port_range range;

	if (!attr || mnl_attr_get_payload_len(attr) < sizeof(range))
		return;
	memcpy(&range, mnl_attr_get_payload(attr), sizeof(range));
	*ret_range = (struct tg_port_range){ range.start, range.end };
}

static void read_uids(const struct nlattr *attr, struct net_rule *rule)
{
	struct fib_rule_uid_range range;

	if (!attr || mnl_attr_get_payload_len(attr) < sizeof(range))
		return;
	memcpy(&range, mnl_attr_get_payload(attr), sizeof(range));
	rule->has_uid = true;
	rule->uid_lo = range.start;
	rule->uid_hi = range.end;
}

static uint8_t attr_u8(const struct nlattr *attr)
{
	return attr && mnl_attr_get_payload_len(attr) ? mnl_attr_get_u8(attr) : 0;
}

static int take_rule(const struct nlmsghdr *reply, void *data)
{
	const struct nlattr *table[FRA_MAX + 1] = { NULL };
	struct net_attrs attrs = { table, FRA_MAX };
	const struct fib_rule_hdr *header = mnl_nlmsg_get_payload(reply);
	struct net_rule *rule;

	if (mnl_nlmsg_get_payload_len(reply) < sizeof(*header) ||
	    mnl_attr_parse(reply, sizeof(*header), net_gather, &attrs) < 0)
		return -EBADMSG;
	if (attr_u8(table[FRA_PROTOCOL]) != TG_RT_PROTOCOL ||
	    (header->family != AF_INET && header->family != AF_INET6))
		return 0;
	rule = net_array_add(data, sizeof(*rule));
	if (!rule)
		return -ENOMEM;
	rule->family = header->family;
	rule->priority = net_attr_u32(table[FRA_PRIORITY], 0);
	rule->has_to = read_prefix(table[FRA_DST], header->family, header->dst_len, &rule->to);
	rule->has_from = read_prefix(table[FRA_SRC], header->family, header->src_len, &rule->from);
	rule->proto = attr_u8(table[FRA_IP_PROTO]);
	read_ports(table[FRA_DPORT_RANGE], &rule->dport);
	read_ports(table[FRA_SPORT_RANGE], &rule->sport);
	read_uids(table[FRA_UID_RANGE], rule);
	rule->mark = net_attr_u32(table[FRA_FWMARK], 0);
	rule->mark_mask = net_attr_u32(table[FRA_FWMASK], 0);
	rule->blackhole = header->action == FR_ACT_BLACKHOLE;
	rule->table = rule->blackhole ? 0 : net_attr_u32(table[FRA_TABLE], header->table);
	return 0;
}

static void rules_restart(void *data)
{
	struct net_array *array = data;

	free(array->data);
	*array = (struct net_array){ .data = NULL };
}

int net_rule_list(struct net *net, struct net_rule **ret_rules, size_t *ret_count, struct tg_error *e)
{
	struct net_array rules = { .data = NULL };
	struct nlmsghdr *message = net_message(net, RTM_GETRULE, NLM_F_DUMP);
	int err;

	mnl_nlmsg_put_extra_header(message, sizeof(struct fib_rule_hdr));
	err = net_dump(net, net->route, message, take_rule, rules_restart, &rules, e);
	if (err) {
		rules_restart(&rules);
		return tg_error_prefix(e, err, "cannot list routing rules");
	}
	*ret_rules = rules.data;
	*ret_count = rules.count;
	return 0;
}

/* ---- changing ---- */

static void put_ports(struct nlmsghdr *message, uint16_t type, const struct tg_port_range *range)
{
	struct fib_rule_port_range value = { .start = range->lo, .end = range->hi };

	if (range->lo)
		mnl_attr_put(message, type, sizeof(value), &value);
}

struct nlmsghdr *rule_message(struct net *net, uint16_t type, uint16_t flags, const struct net_rule *rule)
{
	struct net_rule p = plain(rule);
	struct nlmsghdr *message = net_message(net, type, flags);
	struct fib_rule_hdr *header = mnl_nlmsg_put_extra_header(message, sizeof(*header));
	struct fib_rule_uid_range uids = { .start = p.uid_lo, .end = p.uid_hi };

	header->family = (uint8_t)p.family;
	header->action = p.blackhole ? FR_ACT_BLACKHOLE : FR_ACT_TO_TBL;
	header->dst_len = p.has_to ? p.to.length : 0;
	header->src_len = p.has_from ? p.from.length : 0;
	mnl_attr_put_u8(message, FRA_PROTOCOL, TG_RT_PROTOCOL);
	mnl_attr_put_u32(message, FRA_PRIORITY, p.priority);
	if (p.has_to)
		mnl_attr_put(message, FRA_DST, net_family_bytes(p.family), p.to.addr);
	if (p.has_from)
		mnl_attr_put(message, FRA_SRC, net_family_bytes(p.family), p.from.addr);
	if (p.proto)
		mnl_attr_put_u8(message, FRA_IP_PROTO, p.proto);
	put_ports(message, FRA_DPORT_RANGE, &p.dport);
	put_ports(message, FRA_SPORT_RANGE, &p.sport);
	if (p.has_uid)
		mnl_attr_put(message, FRA_UID_RANGE, sizeof(uids), &uids);
	if (p.mark_mask) {
		mnl_attr_put_u32(message, FRA_FWMARK, p.mark);
		mnl_attr_put_u32(message, FRA_FWMASK, p.mark_mask);
	}
	if (!p.blackhole)
		mnl_attr_put_u32(message, FRA_TABLE, p.table);
	return message;
}

static int rule_valid(const struct net_rule *rule, struct tg_error *e)
{
	struct net_rule p = plain(rule);

	if (p.dport.hi == 65535 || p.sport.hi == 65535)
		return tg_error(e, -ERANGE, "rule %u: the kernel's routing rules cannot match port 65535",
				rule->priority);
	if ((p.has_to && p.to.family != p.family) || (p.has_from && p.from.family != p.family))
		return tg_error(e, -EINVAL, "rule %u: a prefix of the other address family", rule->priority);
	return 0;
}

static size_t count_equal(const struct net_rule *rules, size_t count, const struct net_rule *rule)
{
	size_t equal = 0;

	for (size_t i = 0; i < count; i++)
		equal += net_rule_equal(&rules[i], rule);
	return equal;
}

static int rule_add(struct net *net, const struct net_rule *rule, uint16_t flags, struct tg_error *e)
{
	int err = net_apply(net, rule_message(net, RTM_NEWRULE, NLM_F_CREATE | flags, rule), e);

	return err ? tg_error_prefix(e, err, "cannot add routing rule %u", rule->priority) : 0;
}

int net_rule_ensure(struct net *net, const struct net_rule *rule, struct tg_error *e)
{
	struct net_rule *rules;
	size_t count, equal;
	int err = rule_valid(rule, e);

	/* no IPv6, no packet that the rule could catch */
	if (!err && rule->family == AF_INET6 && !net_has_ipv6())
		return 0;
	if (!err)
		err = rule_add(net, rule, NLM_F_EXCL, e);
	if (err != -EEXIST)
		return err;
	/* kernels differ in what they compare, and the rule in the way may be somebody else's */
	err = net_rule_list(net, &rules, &count, e);
	if (err)
		return err;
	equal = count_equal(rules, count, rule);
	free(rules);
	return equal ? 0 : rule_add(net, rule, 0, e);
}

static int rule_delete(struct net *net, const struct net_rule *rule, struct tg_error *e)
{
	int err = net_apply(net, rule_message(net, RTM_DELRULE, 0, rule), e);

	if (!err || err == -ENOENT)
		return 0;
	return tg_error_prefix(e, err, "cannot remove routing rule %u", rule->priority);
}

/*
 * The kernel deletes the first rule that has everything that the request has,
 * which may be one that has more. Those before the one meant are taken out and
 * put back behind it; their order among themselves stays.
 */
static int delete_behind(struct net *net, const struct net_rule *rules, size_t at, struct tg_error *e)
{
	int err = 0, again;

	for (size_t i = 0; i < at && !err; i++)
		if (delete_hits(&rules[at], &rules[i]))
			err = rule_delete(net, &rules[i], e);
	if (!err)
		err = rule_delete(net, &rules[at], e);
	for (size_t i = 0; i < at; i++) {
		if (!delete_hits(&rules[at], &rules[i]))
			continue;
		again = rule_add(net, &rules[i], NLM_F_EXCL, err ? NULL : e);
		if (again && again != -EEXIST && !err)
			err = again;
	}
	return err;
}

int net_rule_remove(struct net *net, const struct net_rule *rule, struct tg_error *e)
{
	struct net_rule *rules;
	size_t count;
	int err = net_rule_list(net, &rules, &count, e);

	if (err)
		return err;
	for (size_t i = 0; i < count; i++) {
		if (!net_rule_equal(&rules[i], rule))
			continue;
		err = delete_behind(net, rules, i, e);
		break;
	}
	free(rules);
	return err;
}
