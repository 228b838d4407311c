/* SPDX-License-Identifier: BSD-3-Clause */
#include <arpa/inet.h>
#include <string.h>

#include "guard/classify.h"
#include "guard/hold.h"
#include "harness.h"

static struct tg_tunnel tunnels[2] = {
	{ .name = "tg0", .class_count = 4, .default_class = 3 },
	{ .name = "tg1", .class_count = 2, .default_class = 1 },
};

static struct tg_policy policy_of(struct tg_policy_rule *rules, size_t count)
{
	return (struct tg_policy){
		.tunnels = tunnels, .tunnel_count = 2, .rules = rules, .rule_count = count
	};
}

/* What the callbacks answer, and how often they were asked. */
static struct answers {
	bool has_uid;
	uint32_t uid;
	uint64_t cgroup_rules;
	unsigned uid_asked, cgroup_asked;
} answers;

static bool answer_uid(void *ctx, const struct tg_flow_key *key, uint32_t *ret_uid)
{
	struct answers *a = ctx;

	(void)key;
	a->uid_asked++;
	if (a->has_uid)
		*ret_uid = a->uid;
	return a->has_uid;
}

static bool answer_cgroup(void *ctx, const struct tg_flow_key *key, size_t rule)
{
	struct answers *a = ctx;

	(void)key;
	a->cgroup_asked++;
	return a->cgroup_rules >> rule & 1;
}

static const struct decide_ops ops = { answer_uid, answer_cgroup, &answers };

static struct tg_flow_key flow_to(const char *to, uint8_t proto, uint16_t port)
{
	struct tg_flow_key key = { .proto = proto, .dport = htons(port), .sport = htons(50000) };
	struct in_addr v4;

	memcpy(key.saddr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\x01", 16);
	memcpy(key.daddr, key.saddr, 12);
	if (inet_pton(AF_INET, to, &v4) == 1)
		memcpy(key.daddr + 12, &v4, 4);
	else
		CU_ASSERT_EQUAL(inet_pton(AF_INET6, to, key.daddr), 1);
	return key;
}

static enum decide_answer ask(struct tg_policy_rule *rules, size_t count, const struct decide_facts *facts,
			      struct decision *d)
{
	struct tg_policy policy = policy_of(rules, count);

	memset(d, 0xff, sizeof(*d));
	return decide(&policy, &ops, facts, d);
}

static bool rule_matches(struct tg_policy_rule rule, const struct decide_facts *facts)
{
	struct decision d;

	return ask(&rule, 1, facts, &d) == DECIDE_RULE;
}

TEST(classify_decide, the_first_rule_wins)
{
	struct tg_policy_rule rules[] = {
		{ .proto = IPPROTO_UDP, .class = 1 },
		{ .proto = IPPROTO_TCP, .class = 2 },
		{ .class = 0, .tunnel = 1 },
	};
	struct tg_flow_key key = flow_to("192.0.2.1", IPPROTO_TCP, 80);
	struct decide_facts facts = { .key = &key, .name = DECIDE_NAME_NONE, .tunnel = -1 };
	struct decision d;

	CU_ASSERT_EQUAL(ask(rules, 3, &facts, &d), DECIDE_RULE);
	CU_ASSERT_EQUAL(d.rule, 1);
	CU_ASSERT_EQUAL(d.class, 2);
	key.proto = IPPROTO_ICMP;
	CU_ASSERT_EQUAL(ask(rules, 3, &facts, &d), DECIDE_RULE);
	CU_ASSERT_EQUAL(d.tunnel, 1);
}

TEST(classify_decide, prefixes_of_both_families)
{
	struct tg_cidr net12 = { AF_INET, 12, { 172, 16 } }, all4 = { AF_INET, 0, { 0 } },
		       all6 = { AF_INET6, 0, { 0 } },
		       net33 = { AF_INET6, 33, { 0x20, 0x01, 0x0d, 0xb8, 0x80 } };
	static const struct {
		const char *to;
		bool in12, in4, in6, in33;
	} cases[] = {
		{ "172.16.0.1", true, true, false, false },
		{ "172.31.255.255", true, true, false, false },
		{ "172.32.0.0", false, true, false, false },
		{ "2001:db8:8000::1", false, false, true, true },
		{ "2001:db8:ffff::1", false, false, true, true },
		{ "2001:db8:7fff::1", false, false, true, false },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct tg_flow_key key = flow_to(cases[i].to, IPPROTO_TCP, 80);
		struct decide_facts facts = { .key = &key, .tunnel = -1 };

		CU_ASSERT_EQUAL(rule_matches((struct tg_policy_rule){ .to = &net12, .to_count = 1 }, &facts),
				cases[i].in12);
		CU_ASSERT_EQUAL(rule_matches((struct tg_policy_rule){ .to = &all4, .to_count = 1 }, &facts),
				cases[i].in4);
		CU_ASSERT_EQUAL(rule_matches((struct tg_policy_rule){ .to = &all6, .to_count = 1 }, &facts),
				cases[i].in6);
		CU_ASSERT_EQUAL(rule_matches((struct tg_policy_rule){ .to = &net33, .to_count = 1 }, &facts),
				cases[i].in33);
		CU_ASSERT_FALSE(
			rule_matches((struct tg_policy_rule){ .from = &net12, .from_count = 1 }, &facts));
	}
}

TEST(classify_decide, ports_and_marks)
{
	struct tg_port_range ranges[] = { { 80, 80 }, { 8000, 8099 } }, high = { 49152, 65535 };
	struct tg_policy_rule ports = { .ports = ranges, .port_count = 2 },
			      source = { .source_ports = &high, .source_port_count = 1 },
			      mark = { .has_mark = true, .mark = 0x10, .mark_mask = 0xf0 };
	struct tg_flow_key key = flow_to("192.0.2.1", IPPROTO_TCP, 8099);
	struct decide_facts facts = { .key = &key, .tunnel = -1, .mark = 0xf1f };

	CU_ASSERT(rule_matches(ports, &facts));
	CU_ASSERT(rule_matches(source, &facts));
	CU_ASSERT(rule_matches(mark, &facts));
	key.dport = htons(8100);
	key.sport = htons(1024);
	facts.mark = 0x20;
	CU_ASSERT_FALSE(rule_matches(ports, &facts));
	CU_ASSERT_FALSE(rule_matches(source, &facts));
	CU_ASSERT_FALSE(rule_matches(mark, &facts));
}

TEST(classify_decide, uid_of_the_packet_or_of_its_socket)
{
	struct tg_policy_rule rule = { .has_uid = true, .uid_lo = 1000, .uid_hi = 1999 };
	struct tg_flow_key key = flow_to("192.0.2.1", IPPROTO_TCP, 80);
	struct decide_facts facts = {
		.key = &key, .tunnel = -1, .local = true, .has_uid = true, .uid = 1999
	};

	answers = (struct answers){ .has_uid = true, .uid = 1000 };
	CU_ASSERT(rule_matches(rule, &facts));
	facts.uid = 2000;
	CU_ASSERT_FALSE(rule_matches(rule, &facts));
	CU_ASSERT_EQUAL(answers.uid_asked, 0);
	facts.has_uid = false;
	CU_ASSERT(rule_matches(rule, &facts));
	CU_ASSERT_EQUAL(answers.uid_asked, 1);
	answers.has_uid = false;
	CU_ASSERT_FALSE(rule_matches(rule, &facts));
	answers.has_uid = true;
	facts.local = false;
	CU_ASSERT_FALSE(rule_matches(rule, &facts));
	CU_ASSERT_EQUAL(answers.uid_asked, 2);
}

TEST(classify_decide, cgroup_is_asked_last_and_never_for_forwarded_packets)
{
	char path[] = "robot.slice";
	struct tg_policy_rule rules[] = { { .proto = IPPROTO_UDP, .cgroup = path },
					  { .cgroup = path, .class = 1 } };
	struct tg_flow_key key = flow_to("192.0.2.1", IPPROTO_TCP, 80);
	struct decide_facts facts = { .key = &key, .tunnel = -1, .local = true };
	struct decision d;

	answers = (struct answers){ .cgroup_rules = 2 };
	CU_ASSERT_EQUAL(ask(rules, 2, &facts, &d), DECIDE_RULE);
	CU_ASSERT_EQUAL(d.rule, 1);
	CU_ASSERT_EQUAL(answers.cgroup_asked, 1);
	facts.local = false;
	CU_ASSERT_EQUAL(ask(rules, 2, &facts, &d), DECIDE_DEFAULT);
	CU_ASSERT_EQUAL(answers.cgroup_asked, 1);
}

TEST(classify_decide, an_unknown_name_waits_only_where_it_matters)
{
	char name[] = ".robot.example";
	struct tg_policy_rule rules[] = {
		{ .proto = IPPROTO_UDP, .class = 0 },
		{ .proto = IPPROTO_TCP, .sni = name, .class = 1, .tunnel = 1 },
		{ .class = 2 },
	};
	struct tg_flow_key key = flow_to("192.0.2.1", IPPROTO_TCP, 443);
	struct decide_facts facts = { .key = &key, .tunnel = -1 };
	struct decision d;

	CU_ASSERT_EQUAL(ask(rules, 3, &facts, &d), DECIDE_WAIT);
	CU_ASSERT_EQUAL(d.tunnel, 1);
	facts.name = DECIDE_NAME_KNOWN;
	facts.host = "arm.robot.example";
	CU_ASSERT_EQUAL(ask(rules, 3, &facts, &d), DECIDE_RULE);
	CU_ASSERT_EQUAL(d.rule, 1);
	facts.host = "arm.other.example";
	CU_ASSERT_EQUAL(ask(rules, 3, &facts, &d), DECIDE_RULE);
	CU_ASSERT_EQUAL(d.rule, 2);
	facts.name = DECIDE_NAME_NONE;
	CU_ASSERT_EQUAL(ask(rules, 3, &facts, &d), DECIDE_RULE);
	CU_ASSERT_EQUAL(d.rule, 2);
	facts.name = DECIDE_NAME_UNKNOWN;
	key.proto = IPPROTO_UDP;
	CU_ASSERT_EQUAL(ask(rules, 3, &facts, &d), DECIDE_RULE);
	CU_ASSERT_EQUAL(d.rule, 0);
}

TEST(classify_decide, names_and_suffixes)
{
	CU_ASSERT(decide_host_matches("a.example", "a.example"));
	CU_ASSERT_FALSE(decide_host_matches("a.example", "b.a.example"));
	CU_ASSERT(decide_host_matches(".a.example", "a.example"));
	CU_ASSERT(decide_host_matches(".a.example", "b.a.example"));
	CU_ASSERT(decide_host_matches(".a.example", "c.b.a.example"));
	CU_ASSERT_FALSE(decide_host_matches(".a.example", "ba.example"));
	CU_ASSERT_FALSE(decide_host_matches(".a.example", "example"));
	CU_ASSERT_FALSE(decide_host_matches(".a.example", "a.example.org"));
}

TEST(classify_decide, default_class_of_the_tunnel_ahead)
{
	char name[] = "x.example";
	struct tg_cidr net = { AF_INET, 24, { 192, 0, 2 } };
	struct tg_policy_rule rule = {
		.to = &net, .to_count = 1, .proto = IPPROTO_TCP, .sni = name, .tunnel = 1
	};
	struct tg_flow_key key = flow_to("192.0.2.1", IPPROTO_TCP, 443);
	struct decide_facts facts = { .key = &key, .tunnel = 0, .name = DECIDE_NAME_NONE };
	struct decision d;

	CU_ASSERT_EQUAL(ask(&rule, 1, &facts, &d), DECIDE_DEFAULT);
	CU_ASSERT_EQUAL(d.tunnel, 0);
	CU_ASSERT_EQUAL(d.class, 3);
	facts.tunnel = -1;
	CU_ASSERT_EQUAL(ask(&rule, 1, &facts, &d), DECIDE_DEFAULT);
	CU_ASSERT_EQUAL(d.tunnel, 1);
	CU_ASSERT_EQUAL(d.class, 1);
	key = flow_to("198.51.100.1", IPPROTO_TCP, 443);
	CU_ASSERT_EQUAL(ask(&rule, 1, &facts, &d), DECIDE_DEFAULT);
	CU_ASSERT_EQUAL(d.tunnel, 0);
}

/* ---- from bytes to class ---- */

static size_t build_tcp(uint8_t *to, uint8_t flags, uint32_t seq, const void *payload, size_t len)
{
	uint8_t h[40] = { 0x45,
			  0,
			  (uint8_t)((40 + len) >> 8),
			  (uint8_t)(40 + len),
			  [8] = 64,
			  [9] = IPPROTO_TCP,
			  [12] = 10,
			  0,
			  0,
			  1,
			  192,
			  0,
			  2,
			  1,
			  [20] = 0xc3,
			  0x50,
			  0x01,
			  0xbb,
			  (uint8_t)(seq >> 24),
			  (uint8_t)(seq >> 16),
			  (uint8_t)(seq >> 8),
			  (uint8_t)seq,
			  [32] = 0x50,
			  flags };

	memcpy(to, h, sizeof(h));
	memcpy(to + sizeof(h), payload, len);
	return sizeof(h) + len;
}

static enum classify_reason classify_tcp(struct classifier *c, uint8_t flags, uint32_t seq,
					 const void *payload, size_t len, uint64_t now,
					 struct classify_output *out)
{
	uint8_t packet[1500];
	size_t size = build_tcp(packet, flags, seq, payload, len);
	struct classify_input in = { .data = packet, .size = size, .total = size, .tunnel = -1, .now = now };

	return classify_packet(c, &in, out);
}

TEST(classify_decide, a_tls_flow_from_syn_to_class)
{
	static const uint8_t hello[] =
		"\x16\x03\x01\x00\x41\x01\x00\x00\x3d\x03\x03"
		"0123456789abcdef0123456789abcdef"
		"\x00\x00\x02\x13\x01\x01\x00\x00\x12\x00\x00\x00\x0e\x00\x0c\x00\x00\x09"
		"x.example";
	char name[] = "x.example";
	struct tg_policy_rule rule = { .proto = IPPROTO_TCP, .sni = name, .class = 2 };
	struct tg_policy policy = policy_of(&rule, 1);
	struct classify_output out;
	struct classifier *c = NULL;

	CU_ASSERT_EQUAL_FATAL(classifier_new(&ops, 1, &c), 0);
	classifier_set_policy(c, &policy);
	CU_ASSERT_EQUAL(classify_tcp(c, PACKET_SYN, 99, "", 0, 1, &out), CLASSIFY_WAIT);
	CU_ASSERT_EQUAL(classify_tcp(c, 0, 100, "", 0, 2, &out), CLASSIFY_WAIT);
	CU_ASSERT_EQUAL(classify_tcp(c, 0, 100, hello, 50, 3, &out), CLASSIFY_WAIT);
	CU_ASSERT_PTR_NULL(out.host);
	CU_ASSERT_EQUAL(classify_tcp(c, 0, 150, hello + 50, sizeof(hello) - 51, 4, &out), CLASSIFY_SNI);
	CU_ASSERT_EQUAL(out.decision.class, 2);
	CU_ASSERT_STRING_EQUAL(out.host, "x.example");
	CU_ASSERT_EQUAL(classify_tcp(c, 0, 150, hello + 50, sizeof(hello) - 51, 5, &out), CLASSIFY_REPEATED);
	CU_ASSERT_EQUAL(out.decision.class, 2);
	/* long after, without a connection mark: the same answer, not that of half a hello */
	CU_ASSERT_EQUAL(classify_tcp(c, 0, 150, hello + 50, 20, 10000000000ull, &out), CLASSIFY_SNI);
	/* a new connection on the same ports waits again */
	CU_ASSERT_EQUAL(classify_tcp(c, PACKET_SYN, 7000, "", 0, 10000000001ull, &out), CLASSIFY_WAIT);
	CU_ASSERT_EQUAL(classify_tcp(c, 0, 7001, "GET / HTTP", 10, 10000000002ull, &out), CLASSIFY_DEFAULT);
	CU_ASSERT_EQUAL(out.decision.class, 3);
	classifier_free(c);
}

TEST(classify_decide, a_new_policy_forgets_what_the_old_one_decided)
{
	struct tg_policy_rule first = { .class = 1 }, second = { .class = 2 };
	struct tg_policy a = policy_of(&first, 1), b = policy_of(&second, 1);
	struct classify_output out;
	struct classifier *c = NULL;

	CU_ASSERT_EQUAL_FATAL(classifier_new(&ops, 1, &c), 0);
	classifier_set_policy(c, &a);
	CU_ASSERT_EQUAL(classify_tcp(c, 0, 1, "", 0, 1000, &out), CLASSIFY_RULE);
	CU_ASSERT_EQUAL(classify_tcp(c, 0, 1, "", 0, 1001, &out), CLASSIFY_REPEATED);
	classifier_set_policy(c, &b);
	CU_ASSERT_EQUAL(classify_tcp(c, 0, 1, "", 0, 1002, &out), CLASSIFY_RULE);
	CU_ASSERT_EQUAL(out.decision.class, 2);
	CU_ASSERT_EQUAL(classify_tcp(c, 0, 1, "", 0, 200000000, &out), CLASSIFY_RULE);
	classifier_free(c);
}

/* As instance/routing.c makes them: by what the kernel's rules can ask. */
TEST(classify_decide, the_size_that_a_route_takes_in_one_piece)
{
	struct tg_tunnel tunnel = { .mtu = 1420,
				    .classes = { { .cell = 1280 }, { .cell = 320 }, { .cell = 640 } },
				    .class_count = 3 };
	struct tg_cidr net = { AF_INET, 8, { 10 } };
	struct tg_port_range port = { 7000, 7000 };
	struct tg_policy_rule rules[] = {
		{ .class = 1, .tunnel = 1 },
		{ .class = 0, .to = &net, .to_count = 1, .has_uid = true, .uid_lo = 7, .uid_hi = 7 },
		{ .class = 2,
		  .to = &net,
		  .to_count = 1,
		  .proto = IPPROTO_UDP,
		  .ports = &port,
		  .port_count = 1 },
	};
	struct tg_policy policy = { .tunnels = &tunnel, .tunnel_count = 1, .rules = rules, .rule_count = 3 };
	struct tg_flow_key key = flow_to("10.1.2.3", IPPROTO_UDP, 7000);
	struct decide_facts facts = { .key = &key, .has_uid = true, .uid = 8 };

	CU_ASSERT_EQUAL(decide_route_mtu(&policy, &facts, false), 640);
	facts.uid = 7;
	CU_ASSERT_EQUAL(decide_route_mtu(&policy, &facts, false), 320);
	/* it may be 7's */
	facts.has_uid = false;
	CU_ASSERT_EQUAL(decide_route_mtu(&policy, &facts, false), 320);
	rules[1].has_uid = false;
	rules[1].sni = (char *)"*.example";
	CU_ASSERT_EQUAL(decide_route_mtu(&policy, &facts, false), 320);
	rules[1].to_count = 0;
	rules[1].proto = IPPROTO_TCP;
	CU_ASSERT_EQUAL(decide_route_mtu(&policy, &facts, false), 640);
	/* a fragment has no ports, ICMP goes with the rule's other packets */
	key.dport = 0;
	CU_ASSERT_EQUAL(decide_route_mtu(&policy, &facts, true), 640);
	CU_ASSERT_EQUAL(decide_route_mtu(&policy, &facts, false), 320);
	rules[1].tunnel = 1;
	key.proto = IPPROTO_ICMP;
	CU_ASSERT_EQUAL(decide_route_mtu(&policy, &facts, false), 640);
	/* the tunnel's own networks */
	key = flow_to("192.0.2.1", IPPROTO_UDP, 7000);
	CU_ASSERT_EQUAL(decide_route_mtu(&policy, &facts, false), 320);
}

TEST(classify_decide, what_belongs_to_no_flow)
{
	struct tg_policy_rule rule = { .class = 1 };
	struct tg_policy policy = policy_of(&rule, 1);
	uint8_t packet[40];
	struct classify_input in = { .data = packet, .size = 40, .total = 40, .tunnel = -1, .now = 1 };
	struct classify_output out;
	struct classifier *c = NULL;

	CU_ASSERT_EQUAL_FATAL(classifier_new(&ops, 1, &c), 0);
	classifier_set_policy(c, &policy);
	build_tcp(packet, 0, 0, "", 0);
	packet[6] = 0x20;
	CU_ASSERT_EQUAL(classify_packet(c, &in, &out), CLASSIFY_FRAGMENT);
	packet[6] = 0;
	packet[9] = IPPROTO_ICMP;
	packet[20] = 3;
	CU_ASSERT_EQUAL(classify_packet(c, &in, &out), CLASSIFY_ICMP_ERROR);
	packet[0] = 0x15;
	CU_ASSERT_EQUAL(classify_packet(c, &in, &out), CLASSIFY_MALFORMED);
	CU_ASSERT_FALSE(classify_is_decided(CLASSIFY_MALFORMED));
	CU_ASSERT_EQUAL(tracker_count(classifier_tracker(c)), 0);
	classifier_free(c);
}

/* ---- packets that wait ---- */

static uint32_t released[8];
static size_t released_count;

static void note(void *ctx, const struct held *packet)
{
	(void)ctx;
	released[released_count++] = packet->id;
}

TEST(classify_decide, held_packets_leave_in_order_when_their_tunnel_is_up)
{
	struct hold hold = { .packets = NULL };
	static const int renumber[] = { 1, -1, 0 };

	released_count = 0;
	CU_ASSERT_FALSE(hold_add(&hold, &(struct held){ .id = 1 }));
	CU_ASSERT_EQUAL(hold_resize(&hold, 5), 0);
	for (uint8_t i = 0; i < 5; i++)
		CU_ASSERT(hold_add(&hold, &(struct held){ .id = 10u + i, .tunnel = i % 3 }));
	CU_ASSERT_FALSE(hold_add(&hold, &(struct held){ .id = 99 }));
	hold_release(&hold, 0, note, NULL);
	CU_ASSERT_EQUAL(released_count, 2);
	CU_ASSERT(released[0] == 10 && released[1] == 13);
	/* tunnel 1 is gone under the new policy, 2 has become 0 */
	hold_renumber(&hold, renumber, note, NULL);
	CU_ASSERT_EQUAL(released_count, 4);
	CU_ASSERT(released[2] == 11 && released[3] == 14);
	hold_release(&hold, 0, note, NULL);
	CU_ASSERT_EQUAL(released_count, 5);
	CU_ASSERT_EQUAL(released[4], 12);
	CU_ASSERT_EQUAL(hold.count, 0);
	hold_free(&hold);
}
