/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "tensorguard/compile.h"

#define HEAD "version = 1; name = \"x\"; policy_version = 1; profile = \"lab\"; fail = \"open\";"
#define ALWAYS "defence = \"constant\"; session = \"always\";"
#define TUNNELS                                                                                             \
	"tunnels = ( { name = \"a\"; external = \"wg1\"; default = \"two\";"                                \
	"  dummy = { source = \"fd00::1\"; target = \"fd00::2\"; };"                                        \
	"  classes = ( { name = \"one\"; defence = \"pad\"; pad = \"buckets\"; cell = 1420; buckets = ( "   \
	"512, 1420 ); },"                                                                                   \
	"              { name = \"two\"; defence = \"pad\"; pad = \"pow2\"; cell = 1024; },"                \
	"              { name = \"three\"; " ALWAYS " cell = 160; period = \"5ms\"; } ); },"                \
	"            { name = \"b\"; external = \"wg2\"; classes = ( { name = \"one\"; defence = \"pad\"; " \
	"} ); } );"

static struct tg_policy *parse(const char *text)
{
	struct tg_policy *policy = NULL;
	struct tg_error e = { "" };

	if (tg_policy_parse(text, strlen(text), "t.conf", &policy, &e))
		printf("%s\n", e.message);
	CU_ASSERT_PTR_NOT_NULL_FATAL(policy);
	return policy;
}

static struct tg_compiled *compile(const char *text, size_t tunnel)
{
	struct tg_policy *policy = parse(text);
	struct tg_compiled *compiled = NULL;
	struct tg_error e = { "" };

	if (tg_policy_compile(policy, tunnel, &compiled, &e))
		printf("%s\n", e.message);
	tg_policy_free(policy);
	CU_ASSERT_PTR_NOT_NULL_FATAL(compiled);
	return compiled;
}

/* A policy with one paced class. */
static struct tg_compiled *compile_class(const char *keys)
{
	struct tg_compiled *compiled;
	char *text;

	CU_ASSERT_FATAL(asprintf(&text,
				 HEAD "tunnels = ( { name = \"a\"; external = \"wg1\";"
				      "dummy = { source = \"fd00::1\"; target = \"fd00::2\"; };"
				      "classes = ( { name = \"one\"; defence = \"constant\"; %s } ); } );",
				 keys) > 0);
	compiled = compile(text, 0);
	free(text);
	return compiled;
}

/* The rules under "10.0.0.0/8" of a side; ~0 if there is no such prefix. */
static uint64_t rules_under(const struct tg_compiled *compiled, enum tg_lpm_side side, const char *prefix)
{
	char text[TG_CIDR_TEXT_LEN];

	for (size_t i = 0; i < compiled->prefix_count; i++)
		if (compiled->prefixes[i].side == side &&
		    !strcmp(tg_cidr_text(&compiled->prefixes[i].cidr, text), prefix))
			return compiled->prefixes[i].set.rules;
	return ~0ull;
}

/* ---- classes and queues ---- */

TEST(compile, classes_keep_their_form)
{
	struct tg_compiled *c = compile(HEAD TUNNELS, 0);

	CU_ASSERT(c->config.class_count == 3 && c->config.default_class == 1 && c->config.dummy_class == 2);
	CU_ASSERT(c->config.flags == 0 && c->config.rule_count == 0 && c->prefix_count == 0);
	CU_ASSERT(c->classes[0].defence == TG_DEFENCE_PAD && c->classes[0].pad_mode == TG_PAD_BUCKETS);
	CU_ASSERT(c->classes[0].bucket_count == 2 && c->classes[0].buckets[0] == 512);
	CU_ASSERT(c->classes[0].buckets[1] == 1420 && c->classes[0].buckets[2] == 0);
	CU_ASSERT_EQUAL(c->classes[0].queue, TG_NO_QUEUE);
	CU_ASSERT(c->classes[1].pad_mode == TG_PAD_POW2 && c->classes[1].cell == 1024);
	CU_ASSERT(c->classes[2].defence == TG_DEFENCE_CONSTANT && c->classes[2].queue == 0);
	CU_ASSERT(c->queue_count == 1 && c->queues[0].class == 2 && c->queues[0].queue.head_ifindex == 0);
	CU_ASSERT_EQUAL(c->classes[3].defence, 0);
	tg_compiled_free(c);
}

TEST(compile, without_a_queue_dummies_count_for_the_default)
{
	struct tg_compiled *c = compile(HEAD TUNNELS, 1);

	CU_ASSERT(c->config.class_count == 1 && c->config.dummy_class == 0 && c->queue_count == 0);
	tg_compiled_free(c);
}

TEST(compile, a_queue_has_the_policys_times)
{
	struct tg_compiled *c =
		compile_class("cell = 160; period = \"5ms\"; session = \"65s\"; idle = \"3s\";"
			      "delay_budget = \"104ms\";");
	const struct tg_queue *q = &c->queues[0].queue;

	CU_ASSERT(q->period_ns == 5000000 && q->idle_ns == 3000000000ull && q->slots == 13000);
	CU_ASSERT(q->cell == 160 && q->overflow == TG_OVERFLOW_DROP);
	CU_ASSERT_EQUAL(q->budget_cells, 20);
	CU_ASSERT_EQUAL(q->limit_cells, 20);
	/* 174 bytes per 5 ms */
	CU_ASSERT(c->queues[0].frame == 174 && c->queues[0].rate == 34800);
	tg_compiled_free(c);
}

/* A wait is a violation above the profile's delay, or above the class's own budget if that is stricter. */
TEST(compile, a_queue_is_held_to_the_stricter_promise)
{
	struct tg_compiled *own = compile_class("cell = 160; period = \"5ms\"; session = \"always\"; "
						"delay_budget = \"25ms\";");
	struct tg_compiled *profile = compile_class("cell = 160; period = \"5ms\"; session = \"always\"; "
						    "delay_budget = \"10s\";");

	CU_ASSERT_EQUAL(own->queues[0].queue.guard_ns, 25000000);
	CU_ASSERT_EQUAL(profile->queues[0].queue.guard_ns, tg_profile_budget_ns(TG_PROFILE_LAB));
	tg_compiled_free(own);
	tg_compiled_free(profile);
}

static struct tg_budget compile_budget(const char *keys)
{
	struct tg_compiled *compiled;
	struct tg_budget budget;
	char *text;

	CU_ASSERT_FATAL(asprintf(&text,
				 HEAD "tunnels = ( { name = \"a\"; external = \"wg1\"; %s"
				      "classes = ( { name = \"one\"; defence = \"pad\"; } ); } );",
				 keys) > 0);
	compiled = compile(text, 0);
	budget = compiled->budget;
	tg_compiled_free(compiled);
	free(text);
	return budget;
}

TEST(compile, a_budget_counts_bytes_on_the_wire)
{
	struct tg_budget b = compile_budget("");

	CU_ASSERT(b.flags == 0 && b.overhead == 60);
	b = compile_budget("budget = { dummy_bytes_per_day = 1000; };");
	CU_ASSERT(b.flags == (TG_BUDGET_DAY | TG_BUDGET_STOP) && b.day_bytes == 1000);
	b = compile_budget("budget = { dummy_share = 30; link_kbit_s = 2000; violation = \"count\"; };");
	CU_ASSERT(b.flags == TG_BUDGET_SHARE && b.share_rate == 75000);
	b = compile_budget("budget = { dummy_share = 1; link_kbit_s = 1; };");
	CU_ASSERT(b.flags == (TG_BUDGET_SHARE | TG_BUDGET_STOP) && b.share_rate == 1);
}

/* On a metered link its own budget alone counts. */
TEST(compile, a_metered_link_has_its_own_budget)
{
	struct tg_budget b = compile_budget("budget = { dummy_bytes_per_day = 1000; dummy_share = 30; "
					    "link_kbit_s = 2000; metered = true; "
					    "metered_dummy_bytes_per_day = 5; };");

	CU_ASSERT_EQUAL(b.flags, TG_BUDGET_DAY | TG_BUDGET_METERED | TG_BUDGET_STOP);
	CU_ASSERT_EQUAL(b.day_bytes, 5);
	b = compile_budget("budget = { metered = false; metered_dummy_bytes_per_day = 5; };");
	CU_ASSERT_EQUAL(b.flags, 0);
}

TEST(compile, stretch_has_a_limit_of_its_own)
{
	static const struct {
		const char *keys;
		uint32_t budget, limit;
	} cases[] = {
		/* a second's worth */
		{ "cell = 160; period = \"5ms\"; session = \"always\"; overflow = \"stretch\";", 20, 200 },
		/* which is rounded up */
		{ "cell = 160; period = \"7ms\"; session = \"always\"; overflow = \"stretch\";", 14, 143 },
		/* at least 64 */
		{ "cell = 160; period = \"100ms\"; session = \"always\"; overflow = \"stretch\";", 1, 64 },
		/* never below the budget */
		{ "cell = 160; period = \"5ms\"; session = \"always\"; overflow = \"stretch\"; delay_budget "
		  "= \"2s\";",
		  400, 400 },
		{ "cell = 160; period = \"1s\"; session = \"always\";", 1, 1 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct tg_compiled *c = compile_class(cases[i].keys);

		CU_ASSERT_EQUAL(c->queues[0].queue.budget_cells, cases[i].budget);
		CU_ASSERT_EQUAL(c->queues[0].queue.limit_cells, cases[i].limit);
		CU_ASSERT_EQUAL(c->queues[0].queue.slots, 0);
		tg_compiled_free(c);
	}
}

TEST(compile, the_rate_is_rounded_to_the_nearest_byte)
{
	static const struct {
		const char *keys;
		uint64_t rate;
	} cases[] = {
		{ "cell = 160; period = \"500us\"; session = \"always\";", 348000 },
		{ "cell = 48; period = \"1s\"; session = \"always\";", 62 },
		/* 174 / 0.007 = 24857.14, 174 / 0.0036 = 48333.3, 174 / 0.0013 = 133846.2, 174 / 0.0019 =
		   91578.9 */
		{ "cell = 160; period = \"7ms\"; session = \"always\";", 24857 },
		{ "cell = 160; period = \"3.6ms\"; session = \"always\";", 48333 },
		{ "cell = 160; period = \"1.3ms\"; session = \"always\";", 133846 },
		{ "cell = 160; period = \"1.9ms\"; session = \"always\";", 91579 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct tg_compiled *c = compile_class(cases[i].keys);
		double kept = 1e9 * c->queues[0].frame / (double)c->queues[0].rate;
		double off = kept / (double)c->queues[0].queue.period_ns - 1;

		CU_ASSERT_EQUAL(c->queues[0].rate, cases[i].rate);
		/* the error that the header states */
		CU_ASSERT((off < 0 ? -off : off) <= 1.0001 / (2 * (double)c->queues[0].rate));
		tg_compiled_free(c);
	}
}

TEST(compile, a_cell_has_this_size_on_the_wire)
{
	CU_ASSERT_EQUAL(tg_wire_size(160, 1420, AF_INET), 220);
	CU_ASSERT_EQUAL(tg_wire_size(1280, 1420, AF_INET), 1340);
	CU_ASSERT_EQUAL(tg_wire_size(1280, 1420, AF_INET6), 1360);
	/* rounding to 16 stops at the MTU */
	CU_ASSERT_EQUAL(tg_wire_size(1420, 1420, AF_INET), 1480);
	CU_ASSERT_EQUAL(tg_wire_size(1420, 1500, AF_INET), 1484);
}

/* ---- rules ---- */

TEST(compile, port_lists_become_entries_in_order)
{
	struct tg_compiled *c =
		compile(HEAD TUNNELS "rules = ("
				     "{ tunnel = \"a\"; class = \"one\"; proto = \"tcp\"; ports = ( 1, "
				     "\"5-6\" ); source_ports = ( 7, 8 ); },"
				     "{ tunnel = \"b\"; class = \"one\"; proto = \"udp\"; },"
				     "{ tunnel = \"a\"; class = \"three\"; mark = \"0x1/0x3\"; } );",
			0);
	static const struct {
		uint16_t dlo, dhi, sport;
	} expected[] = {
		{ 1, 1, 7 },
		{ 1, 1, 8 },
		{ 5, 6, 7 },
		{ 5, 6, 8 },
	};

	CU_ASSERT_EQUAL_FATAL(c->config.rule_count, 5);
	CU_ASSERT_EQUAL(c->config.flags, TG_CONFIG_MARK);
	for (unsigned i = 0; i < 4; i++) {
		CU_ASSERT(c->rules[i].dport_lo == expected[i].dlo && c->rules[i].dport_hi == expected[i].dhi);
		CU_ASSERT(c->rules[i].sport_lo == expected[i].sport &&
			  c->rules[i].sport_hi == expected[i].sport);
		CU_ASSERT(c->rules[i].proto == IPPROTO_TCP && c->rules[i].class == 0 &&
			  c->rule_origin[i] == 0);
		CU_ASSERT(c->rules[i].flags == 0 && c->rules[i].mark_mask == 0);
	}
	CU_ASSERT(c->rules[4].dport_lo == 0 && c->rules[4].dport_hi == 65535 &&
		  c->rules[4].sport_hi == 65535);
	CU_ASSERT(c->rules[4].mark == 1 && c->rules[4].mark_mask == 3 && c->rules[4].class == 2);
	CU_ASSERT(c->rules[4].proto == 0 && c->rule_origin[4] == 2);
	tg_compiled_free(c);
}

TEST(compile, flow_rules_are_marked)
{
	struct tg_compiled *c =
		compile(HEAD TUNNELS
			"rules = ("
			"{ tunnel = \"a\"; class = \"one\"; uid = 0; },"
			"{ tunnel = \"a\"; class = \"one\"; to = ( \"10.0.0.0/8\" ); sni = \"x.example\"; },"
			"{ tunnel = \"a\"; class = \"one\"; to = ( \"10.0.0.0/8\" ); cgroup = \"a/b\"; },"
			"{ tunnel = \"a\"; class = \"one\"; proto = \"tcp\"; } );",
			0);

	CU_ASSERT_EQUAL(c->config.flags, TG_CONFIG_FLOWS);
	CU_ASSERT_EQUAL_FATAL(c->config.rule_count, 4);
	for (unsigned i = 0; i < 4; i++)
		CU_ASSERT_EQUAL(c->rules[i].flags, i < 3 ? TG_RULE_FLOW : 0);
	CU_ASSERT_EQUAL(c->rules[1].proto, IPPROTO_TCP);
	tg_compiled_free(c);
}

/* ---- prefixes ---- */

TEST(compile, a_prefix_carries_the_rules_of_all_around_it)
{
	struct tg_compiled *c = compile(
		HEAD TUNNELS "rules = ("
			     "{ tunnel = \"a\"; class = \"one\"; to = ( \"10.1.0.0/16\", \"fd01::/16\" ); },"
			     "{ tunnel = \"a\"; class = \"one\"; to = ( \"10.0.0.0/8\", \"10.1.2.3/32\" ); },"
			     "{ tunnel = \"a\"; class = \"one\"; to = ( \"11.0.0.0/8\", \"10.1.0.0/16\" ); },"
			     "{ tunnel = \"a\"; class = \"one\"; proto = \"udp\"; },"
			     "{ tunnel = \"a\"; class = \"one\"; to = ( \"10.1.2.0/24\", \"10.2.0.0/16\", "
			     "\"fd01:2::/32\" ); } );",
		0);
	static const struct {
		const char *prefix;
		uint64_t rules;
	} expected[] = {
		{ "0.0.0.0/0", 0x08 },   { "10.0.0.0/8", 0x0a },  { "10.1.0.0/16", 0x0f },
		{ "10.1.2.0/24", 0x1f }, { "10.1.2.3/32", 0x1f }, { "10.2.0.0/16", 0x1a },
		{ "11.0.0.0/8", 0x0c },  { "::/0", 0x08 },        { "fd01::/16", 0x09 },
		{ "fd01:2::/32", 0x19 },
	};

	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
		CU_ASSERT_EQUAL(rules_under(c, TG_LPM_TO, expected[i].prefix), expected[i].rules);
	CU_ASSERT_EQUAL(rules_under(c, TG_LPM_FROM, "0.0.0.0/0"), 0x1f);
	CU_ASSERT_EQUAL(rules_under(c, TG_LPM_FROM, "::/0"), 0x1f);
	CU_ASSERT_EQUAL(c->prefix_count, 12);
	CU_ASSERT_EQUAL(c->config.flags, 0);
	tg_compiled_free(c);
}

TEST(compile, sides_do_not_mix)
{
	struct tg_compiled *c = compile(
		HEAD TUNNELS
		"rules = ("
		"{ tunnel = \"a\"; class = \"one\"; to = ( \"10.0.0.0/8\" ); from = ( \"10.1.0.0/16\" ); },"
		"{ tunnel = \"a\"; class = \"one\"; to = ( \"10.1.0.0/16\" ); } );",
		0);

	CU_ASSERT_EQUAL(c->config.flags, TG_CONFIG_FROM);
	CU_ASSERT_EQUAL(rules_under(c, TG_LPM_TO, "10.0.0.0/8"), 1);
	CU_ASSERT_EQUAL(rules_under(c, TG_LPM_TO, "10.1.0.0/16"), 3);
	CU_ASSERT_EQUAL(rules_under(c, TG_LPM_TO, "0.0.0.0/0"), ~0ull);
	CU_ASSERT_EQUAL(rules_under(c, TG_LPM_FROM, "10.1.0.0/16"), 3);
	CU_ASSERT_EQUAL(rules_under(c, TG_LPM_FROM, "0.0.0.0/0"), 2);
	CU_ASSERT_EQUAL(rules_under(c, TG_LPM_FROM, "10.0.0.0/8"), ~0ull);
	tg_compiled_free(c);
}

static uint32_t state = 12345;

static uint32_t draw(uint32_t below)
{
	state = state * 1664525u + 1013904223u;
	return (uint32_t)((uint64_t)(state >> 8) * below >> 24);
}

/* What a trie gives for an address: the set of the longest prefix around it. */
static uint64_t longest_match(const struct tg_compiled *c, const struct tg_cidr *addr)
{
	const struct tg_compiled_prefix *best = NULL;

	for (size_t i = 0; i < c->prefix_count; i++) {
		const struct tg_compiled_prefix *p = &c->prefixes[i];

		if (p->side == TG_LPM_TO && tg_cidr_contains(&p->cidr, addr) &&
		    (!best || p->cidr.length > best->cidr.length))
			best = p;
	}
	return best ? best->set.rules : 0;
}

/* The same from the definition: a rule is in the set if one of its prefixes contains the address. */
static uint64_t all_matches(const struct tg_policy *policy, const struct tg_cidr *addr)
{
	uint64_t set = 0;

	for (size_t r = 0; r < policy->rule_count; r++)
		for (size_t i = 0; i < policy->rules[r].to_count; i++)
			if (tg_cidr_contains(&policy->rules[r].to[i], addr))
				set |= 1ull << r;
	return set;
}

/* 60 rules of 8 prefixes drawn from a small space, so that they nest and repeat. */
static struct tg_policy *random_policy(void)
{
	struct tg_policy *policy;
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	fprintf(f, "%srules = (", HEAD TUNNELS);
	for (int r = 0; r < 60; r++) {
		fprintf(f, "%s{ tunnel = \"a\"; class = \"one\"; to = (", r ? "," : "");
		for (uint32_t i = 0; i < 8; i++) {
			/* the first three bits keep a rule's eight prefixes apart */
			uint32_t length = 3 + draw(30);
			uint32_t bits = (i << 29 | draw(1 << 6) << 23 | draw(8)) & 0xffffffffu
											   << (32 - length);

			fprintf(f, "%s\"%u.%u.%u.%u/%u\"", i ? "," : "", bits >> 24, bits >> 16 & 255,
				bits >> 8 & 255, bits & 255, length);
		}
		fprintf(f, "); }");
	}
	fprintf(f, ");");
	fclose(f);
	policy = parse(text);
	free(text);
	return policy;
}

TEST(compile, the_longest_prefix_knows_every_rule)
{
	unsigned wrong = 0, nested = 0;

	for (int round = 0; round < 20; round++) {
		struct tg_policy *policy = random_policy();
		struct tg_compiled *c = NULL;

		CU_ASSERT_EQUAL_FATAL(tg_policy_compile(policy, 0, &c, NULL), 0);
		for (int i = 0; i < 1000; i++) {
			const struct tg_policy_rule *rule =
				&policy->rules[draw((uint32_t)policy->rule_count)];
			struct tg_cidr addr = rule->to[draw((uint32_t)rule->to_count)];
			uint64_t set;

			addr.length = 32;
			addr.addr[3] ^= (uint8_t)draw(4);
			set = all_matches(policy, &addr);
			wrong += longest_match(c, &addr) != set;
			nested += (set & (set - 1)) != 0;
		}
		tg_compiled_free(c);
		tg_policy_free(policy);
	}
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT(nested > 1000);
}

/* ---- limits ---- */

static char *rule_text(unsigned ports, unsigned source_ports)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	fprintf(f, "%s\nrules = (\n{ tunnel = \"a\"; class = \"one\"; proto = \"tcp\"; ports = (",
		HEAD TUNNELS);
	for (unsigned i = 0; i < ports; i++)
		fprintf(f, "%s%u", i ? "," : "", i + 1);
	fprintf(f, "); source_ports = (");
	for (unsigned i = 0; i < source_ports; i++)
		fprintf(f, "%s%u", i ? "," : "", i + 1);
	fprintf(f, "); } );");
	fclose(f);
	return text;
}

TEST(compile, sixty_four_entries_are_the_limit)
{
	struct tg_compiled *c;
	struct tg_policy *policy;
	struct tg_error e = { "" };
	char *text = rule_text(16, 4);

	c = compile(text, 0);
	CU_ASSERT_EQUAL(c->config.rule_count, 64);
	CU_ASSERT_EQUAL(rules_under(c, TG_LPM_TO, "::/0"), ~0ull);
	tg_compiled_free(c);
	free(text);
	text = rule_text(13, 5);
	policy = parse(text);
	c = NULL;
	CU_ASSERT_EQUAL(tg_policy_compile(policy, 0, &c, &e), -E2BIG);
	CU_ASSERT_STRING_EQUAL(
		e.message,
		"rule in line 3: tunnel 'a' needs more than 64 entries, expected fewer rules or port "
		"ranges (a rule takes ports times source_ports)");
	CU_ASSERT_PTR_NULL(c);
	/* the other tunnel has no rules and is not concerned */
	CU_ASSERT_EQUAL(tg_policy_compile(policy, 1, &c, &e), 0);
	tg_compiled_free(c);
	tg_policy_free(policy);
	free(text);
}

/* `rules` rules of 256 different prefixes each. */
/* 256 prefixes in each rule, 256 in the allowed_ips of each peer, and one source. */
static struct tg_policy *many_prefixes(unsigned rules, unsigned peers)
{
	struct tg_policy *policy;
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	fprintf(f, HEAD "tunnels = ( { name = \"a\"; external = \"wg0\"; peers = (");
	for (unsigned p = 0; p < peers; p++) {
		fprintf(f, "%s{ allowed_ips = (", p ? "," : "");
		for (unsigned i = 0; i < 256; i++)
			fprintf(f, "%s\"10.%u.%u.%u\"", i ? "," : "", 1 + p / 256, p % 256, i);
		fprintf(f, "); }");
	}
	fprintf(f, "); classes = ( { name = \"one\"; defence = \"pad\"; } ); } ); "
		   "rules = (");
	for (unsigned r = 0; r < rules; r++) {
		fprintf(f, "%s{ tunnel = \"a\"; class = \"one\"; from = ( \"192.0.2.1\" ); to = (",
			r ? "," : "");
		for (unsigned i = 0; i < 256; i++)
			fprintf(f, "%s\"10.0.%u.%u\"", i ? "," : "", r, i);
		fprintf(f, "); }");
	}
	fprintf(f, ");");
	fclose(f);
	policy = parse(text);
	free(text);
	return policy;
}

TEST(compile, the_maps_limit_the_prefixes)
{
	struct tg_policy *policy = many_prefixes(15, 112);
	struct tg_compiled *c = NULL;
	struct tg_error e = { "" };

	CU_ASSERT_EQUAL(tg_policy_compile(policy, 0, &c, &e), 0);
	CU_ASSERT_EQUAL(c->prefix_count, (15 + 112) * 256 + 1);
	tg_compiled_free(c);
	tg_policy_free(policy);
	policy = many_prefixes(16, 112);
	c = NULL;
	CU_ASSERT_EQUAL(tg_policy_compile(policy, 0, &c, &e), -E2BIG);
	CU_ASSERT_STRING_EQUAL(
		e.message,
		"tunnel 'a' has 32769 prefixes of IPv4 in its rules and peers, expected at most 32768");
	CU_ASSERT_PTR_NULL(c);
	tg_policy_free(policy);
}

/* The longest prefix decides, as in WireGuard: a peer's entry takes nothing over from those around it. */
TEST(compile, each_prefix_of_a_peer_is_that_peers)
{
	struct tg_policy *policy = parse(HEAD "tunnels = ( { name = \"a\"; external = \"wg0\"; peers = ("
					      " { allowed_ips = ( \"10.0.0.0/8\" ); }, { allowed_ips = ( "
					      "\"10.1.0.0/16\", \"fd00::/64\" ); } );"
					      " classes = ( { name = \"one\"; defence = \"pad\"; } ); } );");
	struct tg_compiled *c = NULL;

	CU_ASSERT_EQUAL_FATAL(tg_policy_compile(policy, 0, &c, NULL), 0);
	CU_ASSERT_EQUAL(c->config.flags, TG_CONFIG_ALLOWED);
	CU_ASSERT_EQUAL_FATAL(c->prefix_count, 3);
	for (size_t i = 0; i < 3; i++) {
		CU_ASSERT_EQUAL(c->prefixes[i].side, TG_LPM_ALLOWED);
		CU_ASSERT_EQUAL(c->prefixes[i].peer, c->prefixes[i].cidr.length == 8 ? 0 : 1);
		CU_ASSERT_EQUAL(c->prefixes[i].set.rules, 0);
	}
	tg_compiled_free(c);
	tg_policy_free(policy);
}

TEST(compile, a_tunnel_that_is_not_there_is_an_error)
{
	struct tg_policy *policy = parse(HEAD TUNNELS);
	struct tg_compiled *c = NULL;
	struct tg_error e = { "" };

	CU_ASSERT_EQUAL(tg_policy_compile(policy, 2, &c, &e), -EINVAL);
	CU_ASSERT_STRING_EQUAL(e.message, "tunnel 2 of a policy with 2");
	tg_policy_free(policy);
	tg_compiled_free(NULL);
}
