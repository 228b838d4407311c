/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/internal.h"
#include "net/iptables.h"
#include "shared/mark.h"
#include "tensorguard/compile.h"

enum { MULTIPORT_SLOTS = 15 }; /* xt_multiport; a range takes two */

/* ---- the chains of a policy ---- */

enum chain_id { CHAIN_QUEUE, CHAIN_SAVE, CHAIN_MSS, CHAIN_CLOSED, CHAIN_PACE, CHAIN_COUNT };

static const char *const CHAIN_NAMES[CHAIN_COUNT] = {
	[CHAIN_QUEUE] = IPTABLES_CHAIN,     [CHAIN_SAVE] = IPTABLES_SAVE_CHAIN,
	[CHAIN_MSS] = IPTABLES_MSS_CHAIN,   [CHAIN_CLOSED] = IPTABLES_CLOSED_CHAIN,
	[CHAIN_PACE] = IPTABLES_PACE_CHAIN,
};

/* Rules of one chain: lines "CHAIN rule". A chain without rules is not wanted. */
struct chain {
	char *text;
	size_t size, count;
};

/* The digest goes into the first rule of each chain. */
struct chains {
	struct chain of[CHAIN_COUNT];
	uint64_t digest;
};

static void chains_free(struct chains *chains)
{
	for (int i = 0; i < CHAIN_COUNT; i++)
		free(chains->of[i].text);
}

static bool has_family(const struct tg_cidr *list, size_t count, int family)
{
	for (size_t i = 0; i < count; i++)
		if (list[i].family == family)
			return true;
	return !count;
}

static bool rule_of_family(const struct tg_policy_rule *rule, int family)
{
	return has_family(rule->to, rule->to_count, family) &&
	       has_family(rule->from, rule->from_count, family);
}

static bool flows_wanted(const struct tg_policy *policy, int family)
{
	for (size_t i = 0; i < policy->rule_count; i++)
		if (tg_rule_is_flow(&policy->rules[i]) && rule_of_family(&policy->rules[i], family))
			return true;
	return false;
}

static bool closed_wanted(const struct tg_policy *policy, int family)
{
	for (size_t i = 0; i < policy->rule_count; i++)
		if (policy->fail == TG_FAIL_CLOSED && rule_of_family(&policy->rules[i], family))
			return true;
	return false;
}

static bool mss_wanted(const struct tg_tunnel *tunnel)
{
	return tg_tunnel_smallest_cell(tunnel) < tunnel->mtu;
}

static bool pace_wanted(const struct tg_policy *policy)
{
	return policy->engine == TG_ENGINE_QUEUE && tg_policy_is_paced(policy);
}

bool iptables_wanted(const struct tg_policy *policy, int family)
{
	if (!policy)
		return false;
	if (pace_wanted(policy))
		return true;
	for (size_t i = 0; i < policy->tunnel_count; i++)
		if (mss_wanted(&policy->tunnels[i]))
			return true;
	return flows_wanted(policy, family) || closed_wanted(policy, family);
}

/* The next group of ports that fits one multiport match: from `first` up to the return value. */
static size_t port_group(const struct tg_port_range *ports, size_t count, size_t first)
{
	size_t slots = 0, i;

	for (i = first; i < count; i++) {
		slots += ports[i].lo == ports[i].hi ? 1 : 2;
		if (slots > MULTIPORT_SLOTS)
			break;
	}
	return i;
}

static void put_ports(FILE *out, const char *option, const struct tg_port_range *ports, size_t first,
		      size_t end)
{
	if (first == end)
		return;
	fprintf(out, " -m multiport %s ", option);
	for (size_t i = first; i < end; i++) {
		fprintf(out, "%s%u", i == first ? "" : ",", ports[i].lo);
		if (ports[i].lo != ports[i].hi)
			fprintf(out, ":%u", ports[i].hi);
	}
}

static void put_prefix(FILE *out, const char *option, const struct tg_cidr *cidr)
{
	char text[INET6_ADDRSTRLEN + 4];

	if (cidr && cidr->length)
		fprintf(out, " %s %s", option, net_cidr_text(cidr, text));
}

struct match {
	const struct tg_policy_rule *rule;
	const struct tg_cidr *to, *from; /* NULL = any */
	const char *begin;               /* chain, and what it matches before the rule's own conditions */
	unsigned proto;                  /* 0 = any */
	const char *end;                 /* further conditions and the target */
};

/* All groups of ports of one pair of prefixes. Returns how many rules that were. */
static size_t put_match(FILE *out, const struct match *match)
{
	const struct tg_policy_rule *rule = match->rule;
	size_t count = 0, dport = 0, dport_end, sport, sport_end;

	do {
		dport_end = port_group(rule->ports, rule->port_count, dport);
		sport = 0;
		do {
			sport_end = port_group(rule->source_ports, rule->source_port_count, sport);
			fputs(match->begin, out);
			put_prefix(out, "-s", match->from);
			put_prefix(out, "-d", match->to);
			if (match->proto)
				fprintf(out, " -p %u", match->proto);
			put_ports(out, "--dports", rule->ports, dport, dport_end);
			put_ports(out, "--sports", rule->source_ports, sport, sport_end);
			if (rule->has_mark && rule->mark_mask)
				fprintf(out, " -m mark --mark 0x%x/0x%x", rule->mark, rule->mark_mask);
			fprintf(out, "%s\n", match->end);
			count++;
			sport = sport_end;
		} while (sport < rule->source_port_count);
		dport = dport_end;
	} while (dport < rule->port_count);
	return count;
}

/* Prefix `i` of a list; an empty list has one entry, "any". False when it is of the other family. */
static bool pick(const struct tg_cidr *list, size_t count, size_t i, int family,
		 const struct tg_cidr **ret_cidr)
{
	*ret_cidr = count ? &list[i] : NULL;
	return !count || list[i].family == family;
}

/* `match` without prefixes; *count grows by the number of rules. */
static int put_rule(FILE *out, struct match match, int family, size_t *count)
{
	const struct tg_policy_rule *rule = match.rule;

	for (size_t t = 0; t < rule->to_count || !t; t++) {
		if (!pick(rule->to, rule->to_count, t, family, &match.to))
			continue;
		for (size_t f = 0; f < rule->from_count || !f; f++) {
			if (!pick(rule->from, rule->from_count, f, family, &match.from))
				continue;
			*count += put_match(out, &match);
			if (*count > IPTABLES_MAX_RULES)
				return -E2BIG;
		}
	}
	return 0;
}

/*
 * Packets that need no decision leave first: the tunnels' own outer packets,
 * the loopback device's, what comes out of a tunnel (a mark restored there
 * would route it back in), and what belongs to a flow that is decided. A
 * connection mark of an earlier policy with other classes decides nothing.
 */
static size_t put_exempt(FILE *out, const struct tg_policy *policy)
{
	size_t count = 3 + 3 * policy->tunnel_count;

	fprintf(out, IPTABLES_CHAIN " -m mark --mark 0x%x/0x%x -j RETURN\n", TG_MARK_OUTER, TG_MARK_OUTER);
	fprintf(out, IPTABLES_CHAIN " -i lo -j RETURN\n" IPTABLES_CHAIN " -o lo -j RETURN\n");
	for (size_t i = 0; i < policy->tunnel_count; i++)
		fprintf(out, IPTABLES_CHAIN " -i %s -j RETURN\n", tg_tunnel_device(&policy->tunnels[i]));
	for (size_t i = 0; i < policy->tunnel_count; i++) {
		uint32_t tag = tg_mark_tag(&policy->tunnels[i]);

		fprintf(out,
			IPTABLES_CHAIN " -m connmark --mark 0x%x/0x%x -m connmark ! --mark 0x0/0x%x"
				       " -j CONNMARK --restore-mark --nfmask 0x%x --ctmask 0x%x\n",
			tag, TG_MARK_TAG_MASK, TG_MARK_CLASS_MASK, TG_MARK_FLOW_MASK, TG_MARK_FLOW_MASK);
		fprintf(out, IPTABLES_CHAIN " -m mark --mark 0x%x/0x%x -m mark ! --mark 0x0/0x%x -j RETURN\n",
			tag, TG_MARK_TAG_MASK, TG_MARK_CLASS_MASK);
	}
	return count;
}

/* Only what this host sends has a user or a cgroup: other packets shall not wait for the agent. */
static int put_queue_rule(FILE *out, const struct tg_policy *policy, const struct tg_policy_rule *rule,
			  int family, size_t *count)
{
	char target[96];
	const struct match match = {
		.rule = rule, .begin = IPTABLES_CHAIN, .proto = rule->proto, .end = target
	};

	if (!tg_rule_is_flow(rule) || !rule_of_family(rule, family))
		return 0;
	snprintf(target, sizeof(target), "%s -j NFQUEUE --queue-num %u%s",
		 rule->has_uid || rule->cgroup ? " -m addrtype --src-type LOCAL" : "",
		 policy->classifier.queue, policy->classifier.hold ? "" : " --queue-bypass");
	return put_rule(out, match, family, count);
}

static int put_queue_chain(FILE *out, const struct tg_policy *policy, int family, size_t *ret_count)
{
	size_t count;
	int err = 0;

	if (!flows_wanted(policy, family))
		return 0;
	count = put_exempt(out, policy);
	for (size_t i = 0; i < policy->rule_count && !err; i++)
		err = put_queue_rule(out, policy, &policy->rules[i], family, &count);
	if (!err)
		*ret_count = count;
	return err;
}

static int put_save_chain(FILE *out, const struct tg_policy *policy, int family, size_t *ret_count)
{
	if (!flows_wanted(policy, family))
		return 0;
	fprintf(out,
		IPTABLES_SAVE_CHAIN " -m mark ! --mark 0x0/0x%x -j CONNMARK --save-mark --nfmask 0x%x"
				    " --ctmask 0x%x\n",
		TG_MARK_FLOW_MASK, TG_MARK_FLOW_MASK, TG_MARK_FLOW_MASK);
	*ret_count = 1;
	return 0;
}

/*
 * What a SYN into the tunnel offers is what the other side may send back, and
 * that must fit a cell: a locked route MTU says so only to this host's own
 * sockets, and TCP offers at least 256 bytes whatever the route
 * (net.ipv4.route.min_adv_mss). TCPMSS never raises an offer and goes on to the
 * next rule: the first rule that matches has to end the chain itself.
 */
static int put_mss_rule(FILE *out, const struct tg_policy *policy, const struct tg_policy_rule *rule,
			int family, size_t *count)
{
	const struct tg_tunnel *tunnel = &policy->tunnels[rule->tunnel];
	unsigned headers = family == AF_INET ? 40 : 60;
	unsigned cell = tg_rule_packet(policy, rule);
	char begin[96], clamp[96];
	struct match match = { .rule = rule, .begin = begin, .proto = IPPROTO_TCP, .end = clamp };
	int err = 0;

	snprintf(begin, sizeof(begin), IPTABLES_MSS_CHAIN " -o %s", tg_tunnel_device(tunnel));
	snprintf(clamp, sizeof(clamp), " -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss %u",
		 cell - headers);
	if (cell < tunnel->mtu && cell > headers)
		err = put_rule(out, match, family, count);
	/* a flow rule may not match in the end: then a later one decides, and can only lower it further */
	match.end = " -m tcp --tcp-flags SYN,RST SYN -j RETURN";
	if (!err && !tg_rule_is_flow(rule))
		err = put_rule(out, match, family, count);
	return err;
}

static size_t put_mss_default(FILE *out, const struct tg_tunnel *tunnel, int family)
{
	unsigned headers = family == AF_INET ? 40 : 60, cell = tunnel->classes[tunnel->default_class].cell;

	if (cell >= tunnel->mtu || cell <= headers)
		return 0;
	fprintf(out, IPTABLES_MSS_CHAIN " -o %s -p 6 -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss %u\n",
		tg_tunnel_device(tunnel), cell - headers);
	return 1;
}

static int put_mss_chain(FILE *out, const struct tg_policy *policy, int family, size_t *ret_count)
{
	size_t count = 0;
	int err = 0;

	for (size_t i = 0; i < policy->rule_count && !err; i++) {
		const struct tg_policy_rule *rule = &policy->rules[i];

		if (mss_wanted(&policy->tunnels[rule->tunnel]) && rule_of_family(rule, family) &&
		    (!rule->proto || rule->proto == IPPROTO_TCP))
			err = put_mss_rule(out, policy, rule, family, &count);
	}
	for (size_t i = 0; i < policy->tunnel_count && !err; i++)
		if (mss_wanted(&policy->tunnels[i]))
			count += put_mss_default(out, &policy->tunnels[i], family);
	if (!err)
		*ret_count = count;
	return err;
}

/*
 * What may leave by any device: outer packets, and the neighbour discovery
 * that these need. A match of connection marks that never holds, and that
 * makes the kernel put forwarded fragments together before it routes them:
 * alone they have no ports that a rule could match.
 */
static size_t put_closed_exempt(FILE *out, const struct tg_policy *policy, int family)
{
	enum { FIRST_ND = 133, LAST_ND = 136 };
	size_t count = 2 + policy->tunnel_count;
	bool ports = false;

	for (size_t i = 0; i < policy->rule_count; i++)
		ports |= policy->rules[i].port_count || policy->rules[i].source_port_count;
	/* what there is most of comes first */
	for (size_t i = 0; i < policy->tunnel_count; i++)
		fprintf(out, IPTABLES_CLOSED_CHAIN " -o %s -j RETURN\n",
			tg_tunnel_device(&policy->tunnels[i]));
	fprintf(out, IPTABLES_CLOSED_CHAIN " -m mark --mark 0x%x/0x%x -j RETURN\n", TG_MARK_OUTER,
		TG_MARK_OUTER);
	fputs(IPTABLES_CLOSED_CHAIN " -o lo -j RETURN\n", out);
	if (ports)
		fputs(IPTABLES_CLOSED_CHAIN " -m connmark --mark 0x1/0x0 -j RETURN\n", out);
	for (int type = FIRST_ND; family == AF_INET6 && type <= LAST_ND; type++, count++)
		fprintf(out, IPTABLES_CLOSED_CHAIN " -p 58 -m icmp6 --icmpv6-type %d -j RETURN\n", type);
	return count + ports;
}

/*
 * Routing alone does not keep packets in: an IPv4 socket that is bound to a
 * device takes every destination for a neighbour when no route is found, and
 * multicast does not ask the routing rules at all.
 */
static int put_closed_rule(FILE *out, const struct tg_policy_rule *rule, int family, size_t *count)
{
	char target[80] = " -j DROP";
	const struct match match = {
		.rule = rule, .begin = IPTABLES_CLOSED_CHAIN, .proto = rule->proto, .end = target
	};

	if (rule->has_uid)
		snprintf(target, sizeof(target), " -m owner --uid-owner %u-%u -j DROP", rule->uid_lo,
			 rule->uid_hi);
	return rule_of_family(rule, family) ? put_rule(out, match, family, count) : 0;
}

static int put_closed_chain(FILE *out, const struct tg_policy *policy, int family, size_t *ret_count)
{
	struct tg_policy_rule icmp;
	size_t count;
	int err = 0;

	if (!closed_wanted(policy, family))
		return 0;
	count = put_closed_exempt(out, policy, family);
	for (size_t i = 0; i < policy->rule_count && !err; i++) {
		err = put_closed_rule(out, &policy->rules[i], family, &count);
		if (!err && tg_rule_icmp(&policy->rules[i], family, &icmp))
			err = put_closed_rule(out, &icmp, family, &count);
	}
	if (!err)
		*ret_count = count;
	return err;
}

/*
 * Everything into such a tunnel: the agent tells the classes apart. A verdict
 * ends the table for the packet, so nothing may come behind this chain, and
 * nothing in the table can see, let alone keep, the mark of what was released.
 */
static int put_pace_chain(FILE *out, const struct tg_policy *policy, int family, size_t *ret_count)
{
	size_t count = 0;

	(void)family;
	for (size_t i = 0; pace_wanted(policy) && i < policy->tunnel_count; i++) {
		if (!tg_tunnel_is_paced(&policy->tunnels[i]))
			continue;
		fprintf(out, IPTABLES_PACE_CHAIN " -o %s -j NFQUEUE --queue-num %u%s\n",
			tg_tunnel_device(&policy->tunnels[i]), policy->engine_queue,
			policy->fail == TG_FAIL_OPEN ? " --queue-bypass" : "");
		count++;
	}
	*ret_count = count;
	return 0;
}

/* FNV-1a: tells versions of our own text apart, nothing more. */
static uint64_t digest_of(uint64_t digest, const char *text)
{
	for (; *text; text++)
		digest = (digest ^ (unsigned char)*text) * 0x100000001b3u;
	return digest;
}

typedef int (*put_chain_fn)(FILE *out, const struct tg_policy *policy, int family, size_t *ret_count);

static int chain_make(put_chain_fn put, const struct tg_policy *policy, int family, struct chain *chain)
{
	FILE *out = open_memstream(&chain->text, &chain->size);
	int err;

	if (!out)
		return -ENOMEM;
	err = put(out, policy, family, &chain->count);
	/* a stream that ran out of memory says so at the latest when it is closed */
	return fclose(out) && !err ? -ENOMEM : err;
}

static int chains_make(const struct tg_policy *policy, int family, struct chains *ret_chains)
{
	static const put_chain_fn put[CHAIN_COUNT] = {
		[CHAIN_QUEUE] = put_queue_chain,   [CHAIN_SAVE] = put_save_chain, [CHAIN_MSS] = put_mss_chain,
		[CHAIN_CLOSED] = put_closed_chain, [CHAIN_PACE] = put_pace_chain,
	};
	struct chains chains = { .digest = 0xcbf29ce484222325u };
	int err = 0;

	for (int i = 0; policy && i < CHAIN_COUNT && !err; i++) {
		err = chain_make(put[i], policy, family, &chains.of[i]);
		if (!err)
			chains.digest = digest_of(chains.digest, chains.of[i].text);
	}
	if (err) {
		chains_free(&chains);
		return err;
	}
	*ret_chains = chains;
	return 0;
}

/* The lines as commands; the first carries the digest. */
static void put_lines(FILE *out, const char *lines, uint64_t digest)
{
	for (bool first = true; *lines; first = false) {
		size_t chain = strcspn(lines, " "), end = strcspn(lines, "\n");

		fprintf(out, "-A %.*s", (int)chain, lines);
		if (first)
			fprintf(out, " -m comment --comment tensorguard-%016" PRIx64, digest);
		fprintf(out, "%.*s\n", (int)(end - chain), lines + chain);
		lines += end + 1;
	}
}

/* ---- what is there ---- */

static const struct jump {
	const char *from;
	enum chain_id to;
	bool last;		/* behind all rules that are there, else in front of them */
} JUMPS[] = {
	{ "OUTPUT", CHAIN_QUEUE, false },       { "PREROUTING", CHAIN_QUEUE, false },
	{ "POSTROUTING", CHAIN_SAVE, false },   { "POSTROUTING", CHAIN_MSS, false },
	{ "POSTROUTING", CHAIN_CLOSED, false }, { "POSTROUTING", CHAIN_PACE, true },
};
enum { JUMP_COUNT = sizeof(JUMPS) / sizeof(JUMPS[0]) };

/* One line of iptables-save. Advances *text; false at its end. */
struct line {
	const char *text;
	size_t len;
};

static bool next_line(const char **text, struct line *ret_line)
{
	if (!**text)
		return false;
	ret_line->text = *text;
	ret_line->len = strcspn(*text, "\n");
	*text += ret_line->len + ((*text)[ret_line->len] == '\n');
	return true;
}

static bool line_begins(const struct line *line, const char *prefix)
{
	return line->len >= strlen(prefix) && !memcmp(line->text, prefix, strlen(prefix));
}

static bool line_ends(const struct line *line, const char *suffix)
{
	size_t len = strlen(suffix);

	return line->len >= len && !memcmp(line->text + line->len - len, suffix, len);
}

static bool is_jump(const struct line *line)
{
	char target[64];

	for (int i = 0; i < CHAIN_COUNT; i++) {
		snprintf(target, sizeof(target), " -j %s", CHAIN_NAMES[i]);
		if (line_begins(line, "-A ") && line_ends(line, target))
			return true;
	}
	return false;
}

/* Exactly the jump that we make, as iptables-save prints it. */
static bool is_plain_jump(const struct line *line, const struct jump *jump)
{
	char text[160];
	int len = snprintf(text, sizeof(text), "-A %s -m comment --comment tensorguard -j %s", jump->from,
			   CHAIN_NAMES[jump->to]);

	return line->len == (size_t)len && !memcmp(line->text, text, line->len);
}

static bool has_chain(const char *saved, const char *chain)
{
	size_t len = strlen(chain);
	struct line line;

	while (next_line(&saved, &line))
		if (line.len > len + 1 && line.text[0] == ':' && line.text[len + 1] == ' ' &&
		    !memcmp(line.text + 1, chain, len))
			return true;
	return false;
}

/* ---- transactions ---- */

/*
 * Takes out the jumps to our chains but those that are wanted and ours to the
 * letter; `have` tells which stay.
 */
static void put_jump_removals(FILE *out, const char *saved, const struct chains *wanted,
			      bool have[static JUMP_COUNT])
{
	struct line line;

	while (next_line(&saved, &line)) {
		bool stays = false;

		if (!is_jump(&line))
			continue;
		for (int i = 0; i < JUMP_COUNT && !stays; i++) {
			stays = wanted->of[JUMPS[i].to].count && !have[i] && is_plain_jump(&line, &JUMPS[i]);
			have[i] |= stays;
		}
		if (!stays)
			fprintf(out, "-D%.*s\n", (int)(line.len - 2), line.text + 2);
	}
}

/* Naming a chain makes or empties it: with --noflush others stay as they are. */
static void put_transaction(FILE *out, const struct chains *chains, const char *saved)
{
	bool have[JUMP_COUNT] = { false };

	fputs("*mangle\n", out);
	for (int i = 0; i < CHAIN_COUNT; i++)
		if (chains->of[i].count)
			fprintf(out, ":%s - [0:0]\n", CHAIN_NAMES[i]);
	put_jump_removals(out, saved, chains, have);
	/* in front: a rule of somebody else that accepts must not hide a packet from us; from the last one it
	 * may, as what was not released is dropped at the tunnel */
	for (int i = 0; i < JUMP_COUNT; i++)
		if (!have[i] && chains->of[JUMPS[i].to].count)
			fprintf(out, "-%c %s%s -m comment --comment tensorguard -j %s\n",
				JUMPS[i].last ? 'A' : 'I', JUMPS[i].from, JUMPS[i].last ? "" : " 1",
				CHAIN_NAMES[JUMPS[i].to]);
	for (int i = 0; i < CHAIN_COUNT; i++) {
		if (chains->of[i].count)
			put_lines(out, chains->of[i].text, chains->digest);
		else if (has_chain(saved, CHAIN_NAMES[i]))
			fprintf(out, "-F %s\n-X %s\n", CHAIN_NAMES[i], CHAIN_NAMES[i]);
	}
	fputs("COMMIT\n", out);
}

static bool nothing_there(const char *saved)
{
	for (int i = 0; i < CHAIN_COUNT; i++)
		if (has_chain(saved, CHAIN_NAMES[i]))
			return false;
	return true;
}

int iptables_script(const struct tg_policy *policy, int family, const char *saved, char **ret_text)
{
	struct chains chains;
	char *text = NULL;
	size_t size;
	FILE *out;
	int err;

	if (!iptables_wanted(policy, family) && nothing_there(saved)) {
		*ret_text = NULL;
		return 0;
	}
	err = chains_make(policy, family, &chains);
	if (err)
		return err;
	out = open_memstream(&text, &size);
	if (!out) {
		err = -ENOMEM;
		goto out;
	}
	put_transaction(out, &chains, saved);
	if (fclose(out)) {
		free(text);
		err = -ENOMEM;
		goto out;
	}
	*ret_text = text;
out:
	chains_free(&chains);
	return err;
}

/* How many rules `chain` has, and whether one of them carries the digest. */
static size_t count_rules(const char *saved, const char *chain, uint64_t digest, bool *ret_digest)
{
	char prefix[64], comment[64];
	struct line line;
	size_t count = 0;

	snprintf(prefix, sizeof(prefix), "-A %s ", chain);
	snprintf(comment, sizeof(comment), " --comment tensorguard-%016" PRIx64 " ", digest);
	*ret_digest = false;
	while (next_line(&saved, &line)) {
		const char *found;

		if (!line_begins(&line, prefix))
			continue;
		count++;
		found = memmem(line.text, line.len, comment, strlen(comment));
		*ret_digest |= found != NULL;
	}
	return count;
}

static bool jumps_match(const char *saved, const struct chains *chains)
{
	unsigned plain[JUMP_COUNT] = { 0 }, others = 0;
	struct line line;

	while (next_line(&saved, &line)) {
		bool known = false;

		for (int i = 0; i < JUMP_COUNT; i++) {
			bool same = is_plain_jump(&line, &JUMPS[i]);

			plain[i] += same;
			known |= same;
		}
		others += is_jump(&line) && !known;
	}
	for (int i = 0; i < JUMP_COUNT; i++)
		if (plain[i] != (chains->of[JUMPS[i].to].count ? 1 : 0))
			return false;
	return !others;
}

static bool chain_matches(const char *saved, const struct chains *chains, enum chain_id id)
{
	bool digest;

	if (!chains->of[id].count)
		return !has_chain(saved, CHAIN_NAMES[id]);
	return count_rules(saved, CHAIN_NAMES[id], chains->digest, &digest) == chains->of[id].count && digest;
}

int iptables_matches(const struct tg_policy *policy, int family, const char *saved, bool *ret_matches)
{
	struct chains chains;
	bool matches = true;
	int err;

	err = chains_make(policy, family, &chains);
	if (err)
		return err;
	for (int i = 0; i < CHAIN_COUNT; i++)
		matches &= chain_matches(saved, &chains, i);
	*ret_matches = matches && jumps_match(saved, &chains);
	chains_free(&chains);
	return 0;
}
