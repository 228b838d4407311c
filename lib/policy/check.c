/* SPDX-License-Identifier: BSD-3-Clause */
/* Checks that span tunnels and rules, and warnings: what is legal but defeats the purpose. */
#include <errno.h>
#include <string.h>

#include "policy/parts.h"
#include "shared/pad.h"
#include "tensorguard/compile.h"
#include "util/parse.h"

#define SHORT_SESSION_NS (60 * 1000000000ull)
enum { IPV6_LEAST_MTU = 1280 };

/* ---- errors ---- */

static int check_addresses(const struct conf *c, const struct tg_tunnel *a, const struct tg_tunnel *b)
{
	char mine[TG_CIDR_TEXT_LEN], other[TG_CIDR_TEXT_LEN];

	for (size_t i = 0; i < b->address_count; i++)
		for (size_t k = 0; k < a->address_count; k++)
			if (tg_cidr_overlap(&b->addresses[i], &a->addresses[k]))
				return conf_fail_at(c, b->line,
						    "address %s of tunnel '%s' overlaps %s of tunnel '%s', "
						    "expected separate networks",
						    tg_cidr_text(&b->addresses[i], mine), b->name,
						    tg_cidr_text(&a->addresses[k], other), a->name);
	return 0;
}

static int check_pair(const struct conf *c, const struct tg_tunnel *a, const struct tg_tunnel *b)
{
	if (!strcmp(a->name, b->name))
		return conf_fail_at(c, b->line, "a second tunnel '%s', expected another name", b->name);
	if (!strcmp(tg_tunnel_device(a), tg_tunnel_device(b)))
		return conf_fail_at(
			c, b->line,
			"tunnels '%s' and '%s' are both the device %s, expected one tunnel per device",
			a->name, b->name, tg_tunnel_device(b));
	if (a->listen_port && a->listen_port == b->listen_port)
		return conf_fail_at(
			c, b->line,
			"tunnels '%s' and '%s' both have listen_port %u, expected different ports", a->name,
			b->name, b->listen_port);
	return check_addresses(c, a, b);
}

int policy_check_tunnels(const struct conf *c)
{
	const struct tg_policy *policy = c->out;
	int ret = 0;

	for (size_t i = 1; i < policy->tunnel_count && !ret; i++)
		for (size_t k = 0; k < i && !ret; k++)
			ret = check_pair(c, &policy->tunnels[k], &policy->tunnels[i]);
	return ret;
}

/* ---- warnings about classes ---- */

static bool tunnel_carries_ipv6(const struct tg_policy *policy, size_t tunnel)
{
	for (size_t i = 0; i < policy->rule_count; i++)
		if (policy->rules[i].tunnel == tunnel && policy_rule_has_family(&policy->rules[i], AF_INET6))
			return true;
	return false;
}

static int warn_session(struct conf *c, const struct tg_policy_class *class)
{
	char text[TG_DURATION_TEXT_LEN];

	return conf_warn(c, class->line,
			 "class '%s': jobs are told apart by their length in steps of %s; "
			 "take the longest job plus 5 %%%s",
			 class->name, tg_duration_text(class->session_ns, text),
			 class->defence == TG_DEFENCE_CONSTANT ? ", or \"always\"" : "");
}

static int warn_constant(struct conf *c, const struct tg_policy_class *class, bool ipv6)
{
	uint64_t budget = tg_profile_budget_ns(c->out->profile);
	char a[TG_DURATION_TEXT_LEN], b[TG_DURATION_TEXT_LEN];
	int ret = 0;

	if (class->period_ns > budget)
		ret = conf_warn(c, class->line,
				"class '%s': a cell waits up to its period of %s, profile \"%s\" allows %s",
				class->name, tg_duration_text(class->period_ns, a),
				tg_profile_name(c->out->profile), tg_duration_text(budget, b));
	if (!ret && class->session_ns && class->session_ns < SHORT_SESSION_NS)
		ret = warn_session(c, class);
	if (!ret && ipv6 && class->cell < IPV6_LEAST_MTU)
		ret = conf_warn(
			c, class->line,
			"class '%s': forwarded IPv6 datagrams above %u bytes do not fit its cell and are "
			"dropped, "
			"this host's own are cut into fragments; IPv6 promises applications %u (RFC 8200)",
			class->name, class->cell, IPV6_LEAST_MTU);
	return ret;
}

/* Between two of its slots. */
static uint64_t longest_gap(const struct tg_policy_class *class, const struct tg_policy_slots *slots)
{
	uint64_t longest = class->tick_ns - slots->at_ns[slots->count - 1] + slots->at_ns[0];

	for (size_t i = 1; i < slots->count; i++)
		if (slots->at_ns[i] - slots->at_ns[i - 1] > longest)
			longest = slots->at_ns[i] - slots->at_ns[i - 1];
	return longest;
}

static int warn_lean(struct conf *c, const struct tg_tunnel *t, const struct tg_policy_class *class)
{
	uint64_t budget = tg_profile_budget_ns(c->out->profile);
	uint64_t gap = longest_gap(class, tg_lean_slots(c->out, class));
	char a[TG_DURATION_TEXT_LEN], b[TG_DURATION_TEXT_LEN];
	int ret = 0;

	if (gap > budget)
		ret = conf_warn(c, class->line,
				"class '%s': a packet that misses the tick waits up to %s, profile \"%s\" "
				"allows %s",
				class->name, tg_duration_text(gap, a), tg_profile_name(c->out->profile),
				tg_duration_text(budget, b));
	if (!ret && class->session_ns < SHORT_SESSION_NS)
		ret = warn_session(c, class);
	if (!ret && !t->peer_count)
		ret = conf_warn(
			c, class->line,
			"class '%s': cells are not shared in a tunnel without a list of peers: nobody "
			"knows which inner addresses are whose",
			class->name);
	if (!ret && c->out->fail == TG_FAIL_OPEN && class->packet > class->cell)
		ret = conf_warn(
			c, class->line,
			"class '%s': while tensorguard-agent does not run, packets above its cell of %u "
			"bytes are dropped, whatever fail says",
			class->name, class->cell);
	return ret;
}

/* What its packets wait for at most, by its own key. */
static int warn_held(struct conf *c, const struct tg_policy_class *class, const char *key, uint64_t most_ns)
{
	uint64_t budget = tg_profile_budget_ns(c->out->profile);
	char a[TG_DURATION_TEXT_LEN], b[TG_DURATION_TEXT_LEN];

	if (most_ns <= budget)
		return 0;
	return conf_warn(c, class->line,
			 "class '%s': a packet waits up to its %s of %s, profile \"%s\" allows %s",
			 class->name, key, tg_duration_text(most_ns, a), tg_profile_name(c->out->profile),
			 tg_duration_text(budget, b));
}

static int warn_front(struct conf *c, const struct tg_policy_class *class)
{
	char idle[TG_DURATION_TEXT_LEN], window[TG_DURATION_TEXT_LEN];

	/* of the times w * sqrt(-2 ln U) one in 90 is beyond 3 w */
	if (class->idle_ns >= 3 * class->window_max_ns)
		return 0;
	return conf_warn(
		c, class->line,
		"class '%s': a session that begins after %s of silence ends the one before it, whose "
		"dummies may last for three times its window of %s",
		class->name, tg_duration_text(class->idle_ns, idle),
		tg_duration_text(class->window_max_ns, window));
}

/*
 * Defences under which a trained eavesdropper still named most of what a robot arm did: so many in 1000 of 59
 * recorded sessions, each of one of four actions, by extra-trees in 10-fold cross-validation
 * (docs/evaluation/results.md).
 */
static const struct {
	enum tg_defence defence;
	unsigned named;
} weak[] = {
	{ TG_DEFENCE_PAD, 915 },    { TG_DEFENCE_FRONT, 780 },     { TG_DEFENCE_WTF_PAD, 910 },
	{ TG_DEFENCE_JITTER, 853 }, { TG_DEFENCE_REGULATOR, 810 },
};
enum { NAMED_UNDEFENDED = 983 };

static int warn_weak(struct conf *c, const struct tg_policy_class *class)
{
	for (size_t i = 0; i < sizeof(weak) / sizeof(weak[0]); i++)
		if (weak[i].defence == class->defence)
			return conf_warn(c, class->line,
					 "class '%s': under \"%s\" an eavesdropper named %u.%u %% of a robot "
					 "arm's actions, "
					 "%u.%u %% without any defence (docs/evaluation.md)",
					 class->name, tg_defence_name(class->defence), weak[i].named / 10,
					 weak[i].named % 10, NAMED_UNDEFENDED / 10, NAMED_UNDEFENDED % 10);
	return 0;
}

static int warn_mixture(struct conf *c, const struct tg_tunnel *t)
{
	const struct tg_policy_class *first = &t->classes[0];
	int ret = 0;

	for (size_t i = 1; i < t->class_count && !ret; i++) {
		const struct tg_policy_class *class = &t->classes[i];

		if (class->defence != first->defence)
			ret = conf_warn(c, class->line,
					"classes '%s' and '%s' are told apart by their defences, %s and %s; "
					"give each a tunnel of its own",
					first->name, class->name, tg_defence_name(first->defence),
					tg_defence_name(class->defence));
		if (!ret && class->cell != first->cell)
			ret = conf_warn(
				c, class->line,
				"classes '%s' and '%s' are told apart by their cells of %u and %u bytes; "
				"give each a tunnel of its own",
				first->name, class->name, first->cell, class->cell);
	}
	return ret;
}

/* Routes into the tunnel that are locked to its smallest cell: to its own networks, and those of rules per
 * flow. */
static bool has_smallest_routes(const struct tg_policy *policy, size_t index)
{
	bool found = policy->tunnels[index].address_count > 0;

	for (size_t i = 0; i < policy->rule_count; i++)
		found |= policy->rules[i].tunnel == index && tg_rule_is_flow(&policy->rules[i]);
	return found;
}

/*
 * The kernel's WireGuard pads what is longer than its route's MTU to 16 bytes whatever the device's MTU is,
 * and a dummy has no route. Only a warning: wireguard-go does not, and the cells differ already.
 */
static int warn_rounding(struct conf *c, size_t index)
{
	const struct tg_tunnel *t = &c->out->tunnels[index];
	int ret = 0;

	if (t->mtu % TG_WG_ALIGN == 0 || tg_tunnel_smallest_cell(t) == t->mtu ||
	    !has_smallest_routes(c->out, index))
		return 0;
	for (size_t i = 0; i < t->class_count && !ret; i++)
		if (t->classes[i].cell == t->mtu)
			ret = conf_warn(c, t->classes[i].line,
					"class '%s': its cell of %u bytes is no multiple of 16: by routes "
					"locked to a "
					"smaller cell (the tunnel's networks, rules by uid, cgroup or sni) "
					"the kernel's "
					"WireGuard sends real ones longer than dummies",
					t->classes[i].name, t->classes[i].cell);
	return ret;
}

/* Bytes of dummies per second that the tunnel's schedules need when nothing real is sent. */
static double dummy_rate(const struct tg_policy *policy, const struct tg_tunnel *t)
{
	double rate = 0;

	for (size_t i = 0; i < t->class_count; i++) {
		const struct tg_policy_class *class = &t->classes[i];
		double size = tg_wire_size(class->cell, t->mtu, tg_outer_family(t));

		if (class->defence == TG_DEFENCE_CONSTANT)
			rate += size * 1e9 / (double)class->period_ns;
		else if (class->defence == TG_DEFENCE_LEAN)
			rate += size * 1e9 * (double)tg_lean_slots(policy, class)->count /
				(double)class->tick_ns;
	}
	return rate;
}

/* A slot that stays empty because its dummy was too dear is seen by everybody. */
static int warn_budget(struct conf *c, const struct tg_tunnel *t)
{
	const struct tg_policy_budget *b = &t->budget;
	bool day = b->metered || b->day_limited;
	uint64_t bytes = b->metered ? b->metered_bytes : b->day_bytes;
	double rate = dummy_rate(c->out, t), share = (double)b->link_kbit_s * 125 * b->dummy_share / 100;
	int ret = 0;

	if (!tg_tunnel_has_dummies(t))
		return day || b->dummy_share ? conf_warn(c, t->line,
							 "tunnel '%s': no class sends dummies: its budget "
							 "has nothing to count",
							 t->name)
					     : 0;
	if (b->violation != TG_BUDGET_STOP_DUMMIES || rate <= 0)
		return 0;
	if (day && (double)bytes < rate * 86400)
		ret = conf_warn(
			c, t->line,
			"tunnel '%s': the day's %llu bytes of dummies last for %.1f hours of sessions; "
			"after that their slots stay empty, which shows",
			t->name, (unsigned long long)bytes, (double)bytes / rate / 3600);
	if (!ret && !b->metered && b->dummy_share && share < rate)
		ret = conf_warn(
			c, t->line,
			"tunnel '%s': dummies take up to %.0f kbit/s and may have %.0f: some slots stay "
			"empty, which shows",
			t->name, rate / 125, share / 125);
	return ret;
}

static int warn_tunnel(struct conf *c, size_t index)
{
	const struct tg_tunnel *t = &c->out->tunnels[index];
	bool ipv6 = tunnel_carries_ipv6(c->out, index);
	int ret = 0;

	for (size_t i = 0; i < t->class_count && !ret; i++)
		if (t->classes[i].defence == TG_DEFENCE_CONSTANT)
			ret = warn_constant(c, &t->classes[i], ipv6);
		else if (t->classes[i].defence == TG_DEFENCE_LEAN)
			ret = warn_lean(c, t, &t->classes[i]);
		else if (t->classes[i].defence == TG_DEFENCE_FRONT)
			ret = warn_front(c, &t->classes[i]);
		else if (t->classes[i].defence == TG_DEFENCE_JITTER)
			ret = warn_held(c, &t->classes[i], "delay", t->classes[i].delay_ns);
		else if (t->classes[i].defence == TG_DEFENCE_REGULATOR)
			ret = warn_held(c, &t->classes[i], "hold", t->classes[i].budget_ns);
	for (size_t i = 0; i < t->class_count && !ret; i++)
		ret = warn_weak(c, &t->classes[i]);
	if (!ret)
		ret = warn_budget(c, t);
	if (!ret)
		ret = warn_rounding(c, index);
	return ret ? ret : warn_mixture(c, t);
}

/* ---- warnings about rules ---- */

static bool covers_prefixes(const struct tg_cidr *a, size_t a_count, const struct tg_cidr *b, size_t b_count)
{
	if (!a_count)
		return true;
	if (!b_count)
		return false;
	for (size_t i = 0; i < b_count; i++) {
		size_t k = 0;

		while (k < a_count && !tg_cidr_contains(&a[k], &b[i]))
			k++;
		if (k == a_count)
			return false;
	}
	return true;
}

static bool covers_ports(const struct tg_port_range *a, size_t a_count, const struct tg_port_range *b,
			 size_t b_count)
{
	if (!a_count)
		return true;
	if (!b_count)
		return false;
	for (size_t i = 0; i < b_count; i++) {
		size_t k = 0;

		while (k < a_count && (a[k].lo > b[i].lo || a[k].hi < b[i].hi))
			k++;
		if (k == a_count)
			return false;
	}
	return true;
}

static bool covers_sni(const char *a, const char *b)
{
	size_t a_len, b_len;

	if (!a || !b)
		return !a;
	if (!strcmp(a, b))
		return true;
	a_len = strlen(a);
	b_len = strlen(b);
	if (a[0] != '.')
		return false;
	return (b_len > a_len && !strcmp(b + b_len - a_len, a)) || !strcmp(b, a + 1);
}

static bool covers_flow(const struct tg_policy_rule *a, const struct tg_policy_rule *b)
{
	if (a->has_uid && (!b->has_uid || a->uid_lo > b->uid_lo || a->uid_hi < b->uid_hi))
		return false;
	if (a->cgroup && (!b->cgroup || strcmp(a->cgroup, b->cgroup)))
		return false;
	return covers_sni(a->sni, b->sni);
}

/* Whether `a` matches everything that `b` matches. May say no when several parts of `a` do it together. */
static bool covers(const struct tg_policy_rule *a, const struct tg_policy_rule *b)
{
	if (a->proto && a->proto != b->proto)
		return false;
	if (a->has_mark &&
	    (!b->has_mark || (a->mark_mask & ~b->mark_mask) || (b->mark & a->mark_mask) != a->mark))
		return false;
	return covers_prefixes(a->to, a->to_count, b->to, b->to_count) &&
	       covers_prefixes(a->from, a->from_count, b->from, b->from_count) &&
	       covers_ports(a->ports, a->port_count, b->ports, b->port_count) &&
	       covers_ports(a->source_ports, a->source_port_count, b->source_ports, b->source_port_count) &&
	       covers_flow(a, b);
}

/* WireGuard has no key for what is in no peer's allowed_ips. */
static int warn_unreachable(struct conf *c, const struct tg_policy_rule *rule)
{
	const struct tg_tunnel *t = &c->out->tunnels[rule->tunnel];
	char text[TG_CIDR_TEXT_LEN];
	int ret = 0;

	for (size_t i = 0; i < rule->to_count && t->peer_count && !ret; i++) {
		bool found = false;

		for (size_t p = 0; p < t->peer_count && !found; p++)
			for (size_t k = 0; k < t->peers[p].allowed_ip_count && !found; k++)
				found = tg_cidr_overlap(&rule->to[i], &t->peers[p].allowed_ips[k]);
		if (!found)
			ret = conf_warn(c, rule->line,
					"%s is in no allowed_ips of tunnel '%s': its packets are lost",
					tg_cidr_text(&rule->to[i], text), t->name);
	}
	return ret;
}

static int warn_rule(struct conf *c, size_t index)
{
	const struct tg_policy_rule *rules = c->out->rules, *rule = &rules[index];
	size_t i = 0;
	int ret = 0;

	while (i < index && !covers(&rules[i], rule))
		i++;
	if (i < index)
		ret = conf_warn(c, rule->line,
				"this rule never applies: the one in line %u matches all that it matches",
				rules[i].line);
	if (!ret && c->out->role == TG_ROLE_GATEWAY && (rule->has_uid || rule->cgroup))
		ret = conf_warn(c, rule->line,
				"forwarded packets have neither uid nor cgroup: this rule matches only the "
				"gateway's own");
	return ret ? ret : warn_unreachable(c, rule);
}

int policy_add_warnings(struct conf *c)
{
	int ret = 0;

	for (size_t i = 0; i < c->out->tunnel_count && !ret; i++)
		ret = warn_tunnel(c, i);
	for (size_t i = 0; i < c->out->rule_count && !ret; i++)
		ret = warn_rule(c, i);
	if (!ret && !c->out->rule_count)
		ret = conf_warn(c, 1, "no rules: nothing is routed into the tunnels");
	return ret;
}
