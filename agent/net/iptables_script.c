/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/internal.h"
#include "net/iptables.h"
#include "shared/mark.h"

enum { MULTIPORT_SLOTS = 15 };	/* xt_multiport; a range takes two */

/* ---- the chains of a policy ---- */

/* Our chains' rules, without the "-A"; the digest goes into the first of each chain. */
struct chains {
	char *queue, *save;	/* lines "CHAIN rule" */
	size_t queue_size, save_size, queue_count, save_count;
	uint64_t digest;
};

static void chains_free(struct chains *chains)
{
	free(chains->queue);
	free(chains->save);
}

static bool has_family(const struct tg_cidr *list, size_t count, int family)
{
	for (size_t i = 0; i < count; i++)
		if (list[i].family == family)
			return true;
	return !count;
}

static bool rule_wanted(const struct tg_policy_rule *rule, int family)
{
	return tg_rule_is_flow(rule) && has_family(rule->to, rule->to_count, family) &&
	       has_family(rule->from, rule->from_count, family);
}

bool iptables_wanted(const struct tg_policy *policy, int family)
{
	for (size_t i = 0; policy && i < policy->rule_count; i++)
		if (rule_wanted(&policy->rules[i], family))
			return true;
	return false;
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
	const struct tg_policy *policy;
	const struct tg_policy_rule *rule;
	const struct tg_cidr *to, *from; /* NULL = any */
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
			fputs(IPTABLES_CHAIN, out);
			put_prefix(out, "-s", match->from);
			put_prefix(out, "-d", match->to);
			if (rule->proto)
				fprintf(out, " -p %u", rule->proto);
			put_ports(out, "--dports", rule->ports, dport, dport_end);
			put_ports(out, "--sports", rule->source_ports, sport, sport_end);
			if (rule->has_mark && rule->mark_mask)
				fprintf(out, " -m mark --mark 0x%x/0x%x", rule->mark, rule->mark_mask);
			fprintf(out, " -j NFQUEUE --queue-num %u%s\n", match->policy->classifier.queue,
				match->policy->classifier.hold ? "" : " --queue-bypass");
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

static int put_rule(FILE *out, const struct tg_policy *policy, const struct tg_policy_rule *rule, int family,
		    size_t *count)
{
	struct match match = { .policy = policy, .rule = rule };

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
 * would route it back in), and what belongs to a flow that is decided.
 */
static size_t put_exempt(FILE *out, const struct tg_policy *policy)
{
	size_t count = 5;

	fprintf(out, IPTABLES_CHAIN " -m mark --mark 0x%x/0x%x -j RETURN\n", TG_MARK_OUTER, TG_MARK_OUTER);
	fprintf(out, IPTABLES_CHAIN " -i lo -j RETURN\n" IPTABLES_CHAIN " -o lo -j RETURN\n");
	for (size_t i = 0; i < policy->tunnel_count; i++, count++) {
		const struct tg_tunnel *tunnel = &policy->tunnels[i];

		fprintf(out, IPTABLES_CHAIN " -i %s -j RETURN\n",
			tunnel->external[0] ? tunnel->external : tunnel->name);
	}
	fprintf(out, IPTABLES_CHAIN " -m connmark ! --mark 0x0/0x%x -j CONNMARK --restore-mark --nfmask 0x%x"
		     " --ctmask 0x%x\n", TG_MARK_CLASS_MASK, TG_MARK_CLASS_MASK, TG_MARK_CLASS_MASK);
	fprintf(out, IPTABLES_CHAIN " -m mark ! --mark 0x0/0x%x -j RETURN\n", TG_MARK_CLASS_MASK);
	return count;
}

static int put_queue_chain(FILE *out, const struct tg_policy *policy, int family, size_t *ret_count)
{
	size_t count = put_exempt(out, policy);

	for (size_t i = 0; i < policy->rule_count; i++) {
		int err = rule_wanted(&policy->rules[i], family) ?
			  put_rule(out, policy, &policy->rules[i], family, &count) : 0;

		if (err)
			return err;
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

static int chains_make(const struct tg_policy *policy, int family, struct chains *ret_chains)
{
	struct chains chains = { .save_count = 1 };
	FILE *queue = open_memstream(&chains.queue, &chains.queue_size);
	FILE *save = open_memstream(&chains.save, &chains.save_size);
	int err = queue && save ? 0 : -ENOMEM;

	if (!err)
		err = put_queue_chain(queue, policy, family, &chains.queue_count);
	if (!err)
		fprintf(save,
			IPTABLES_SAVE_CHAIN " -m mark ! --mark 0x0/0x%x -j CONNMARK --save-mark --nfmask 0x%x"
					    " --ctmask 0x%x\n",
			TG_MARK_CLASS_MASK, TG_MARK_CLASS_MASK, TG_MARK_CLASS_MASK);
	/* a stream that ran out of memory says so at the latest when it is closed */
	if (queue && fclose(queue) && !err)
		err = -ENOMEM;
	if (save && fclose(save) && !err)
		err = -ENOMEM;
	if (err) {
		chains_free(&chains);
		return err;
	}
	chains.digest = digest_of(digest_of(0xcbf29ce484222325u, chains.queue), chains.save);
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
	const char *from, *to;
} JUMPS[] = {
	{ "OUTPUT", IPTABLES_CHAIN },
	{ "PREROUTING", IPTABLES_CHAIN },
	{ "POSTROUTING", IPTABLES_SAVE_CHAIN },
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
	return line_begins(line, "-A ") && (line_ends(line, " -j " IPTABLES_CHAIN) ||
	       line_ends(line, " -j " IPTABLES_SAVE_CHAIN));
}

/* Exactly the jump that we make, as iptables-save prints it. */
static bool is_plain_jump(const struct line *line, const struct jump *jump)
{
	char text[160];
	int len = snprintf(text, sizeof(text), "-A %s -m comment --comment tensorguard -j %s", jump->from,
			   jump->to);

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
 * Takes out the jumps to our chains: all of them, or with `keep` only those
 * that are not ours to the letter or are there twice; `have` tells which stay.
 */
static void put_jump_removals(FILE *out, const char *saved, bool keep, bool have[static JUMP_COUNT])
{
	struct line line;

	while (next_line(&saved, &line)) {
		bool stays = false;

		if (!is_jump(&line))
			continue;
		for (int i = 0; i < JUMP_COUNT && keep && !stays; i++) {
			stays = !have[i] && is_plain_jump(&line, &JUMPS[i]);
			have[i] |= stays;
		}
		if (!stays)
			fprintf(out, "-D%.*s\n", (int)(line.len - 2), line.text + 2);
	}
}

static void put_removal(FILE *out, const char *saved)
{
	static const char *const names[] = { IPTABLES_CHAIN, IPTABLES_SAVE_CHAIN };
	bool have[JUMP_COUNT] = { false };

	fputs("*mangle\n", out);
	put_jump_removals(out, saved, false, have);
	for (int i = 0; i < 2; i++)
		if (has_chain(saved, names[i]))
			fprintf(out, "-F %s\n-X %s\n", names[i], names[i]);
	fputs("COMMIT\n", out);
}

/* Naming a chain empties it: with --noflush others stay as they are. */
static void put_policy(FILE *out, const struct chains *chains, const char *saved)
{
	bool have[JUMP_COUNT] = { false };

	fputs("*mangle\n:" IPTABLES_CHAIN " - [0:0]\n:" IPTABLES_SAVE_CHAIN " - [0:0]\n", out);
	put_jump_removals(out, saved, true, have);
	/* in front: a rule of somebody else that accepts must not hide a packet from us */
	for (int i = 0; i < JUMP_COUNT; i++)
		if (!have[i])
			fprintf(out, "-I %s 1 -m comment --comment tensorguard -j %s\n", JUMPS[i].from,
				JUMPS[i].to);
	put_lines(out, chains->queue, chains->digest);
	put_lines(out, chains->save, chains->digest);
	fputs("COMMIT\n", out);
}

static bool nothing_there(const char *saved)
{
	return !has_chain(saved, IPTABLES_CHAIN) && !has_chain(saved, IPTABLES_SAVE_CHAIN);
}

int iptables_script(const struct tg_policy *policy, int family, const char *saved, char **ret_text)
{
	bool wanted = iptables_wanted(policy, family);
	struct chains chains = { .queue = NULL };
	char *text = NULL;
	size_t size;
	FILE *out;
	int err;

	if (!wanted && nothing_there(saved)) {
		*ret_text = NULL;
		return 0;
	}
	err = wanted ? chains_make(policy, family, &chains) : 0;
	if (err)
		return err;
	out = open_memstream(&text, &size);
	if (!out) {
		err = -ENOMEM;
		goto out;
	}
	if (wanted)
		put_policy(out, &chains, saved);
	else
		put_removal(out, saved);
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

static bool jumps_match(const char *saved)
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
	return plain[0] == 1 && plain[1] == 1 && plain[2] == 1 && !others;
}

int iptables_matches(const struct tg_policy *policy, int family, const char *saved, bool *ret_matches)
{
	bool queue_digest, save_digest;
	struct chains chains;
	int err;

	if (!iptables_wanted(policy, family)) {
		*ret_matches = nothing_there(saved);
		return 0;
	}
	err = chains_make(policy, family, &chains);
	if (err)
		return err;
	*ret_matches =
		count_rules(saved, IPTABLES_CHAIN, chains.digest, &queue_digest) == chains.queue_count &&
		count_rules(saved, IPTABLES_SAVE_CHAIN, chains.digest, &save_digest) == chains.save_count &&
		queue_digest && save_digest && jumps_match(saved);
	chains_free(&chains);
	return 0;
}
