/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/parts.h"
#include "shared/mark.h"
#include "util/parse.h"

enum { MAX_UID = 4294967294u };

static int has_family(const struct tg_cidr *list, size_t count, int family)
{
	if (!count)
		return true;
	for (size_t i = 0; i < count; i++)
		if (list[i].family == family)
			return true;
	return false;
}

bool policy_rule_has_family(const struct tg_policy_rule *rule, int family)
{
	return has_family(rule->to, rule->to_count, family) &&
	       has_family(rule->from, rule->from_count, family);
}

bool tg_rule_is_flow(const struct tg_policy_rule *rule)
{
	return rule->has_uid || rule->cgroup || rule->sni;
}

unsigned tg_rule_packet(const struct tg_policy *policy, const struct tg_policy_rule *rule)
{
	const struct tg_tunnel *tunnel = &policy->tunnels[rule->tunnel];

	return tg_rule_is_flow(rule) ? tg_tunnel_smallest_cell(tunnel)
				     : tg_class_packet(&tunnel->classes[rule->class]);
}

bool tg_rule_icmp(const struct tg_policy_rule *rule, int family, struct tg_policy_rule *ret_icmp)
{
	uint8_t proto = family == AF_INET6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;

	if (!rule->proto || rule->proto == proto || rule->has_uid || rule->has_mark)
		return false;
	*ret_icmp = *rule;
	ret_icmp->proto = proto;
	ret_icmp->port_count = 0;
	ret_icmp->source_port_count = 0;
	return true;
}

static int parse_tunnel_and_class(struct conf_group *g, struct tg_policy_rule *rule)
{
	const struct tg_policy *policy = g->conf->out;
	const config_setting_t *s;
	const struct tg_tunnel *t;
	const char *name;
	int ret;

	ret = conf_require(g, "tunnel", &s);
	if (!ret)
		ret = conf_string(g->conf, s, "the name of a tunnel", &name);
	if (ret)
		return ret;
	while (rule->tunnel < policy->tunnel_count && strcmp(policy->tunnels[rule->tunnel].name, name))
		rule->tunnel++;
	if (rule->tunnel == policy->tunnel_count)
		return conf_expected(g->conf, s, "the name of one of this policy's tunnels");
	t = &policy->tunnels[rule->tunnel];
	ret = conf_require(g, "class", &s);
	if (!ret)
		ret = conf_string(g->conf, s, "the name of a class", &name);
	if (ret)
		return ret;
	while (rule->class < t->class_count && strcmp(t->classes[rule->class].name, name))
		rule->class ++;
	if (rule->class == t->class_count)
		return conf_expected(g->conf, s, "the name of a class of tunnel '%s'", t->name);
	return 0;
}

static int parse_prefixes(struct conf_group *g, struct tg_policy_rule *rule)
{
	const config_setting_t *s;
	int ret = 0;

	s = conf_get(g, "to");
	if (s)
		ret = conf_cidr_list(g->conf, s, TG_MAX_LIST, &rule->to, &rule->to_count);
	s = conf_get(g, "from");
	if (s && !ret)
		ret = conf_cidr_list(g->conf, s, TG_MAX_LIST, &rule->from, &rule->from_count);
	if (!ret && !policy_rule_has_family(rule, AF_INET) && !policy_rule_has_family(rule, AF_INET6))
		return conf_fail(
			g->conf, s,
			"from and to have no address family in common, expected prefixes of the same one");
	return ret;
}

static int parse_proto(struct conf_group *g, struct tg_policy_rule *rule)
{
	const config_setting_t *s = conf_get(g, "proto");
	const char *text;
	int64_t number = 0;

	if (!s)
		return 0;
	text = config_setting_get_string(s);
	for (const struct conf_word *p = policy_protocols; text && p->word; p++)
		if (!strcmp(text, p->word))
			number = p->value;
	if (!text)
		number = config_setting_get_int64(s);
	if (number < 1 || number > 255 || config_setting_type(s) == CONFIG_TYPE_FLOAT)
		return conf_expected(
			g->conf, s,
			"\"tcp\", \"udp\", \"sctp\", \"icmp\", \"icmpv6\" or a number from 1 to 255");
	rule->proto = (uint8_t)number;
	return 0;
}

/* A number, or "LO-HI" in quotes. */
static int parse_span(const struct conf *c, const config_setting_t *s, uint32_t min, uint32_t max,
		      uint32_t *ret_lo, uint32_t *ret_hi)
{
	const char *text = config_setting_get_string(s);
	int type = config_setting_type(s);
	int64_t value;

	if (text && !tg_parse_range(text, min, max, ret_lo, ret_hi))
		return 0;
	value = config_setting_get_int64(s);
	if ((type != CONFIG_TYPE_INT && type != CONFIG_TYPE_INT64) || value < min || value > max)
		return conf_expected(c, s, "a number from %u to %u, or a range of them such as \"1000-1999\"",
				     min, max);
	*ret_lo = *ret_hi = (uint32_t)value;
	return 0;
}

static int parse_ports(struct conf_group *g, const char *key, struct tg_port_range **ret_list,
		       size_t *ret_count)
{
	const config_setting_t *s = conf_get(g, key);
	struct tg_port_range *list;
	uint32_t lo, hi;
	size_t count = 0;
	int ret;

	if (!s)
		return 0;
	ret = conf_list_length(g->conf, s, TG_MAX_LIST, &count);
	if (ret)
		return ret;
	list = calloc(count, sizeof(*list));
	if (!list)
		return tg_error(g->conf->e, -ENOMEM, "out of memory");
	for (size_t i = 0; i < count; i++) {
		ret = parse_span(g->conf, config_setting_get_elem(s, (unsigned)i), 1, 65535, &lo, &hi);
		/* fib_rule_port_range_valid() in the kernel's fib_rules.c wants an end below 65535 */
		if (!ret && lo > 1 && hi == 65535)
			ret = conf_expected(
				g->conf, config_setting_get_elem(s, (unsigned)i),
				"a range that ends at 65534, the last port that the kernel's routing "
				"rules can match; for all ports leave %s out",
				key);
		if (ret) {
			free(list);
			return ret;
		}
		list[i] = (struct tg_port_range){ .lo = (uint16_t)lo, .hi = (uint16_t)hi };
	}
	*ret_list = list;
	*ret_count = count;
	return 0;
}

static int parse_mark(struct conf_group *g, struct tg_policy_rule *rule)
{
	const uint32_t ours = TG_MARK_FLOW_MASK | TG_MARK_OUTER | TG_MARK_PACED;
	const config_setting_t *s = conf_get(g, "mark");

	if (!s)
		return 0;
	if (!config_setting_get_string(s) ||
	    tg_parse_mark(config_setting_get_string(s), &rule->mark, &rule->mark_mask))
		return conf_expected(g->conf, s, "a mark and a mask that covers it, such as \"0x10/0xff\"");
	if (rule->mark_mask & ours)
		return conf_expected(g->conf, s,
				     "a mask without the bits 0x%08x, which TensorGuard uses itself", ours);
	rule->has_mark = true;
	return 0;
}

static int parse_uid(struct conf_group *g, struct tg_policy_rule *rule)
{
	const config_setting_t *s = conf_get(g, "uid");

	if (!s)
		return 0;
	rule->has_uid = true;
	return parse_span(g->conf, s, 0, MAX_UID, &rule->uid_lo, &rule->uid_hi);
}

static int parse_cgroup(struct conf_group *g, struct tg_policy_rule *rule)
{
	const config_setting_t *s = conf_get(g, "cgroup");

	return s ? conf_cgroup(g->conf, s, &rule->cgroup) : 0;
}

static int parse_sni(struct conf_group *g, struct tg_policy_rule *rule)
{
	const config_setting_t *s = conf_get(g, "sni");
	const char *text;
	bool suffix;
	char *name;

	if (!s)
		return 0;
	text = config_setting_get_string(s);
	suffix = text && !strncmp(text, "*.", 2);
	if (!text || strlen(text) > 255)
		goto bad;
	/* "*.example" is kept as ".example" */
	name = strdup(suffix ? text + 1 : text);
	if (!name)
		return tg_error(g->conf->e, -ENOMEM, "out of memory");
	for (char *p = name; *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p - 'A' + 'a');
	rule->sni = name;
	if (tg_host_name_valid(suffix ? name + 1 : name))
		return 0;
bad:
	return conf_expected(g->conf, s, "a host name, or *. and the end of one, such as *.robot.example");
}

/* ---- what only the whole rule shows ---- */

static int check_protocol(struct conf_group *g, struct tg_policy_rule *rule)
{
	bool ports = rule->port_count || rule->source_port_count;

	if (rule->sni && !rule->proto)
		rule->proto = IPPROTO_TCP;
	if (rule->sni && rule->proto != IPPROTO_TCP)
		return conf_expected(g->conf, conf_get(g, "proto"), "\"tcp\" in a rule with sni");
	if (ports && rule->proto != IPPROTO_TCP && rule->proto != IPPROTO_UDP && rule->proto != IPPROTO_SCTP)
		return conf_fail(g->conf, g->set,
				 "a rule with ports and without a protocol that has them, "
				 "expected proto \"tcp\", \"udp\" or \"sctp\"");
	return 0;
}

static int check_reach(struct conf_group *g, const struct tg_policy_rule *rule)
{
	bool narrowed = rule->from_count || rule->proto || rule->has_mark || rule->has_uid || rule->cgroup;

	if (rule->to_count)
		return 0;
	if (!narrowed)
		return conf_fail(g->conf, g->set,
				 "a rule that matches everything, expected to = (\"0.0.0.0/0\", \"::/0\") if "
				 "that is meant");
	if (rule->sni || rule->cgroup)
		return conf_fail(g->conf, g->set,
				 "a rule with %s and without to, expected to: which packets to look at "
				 "must be known before a flow is",
				 rule->sni ? "sni" : "cgroup");
	if (g->conf->out->fail == TG_FAIL_CLOSED && !rule->has_uid)
		return conf_fail(g->conf, g->set,
				 "a rule without to and uid under fail = \"closed\", expected one of them: "
				 "only they can be blocked by routing when the tunnel is missing");
	return 0;
}

int policy_parse_rule(struct conf *c, const config_setting_t *s, struct tg_policy_rule *rule)
{
	static const char *const keys[] = { "tunnel",       "class", "to",  "from",   "proto", "ports",
					    "source_ports", "mark",  "uid", "cgroup", "sni" };
	struct conf_group g;
	int ret;

	rule->line = config_setting_source_line(s);
	ret = conf_group_begin(c, s, "rule", &g);
	if (!ret)
		ret = conf_check_keys(&g, keys, CONF_KEY_COUNT(keys));
	if (!ret)
		ret = parse_tunnel_and_class(&g, rule);
	if (!ret)
		ret = parse_prefixes(&g, rule);
	if (!ret)
		ret = parse_proto(&g, rule);
	if (!ret)
		ret = parse_ports(&g, "ports", &rule->ports, &rule->port_count);
	if (!ret)
		ret = parse_ports(&g, "source_ports", &rule->source_ports, &rule->source_port_count);
	if (!ret)
		ret = parse_mark(&g, rule);
	if (!ret)
		ret = parse_uid(&g, rule);
	if (!ret)
		ret = parse_cgroup(&g, rule);
	if (!ret)
		ret = parse_sni(&g, rule);
	if (!ret)
		ret = check_protocol(&g, rule);
	return ret ? ret : check_reach(&g, rule);
}
