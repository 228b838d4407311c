/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which traffic enters a tunnel is decided by the kernel's routing rules alone:
 * they work with every process dead and with every iptables rule gone.
 *
 *	5400		our own outer packets (by mark) go by the main table
 *	5401 + n	what rule n matches goes by the table of its class
 *	5500 + n	fail closed: what rule n matches goes nowhere else
 *
 * There is a table per tunnel and packet size: one default route per family
 * into the tunnel, locked to the cell of the classes that use it. A class whose
 * cell changes moves to another table, so that no table ever changes in place.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "instance/instance.h"
#include "shared/mark.h"

enum {
	PRIORITY_OUTER = 5400,
	PRIORITY_LOOKUP = 5401,
	PRIORITY_BLACKHOLE = 5500,
	TABLE_BASE = 840000,
	TABLE_STEP = 10000,
	TABLE_MAIN = 254
};

struct builder {
	const struct tg_policy *policy;
	const unsigned *caps;
	struct routing plan;
	size_t rule_room, route_room;
	bool failed;
};

static void add_rule(struct builder *b, const struct net_rule *rule)
{
	if (b->plan.rule_count == b->rule_room) {
		size_t room = b->rule_room ? 2 * b->rule_room : 64;
		struct net_rule *grown = realloc(b->plan.rules, room * sizeof(*grown));

		if (!grown) {
			b->failed = true;
			return;
		}
		b->plan.rules = grown;
		b->rule_room = room;
	}
	b->plan.rules[b->plan.rule_count++] = *rule;
}

static void add_route(struct builder *b, const struct net_route *route)
{
	if (b->plan.route_count == b->route_room) {
		size_t room = b->route_room ? 2 * b->route_room : 64;
		struct net_route *grown = realloc(b->plan.routes, room * sizeof(*grown));

		if (!grown) {
			b->failed = true;
			return;
		}
		b->plan.routes = grown;
		b->route_room = room;
	}
	b->plan.routes[b->plan.route_count++] = *route;
}

/*
 * A flow rule's packets may still end in any class of the tunnel: they must fit
 * the smallest. Locked even when that is the tunnel's MTU: WireGuard rounds up
 * to what the route says, and path MTU discovery must not lower it unasked.
 */
static unsigned rule_mtu(const struct builder *b, const struct tg_policy_rule *rule)
{
	const struct tg_tunnel *tunnel = &b->policy->tunnels[rule->tunnel];
	unsigned mtu = tg_rule_packet(b->policy, rule);

	if (b->caps && b->caps[rule->tunnel] && b->caps[rule->tunnel] < mtu)
		mtu = b->caps[rule->tunnel];
	return mtu < tunnel->mtu ? mtu : tunnel->mtu;
}

static uint32_t rule_table(const struct builder *b, const struct tg_policy_rule *rule)
{
	return TABLE_BASE + rule->tunnel * TABLE_STEP + rule_mtu(b, rule);
}

static void add_both(struct builder *b, size_t n, const struct tg_policy_rule *origin, struct net_rule *rule)
{
	rule->priority = PRIORITY_LOOKUP + (uint32_t)n;
	rule->table = rule_table(b, origin);
	rule->blackhole = false;
	add_rule(b, rule);
	if (b->policy->fail != TG_FAIL_CLOSED)
		return;
	rule->priority = PRIORITY_BLACKHOLE + (uint32_t)n;
	rule->table = 0;
	rule->blackhole = true;
	add_rule(b, rule);
}

/* Every combination of port ranges; no list means any port. */
static void add_ports(struct builder *b, size_t n, const struct tg_policy_rule *origin, struct net_rule *rule)
{
	size_t dports = origin->port_count ? origin->port_count : 1;
	size_t sports = origin->source_port_count ? origin->source_port_count : 1;

	for (size_t d = 0; d < dports; d++)
		for (size_t s = 0; s < sports; s++) {
			memset(&rule->dport, 0, sizeof(rule->dport));
			memset(&rule->sport, 0, sizeof(rule->sport));
			if (origin->port_count)
				rule->dport = origin->ports[d];
			if (origin->source_port_count)
				rule->sport = origin->source_ports[s];
			add_both(b, n, origin, rule);
		}
}

static void add_from(struct builder *b, size_t n, const struct tg_policy_rule *origin, struct net_rule *rule)
{
	if (!origin->from_count) {
		add_ports(b, n, origin, rule);
		return;
	}
	for (size_t i = 0; i < origin->from_count; i++) {
		if (origin->from[i].family != rule->family)
			continue;
		rule->has_from = true;
		rule->from = origin->from[i];
		add_ports(b, n, origin, rule);
	}
}

/* The rules of one family that policy rule `n`, in the form of `origin`, needs. */
static void add_family(struct builder *b, size_t n, const struct tg_policy_rule *origin, int family)
{
	struct net_rule rule = { .proto = origin->proto,
				 .has_uid = origin->has_uid,
				 .uid_lo = origin->uid_lo,
				 .uid_hi = origin->uid_hi,
				 .mark = origin->mark,
				 .mark_mask = origin->mark_mask,
				 .family = family };

	for (size_t i = 0; i < origin->to_count; i++) {
		if (origin->to[i].family != family)
			continue;
		rule.has_to = true;
		rule.to = origin->to[i];
		add_from(b, n, origin, &rule);
	}
	if (!origin->to_count)
		add_from(b, n, origin, &rule);
}

static void add_policy_rule(struct builder *b, size_t n)
{
	static const int families[] = { AF_INET, AF_INET6 };
	const struct tg_policy_rule *origin = &b->policy->rules[n];
	struct tg_policy_rule icmp;

	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
		add_family(b, n, origin, families[i]);
		if (tg_rule_icmp(origin, families[i], &icmp))
			add_family(b, n, &icmp, families[i]);
	}
}

static void add_outer_rule(struct builder *b)
{
	struct net_rule rule = { .priority = PRIORITY_OUTER,
				 .mark = TG_MARK_OUTER,
				 .mark_mask = TG_MARK_OUTER,
				 .table = TABLE_MAIN };

	rule.family = AF_INET;
	add_rule(b, &rule);
	rule.family = AF_INET6;
	add_rule(b, &rule);
}

static bool table_planned(const struct routing *plan, uint32_t table)
{
	for (size_t i = 0; i < plan->route_count; i++)
		if (plan->routes[i].table == table)
			return true;
	return false;
}

static void add_table(struct builder *b, const struct tg_policy_rule *rule, unsigned ifindex)
{
	struct net_route route = { .table = rule_table(b, rule),
				   .ifindex = ifindex,
				   .mtu_lock = rule_mtu(b, rule) };

	if (table_planned(&b->plan, route.table))
		return;
	route.to.family = AF_INET;
	add_route(b, &route);
	route.to.family = AF_INET6;
	add_route(b, &route);
}

/* The tunnel's own networks are reached by routes of the main table; their packets must fit a cell as well.
 */
static void add_connected(struct builder *b, const struct tg_tunnel *tunnel, unsigned ifindex)
{
	unsigned mtu = tg_tunnel_smallest_cell(tunnel);

	for (size_t i = 0; i < tunnel->address_count; i++) {
		struct net_route route = {
			.to = tunnel->addresses[i], .table = TABLE_MAIN, .ifindex = ifindex, .mtu_lock = mtu
		};

		for (unsigned bit = route.to.length; bit < 8 * sizeof(route.to.addr); bit++)
			route.to.addr[bit / 8] &= (uint8_t) ~(0x80u >> bit % 8);
		if (route.to.length < (route.to.family == AF_INET ? 32 : 128))
			add_route(b, &route);
	}
}

int routing_plan(const struct tg_policy *policy, const unsigned *ifindexes, const unsigned *caps,
		 struct routing *ret_plan, struct tg_error *e)
{
	struct builder b = { .policy = policy, .caps = caps };

	add_outer_rule(&b);
	for (size_t i = 0; i < policy->rule_count; i++)
		add_policy_rule(&b, i);
	for (size_t i = 0; i < policy->rule_count; i++)
		if (ifindexes[policy->rules[i].tunnel])
			add_table(&b, &policy->rules[i], ifindexes[policy->rules[i].tunnel]);
	for (size_t i = 0; i < policy->tunnel_count; i++)
		if (ifindexes[i])
			add_connected(&b, &policy->tunnels[i], ifindexes[i]);
	if (b.failed) {
		routing_free(&b.plan);
		return tg_error(e, -ENOMEM, "out of memory");
	}
	*ret_plan = b.plan;
	return 0;
}

void routing_free(struct routing *plan)
{
	free(plan->rules);
	free(plan->routes);
	memset(plan, 0, sizeof(*plan));
}

static bool route_equal(const struct net_route *a, const struct net_route *b)
{
	return a->table == b->table && a->to.family == b->to.family && a->to.length == b->to.length &&
	       !memcmp(a->to.addr, b->to.addr, sizeof(a->to.addr));
}

static bool has_rule(const struct routing *plan, const struct net_rule *rule)
{
	for (size_t i = 0; i < plan->rule_count; i++)
		if (net_rule_equal(&plan->rules[i], rule))
			return true;
	return false;
}

static bool has_route(const struct routing *plan, const struct net_route *route)
{
	for (size_t i = 0; i < plan->route_count; i++)
		if (route_equal(&plan->routes[i], route))
			return true;
	return false;
}

static int prune_rules(struct net *net, const struct routing *plan, struct tg_error *e)
{
	struct net_rule *rules;
	size_t count;
	int ret = net_rule_list(net, &rules, &count, e);

	if (ret)
		return ret;
	for (size_t i = 0; i < count && !ret; i++)
		if (!has_rule(plan, &rules[i]))
			ret = net_rule_remove(net, &rules[i], e);
	free(rules);
	return ret;
}

static int prune_routes(struct net *net, const struct routing *plan, struct tg_error *e)
{
	struct net_route *routes;
	size_t count;
	int ret = net_route_list(net, &routes, &count, e);

	if (ret)
		return ret;
	for (size_t i = 0; i < count && !ret; i++)
		if (!has_route(plan, &routes[i]))
			ret = net_route_remove(net, &routes[i], e);
	free(routes);
	return ret;
}

static int apply_route(struct net *net, const struct net_route *route, struct tg_error *e)
{
	if (route->table == TABLE_MAIN)
		return net_route_to_ensure(net, &route->to, route->ifindex, route->mtu_lock, e);
	/* both families at once: the second entry of a table finds it done */
	return net_route_ensure(net, route->table, route->ifindex, route->mtu_lock, e);
}

int routing_apply_blackholes(struct net *net, const struct routing *plan, struct tg_error *e)
{
	int ret = 0;

	for (size_t i = 0; i < plan->rule_count && !ret; i++)
		if (plan->rules[i].blackhole)
			ret = net_rule_ensure(net, &plan->rules[i], e);
	return ret;
}

int routing_apply(struct net *net, const struct routing *plan, bool prune, struct tg_error *e)
{
	int ret = routing_apply_blackholes(net, plan, e);

	for (size_t i = 0; i < plan->route_count && !ret; i++)
		ret = apply_route(net, &plan->routes[i], e);
	for (size_t i = 0; i < plan->rule_count && !ret; i++)
		if (!plan->rules[i].blackhole)
			ret = net_rule_ensure(net, &plan->rules[i], e);
	if (!ret && prune)
		ret = prune_rules(net, plan, e);
	if (!ret && prune)
		ret = prune_routes(net, plan, e);
	return ret;
}

int routing_remove(struct net *net, struct tg_error *e)
{
	const struct routing nothing = { 0 };
	int ret = prune_rules(net, &nothing, e);

	return ret ? ret : prune_routes(net, &nothing, e);
}
