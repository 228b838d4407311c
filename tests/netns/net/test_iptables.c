/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "shared/mark.h"
#include "tensorguard/compile.h"

/* One tunnel and flow rules of both families with many ports. */
struct fake {
	struct tg_policy policy;
	struct tg_tunnel tunnel;
	struct tg_policy_rule rules[2];
	struct tg_cidr to[2];
	struct tg_port_range ports[40];
};

static void fake_init(struct fake *fake)
{
	memset(fake, 0, sizeof(*fake));
	fake->policy.tunnels = &fake->tunnel;
	fake->policy.tunnel_count = 1;
	fake->policy.rules = fake->rules;
	fake->policy.rule_count = 2;
	fake->policy.classifier.queue = 7;
	snprintf(fake->tunnel.name, sizeof(fake->tunnel.name), "tgi0");
	fake->to[0] = fixture_cidr("192.0.2.0/24");
	fake->to[1] = fixture_cidr("2001:db8::/32");
	for (int i = 0; i < 40; i++)
		fake->ports[i] =
			(struct tg_port_range){ (uint16_t)(100 * i + 1), (uint16_t)(100 * i + 1 + i % 2) };
	fake->rules[0] = (struct tg_policy_rule){ .sni = (char *)".example.org",
						  .proto = IPPROTO_TCP,
						  .to = fake->to,
						  .to_count = 2,
						  .ports = fake->ports,
						  .port_count = 40,
						  .source_ports = fake->ports,
						  .source_port_count = 16 };
	fake->rules[1] = (struct tg_policy_rule){
		.has_uid = true, .uid_hi = 10, .has_mark = true, .mark = 1, .mark_mask = 3
	};
}

static const char *mangle(const char *tool)
{
	return fixture_output("%s -t mangle | grep -v '^#' | sed 's/\\[[0-9:]*\\]//'", tool);
}

static void clean(void)
{
	fixture_run("iptables -t mangle -F; iptables -t mangle -X; ip6tables -t mangle -F; ip6tables -t "
		    "mangle -X");
}

static void check_cycle(void)
{
	static const char *const tools[] = { "iptables-save", "ip6tables-save" };
	char before[2][4096], made[2][32768];
	struct fake fake;
	struct tg_error e;
	bool present;

	fake_init(&fake);
	fixture_run("iptables -t mangle -N FOREIGN; iptables -t mangle -A OUTPUT -j FOREIGN;"
		    "iptables -t mangle -A FOREIGN -d 198.51.100.1 -j ACCEPT;"
		    "ip6tables -t mangle -A OUTPUT -d 2001:db8::1 -j ACCEPT;"
		    "ip6tables -t mangle -A POSTROUTING -d 2001:db8::1 -j ACCEPT");
	for (int i = 0; i < 2; i++)
		snprintf(before[i], sizeof(before[i]), "%s", mangle(tools[i]));
	CU_ASSERT_PTR_NOT_NULL(strstr(before[0], "-A FOREIGN -d 198.51.100.1/32 -j ACCEPT"));
	OK(iptables_check(&fake.policy, &present, &e), e);
	CU_ASSERT_FALSE(present);
	for (int twice = 0; twice < 2; twice++) {
		OK(iptables_ensure(&fake.policy, &e), e);
		OK(iptables_check(&fake.policy, &present, &e), e);
		CU_ASSERT_TRUE(present);
		for (int i = 0; i < 2; i++) {
			if (twice)
				CU_ASSERT_STRING_EQUAL(made[i], mangle(tools[i]));
			snprintf(made[i], sizeof(made[i]), "%s", mangle(tools[i]));
			CU_ASSERT_PTR_NOT_NULL(strstr(made[i], "--queue-num 7 --queue-bypass"));
		}
	}
	CU_ASSERT_PTR_NOT_NULL(strstr(made[0], "-A FOREIGN -d 198.51.100.1/32 -j ACCEPT"));
	/* 40 ports in groups of 10 or so, 16 source ports in two, and the rule by uid */
	CU_ASSERT_STRING_EQUAL(fixture_output("iptables-save -t mangle | grep -c NFQUEUE"), "9");
	CU_ASSERT_STRING_EQUAL(fixture_output("ip6tables-save -t mangle | grep -c NFQUEUE"), "9");
	/* ahead of what others have */
	CU_ASSERT_STRING_EQUAL(fixture_output("iptables-save -t mangle | grep -m1 -- '-A OUTPUT'"),
			       "-A OUTPUT -m comment --comment tensorguard -j TENSORGUARD");
	for (int twice = 0; twice < 2; twice++) {
		OK(iptables_remove(&e), e);
		CU_ASSERT_STRING_EQUAL(before[0], mangle(tools[0]));
		CU_ASSERT_STRING_EQUAL(before[1], mangle(tools[1]));
	}
	clean();
}

TEST(net_iptables, cycle)
{
	check_cycle();
}

TEST(net_iptables, cycle_legacy)
{
	const char *path = getenv("PATH");
	char old[4096], own[4200];

	if (fixture_run("iptables-legacy-save -t mangle >/dev/null 2>&1 && iptables-legacy -t mangle -L -n "
			">/dev/null 2>&1"
			" && ip6tables-legacy -t mangle -L -n >/dev/null 2>&1")) {
		harness_skip("this kernel has no legacy iptables");
		return;
	}
	snprintf(old, sizeof(old), "%s", path);
	snprintf(own, sizeof(own), "/run/legacy:%s", path);
	CU_ASSERT_EQUAL(
		fixture_run("mkdir -p /run/legacy; for t in '' -save -restore; do for f in ip ip6; do"
			    " ln -sf $(command -v ${f}tables-legacy$t) /run/legacy/${f}tables$t; done; done"),
		0);
	setenv("PATH", own, 1);
	check_cycle();
	setenv("PATH", old, 1);
}

TEST(net_iptables, repairs)
{
	static const char *const damage[] = {
		"iptables -t mangle -D OUTPUT -m comment --comment tensorguard -j TENSORGUARD",
		"iptables -t mangle -I OUTPUT -m comment --comment tensorguard -j TENSORGUARD",
		"ip6tables -t mangle -A POSTROUTING -j TENSORGUARD_SAVE",
		"iptables -t mangle -F TENSORGUARD",
		"ip6tables -t mangle -D TENSORGUARD_CLOSED 5",
		"iptables -t mangle -D TENSORGUARD 3",
		"iptables -t mangle -F",
		"ip6tables -t mangle -F TENSORGUARD_SAVE",
		"ip6tables -t mangle -F; ip6tables -t mangle -X",
	};
	struct fake fake;
	struct tg_error e;
	bool present;

	fake_init(&fake);
	for (size_t i = 0; i < sizeof(damage) / sizeof(damage[0]); i++) {
		OK(iptables_ensure(&fake.policy, &e), e);
		CU_ASSERT_EQUAL(fixture_run("%s", damage[i]), 0);
		OK(iptables_check(&fake.policy, &present, &e), e);
		CU_ASSERT_FALSE(present);
		OK(iptables_ensure(&fake.policy, &e), e);
		OK(iptables_check(&fake.policy, &present, &e), e);
		CU_ASSERT_TRUE(present);
	}
	/* another policy */
	fake.policy.classifier.hold = true;
	OK(iptables_check(&fake.policy, &present, &e), e);
	CU_ASSERT_FALSE(present);
	OK(iptables_ensure(&fake.policy, &e), e);
	CU_ASSERT_STRING_EQUAL(fixture_output("iptables-save -t mangle | grep -c queue-bypass"), "0");
	/* one without flow rules */
	fake.policy.rule_count = 0;
	OK(iptables_ensure(&fake.policy, &e), e);
	CU_ASSERT_STRING_EQUAL(fixture_output("iptables-save -t mangle | grep -c TENSORGUARD"), "0");
	OK(iptables_check(&fake.policy, &present, &e), e);
	CU_ASSERT_TRUE(present);
}

TEST(net_iptables, messages)
{
	struct fake fake;
	struct tg_error e;
	bool present;
	char old[4096];

	fake_init(&fake);
	snprintf(old, sizeof(old), "%s", getenv("PATH"));
	setenv("PATH", "/run/empty", 1);
	CU_ASSERT_EQUAL(iptables_ensure(&fake.policy, &e), -ENOENT);
	CU_ASSERT_STRING_EQUAL(e.message, "iptables-save: no such program (is it installed?)");
	CU_ASSERT_EQUAL(iptables_check(&fake.policy, &present, &e), -ENOENT);
	OK(iptables_remove(&e), e);
	setenv("PATH", old, 1);
	/* the tool's own words */
	CU_ASSERT_EQUAL(
		fixture_run("mkdir -p /run/bad; ln -sf $(command -v iptables-save) /run/bad/;"
			    "printf '#!/bin/sh\\necho >&2; echo it is broken >&2; echo more >&2; exit 3\\n'"
			    " >/run/bad/iptables-restore; chmod +x /run/bad/iptables-restore"),
		0);
	setenv("PATH", "/run/bad:/usr/sbin:/usr/bin:/sbin:/bin", 1);
	CU_ASSERT_EQUAL(iptables_ensure(&fake.policy, &e), -EIO);
	CU_ASSERT_STRING_EQUAL(e.message, "iptables-restore failed: it is broken");
	setenv("PATH", old, 1);
}

/* What a kernel does with the rules, judged by counters: a decided flow is not queued again. */
TEST(net_iptables, marks_and_queue)
{
	struct fake fake;
	struct tg_error e;
	uint32_t decided;

	fake_init(&fake);
	fake.rules[1].has_mark = false;
	/* the device is no tunnel: closed, nothing would leave by it */
	fake.policy.fail = TG_FAIL_OPEN;
	fake.policy.rules = &fake.rules[1];
	fake.policy.rule_count = 1;
	CU_ASSERT_EQUAL_FATAL(
		fixture_run("ip link add tgi1 type veth peer name tgi2; ip addr add 192.0.2.1/24 dev tgi1;"
			    "ip link set tgi1 up; ip link set tgi2 up;"
			    "ip neigh replace 192.0.2.9 lladdr 02:00:00:00:00:09 dev tgi1"),
		0);
	OK(iptables_ensure(&fake.policy, &e), e);
	/* undecided: to the queue, nobody listens, bypass */
	fixture_run("ping -c1 -W1 -q 192.0.2.9 >/dev/null");
	CU_ASSERT_STRING_EQUAL(
		fixture_output("iptables -t mangle -vxnL TENSORGUARD | grep NFQUEUE | awk '{print $1}'"),
		"1");
	/* decided by its mark, and an outer packet of ours: neither goes to the queue */
	decided = TG_MARK_OF_CLASS(2u) | tg_mark_tag(&fake.policy.tunnels[0]);
	fixture_run("ping -m %u -c1 -W1 -q 192.0.2.9 >/dev/null", decided);
	fixture_run("ping -m %u -c1 -W1 -q 192.0.2.9 >/dev/null", TG_MARK_OUTER);
	CU_ASSERT_STRING_EQUAL(
		fixture_output("iptables -t mangle -vxnL TENSORGUARD | grep NFQUEUE | awk '{print $1}'"),
		"1");
	/* loopback neither; the class of the decided flow went into its connection */
	fixture_run("ping -c1 -W1 -q 127.0.0.1 >/dev/null");
	CU_ASSERT_STRING_EQUAL(
		fixture_output("iptables -t mangle -vxnL TENSORGUARD | grep NFQUEUE | awk '{print $1}'"),
		"1");
	CU_ASSERT_STRING_EQUAL(fixture_output("iptables -t mangle -vxnL TENSORGUARD_SAVE | grep CONNMARK |"
					      " awk '{print $1}'"),
			       "1");
	/* decided by a policy with other classes: anew */
	fixture_run("ping -m %u -c1 -W1 -q 192.0.2.9 >/dev/null", decided ^ (1u << TG_MARK_TAG_SHIFT));
	CU_ASSERT_STRING_EQUAL(
		fixture_output("iptables -t mangle -vxnL TENSORGUARD | grep NFQUEUE | awk '{print $1}'"),
		"2");
	OK(iptables_remove(&e), e);
	CU_ASSERT_EQUAL(fixture_run("ip link del tgi1"), 0);
}
