/* SPDX-License-Identifier: BSD-3-Clause */
/* The routing rules and routes that a policy wants, without a kernel. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "instance/instance.h"
#include "shared/mark.h"

#define HEAD(fail)                                                                                           \
	"version = 1; name = \"r\"; policy_version = 1L; role = \"edge\"; profile = \"lab\"; fail = \"" fail \
	"\";\n"                                                                                              \
	"tunnels = ( { name = \"tg0\"; default = \"big\"; external = \"e0\";\n"                              \
	"classes = ( { name = \"big\"; defence = \"pad\"; pad = \"cell\"; cell = 1408; },\n"                 \
	"{ name = \"small\"; defence = \"pad\"; pad = \"cell\"; cell = 320; } ); } );\n"

static struct tg_policy *parse(const char *text)
{
	struct tg_policy *policy = NULL;
	struct tg_error e = { "" };

	if (tg_policy_parse(text, strlen(text), "test", &policy, &e))
		fprintf(stderr, "%s\n", e.message);
	CU_ASSERT_PTR_NOT_NULL_FATAL(policy);
	return policy;
}

static struct routing plan_of(const struct tg_policy *policy, unsigned ifindex, unsigned cap)
{
	const unsigned ifindexes[TG_MAX_TUNNELS] = { ifindex }, caps[TG_MAX_TUNNELS] = { cap };
	struct routing plan = { 0 };
	struct tg_error e;

	CU_ASSERT_EQUAL_FATAL(routing_plan(policy, ifindexes, cap ? caps : NULL, &plan, &e), 0);
	return plan;
}

/* The only rule with this priority and family; NULL and a failure when there is not exactly one. */
static const struct net_rule *only(const struct routing *plan, uint32_t priority, int family)
{
	const struct net_rule *found = NULL;
	size_t count = 0;

	for (size_t i = 0; i < plan->rule_count; i++)
		if (plan->rules[i].priority == priority && plan->rules[i].family == family) {
			found = &plan->rules[i];
			count++;
		}
	CU_ASSERT_EQUAL_FATAL(count, 1);
	return found;
}

static size_t count_rules(const struct routing *plan, bool blackhole)
{
	size_t count = 0;

	for (size_t i = 0; i < plan->rule_count; i++)
		count += plan->rules[i].blackhole == blackhole;
	return count;
}

/* Our own outer packets must be let by before any other rule of ours looks at them. */
TEST(routing, outer_packets_come_first)
{
	struct tg_policy *policy = parse(HEAD("closed") "rules = ( { tunnel = \"tg0\"; class = \"big\"; to = "
							"( \"0.0.0.0/0\", \"::/0\" ); } );");
	struct routing plan = plan_of(policy, 7, 0);
	const int families[] = { AF_INET, AF_INET6 };

	for (int i = 0; i < 2; i++) {
		const struct net_rule *outer = only(&plan, 5400, families[i]);

		CU_ASSERT_EQUAL(outer->mark, TG_MARK_OUTER);
		CU_ASSERT_EQUAL(outer->mark_mask, TG_MARK_OUTER);
		CU_ASSERT_EQUAL(outer->table, 254);
		CU_ASSERT_FALSE(outer->blackhole);
	}
	for (size_t i = 0; i < plan.rule_count; i++)
		CU_ASSERT_TRUE(plan.rules[i].priority >= 5400);
	routing_free(&plan);
	tg_policy_free(policy);
}

/* Every lookup has its blackhole: the same selector, behind all lookups. */
TEST(routing, closed_has_a_blackhole_behind_each_lookup)
{
	struct tg_policy *policy = parse(HEAD(
		"closed") "rules = ( { tunnel = \"tg0\"; class = \"small\"; to = ( \"10.1.0.0/16\", "
			  "\"fd01::/64\" ); proto = \"tcp\";\n"
			  "ports = ( \"80\", \"443-444\" ); source_ports = ( \"1000-1001\", \"2000\" ); },\n"
			  "{ tunnel = \"tg0\"; class = \"big\"; to = ( \"10.4.0.0/16\" );\n"
			  "from = ( \"10.2.0.0/16\", \"10.3.0.0/16\" ); mark = \"0x5/0xff\"; } );");
	struct routing plan = plan_of(policy, 7, 0);
	size_t lookups = 0;

	for (size_t i = 0; i < plan.rule_count; i++) {
		struct net_rule twin = plan.rules[i];
		bool found = false;

		if (twin.blackhole || twin.priority == 5400)
			continue;
		lookups++;
		twin.priority += 99;
		twin.blackhole = true;
		for (size_t j = 0; j < plan.rule_count; j++)
			found |= net_rule_equal(&plan.rules[j], &twin);
		CU_ASSERT_TRUE(found);
	}
	/* two prefixes by two ports by two source ports and once for ICMP, and two sources */
	CU_ASSERT_EQUAL(lookups, 12);
	CU_ASSERT_EQUAL(count_rules(&plan, true), 12);
	CU_ASSERT_EQUAL(count_rules(&plan, false), 14);
	routing_free(&plan);
	tg_policy_free(policy);
}

/* An ICMP error quotes the packet that it is about: it must not leave beside the tunnel. */
TEST(routing, icmp_goes_with_the_protocol_that_it_reports_on)
{
	struct tg_policy *policy =
		parse(HEAD("closed") "rules = ( { tunnel = \"tg0\"; class = \"small\"; to = ( "
				     "\"10.1.0.0/16\", \"fd01::/64\" ); proto = \"udp\"; "
				     "ports = ( 5000 ); },\n"
				     "{ tunnel = \"tg0\"; class = \"big\"; uid = 7; proto = "
				     "\"udp\"; } );");
	struct routing plan = plan_of(policy, 7, 0);
	unsigned v4 = 0, v6 = 0;

	for (size_t i = 0; i < plan.rule_count; i++) {
		const struct net_rule *rule = &plan.rules[i];

		if (rule->proto != IPPROTO_ICMP && rule->proto != IPPROTO_ICMPV6)
			continue;
		CU_ASSERT_TRUE(rule->has_to && !rule->dport.hi && !rule->sport.hi && !rule->has_uid);
		CU_ASSERT_EQUAL(rule->proto == IPPROTO_ICMP, rule->family == AF_INET);
		v4 += rule->family == AF_INET;
		v6 += rule->family == AF_INET6;
	}
	/* a lookup and a blackhole each; the kernel sends its messages as nobody's user */
	CU_ASSERT_EQUAL(v4, 2);
	CU_ASSERT_EQUAL(v6, 2);
	routing_free(&plan);
	tg_policy_free(policy);
}

TEST(routing, open_has_no_blackhole)
{
	struct tg_policy *policy = parse(HEAD("open") "rules = ( { tunnel = \"tg0\"; class = \"big\"; to = ( "
						      "\"0.0.0.0/0\", \"::/0\" ); } );");
	struct routing plan = plan_of(policy, 7, 0);

	CU_ASSERT_EQUAL(count_rules(&plan, true), 0);
	CU_ASSERT_EQUAL(count_rules(&plan, false), 4);
	routing_free(&plan);
	tg_policy_free(policy);
}

/* A missing device takes its routes along, never its blackholes. */
TEST(routing, without_device)
{
	struct tg_policy *policy = parse(HEAD(
		"closed") "rules = ( { tunnel = \"tg0\"; class = \"big\"; to = ( \"10.1.0.0/16\" ); } );");
	struct routing with = plan_of(policy, 7, 0), without = plan_of(policy, 0, 0);

	CU_ASSERT_EQUAL(without.rule_count, with.rule_count);
	CU_ASSERT_EQUAL(count_rules(&without, true), 1);
	CU_ASSERT_EQUAL(without.route_count, 0);
	CU_ASSERT_EQUAL(with.route_count, 2);
	routing_free(&with);
	routing_free(&without);
	tg_policy_free(policy);
}

/* Classes of different cells use different tables, and a cap moves those that are above it. */
TEST(routing, tables_by_packet_size)
{
	struct tg_policy *policy = parse(
		HEAD("closed") "rules = ( { tunnel = \"tg0\"; class = \"big\"; to = ( \"10.1.0.0/16\" ); },\n"
			       "{ tunnel = \"tg0\"; class = \"small\"; to = ( \"10.2.0.0/16\" ); } );");
	struct routing plan = plan_of(policy, 7, 0), capped = plan_of(policy, 7, 160);
	const struct net_rule *big = only(&plan, 5401, AF_INET), *small = only(&plan, 5402, AF_INET);

	CU_ASSERT_NOT_EQUAL(big->table, small->table);
	CU_ASSERT_EQUAL(plan.route_count, 4);
	for (size_t i = 0; i < plan.route_count; i++) {
		CU_ASSERT_EQUAL(plan.routes[i].mtu_lock, plan.routes[i].table == small->table ? 320 : 1408);
		CU_ASSERT_EQUAL(plan.routes[i].ifindex, 7);
		CU_ASSERT_EQUAL(plan.routes[i].to.length, 0);
	}
	CU_ASSERT_EQUAL(only(&capped, 5401, AF_INET)->table, only(&capped, 5402, AF_INET)->table);
	CU_ASSERT_EQUAL(capped.route_count, 2);
	CU_ASSERT_EQUAL(capped.routes[0].mtu_lock, 160);
	routing_free(&plan);
	routing_free(&capped);
	tg_policy_free(policy);
}

/* Which class a flow gets is not known yet: its packets must fit the smallest cell. */
TEST(routing, flow_rules_fit_every_class)
{
	struct tg_policy *policy = parse(HEAD("closed") "rules = ( { tunnel = \"tg0\"; class = \"big\"; to = "
							"( \"10.1.0.0/16\" ); uid = 1000; } );");
	struct routing plan = plan_of(policy, 7, 0);
	const struct net_rule *rule = only(&plan, 5401, AF_INET);

	CU_ASSERT_TRUE(rule->has_uid);
	CU_ASSERT_EQUAL(rule->uid_lo, 1000);
	CU_ASSERT_EQUAL(rule->uid_hi, 1000);
	CU_ASSERT_EQUAL(plan.routes[0].mtu_lock, 320);
	CU_ASSERT_EQUAL(tg_tunnel_smallest_cell(&policy->tunnels[0]), 320);
	routing_free(&plan);
	tg_policy_free(policy);
}

/* A source of one family with destinations of both: no rule without the source. */
TEST(routing, families_do_not_mix)
{
	struct tg_policy *policy =
		parse(HEAD("closed") "rules = ( { tunnel = \"tg0\"; class = \"big\"; to = ( \"10.1.0.0/16\", "
				     "\"fd01::/64\" ); from = ( \"10.2.0.0/16\" ); } );");
	struct routing plan = plan_of(policy, 7, 0);

	CU_ASSERT_TRUE(only(&plan, 5401, AF_INET)->has_from);
	for (size_t i = 0; i < plan.rule_count; i++) {
		CU_ASSERT_TRUE(plan.rules[i].priority == 5400 || plan.rules[i].family == AF_INET);
		CU_ASSERT_TRUE(!plan.rules[i].has_to || plan.rules[i].to.family == plan.rules[i].family);
	}
	routing_free(&plan);
	tg_policy_free(policy);
}
