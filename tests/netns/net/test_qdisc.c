/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fixture.h"

enum { SESSIONS = 3 };

static const bool all[SESSIONS] = { true, true, true };

static unsigned make_link(void)
{
	struct net_link link;
	struct tg_error e;

	OK(net_veth_ensure(fixture_net(), "tgq0", "tgq1", 1434, 600, "tensorguard:q", &e), e);
	OK(net_link_get(fixture_net(), "tgq0", &link, &e), e);
	return link.ifindex;
}

/* A program that the kernel takes as a filter: every packet to class 0, which there is not. */
static int steer(void)
{
	static const struct bpf_insn program[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr attr = { .prog_type = BPF_PROG_TYPE_SCHED_CLS };
	static int fd = -1;

	attr.insns = (uintptr_t)program;
	attr.insn_cnt = sizeof(program) / sizeof(program[0]);
	attr.license = (uintptr_t) "GPL";
	if (fd < 0)
		fd = (int)syscall(__NR_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
	CU_ASSERT_TRUE_FATAL(fd >= 0);
	return fd;
}

static struct net_clock clock_of(uint64_t rate, uint64_t period_ns, uint32_t frame)
{
	return (struct net_clock){ .rate = rate, .period_ns = period_ns, .frame = frame };
}

/* How many of the sessions were made anew. */
static int ensure(unsigned ifindex, const struct net_clock *clock, const bool *wanted)
{
	bool fresh[SESSIONS];
	struct tg_error e;
	int count = 0;

	OK(net_clock_ensure(fixture_net(), ifindex, clock, steer(), wanted, SESSIONS, fresh, &e), e);
	for (int n = 0; n < SESSIONS; n++)
		count += fresh[n];
	return count;
}

static int whole(unsigned ifindex, const struct net_clock *clock)
{
	bool whole[SESSIONS];
	struct tg_error e;
	int count = 0;

	OK(net_clock_look(fixture_net(), ifindex, clock, SESSIONS, whole, &e), e);
	for (int n = 0; n < SESSIONS; n++)
		count += whole[n];
	return count;
}

static void remove_link(void)
{
	struct tg_error e;

	OK(net_link_remove(fixture_net(), "tgq0", &e), e);
}

TEST(net_qdisc, clocks_twice_are_once)
{
	/* cells of 174 and 1434 bytes, periods from 1 s down to 100 us, and what no 32-bit field holds */
	static const struct net_clock cases[] = {
		{ 174, 1000000000, 174 },      { 34800, 5000000, 174 },    { 174000, 1000000, 174 },
		{ 286800, 5000000, 1434 },     { 14340000, 100000, 1434 }, { 90140000, 100000, 9014 },
		{ 6000000000ull, 1502, 9014 },
	};
	unsigned ifindex = make_link();

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CU_ASSERT_EQUAL(ensure(ifindex, &cases[i], all), SESSIONS);
		CU_ASSERT_EQUAL(ensure(ifindex, &cases[i], all), 0);
		CU_ASSERT_EQUAL(whole(ifindex, &cases[i]), SESSIONS);
	}
	remove_link();
}

TEST(net_qdisc, sessions_come_and_go_alone)
{
	static const bool two[SESSIONS] = { true, false, true }, last[SESSIONS] = { false, false, true };
	const struct net_clock clock = clock_of(34800, 5000000, 174);
	unsigned ifindex = make_link();
	struct tg_error e;

	CU_ASSERT_EQUAL(ensure(ifindex, &clock, two), 2);
	CU_ASSERT_EQUAL(whole(ifindex, &clock), 2);
	CU_ASSERT_EQUAL(ensure(ifindex, &clock, all), 1);
	OK(net_clock_drop(fixture_net(), ifindex, last, SESSIONS, &e), e);
	CU_ASSERT_EQUAL(whole(ifindex, &clock), 2);
	OK(net_clock_drop(fixture_net(), ifindex, last, SESSIONS, &e), e);
	CU_ASSERT_EQUAL(whole(ifindex, &clock), 2);
	CU_ASSERT_EQUAL(ensure(ifindex, &clock, all), 1);
	remove_link();
}

TEST(net_qdisc, read_by_tc)
{
	const struct net_clock clock = clock_of(34800, 5000000, 174);
	unsigned ifindex = make_link();

	ensure(ifindex, &clock, all);
	CU_ASSERT_STRING_EQUAL(fixture_output("tc qdisc show dev tgq0 | grep -o 'htb 1: root.*default 0' "
					      "| cut -d' ' -f1-3"),
			       "htb 1: root");
	CU_ASSERT_STRING_EQUAL(fixture_output("tc qdisc show dev tgq0 | grep -o 'direct_qlen [0-9]*'"),
			       "direct_qlen 0");
	CU_ASSERT_STRING_EQUAL(
		fixture_output(
			"tc class show dev tgq0 classid 1:3 | grep -o 'rate 278400bit ceil 278400bit'"),
		"rate 278400bit ceil 278400bit");
	CU_ASSERT_STRING_EQUAL(fixture_output("tc qdisc show dev tgq0 | grep -o 'pfifo_fast 4: parent 1:3'"),
			       "pfifo_fast 4: parent 1:3");
	CU_ASSERT_STRING_EQUAL(fixture_output("tc filter show dev tgq0 | grep -o 'tg_steer direct-action'"),
			       "tg_steer direct-action");
	remove_link();
}

/* Each with the number of sessions that lose their cells by it. */
TEST(net_qdisc, repairs)
{
	static const struct {
		const char *damage;
		int lost;
	} cases[] = {
		{ "tc qdisc del dev tgq0 root", SESSIONS },
		{ "tc qdisc del dev tgq0 parent 1:2", 1 },
		{ "tc qdisc replace dev tgq0 parent 1:2 handle 9: pfifo limit 10", 1 },
		{ "tc qdisc del dev tgq0 parent 1:3; tc class del dev tgq0 classid 1:3", 1 },
		{ "tc class change dev tgq0 classid 1:1 htb rate 1mbit", 1 },
		{ "tc qdisc del dev tgq0 root; tc qdisc add dev tgq0 root handle 1: pfifo limit 10",
		  SESSIONS },
		{ "tc qdisc del dev tgq0 root; tc qdisc add dev tgq0 root handle 1: htb", SESSIONS },
		{ "tc qdisc replace dev tgq0 root handle 7: tbf rate 1mbit burst 9k limit 9k", SESSIONS },
	};
	const struct net_clock clock = clock_of(34800, 5000000, 174);
	unsigned ifindex = make_link();

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ensure(ifindex, &clock, all);
		CU_ASSERT_EQUAL(whole(ifindex, &clock), SESSIONS);
		CU_ASSERT_EQUAL(fixture_run("( %s ) 2>/dev/null", cases[i].damage), 0);
		CU_ASSERT_EQUAL(whole(ifindex, &clock), SESSIONS - cases[i].lost);
		CU_ASSERT_EQUAL(ensure(ifindex, &clock, all), cases[i].lost);
		CU_ASSERT_EQUAL(ensure(ifindex, &clock, all), 0);
		CU_ASSERT_EQUAL(whole(ifindex, &clock), SESSIONS);
	}
	remove_link();
}

TEST(net_qdisc, messages)
{
	struct net_clock clock = clock_of(0, 5000000, 174);
	bool fresh[SESSIONS];
	struct tg_error e;

	CU_ASSERT_EQUAL(net_clock_ensure(fixture_net(), 1, &clock, steer(), all, SESSIONS, fresh, &e),
			-EINVAL);
	CU_ASSERT_STRING_EQUAL(e.message, "device 1: a clock needs a rate, a period and a cell");
	clock.rate = 100;
	CU_ASSERT_EQUAL(net_clock_ensure(fixture_net(), 9999, &clock, steer(), all, SESSIONS, fresh, &e),
			-ENODEV);
}
