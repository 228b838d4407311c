/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>

#include "fixture.h"

static unsigned make_link(void)
{
	struct net_link link;
	struct tg_error e;

	OK(net_veth_ensure(fixture_net(), "tgq0", "tgq1", 1434, 600, "tensorguard:q", &e), e);
	OK(net_link_get(fixture_net(), "tgq0", &link, &e), e);
	return link.ifindex;
}

static bool ensure(unsigned ifindex, uint64_t rate, uint32_t burst, uint32_t limit)
{
	struct net_tbf tbf = { .rate = rate, .burst = burst, .limit = limit };
	struct tg_error e;
	bool changed;

	OK(net_tbf_ensure(fixture_net(), ifindex, &tbf, &changed, &e), e);
	return changed;
}

static void remove_link(void)
{
	struct tg_error e;

	OK(net_link_remove(fixture_net(), "tgq0", &e), e);
}

TEST(net_qdisc, tbf_twice_is_once)
{
	/* cells of 174 and 1434 bytes, periods from 1 s down to 100 us, and what no 32-bit field holds */
	static const struct {
		uint64_t rate;
		uint32_t burst;
	} cases[] = {
		{ 174, 174 },       { 34800, 174 },     { 174000, 174 },          { 286800, 1434 },
		{ 14340000, 1434 }, { 90140000, 9014 }, { 6000000000ull, 60000 },
	};
	unsigned ifindex = make_link();
	struct net_qdisc qdisc;
	struct tg_error e;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CU_ASSERT_TRUE(ensure(ifindex, cases[i].rate, cases[i].burst, 300000));
		CU_ASSERT_FALSE(ensure(ifindex, cases[i].rate, cases[i].burst, 300000));
		OK(net_qdisc_get(fixture_net(), ifindex, &qdisc, &e), e);
		CU_ASSERT_STRING_EQUAL(qdisc.kind, "tbf");
		CU_ASSERT_STRING_EQUAL(qdisc.inner, "pfifo_fast");
		CU_ASSERT_EQUAL(qdisc.rate, cases[i].rate);
		if (cases[i].rate < 15000000)
			CU_ASSERT_EQUAL(qdisc.burst, cases[i].burst);
		CU_ASSERT_FALSE(qdisc.clsact);
	}
	CU_ASSERT_TRUE(ensure(ifindex, 6000000000ull, 60000, 300001));
	remove_link();
}

TEST(net_qdisc, read_by_tc)
{
	unsigned ifindex = make_link();
	struct net_qdisc qdisc;
	struct tg_error e;

	ensure(ifindex, 34800, 174, 348000);
	CU_ASSERT_STRING_EQUAL(fixture_output("tc qdisc show dev tgq0 | grep -o 'tbf 1: root' "),
			       "tbf 1: root");
	CU_ASSERT_STRING_EQUAL(
		fixture_output("tc qdisc show dev tgq0 | grep -Eo 'rate [0-9A-Za-z]* burst 17[34]b'"
			       " | cut -d' ' -f1-3"),
		"rate 278400bit burst");
	CU_ASSERT_STRING_EQUAL(fixture_output("tc qdisc show dev tgq0 | grep -o 'pfifo_fast 2: parent 1:1'"),
			       "pfifo_fast 2: parent 1:1");
	CU_ASSERT_EQUAL(fixture_run("tc qdisc add dev tgq0 clsact"), 0);
	OK(net_qdisc_get(fixture_net(), ifindex, &qdisc, &e), e);
	CU_ASSERT_TRUE(qdisc.clsact);
	CU_ASSERT_EQUAL(qdisc.packets, 0);
	remove_link();
}

TEST(net_qdisc, repairs)
{
	static const char *const damage[] = {
		"tc qdisc del dev tgq0 root",
		"tc qdisc del dev tgq0 parent 1:1",
		"tc qdisc replace dev tgq0 parent 1:1 handle 3: pfifo limit 10",
		"tc qdisc del dev tgq0 root; tc qdisc add dev tgq0 root handle 1: pfifo limit 10",
		"tc qdisc replace dev tgq0 root handle 7: tbf rate 1mbit burst 9k limit 9k",
		"tc qdisc change dev tgq0 root handle 1: tbf rate 1mbit burst 1500 limit 9000",
	};
	unsigned ifindex = make_link();
	struct net_qdisc qdisc;
	struct tg_error e;

	for (size_t i = 0; i < sizeof(damage) / sizeof(damage[0]); i++) {
		ensure(ifindex, 34800, 174, 348000);
		fixture_run("( %s ) 2>/dev/null", damage[i]);
		CU_ASSERT_TRUE(ensure(ifindex, 34800, 174, 348000));
		CU_ASSERT_FALSE(ensure(ifindex, 34800, 174, 348000));
		OK(net_qdisc_get(fixture_net(), ifindex, &qdisc, &e), e);
		CU_ASSERT_EQUAL(qdisc.rate, 34800);
		CU_ASSERT_STRING_EQUAL(qdisc.inner, "pfifo_fast");
	}
	remove_link();
}

TEST(net_qdisc, messages)
{
	struct net_tbf tbf = { .rate = 1000, .burst = 0, .limit = 1000 };
	struct net_qdisc qdisc;
	struct tg_error e;
	bool changed;

	CU_ASSERT_EQUAL(net_tbf_ensure(fixture_net(), 1, &tbf, &changed, &e), -EINVAL);
	CU_ASSERT_STRING_EQUAL(e.message, "device 1: a TBF needs a rate and a burst");
	tbf.burst = 100;
	CU_ASSERT_EQUAL(net_tbf_ensure(fixture_net(), 9999, &tbf, &changed, &e), -ENODEV);
	OK(net_qdisc_get(fixture_net(), 1, &qdisc, &e), e);
	CU_ASSERT_STRING_EQUAL(qdisc.inner, "");
}
