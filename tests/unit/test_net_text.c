/* SPDX-License-Identifier: BSD-3-Clause */
/* The parts of agent/net that need no kernel: HTB's arithmetic, rules, names, the iptables text. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "net/htb.h"
#include "net/internal.h"
#include "net/iptables.h"

TEST(net_text, htb_options)
{
	struct tc_htb_opt options;

	htb_options(5000000, &options);
	/* 200 cells a second, of 16384 whatever their size */
	CU_ASSERT_EQUAL(options.rate.rate, 3276800);
	CU_ASSERT_EQUAL(options.ceil.rate, 3276800);
	CU_ASSERT_EQUAL(options.rate.linklayer, TC_LINKLAYER_ETHERNET);
	CU_ASSERT_EQUAL(options.ceil.linklayer, TC_LINKLAYER_ETHERNET);
	/* half a period less a sixteenth, in ticks of 64 ns */
	CU_ASSERT_EQUAL(options.buffer, 2187500 / 64);
	CU_ASSERT_EQUAL(options.cbuffer, options.buffer);
	CU_ASSERT_EQUAL(options.quantum, 16384);
	htb_options(2000, &options);
	CU_ASSERT_EQUAL(options.rate.rate, UINT32_MAX);
	CU_ASSERT_EQUAL(htb_rate(2000), 8192000000ull);
	CU_ASSERT_EQUAL(htb_slack_ticks(100000), 683);
	CU_ASSERT_EQUAL(htb_slack_ticks(1000000000), 6835937);
}

TEST(net_text, rules_that_mean_the_same_are_equal)
{
	struct net_rule a = { .family = AF_INET, .priority = 5, .table = 9, .proto = 6 }, b = a;

	CU_ASSERT_TRUE(net_rule_equal(&a, &b));
	b.dport = (struct tg_port_range){ 0, 65535 };
	CU_ASSERT_TRUE(net_rule_equal(&a, &b));
	b.dport = (struct tg_port_range){ 0, 80 };
	CU_ASSERT_FALSE(net_rule_equal(&a, &b));
	a.dport = (struct tg_port_range){ 1, 80 };
	CU_ASSERT_TRUE(net_rule_equal(&a, &b));
	b.has_to = true;
	b.to.family = AF_INET;
	CU_ASSERT_TRUE(net_rule_equal(&a, &b));
	b.to.length = 8;
	CU_ASSERT_FALSE(net_rule_equal(&a, &b));
	b.has_to = false;
	b.mark = 3;
	CU_ASSERT_TRUE(net_rule_equal(&a, &b));
	b.mark_mask = 1;
	CU_ASSERT_FALSE(net_rule_equal(&a, &b));
	a.mark_mask = a.mark = 1;
	CU_ASSERT_TRUE(net_rule_equal(&a, &b));
	b.blackhole = true;
	CU_ASSERT_FALSE(net_rule_equal(&a, &b));
	a.blackhole = true;
	a.table = 77;
	CU_ASSERT_TRUE(net_rule_equal(&a, &b));
	b.has_uid = true;
	CU_ASSERT_FALSE(net_rule_equal(&a, &b));
}

TEST(net_text, names)
{
	static const char *const bad[] = { "", ".", "..", "a/b", "a b", "a:b", "tg%d", "sixteen-letters-" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CU_ASSERT_FALSE(net_name_valid(bad[i]));
	CU_ASSERT_TRUE(net_name_valid("tg0"));
	CU_ASSERT_TRUE(net_name_valid("fifteen-letters"));
}

TEST(net_text, features)
{
	static const char *const off[] = { "tx-tcp-segmentation",
					   "tx-udp-segmentation",
					   "tx-generic-segmentation",
					   "tx-gso-list",
					   "tx-gso-partial",
					   "rx-gro",
					   "rx-gro-list",
					   "rx-lro",
					   "rx-udp-gro-forwarding",
					   "tx-udp_tnl-csum-segmentation" };
	static const char *const stay[] = {
		"tx-checksum-ip-generic", "tx-scatter-gather", "highdma", "rx-checksum", "tx-lockless",
		"rx-vlan-hw-parse"
	};

	for (size_t i = 0; i < sizeof(off) / sizeof(off[0]); i++)
		CU_ASSERT_TRUE(net_feature_is_offload(off[i]));
	for (size_t i = 0; i < sizeof(stay) / sizeof(stay[0]); i++)
		CU_ASSERT_FALSE(net_feature_is_offload(stay[i]));
}

/* An NLMSG_ERROR as the kernel writes it, with a text. */
static const char *ack_text(uint16_t flags, uint32_t request_len, const char *text, bool terminated)
{
	static char buffer[512] __attribute__((aligned(8)));
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	struct nlmsgerr *ack = mnl_nlmsg_put_extra_header(message, sizeof(*ack));

	message->nlmsg_type = NLMSG_ERROR;
	message->nlmsg_flags = flags;
	ack->error = -EINVAL;
	ack->msg.nlmsg_len = request_len;
	if (!(flags & NLM_F_CAPPED) && request_len > NLMSG_HDRLEN)
		mnl_nlmsg_put_extra_header(message, request_len - NLMSG_HDRLEN);
	mnl_attr_put(message, NLMSGERR_ATTR_MSG, strlen(text) + terminated, text);
	return net_ack_text(message);
}

TEST(net_text, kernel_messages)
{
	CU_ASSERT_STRING_EQUAL(ack_text(NLM_F_CAPPED | NLM_F_ACK_TLVS, 99, "no such thing", true),
			       "no such thing");
	CU_ASSERT_STRING_EQUAL(ack_text(NLM_F_ACK_TLVS, 57, "behind the request", true),
			       "behind the request");
	CU_ASSERT_PTR_NULL(ack_text(NLM_F_CAPPED, 99, "not announced", true));
	CU_ASSERT_PTR_NULL(ack_text(NLM_F_CAPPED | NLM_F_ACK_TLVS, 99, "not ended", false));
}

/* ---- iptables ---- */

static struct tg_cidr PREFIXES[3] = {
	{ .family = AF_INET, .length = 24, .addr = { 192, 0, 2 } },
	{ .family = AF_INET, .length = 0 },
	{ .family = AF_INET6, .length = 32, .addr = { 0x20, 0x01, 0x0d, 0xb8 } },
};
static struct tg_port_range PORTS[20];

static struct tg_policy *policy_with(struct tg_policy_rule *rules, size_t count)
{
	static struct tg_tunnel tunnels[2] = { { .name = "tg0" }, { .name = "x", .external = "wg7" } };
	static struct tg_policy policy;

	policy = (struct tg_policy){ .fail = TG_FAIL_OPEN,
				     .classifier = { .queue = 3 },
				     .tunnels = tunnels,
				     .tunnel_count = 2,
				     .rules = rules,
				     .rule_count = count };
	for (int i = 0; i < 20; i++)
		PORTS[i] = (struct tg_port_range){ (uint16_t)(i + 1), (uint16_t)(i + 1) };
	PORTS[0].hi = 9;
	return &policy;
}

#define HEAD "*mangle\n:TENSORGUARD - [0:0]\n:TENSORGUARD_SAVE - [0:0]\n"
#define JUMP(from, to) "-I " from " 1 -m comment --comment tensorguard -j " to "\n"
/* Of a connection, and of a packet, with the tag of a tunnel: that of other class names decides nothing. */
#define DECIDED(tag)                                                                            \
	"-A TENSORGUARD -m connmark --mark " tag "/0x3800000 -m connmark ! --mark 0x0/0x3f0000" \
	" -j CONNMARK --restore-mark --nfmask 0x3bf0000 --ctmask 0x3bf0000\n"                   \
	"-A TENSORGUARD -m mark --mark " tag "/0x3800000 -m mark ! --mark 0x0/0x3f0000 -j RETURN\n"
#define EXEMPT                                                                                    \
	" -m mark --mark 0x400000/0x400000 -j RETURN\n"                                           \
	"-A TENSORGUARD -i lo -j RETURN\n-A TENSORGUARD -o lo -j RETURN\n"                        \
	"-A TENSORGUARD -i tg0 -j RETURN\n-A TENSORGUARD -i wg7 -j RETURN\n" DECIDED("0x1000000") \
		DECIDED("0x3800000")
#define SAVE                                                                                   \
	" -m mark ! --mark 0x0/0x3bf0000 -j CONNMARK --save-mark --nfmask 0x3bf0000 --ctmask " \
	"0x3bf0000\nCOMMIT\n"

/* The text with the 16 digits of each digest cut out. */
static char *without_digest(char *text)
{
	static const char mark[] = " -m comment --comment tensorguard-";
	char *at;

	while ((at = strstr(text, mark)))
		memmove(at, at + strlen(mark) + 16, strlen(at + strlen(mark) + 16) + 1);
	return text;
}

TEST(net_text, iptables_script)
{
	struct tg_policy_rule rules[] = {
		{ .sni = (char *)"a.example",
		  .proto = 6,
		  .to = PREFIXES,
		  .to_count = 3,
		  .ports = PORTS,
		  .port_count = 15,
		  .from = PREFIXES,
		  .from_count = 1 },
		{ .to = PREFIXES, .to_count = 1, .proto = 17 }, /* no flow rule */
		{ .cgroup = (char *)"x",
		  .proto = 17,
		  .source_ports = PORTS,
		  .source_port_count = 1,
		  .has_mark = true,
		  .mark = 0x10,
		  .mark_mask = 0xf0 },
	};
	struct tg_policy *policy = policy_with(rules, 3);
	char *text;

	policy->classifier.hold = true;
	CU_ASSERT_EQUAL_FATAL(iptables_script(policy, AF_INET, "", &text), 0);
	CU_ASSERT_STRING_EQUAL(
		without_digest(text),
		HEAD JUMP("OUTPUT", "TENSORGUARD") JUMP("PREROUTING", "TENSORGUARD")
			JUMP("POSTROUTING",
			     "TENSORGUARD_SAVE") "-A TENSORGUARD" EXEMPT
						 "-A TENSORGUARD -s 192.0.2.0/24 -d 192.0.2.0/24 -p 6 -m "
						 "multiport --dports 1:9,2,3,4,5,6,7,8,9,10,11,12,"
						 "13,14 -j NFQUEUE --queue-num 3\n"
						 "-A TENSORGUARD -s 192.0.2.0/24 -d 192.0.2.0/24 -p 6 -m "
						 "multiport --dports 15 -j NFQUEUE --queue-num 3\n"
						 "-A TENSORGUARD -s 192.0.2.0/24 -p 6 -m multiport --dports "
						 "1:9,2,3,4,5,6,7,8,9,10,11,12,"
						 "13,14 -j NFQUEUE --queue-num 3\n"
						 "-A TENSORGUARD -s 192.0.2.0/24 -p 6 -m multiport --dports "
						 "15 -j NFQUEUE --queue-num 3\n"
						 "-A TENSORGUARD -p 17 -m multiport --sports 1:9 -m mark "
						 "--mark 0x10/0xf0 -m addrtype --src-type LOCAL -j NFQUEUE "
						 "--queue-num 3\n"
						 "-A TENSORGUARD_SAVE" SAVE);
	free(text);
	/* the first rule is bound to IPv4 by its source */
	policy->classifier.hold = false;
	CU_ASSERT_EQUAL_FATAL(iptables_script(policy, AF_INET6, "", &text), 0);
	CU_ASSERT_STRING_EQUAL(
		without_digest(text),
		HEAD JUMP("OUTPUT", "TENSORGUARD") JUMP("PREROUTING", "TENSORGUARD") JUMP(
			"POSTROUTING", "TENSORGUARD_SAVE") "-A TENSORGUARD" EXEMPT
							   "-A TENSORGUARD -p 17 -m multiport --sports 1:9 "
							   "-m mark --mark 0x10/0xf0 -m addrtype --src-type "
							   "LOCAL -j NFQUEUE --queue-num 3"
							   " --queue-bypass\n-A TENSORGUARD_SAVE" SAVE);
	free(text);
}

/* Behind everybody's rules: a verdict ends the table for the packet. */
TEST(net_text, iptables_hands_paced_tunnels_to_the_agent)
{
	struct tg_tunnel tunnel = { .name = "tg0",
				    .mtu = 1420,
				    .classes = { { .defence = TG_DEFENCE_CONSTANT, .cell = 1420 } },
				    .class_count = 1 };
	struct tg_policy *policy = policy_with(NULL, 0);
	char *text = NULL, *again = NULL;
	bool matches = false;

	policy->fail = TG_FAIL_CLOSED;
	policy->tunnels = &tunnel;
	policy->tunnel_count = 1;
	policy->engine = TG_ENGINE_KERNEL;
	policy->engine_queue = 9;
	CU_ASSERT_FALSE(iptables_wanted(policy, AF_INET));
	policy->engine = TG_ENGINE_QUEUE;
	CU_ASSERT_TRUE(iptables_wanted(policy, AF_INET6));
	CU_ASSERT_EQUAL_FATAL(iptables_script(policy, AF_INET6, "", &text), 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "-A POSTROUTING -m comment --comment tensorguard -j "
					    "TENSORGUARD_PACE\n"));
	CU_ASSERT_STRING_EQUAL(strstr(without_digest(text), "-A TENSORGUARD_PACE"),
			       "-A TENSORGUARD_PACE -o tg0 -j NFQUEUE --queue-num 9\n"
			       "COMMIT\n");
	CU_ASSERT_EQUAL(iptables_matches(policy, AF_INET6, "", &matches), 0);
	CU_ASSERT_FALSE(matches);
	policy->fail = TG_FAIL_OPEN;
	CU_ASSERT_EQUAL_FATAL(iptables_script(policy, AF_INET, "", &again), 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(again, " -j NFQUEUE --queue-num 9 --queue-bypass\n"));
	free(text);
	free(again);
}

TEST(net_text, iptables_keeps_matched_packets_in)
{
	struct tg_policy_rule rules[] = {
		{ .to_count = 1, .has_uid = true, .uid_lo = 1000, .uid_hi = 1009 },
		{ .proto = 17, .port_count = 1 },
	};
	struct tg_cidr to = { .family = AF_INET, .addr = { 192, 0, 2, 0 }, .length = 24 };
	struct tg_port_range port = { 5000, 5000 };
	struct tg_policy *policy = policy_with(rules, 2);
	char *text;

	rules[0].to = &to;
	rules[1].ports = &port;
	policy->fail = TG_FAIL_CLOSED;
	CU_ASSERT_EQUAL_FATAL(iptables_script(policy, AF_INET, "", &text), 0);
	CU_ASSERT_PTR_NOT_NULL(
		strstr(text, "-A TENSORGUARD_CLOSED -d 192.0.2.0/24 -m owner --uid-owner 1000-1009 -j "
			     "DROP\n-A TENSORGUARD_CLOSED -p 17 -m multiport --dports 5000 -j DROP\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(without_digest(text),
				      "-A TENSORGUARD_CLOSED -o tg0 -j RETURN\n"
				      "-A TENSORGUARD_CLOSED -o wg7 -j RETURN\n"
				      "-A TENSORGUARD_CLOSED -m mark --mark 0x400000/0x400000 -j RETURN\n"
				      "-A TENSORGUARD_CLOSED -o lo -j RETURN\n"
				      "-A TENSORGUARD_CLOSED -m connmark --mark 0x1/0x0 -j RETURN\n"
				      "-A TENSORGUARD_CLOSED -d 192.0.2.0/24 -m owner"));
	free(text);
	CU_ASSERT_EQUAL_FATAL(iptables_script(policy, AF_INET6, "", &text), 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(text, " -p 58 -m icmp6 --icmpv6-type 135 -j RETURN\n"));
	CU_ASSERT_PTR_NULL(strstr(text, "--uid-owner"));
	free(text);
	policy->fail = TG_FAIL_OPEN;
	CU_ASSERT_EQUAL_FATAL(iptables_script(policy, AF_INET, "", &text), 0);
	CU_ASSERT_TRUE(!text || !strstr(text, "CLOSED"));
	free(text);
}

TEST(net_text, iptables_nothing_to_do)
{
	struct tg_policy_rule rules[] = { { .proto = 17 } };
	bool matches;
	char *text = (char *)"untouched";

	CU_ASSERT_EQUAL(iptables_script(policy_with(rules, 1), AF_INET,
					"*mangle\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n", &text),
			0);
	CU_ASSERT_PTR_NULL(text);
	CU_ASSERT_EQUAL(iptables_script(NULL, AF_INET, ":TENSORGUARDIAN - [0:0]\n", &text), 0);
	CU_ASSERT_PTR_NULL(text);
	CU_ASSERT_EQUAL(iptables_matches(NULL, AF_INET, "", &matches), 0);
	CU_ASSERT_TRUE(matches);
	CU_ASSERT_EQUAL(iptables_matches(NULL, AF_INET, ":TENSORGUARD_SAVE - [0:0]\n", &matches), 0);
	CU_ASSERT_FALSE(matches);
}

TEST(net_text, iptables_removal_takes_only_ours)
{
	static const char saved[] =
		"*mangle\n:OUTPUT ACCEPT [1:2]\n:TENSORGUARD - [0:0]\n:TENSORGUARD_SAVE - "
		"[0:0]\n:TENSORGUARDIAN - [0:0]\n"
		"-A OUTPUT -j TENSORGUARDIAN\n-A OUTPUT -m comment --comment tensorguard -j TENSORGUARD\n"
		"-A OUTPUT -d 192.0.2.1/32 -m comment --comment \"my own\" -j TENSORGUARD\n"
		"-A TENSORGUARD -i lo -j RETURN\nCOMMIT\n";
	char *text;

	CU_ASSERT_EQUAL_FATAL(iptables_script(NULL, AF_INET, saved, &text), 0);
	CU_ASSERT_STRING_EQUAL(
		text, "*mangle\n-D OUTPUT -m comment --comment tensorguard -j TENSORGUARD\n"
		      "-D OUTPUT -d 192.0.2.1/32 -m comment --comment \"my own\" -j TENSORGUARD\n"
		      "-F TENSORGUARD\n-X TENSORGUARD\n-F TENSORGUARD_SAVE\n-X TENSORGUARD_SAVE\nCOMMIT\n");
	free(text);
}

TEST(net_text, iptables_jumps_are_made_once)
{
	struct tg_policy_rule rules[] = { { .sni = (char *)"a" } };
	static const char saved[] = "-A OUTPUT -m comment --comment tensorguard -j TENSORGUARD\n"
				    "-A OUTPUT -m comment --comment tensorguard -j TENSORGUARD\n"
				    "-A PREROUTING -j TENSORGUARD\n"
				    "-A POSTROUTING -m comment --comment tensorguard -j TENSORGUARD_SAVE\n";
	char *text;

	CU_ASSERT_EQUAL_FATAL(iptables_script(policy_with(rules, 1), AF_INET, saved, &text), 0);
	CU_ASSERT_STRING_EQUAL(
		without_digest(text), HEAD
		"-D OUTPUT -m comment --comment tensorguard -j TENSORGUARD\n-D PREROUTING -j "
		"TENSORGUARD\n" JUMP("PREROUTING", "TENSORGUARD") "-A TENSORGUARD" EXEMPT
								  "-A TENSORGUARD -j NFQUEUE --queue-num 3 "
								  "--queue-bypass\n-A TENSORGUARD_SAVE" SAVE);
	free(text);
}

TEST(net_text, iptables_too_many_rules)
{
	struct tg_policy_rule rule = { .sni = (char *)"a", .to_count = 200, .from_count = 200 };
	struct tg_cidr *many = calloc(200, sizeof(*many));
	char *text = NULL;

	for (int i = 0; i < 200; i++)
		many[i] = PREFIXES[0];
	rule.to = rule.from = many;
	CU_ASSERT_EQUAL(iptables_script(policy_with(&rule, 1), AF_INET, "", &text), -E2BIG);
	CU_ASSERT_PTR_NULL(text);
	free(many);
}
