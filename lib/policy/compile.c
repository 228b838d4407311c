/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "policy/parts.h"
#include "shared/mark.h"
#include "shared/pad.h"
#include "tensorguard/compile.h"

#define NS_PER_S 1000000000ull

struct compiler {
	const struct tg_policy *policy;
	size_t tunnel;
	struct tg_compiled *out;
	size_t prefix_room;
	struct tg_error *e;
};

unsigned tg_wire_size(unsigned cell, unsigned mtu, int outer_family)
{
	/* UDP header, WireGuard's data header, its tag */
	enum { OVERHEAD = 8 + 16 + 16, IPV4_HEADER = 20, IPV6_HEADER = 40 };
	unsigned plain = (cell + TG_WG_ALIGN - 1) & ~(TG_WG_ALIGN - 1);

	if (plain > mtu)
		plain = mtu;
	return plain + OVERHEAD + (outer_family == AF_INET6 ? IPV6_HEADER : IPV4_HEADER);
}

int tg_outer_family(const struct tg_tunnel *t)
{
	return t->peer_count && t->peers[0].endpoint.family == AF_INET6 ? AF_INET6 : AF_INET;
}

/* FNV-1a over the names and the NUL behind each */
static uint32_t digest_name(uint32_t digest, const char *name)
{
	do
		digest = (digest ^ (unsigned char)*name) * 16777619u;
	while (*name++);
	return digest;
}

uint32_t tg_mark_tag(const struct tg_tunnel *tunnel)
{
	uint32_t digest = digest_name(2166136261u, tunnel->name);

	for (size_t i = 0; i < tunnel->class_count; i++)
		digest = digest_name(digest, tunnel->classes[i].name);
	/* FNV's upper bits are the better mixed ones */
	return digest >> 29 << TG_MARK_TAG_SHIFT;
}

/* ---- classes and queues ---- */

uint64_t tg_clock_rate(const struct tg_queue *queue)
{
	return ((queue->cell + TG_L2_LEN) * NS_PER_S + queue->period_ns / 2) / queue->period_ns;
}

static void compile_queue(const struct tg_policy *policy, const struct tg_policy_class *class,
			  struct tg_compiled_queue *out)
{
	struct tg_schedule schedule;

	tg_policy_schedule(policy, class, &schedule);
	out->queue = schedule.queue;
	out->frame = class->cell + TG_L2_LEN;
	out->rate = tg_clock_rate(&out->queue);
}

static void compile_class(const struct tg_policy_class *class, struct tg_class *out)
{
	out->defence = (uint16_t) class->defence;
	out->pad_mode = (uint16_t) class->pad_mode;
	out->cell = (uint16_t) class->cell;
	out->bucket_count = (uint16_t) class->bucket_count;
	for (size_t i = 0; i < class->bucket_count; i++)
		out->buckets[i] = (uint16_t) class->buckets[i];
	out->queue = TG_NO_QUEUE;
}

static bool is_agents(const struct tg_policy *policy, const struct tg_policy_class *class)
{
	return tg_defence_needs_agent(class->defence) ||
	       (policy->engine == TG_ENGINE_QUEUE && tg_defence_is_paced(class->defence));
}

static void compile_classes(struct compiler *c)
{
	const struct tg_tunnel *t = &c->policy->tunnels[c->tunnel];
	struct tg_compiled *out = c->out;
	size_t dummies = 0;

	out->config.class_count = (uint32_t)t->class_count;
	out->config.default_class = t->default_class;
	out->config.mark_tag = tg_mark_tag(t);
	out->config.dummy_class = t->default_class;
	for (size_t i = 0; i < t->class_count; i++) {
		compile_class(&t->classes[i], &out->classes[i]);
		/* the first class with dummies is the one that the peer's belong to */
		if (tg_defence_has_dummies(t->classes[i].defence) && !dummies++)
			out->config.dummy_class = (uint32_t)i;
		if (tg_defence_has_metronome(t->classes[i].defence)) {
			out->metronomes[out->metronome_count].class = (unsigned)i;
			policy_compile_metronome(&t->classes[i], &out->metronomes[out->metronome_count++]);
		}
		if (is_agents(c->policy, &t->classes[i]))
			out->classes[i].flags =
				TG_CLASS_AGENT | (c->policy->fail == TG_FAIL_OPEN ? TG_CLASS_OPEN : 0);
		else if (t->classes[i].defence == TG_DEFENCE_CONSTANT)
			out->classes[i].queue = (uint32_t)out->queue_count;
		if (t->classes[i].defence != TG_DEFENCE_CONSTANT)
			continue;
		out->queues[out->queue_count].class = (unsigned)i;
		compile_queue(c->policy, &t->classes[i], &out->queues[out->queue_count++]);
	}
}

/* On a metered link its own budget replaces all others. */
static void compile_budget(const struct tg_tunnel *t, struct tg_budget *out)
{
	const struct tg_policy_budget *b = &t->budget;

	/* cells lose nothing to rounding: they are multiples of 16, or the MTU */
	out->overhead = tg_wire_size(0, t->mtu, tg_outer_family(t));
	if (b->metered) {
		out->flags = TG_BUDGET_DAY | TG_BUDGET_METERED;
		out->day_bytes = b->metered_bytes;
	} else {
		out->flags = (b->day_limited ? TG_BUDGET_DAY : 0) | (b->dummy_share ? TG_BUDGET_SHARE : 0);
		out->day_bytes = b->day_bytes;
		out->share_rate = b->link_kbit_s * 1000 / 8 * b->dummy_share / 100;
	}
	if (out->flags && b->violation == TG_BUDGET_STOP_DUMMIES)
		out->flags |= TG_BUDGET_STOP;
}

/* ---- rules ---- */

static const struct tg_port_range any_port = { 0, 65535 };

static int add_entry(struct compiler *c, size_t origin, const struct tg_port_range *dport,
		     const struct tg_port_range *sport, uint64_t *set)
{
	const struct tg_policy_rule *rule = &c->policy->rules[origin];
	struct tg_compiled *out = c->out;
	uint32_t n = out->config.rule_count;

	if (n == TG_MAX_RULES)
		return tg_error(c->e, -E2BIG,
				"rule in line %u: tunnel '%s' needs more than %d entries, expected fewer "
				"rules or port ranges (a rule takes ports times source_ports)",
				rule->line, c->policy->tunnels[c->tunnel].name, TG_MAX_RULES);
	out->rules[n] = (struct tg_rule){
		.dport_lo = dport->lo,
		.dport_hi = dport->hi,
		.sport_lo = sport->lo,
		.sport_hi = sport->hi,
		.mark = rule->mark,
		.mark_mask = rule->mark_mask,
		.proto = rule->proto,
		.flags = tg_rule_is_flow(rule) ? TG_RULE_FLOW : 0,
		.class = (uint16_t)rule->class,
	};
	out->rule_origin[n] = (uint16_t)origin;
	out->config.rule_count++;
	*set |= 1ull << n;
	return 0;
}

/* One entry for each pair of a destination and a source range. */
static int add_entries(struct compiler *c, size_t origin, uint64_t *ret_set)
{
	const struct tg_policy_rule *rule = &c->policy->rules[origin];
	size_t dports = rule->port_count ? rule->port_count : 1;
	size_t sports = rule->source_port_count ? rule->source_port_count : 1;
	uint64_t set = 0;
	int ret;

	for (size_t d = 0; d < dports; d++) {
		for (size_t s = 0; s < sports; s++) {
			ret = add_entry(c, origin, rule->port_count ? &rule->ports[d] : &any_port,
					rule->source_port_count ? &rule->source_ports[s] : &any_port, &set);
			if (ret)
				return ret;
		}
	}
	*ret_set = set;
	return 0;
}

/* ---- prefixes ---- */

static int add_prefix(struct compiler *c, const struct tg_cidr *cidr, enum tg_lpm_side side, uint64_t set,
		      unsigned peer)
{
	struct tg_compiled *out = c->out;

	if (out->prefix_count == c->prefix_room) {
		size_t room = c->prefix_room ? 2 * c->prefix_room : 64;
		struct tg_compiled_prefix *prefixes = reallocarray(out->prefixes, room, sizeof(*prefixes));

		if (!prefixes)
			return tg_error(c->e, -ENOMEM, "out of memory");
		out->prefixes = prefixes;
		c->prefix_room = room;
	}
	out->prefixes[out->prefix_count++] =
		(struct tg_compiled_prefix){ .cidr = *cidr, .side = side, .set = { set }, .peer = peer };
	return 0;
}

/* A rule without prefixes on this side applies to every address of both families. */
static int add_prefixes(struct compiler *c, const struct tg_cidr *list, size_t count, enum tg_lpm_side side,
			uint64_t set)
{
	static const struct tg_cidr any[] = { { .family = AF_INET }, { .family = AF_INET6 } };
	int ret = 0;

	if (!count) {
		list = any;
		count = 2;
	}
	for (size_t i = 0; i < count && !ret; i++)
		ret = add_prefix(c, &list[i], side, set, 0);
	return ret;
}

/* By family, side, address, then length: a prefix comes right before what it contains. */
static int by_place(const void *a, const void *b)
{
	const struct tg_compiled_prefix *x = a, *y = b;
	int order;

	if (x->cidr.family != y->cidr.family)
		return x->cidr.family < y->cidr.family ? -1 : 1;
	if (x->side != y->side)
		return x->side < y->side ? -1 : 1;
	order = memcmp(x->cidr.addr, y->cidr.addr, sizeof(x->cidr.addr));
	return order ? order : (int)x->cidr.length - (int)y->cidr.length;
}

static bool same_place(const struct tg_compiled_prefix *a, const struct tg_compiled_prefix *b)
{
	return a->side == b->side && tg_cidr_equal(&a->cidr, &b->cidr);
}

static void merge_equal(struct tg_compiled *out)
{
	size_t n = 0;

	for (size_t i = 0; i < out->prefix_count; i++) {
		if (n && same_place(&out->prefixes[n - 1], &out->prefixes[i]))
			out->prefixes[n - 1].set.rules |= out->prefixes[i].set.rules;
		else
			out->prefixes[n++] = out->prefixes[i];
	}
	out->prefix_count = n;
}

/*
 * A trie finds only the longest prefix, so each one must carry the rules of
 * all around it. In sorted order those that are still open form a chain:
 *
 *	0.0.0.0/0        chain: /0
 *	  10.0.0.0/8     chain: /0 /8
 *	    10.1.0.0/16  chain: /0 /8 /16
 *	  11.0.0.0/8     /16 and /8 do not contain it: chain: /0 /8'
 *
 * and the innermost holds the rules of the whole chain already.
 */
static void inherit(struct tg_compiled *out)
{
	const struct tg_compiled_prefix *chain[130];
	size_t depth = 0;

	for (size_t i = 0; i < out->prefix_count; i++) {
		struct tg_compiled_prefix *p = &out->prefixes[i];

		while (depth && (chain[depth - 1]->side != p->side ||
				 !tg_cidr_contains(&chain[depth - 1]->cidr, &p->cidr)))
			depth--;
		if (depth && p->side != TG_LPM_ALLOWED)
			p->set.rules |= chain[depth - 1]->set.rules;
		chain[depth++] = p;
	}
}

static int check_prefix_count(const struct compiler *c)
{
	size_t count[2] = { 0, 0 };

	for (size_t i = 0; i < c->out->prefix_count; i++)
		count[c->out->prefixes[i].cidr.family == AF_INET6]++;
	if (count[0] > TG_MAX_PREFIXES / 2 || count[1] > TG_MAX_PREFIXES / 2)
		return tg_error(
			c->e, -E2BIG,
			"tunnel '%s' has %zu prefixes of IPv%d in its rules and peers, expected at most %d",
			c->policy->tunnels[c->tunnel].name, count[0] > count[1] ? count[0] : count[1],
			count[0] > count[1] ? 4 : 6, TG_MAX_PREFIXES / 2);
	return 0;
}

static int compile_rule(struct compiler *c, size_t origin)
{
	const struct tg_policy_rule *rule = &c->policy->rules[origin];
	uint32_t *flags = &c->out->config.flags;
	uint64_t set;
	int ret;

	ret = add_entries(c, origin, &set);
	if (!ret)
		ret = add_prefixes(c, rule->to, rule->to_count, TG_LPM_TO, set);
	if (!ret)
		ret = add_prefixes(c, rule->from, rule->from_count, TG_LPM_FROM, set);
	*flags |= rule->from_count ? TG_CONFIG_FROM : 0;
	*flags |= rule->has_mark ? TG_CONFIG_MARK : 0;
	*flags |= tg_rule_is_flow(rule) ? TG_CONFIG_FLOWS : 0;
	return ret;
}

/* Which destinations have which peer; of an external tunnel perhaps nobody told us. */
static int add_allowed(struct compiler *c)
{
	const struct tg_tunnel *t = &c->policy->tunnels[c->tunnel];
	int ret = 0;

	if (!t->peer_count)
		return 0;
	c->out->config.flags |= TG_CONFIG_ALLOWED;
	/* only then can the agent check who sent what is in a shared cell */
	for (size_t i = 0; i < t->class_count; i++)
		if (t->classes[i].defence == TG_DEFENCE_LEAN)
			c->out->config.flags |= TG_CONFIG_SHARES;
	for (size_t i = 0; i < t->peer_count && !ret; i++)
		for (size_t k = 0; k < t->peers[i].allowed_ip_count && !ret; k++)
			ret = add_prefix(c, &t->peers[i].allowed_ips[k], TG_LPM_ALLOWED, 0, (unsigned)i);
	return ret;
}

static int compile_rules(struct compiler *c)
{
	struct tg_compiled *out = c->out;
	int ret = 0;

	for (size_t i = 0; i < c->policy->rule_count && !ret; i++)
		if (c->policy->rules[i].tunnel == c->tunnel)
			ret = compile_rule(c, i);
	if (!ret)
		ret = add_allowed(c);
	if (ret || !out->prefix_count)
		return ret;
	qsort(out->prefixes, out->prefix_count, sizeof(out->prefixes[0]), by_place);
	merge_equal(out);
	inherit(out);
	return check_prefix_count(c);
}

int tg_policy_compile(const struct tg_policy *policy, size_t tunnel, struct tg_compiled **ret_compiled,
		      struct tg_error *e)
{
	struct compiler c = { .policy = policy, .tunnel = tunnel, .e = e };
	int ret;

	if (tunnel >= policy->tunnel_count)
		return tg_error(e, -EINVAL, "tunnel %zu of a policy with %zu", tunnel, policy->tunnel_count);
	c.out = calloc(1, sizeof(*c.out));
	if (!c.out)
		return tg_error(e, -ENOMEM, "out of memory");
	compile_classes(&c);
	compile_budget(&policy->tunnels[tunnel], &c.out->budget);
	ret = compile_rules(&c);
	if (ret) {
		tg_compiled_free(c.out);
		return ret;
	}
	*ret_compiled = c.out;
	return 0;
}

void tg_compiled_free(struct tg_compiled *compiled)
{
	if (!compiled)
		return;
	free(compiled->prefixes);
	free(compiled);
}
