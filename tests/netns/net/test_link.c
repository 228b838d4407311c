/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"

#define ALIAS "tensorguard:tgt"

static int ensure(struct tg_error *e)
{
	return net_veth_ensure(fixture_net(), "tgt0", "tgt1", 1434, 600, ALIAS, e);
}

static void check_end(const char *name, const char *peer)
{
	struct net_link link, other;
	struct tg_error e;

	OK(net_link_get(fixture_net(), name, &link, &e), e);
	OK(net_link_get(fixture_net(), peer, &other, &e), e);
	CU_ASSERT_EQUAL(link.mtu, 1434);
	CU_ASSERT_EQUAL(link.txqlen, 600);
	CU_ASSERT_EQUAL(link.gso_max_segs, 1);
	CU_ASSERT_TRUE(link.up);
	CU_ASSERT_STRING_EQUAL(link.kind, "veth");
	CU_ASSERT_STRING_EQUAL(link.alias, ALIAS);
	CU_ASSERT_EQUAL(link.peer_ifindex, other.ifindex);
	/* judged by other tools than ours */
	CU_ASSERT_STRING_EQUAL(fixture_output("ip -o link show %s | grep -o NOARP", name), "NOARP");
	CU_ASSERT_STRING_EQUAL(fixture_output("ip -o link show %s | grep -o 'MULTICAST'", name), "");
	CU_ASSERT_STRING_EQUAL(
		fixture_output("ip -o -d link show %s | grep -o 'addrgenmode [a-z0-9]*'", name),
		"addrgenmode none");
	CU_ASSERT_STRING_EQUAL(fixture_output("ip -o addr show %s", name), "");
	CU_ASSERT_STRING_EQUAL(fixture_output("cat /proc/sys/net/ipv6/conf/%s/disable_ipv6", name), "1");
	CU_ASSERT_STRING_EQUAL(fixture_output("ethtool -k %s | grep -E 'segmentation|gso|gro|large-receive' |"
					      " grep -v ': off'",
					      name),
			       "");
}

static void remove_pair(void)
{
	struct tg_error e;

	OK(net_link_remove(fixture_net(), "tgt0", &e), e);
	CU_ASSERT_NOT_EQUAL(fixture_run("ip link show tgt0 2>/dev/null"), 0);
	CU_ASSERT_NOT_EQUAL(fixture_run("ip link show tgt1 2>/dev/null"), 0);
}

TEST(net_link, veth_twice_is_once)
{
	struct net_link first, second;
	struct tg_error e;

	OK(ensure(&e), e);
	check_end("tgt0", "tgt1");
	check_end("tgt1", "tgt0");
	OK(net_link_get(fixture_net(), "tgt0", &first, &e), e);
	OK(ensure(&e), e);
	check_end("tgt0", "tgt1");
	OK(net_link_get(fixture_net(), "tgt0", &second, &e), e);
	CU_ASSERT_EQUAL(first.ifindex, second.ifindex);
	remove_pair();
	OK(net_link_remove(fixture_net(), "tgt0", &e), e);
}

/* Every state that a kill between two steps, or a meddling hand, can leave. */
TEST(net_link, veth_repairs)
{
	static const char *const damage[] = {
		"ip link set tgt0 down",
		"ip link set tgt1 down",
		"ip link set tgt0 alias ''",
		"ip link set tgt0 alias ''; ip link set tgt1 alias ''; ip link set tgt0 down; ip link set "
		"tgt1 down",
		"ip link set tgt0 mtu 1000",
		"ip link set tgt1 mtu 1000",
		"ip link set tgt0 txqueuelen 5",
		"ip link set tgt0 gso_max_segs 64",
		"ip link set tgt0 arp on multicast on",
		"ip link set tgt1 addrgenmode eui64",
		"ethtool -K tgt0 tso on gso on tx-udp-segmentation on tx-gso-list on",
		"ethtool -K tgt1 gro on",
		"sysctl -qw net.ipv6.conf.tgt0.disable_ipv6=0",
		"ip link del tgt0; ip link add tgt0 alias x type dummy; ip link set tgt0 alias "
		"tensorguard:tgt",
		"ip link set tgt1 name tgt9",
	};
	struct tg_error e;

	for (size_t i = 0; i < sizeof(damage) / sizeof(damage[0]); i++) {
		OK(ensure(&e), e);
		/* the dummy kind may be missing here: what counts is that tgt0 is then absent */
		fixture_run("( %s ) 2>/dev/null", damage[i]);
		OK(ensure(&e), e);
		check_end("tgt0", "tgt1");
		check_end("tgt1", "tgt0");
	}
	remove_pair();
	CU_ASSERT_NOT_EQUAL(fixture_run("ip link show tgt9 2>/dev/null"), 0);
}

TEST(net_link, veth_leaves_a_foreign_pair_alone)
{
	struct tg_error e;

	CU_ASSERT_EQUAL_FATAL(fixture_run("ip link add tgt0 type veth peer name tgt1"), 0);
	CU_ASSERT_EQUAL(ensure(&e), -EEXIST);
	CU_ASSERT_STRING_EQUAL(e.message, "link tgt0: exists and was not made by TensorGuard");
	CU_ASSERT_EQUAL(net_link_remove(fixture_net(), "tgt0", &e), -EPERM);
	CU_ASSERT_STRING_EQUAL(e.message, "link tgt0: not made by TensorGuard, left alone");
	/* ours on one side only */
	CU_ASSERT_EQUAL(fixture_run("ip link set tgt0 alias " ALIAS), 0);
	CU_ASSERT_EQUAL(ensure(&e), -EEXIST);
	CU_ASSERT_STRING_EQUAL(e.message, "link tgt1: exists and was not made by TensorGuard");
	CU_ASSERT_EQUAL(fixture_run("ip -o link show tgt1 | grep -q 'mtu 1500'"), 0);
	CU_ASSERT_EQUAL(fixture_run("ip link del tgt0"), 0);
}

TEST(net_link, veth_is_silent)
{
	struct tg_error e;

	OK(ensure(&e), e);
	sleep(2);
	for (int i = 0; i < 2; i++) {
		CU_ASSERT_STRING_EQUAL(fixture_output("cat /sys/class/net/tgt%d/statistics/tx_packets", i),
				       "0");
		CU_ASSERT_STRING_EQUAL(fixture_output("cat /sys/class/net/tgt%d/statistics/rx_packets", i),
				       "0");
		CU_ASSERT_STRING_EQUAL(fixture_output("cat /sys/class/net/tgt%d/statistics/tx_dropped", i),
				       "0");
	}
	remove_pair();
}

TEST(net_link, messages)
{
	struct net_link link;
	struct tg_error e;

	CU_ASSERT_EQUAL(net_link_get(fixture_net(), "tgnone", &link, &e), -ENODEV);
	CU_ASSERT_STRING_EQUAL(e.message, "link tgnone: No such device");
	CU_ASSERT_EQUAL(net_link_get(fixture_net(), "a/b", &link, &e), -EINVAL);
	CU_ASSERT_STRING_EQUAL(e.message, "\"a/b\" is no device name");
	CU_ASSERT_EQUAL(net_link_get(fixture_net(), "sixteen-letters-", &link, &e), -EINVAL);
	OK(ensure(&e), e);
	CU_ASSERT_EQUAL(net_link_set_mtu(fixture_net(), "tgt0", 70000, &e), -EINVAL);
	CU_ASSERT_STRING_EQUAL(e.message, "link tgt0: cannot set MTU 70000: mtu greater than device maximum "
					  "(Invalid argument)");
	CU_ASSERT_EQUAL(net_veth_ensure(fixture_net(), "tgt0", "tgt1", 1500, 10, "mine", &e), -EINVAL);
	remove_pair();
}

TEST(net_link, set_and_list)
{
	struct net_link link;
	struct tg_error e;
	char **names;
	size_t count;

	OK(ensure(&e), e);
	CU_ASSERT_EQUAL(fixture_run("ip link add tgforeign type veth peer name tgforeign2"), 0);
	CU_ASSERT_EQUAL(fixture_run("ip link set tgforeign alias other:tensorguard:"), 0);
	OK(net_link_list(fixture_net(), TG_LINK_ALIAS, &names, &count, &e), e);
	CU_ASSERT_EQUAL(count, 2);
	for (size_t i = 0; i < count; i++) {
		CU_ASSERT_TRUE(!strcmp(names[i], "tgt0") || !strcmp(names[i], "tgt1"));
		free(names[i]);
	}
	free(names);
	OK(net_link_set_up(fixture_net(), "tgt0", false, &e), e);
	OK(net_link_set_mtu(fixture_net(), "tgt0", 1300, &e), e);
	OK(net_link_set_alias(fixture_net(), "tgt0", "tensorguard:other", &e), e);
	OK(net_link_get(fixture_net(), "tgt0", &link, &e), e);
	CU_ASSERT_FALSE(link.up);
	CU_ASSERT_EQUAL(link.mtu, 1300);
	CU_ASSERT_STRING_EQUAL(link.alias, "tensorguard:other");
	CU_ASSERT_EQUAL(fixture_run("ip link del tgforeign"), 0);
	remove_pair();
	OK(net_link_list(fixture_net(), TG_LINK_ALIAS, &names, &count, &e), e);
	CU_ASSERT_EQUAL(count, 0);
	free(names);
}
