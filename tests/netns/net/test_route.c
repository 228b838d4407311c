/* SPDX-License-Identifier: BSD-3-Clause */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fixture.h"

enum { TABLE = 54321 };

static unsigned make_link(void)
{
	struct net_link link;
	struct tg_error e;

	CU_ASSERT_EQUAL_FATAL(
		fixture_run("ip link add tgr0 type veth peer name tgr1 && ip link set tgr0 up && "
			    "ip link set tgr1 up"),
		0);
	OK(net_link_get(fixture_net(), "tgr0", &link, &e), e);
	return link.ifindex;
}

static void remove_link(void)
{
	CU_ASSERT_EQUAL(fixture_run("ip link del tgr0"), 0);
}

static const char *addresses(void)
{
	return fixture_output("ip -o addr show dev tgr0 scope global | awk '{print $4}' | sort");
}

TEST(net_addr, ensure_and_prune)
{
	struct tg_cidr keep[] = {
		fixture_cidr("10.7.0.2/24"),
		fixture_cidr("10.7.0.3/24"),
		fixture_cidr("fd07::1/64"),
	};
	struct tg_cidr wider = fixture_cidr("fd07::1/48");
	unsigned ifindex = make_link();
	struct tg_error e;

	/* the first is a primary whose removal takes the others with it */
	CU_ASSERT_EQUAL(
		fixture_run("ip addr add 10.7.0.1/24 dev tgr0; ip addr add fd08::1/64 dev tgr0 nodad"), 0);
	for (int twice = 0; twice < 2; twice++)
		for (int i = 0; i < 3; i++)
			OK(net_addr_ensure(fixture_net(), ifindex, &keep[i], &e), e);
	CU_ASSERT_STRING_EQUAL(addresses(), "10.7.0.1/24\n10.7.0.2/24\n10.7.0.3/24\nfd07::1/64\nfd08::1/64");
	for (int twice = 0; twice < 2; twice++) {
		OK(net_addr_prune(fixture_net(), ifindex, keep, 3, &e), e);
		CU_ASSERT_STRING_EQUAL(addresses(), "10.7.0.2/24\n10.7.0.3/24\nfd07::1/64");
	}
	OK(net_addr_ensure(fixture_net(), ifindex, &wider, &e), e);
	CU_ASSERT_STRING_EQUAL(addresses(), "10.7.0.2/24\n10.7.0.3/24\nfd07::1/48");
	CU_ASSERT_STRING_EQUAL(fixture_output("ip -o -6 addr show dev tgr0 scope link | wc -l"), "1");
	CU_ASSERT_STRING_EQUAL(fixture_output("ip -o -6 addr show dev tgr0 tentative scope global"), "");
	OK(net_addr_prune(fixture_net(), ifindex, NULL, 0, &e), e);
	CU_ASSERT_STRING_EQUAL(addresses(), "");
	CU_ASSERT_EQUAL(net_addr_ensure(fixture_net(), 9999, &keep[0], &e), -ENODEV);
	CU_ASSERT_EQUAL(fixture_run("sysctl -qw net.ipv6.conf.tgr0.disable_ipv6=1"), 0);
	CU_ASSERT_EQUAL(net_addr_ensure(fixture_net(), ifindex, &keep[2], &e), -EACCES);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.message, "cannot add address fd07::1/64: IPv6 is disabled on it"));
	remove_link();
}

static const char *table(const char *family)
{
	return fixture_output("ip -%s route show table %d | tr -s ' ' | sed 's/ $//'", family, TABLE);
}

static size_t count_routes(void)
{
	struct net_route *routes;
	struct tg_error e;
	size_t count;

	OK(net_route_list(fixture_net(), &routes, &count, &e), e);
	free(routes);
	return count;
}

TEST(net_route, default_in_a_table)
{
	unsigned ifindex = make_link();
	struct net_route *routes;
	struct tg_error e;
	size_t count;

	for (int twice = 0; twice < 2; twice++) {
		OK(net_route_ensure(fixture_net(), TABLE, ifindex, 1400, &e), e);
		CU_ASSERT_STRING_EQUAL(table("4"), "default dev tgr0 proto 84 scope link mtu lock 1400");
		CU_ASSERT_STRING_EQUAL(table("6"),
				       "default dev tgr0 proto 84 metric 1024 mtu lock 1400 pref medium");
	}
	/* below the least MTU of IPv6: kept as well */
	OK(net_route_ensure(fixture_net(), TABLE, ifindex, 1000, &e), e);
	CU_ASSERT_STRING_EQUAL(table("4"), "default dev tgr0 proto 84 scope link mtu lock 1000");
	CU_ASSERT_STRING_EQUAL(table("6"), "default dev tgr0 proto 84 metric 1024 mtu lock 1000 pref medium");
	OK(net_route_list(fixture_net(), &routes, &count, &e), e);
	CU_ASSERT_EQUAL(count, 2);
	for (size_t i = 0; i < count; i++) {
		CU_ASSERT_EQUAL(routes[i].table, TABLE);
		CU_ASSERT_EQUAL(routes[i].ifindex, ifindex);
		CU_ASSERT_EQUAL(routes[i].to.length, 0);
		CU_ASSERT_EQUAL(routes[i].mtu_lock, 1000);
		OK(net_route_remove(fixture_net(), &routes[i], &e), e);
		OK(net_route_remove(fixture_net(), &routes[i], &e), e);
	}
	free(routes);
	CU_ASSERT_EQUAL(count_routes(), 0);
	OK(net_route_ensure(fixture_net(), TABLE, ifindex, 0, &e), e);
	CU_ASSERT_STRING_EQUAL(table("4"), "default dev tgr0 proto 84 scope link");
	remove_link();
	CU_ASSERT_EQUAL(count_routes(), 0);
}

TEST(net_route, to_a_prefix_beside_foreign_ones)
{
	struct tg_cidr v4 = fixture_cidr("198.51.100.0/24"), v6 = fixture_cidr("2001:db8:7::/48");
	struct tg_cidr taken = fixture_cidr("203.0.113.0/24");
	unsigned ifindex = make_link();
	struct net_route *routes;
	struct tg_error e;
	size_t count;

	CU_ASSERT_EQUAL(fixture_run("ip route add 203.0.113.0/24 dev tgr1"), 0);
	for (int twice = 0; twice < 2; twice++) {
		OK(net_route_to_ensure(fixture_net(), &v4, ifindex, 1300, &e), e);
		OK(net_route_to_ensure(fixture_net(), &v6, ifindex, 1300, &e), e);
		CU_ASSERT_EQUAL(count_routes(), 2);
	}
	OK(net_route_to_ensure(fixture_net(), &v4, ifindex, 0, &e), e);
	CU_ASSERT_STRING_EQUAL(fixture_output("ip route show 198.51.100.0/24 | sed 's/ $//'"),
			       "198.51.100.0/24 dev tgr0 proto 84 scope link");
	CU_ASSERT_EQUAL(net_route_to_ensure(fixture_net(), &taken, ifindex, 0, &e), -EEXIST);
	CU_ASSERT_PTR_NOT_NULL(
		strstr(e.message, "cannot add route 203.0.113.0/24 in table 254 through device "));
	OK(net_route_list(fixture_net(), &routes, &count, &e), e);
	for (size_t i = 0; i < count; i++)
		OK(net_route_remove(fixture_net(), &routes[i], &e), e);
	free(routes);
	CU_ASSERT_EQUAL(count_routes(), 0);
	CU_ASSERT_STRING_EQUAL(fixture_output("ip route show 203.0.113.0/24 | grep -c tgr1"), "1");
	remove_link();
}

static int send_v6(size_t size)
{
	struct sockaddr_in6 to = { .sin6_family = AF_INET6, .sin6_port = htons(9) };
	int fd = socket(AF_INET6, SOCK_DGRAM, 0), err = 0;
	char data[1400] = { 0 };

	inet_pton(AF_INET6, "2001:db8:9::1", &to.sin6_addr);
	if (sendto(fd, data, size, 0, (struct sockaddr *)&to, sizeof(to)) < 0)
		err = -errno;
	close(fd);
	return err;
}

static int sent_packets(void)
{
	return atoi(fixture_output("cat /sys/class/net/tgr0/statistics/tx_packets"));
}

/* What route.c counts on: a lock below 1280 is kept, and does not stop IPv6. */
TEST(net_route, kernel_keeps_an_ipv6_lock_below_1280)
{
	struct tg_cidr to = fixture_cidr("2001:db8:9::/48");
	unsigned ifindex = make_link();
	struct tg_error e;
	int before;

	CU_ASSERT_EQUAL(
		fixture_run("sysctl -qw net.ipv6.conf.tgr1.disable_ipv6=1;"
			    "ip -6 addr add fd09::1/64 dev tgr0 nodad;"
			    "ip neigh replace 2001:db8:9::1 lladdr 02:00:00:00:00:09 dev tgr0; sleep 3"),
		0);
	OK(net_route_to_ensure(fixture_net(), &to, ifindex, 0, &e), e);
	before = sent_packets();
	CU_ASSERT_EQUAL(send_v6(1300), 0);
	CU_ASSERT_EQUAL(sent_packets(), before + 1);
	OK(net_route_to_ensure(fixture_net(), &to, ifindex, 1200, &e), e);
	before = sent_packets();
	CU_ASSERT_EQUAL(send_v6(1152), 0);
	CU_ASSERT_EQUAL(sent_packets(), before + 1);
	CU_ASSERT_EQUAL(send_v6(1153), 0);
	CU_ASSERT_EQUAL(sent_packets(), before + 3);
	remove_link();
}
