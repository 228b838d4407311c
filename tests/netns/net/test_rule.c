/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "fixture.h"

enum { PRIORITY = 20000, MAX_RULES = 8 };

static size_t make_rules(struct net_rule *rules)
{
	struct net_rule base = { .family = AF_INET, .priority = PRIORITY, .table = 54321 };
	size_t count = 0;

	/* from the special to the general, so that the general one would hit the others when it is deleted */
	rules[count] = base;
	rules[count].has_to = rules[count].has_from = true;
	rules[count].to = fixture_cidr("192.0.2.0/24");
	rules[count].from = fixture_cidr("198.51.100.7/32");
	rules[count].proto = IPPROTO_TCP;
	rules[count].dport = (struct tg_port_range){ 0, 1023 };
	rules[count].sport = (struct tg_port_range){ 5000, 5000 };
	rules[count].has_uid = true;
	rules[count].uid_lo = rules[count].uid_hi = 1000;
	rules[count].mark = 0x10000;
	rules[count++].mark_mask = 0x3f0000;
	rules[count] = rules[count - 1];
	rules[count].has_uid = false;
	rules[count++].sport = (struct tg_port_range){ 0, 65535 };
	rules[count] = base;
	rules[count].has_to = true;
	rules[count++].to = fixture_cidr("192.0.2.0/24");
	rules[count++] = base;
	rules[count] = base;
	rules[count].family = AF_INET6;
	rules[count].has_to = true;
	rules[count].to = fixture_cidr("2001:db8::/32");
	rules[count++].proto = IPPROTO_UDP;
	rules[count] = base;
	rules[count].priority++;
	rules[count++].blackhole = true;
	return count;
}

static size_t list(struct net_rule **ret_rules)
{
	struct tg_error e;
	size_t count;

	OK(net_rule_list(fixture_net(), ret_rules, &count, &e), e);
	return count;
}

static bool there(const struct net_rule *rule)
{
	struct net_rule *rules;
	size_t count = list(&rules), found = 0;

	for (size_t i = 0; i < count; i++)
		found += net_rule_equal(&rules[i], rule);
	free(rules);
	return found == 1;
}

static size_t count_rules(void)
{
	struct net_rule *rules;
	size_t count = list(&rules);

	free(rules);
	return count;
}

TEST(net_rule, twice_is_once)
{
	struct net_rule rules[MAX_RULES];
	size_t count = make_rules(rules);
	struct tg_error e;
	char before[4096];

	CU_ASSERT_EQUAL(fixture_run("ip rule add pref %d to 192.0.2.0/24 lookup 54321 protocol 99; "
				    "ip rule add pref %d blackhole protocol 99",
				    PRIORITY, PRIORITY + 1),
			0);
	snprintf(before, sizeof(before), "%s", fixture_output("ip rule; ip -6 rule"));
	for (int twice = 0; twice < 2; twice++)
		for (size_t i = 0; i < count; i++)
			OK(net_rule_ensure(fixture_net(), &rules[i], &e), e);
	CU_ASSERT_EQUAL(count_rules(), count);
	for (size_t i = 0; i < count; i++)
		CU_ASSERT_TRUE(there(&rules[i]));
	CU_ASSERT_STRING_EQUAL(
		fixture_output("ip rule show pref %d | grep uidrange | cut -f2", PRIORITY),
		"from 198.51.100.7 to 192.0.2.0/24 fwmark 0x10000/0x3f0000 uidrange 1000-1000 ipproto tcp "
		"sport 5000 dport 1-1023 lookup 54321 proto 84");
	/* the general one of ours first: the special ones must stay */
	for (int twice = 0; twice < 2; twice++) {
		OK(net_rule_remove(fixture_net(), &rules[3], &e), e);
		CU_ASSERT_EQUAL(count_rules(), count - 1);
		for (size_t i = 0; i < count; i++)
			CU_ASSERT_EQUAL(there(&rules[i]), i != 3);
	}
	for (size_t i = 0; i < count; i++)
		OK(net_rule_remove(fixture_net(), &rules[i], &e), e);
	CU_ASSERT_EQUAL(count_rules(), 0);
	CU_ASSERT_STRING_EQUAL(fixture_output("ip rule; ip -6 rule"), before);
	CU_ASSERT_EQUAL(fixture_run("ip rule del pref %d; ip rule del pref %d", PRIORITY, PRIORITY + 1), 0);
}

TEST(net_rule, messages)
{
	struct net_rule rule = { .family = AF_INET, .priority = PRIORITY, .table = 5, .proto = IPPROTO_TCP };
	struct tg_error e;

	rule.dport = (struct tg_port_range){ 1024, 65535 };
	CU_ASSERT_EQUAL(net_rule_ensure(fixture_net(), &rule, &e), -ERANGE);
	CU_ASSERT_STRING_EQUAL(e.message, "rule 20000: the kernel's routing rules cannot match port 65535");
	/* and so it is */
	CU_ASSERT_NOT_EQUAL(
		fixture_run("ip rule add pref %d ipproto tcp dport 1024-65535 lookup 5 2>/dev/null",
			    PRIORITY),
		0);
	rule.dport = (struct tg_port_range){ 1, 65535 };
	OK(net_rule_ensure(fixture_net(), &rule, &e), e);
	OK(net_rule_remove(fixture_net(), &rule, &e), e);
	rule.has_to = true;
	rule.to = fixture_cidr("2001:db8::/32");
	CU_ASSERT_EQUAL(net_rule_ensure(fixture_net(), &rule, &e), -EINVAL);
	CU_ASSERT_EQUAL(count_rules(), 0);
}
