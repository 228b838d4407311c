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

enum { PERIOD_NS = 5000000 };

/* How many of the sessions were made anew. */
static int ensure(unsigned ifindex, uint64_t period_ns, const bool *wanted)
{
	bool fresh[SESSIONS];
	struct tg_error e;
	int count = 0;

	OK(net_clock_ensure(fixture_net(), ifindex, period_ns, steer(), wanted, SESSIONS, fresh, &e), e);
	for (int n = 0; n < SESSIONS; n++)
		count += fresh[n];
	return count;
}

static int whole(unsigned ifindex, uint64_t period_ns)
{
	bool whole[SESSIONS];
	struct tg_error e;
	int count = 0;

	OK(net_clock_look(fixture_net(), ifindex, period_ns, SESSIONS, whole, &e), e);
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
	/* from 1 s down to 100 us, and what no 32-bit field holds the rate of */
	static const uint64_t periods[] = { 1000000000, 5000000, 3000000, 1000000, 100000, 1502 };
	unsigned ifindex = make_link();

	for (size_t i = 0; i < sizeof(periods) / sizeof(periods[0]); i++) {
		/* another period is the same clock: it loses nothing */
		CU_ASSERT_EQUAL(ensure(ifindex, periods[i], all), i ? 0 : SESSIONS);
		CU_ASSERT_EQUAL(ensure(ifindex, periods[i], all), 0);
		CU_ASSERT_EQUAL(whole(ifindex, periods[i]), SESSIONS);
	}
	CU_ASSERT_EQUAL(whole(ifindex, PERIOD_NS), 0);
	remove_link();
}

TEST(net_qdisc, sessions_come_and_go_alone)
{
	static const bool two[SESSIONS] = { true, false, true }, last[SESSIONS] = { false, false, true };
	unsigned ifindex = make_link();
	struct tg_error e;

	CU_ASSERT_EQUAL(ensure(ifindex, PERIOD_NS, two), 2);
	CU_ASSERT_EQUAL(whole(ifindex, PERIOD_NS), 2);
	CU_ASSERT_EQUAL(ensure(ifindex, PERIOD_NS, all), 1);
	OK(net_clock_drop(fixture_net(), ifindex, last, SESSIONS, &e), e);
	CU_ASSERT_EQUAL(whole(ifindex, PERIOD_NS), 2);
	OK(net_clock_drop(fixture_net(), ifindex, last, SESSIONS, &e), e);
	CU_ASSERT_EQUAL(whole(ifindex, PERIOD_NS), 2);
	CU_ASSERT_EQUAL(ensure(ifindex, PERIOD_NS, all), 1);
	remove_link();
}

TEST(net_qdisc, read_by_tc)
{
	unsigned ifindex = make_link();

	ensure(ifindex, PERIOD_NS, all);
	CU_ASSERT_STRING_EQUAL(fixture_output("tc qdisc show dev tgq0 | grep -o 'htb 1: root.*default 0' "
					      "| cut -d' ' -f1-3"),
			       "htb 1: root");
	CU_ASSERT_STRING_EQUAL(fixture_output("tc qdisc show dev tgq0 | grep -o 'direct_qlen [0-9]*'"),
			       "direct_qlen 0");
	CU_ASSERT_STRING_EQUAL(
		fixture_output(
			"tc class show dev tgq0 classid 1:3 | grep -o 'rate 26214Kbit ceil 26214Kbit'"),
		"rate 26214Kbit ceil 26214Kbit");
	CU_ASSERT_STRING_EQUAL(fixture_output("tc qdisc show dev tgq0 | grep -o 'pfifo_fast 4: parent 1:3'"),
			       "pfifo_fast 4: parent 1:3");
	CU_ASSERT_STRING_EQUAL(fixture_output("tc filter show dev tgq0 | grep -o 'tg_steer direct-action'"),
			       "tg_steer direct-action");
	remove_link();
}

/* Each with the number of sessions whose clock is not right, and of those that have lost their cells. */
TEST(net_qdisc, repairs)
{
	static const struct {
		const char *damage;
		int broken, lost;
	} cases[] = {
		{ "tc qdisc del dev tgq0 root", SESSIONS, SESSIONS },
		{ "tc qdisc del dev tgq0 parent 1:2", 1, 1 },
		{ "tc qdisc replace dev tgq0 parent 1:2 handle 9: pfifo limit 10", 1, 1 },
		{ "tc qdisc del dev tgq0 parent 1:3; tc class del dev tgq0 classid 1:3", 1, 1 },
		{ "tc class change dev tgq0 classid 1:1 htb rate 1mbit", 1, 0 },
		{ "tc qdisc del dev tgq0 root; tc qdisc add dev tgq0 root handle 1: pfifo limit 10", SESSIONS,
		  SESSIONS },
		{ "tc qdisc del dev tgq0 root; tc qdisc add dev tgq0 root handle 1: htb direct_qlen 0",
		  SESSIONS, SESSIONS },
		{ "tc qdisc replace dev tgq0 root handle 7: tbf rate 1mbit burst 9k limit 9k", SESSIONS,
		  SESSIONS },
	};
	unsigned ifindex = make_link();

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ensure(ifindex, PERIOD_NS, all);
		CU_ASSERT_EQUAL(whole(ifindex, PERIOD_NS), SESSIONS);
		CU_ASSERT_EQUAL(fixture_run("( %s ) 2>/dev/null", cases[i].damage), 0);
		CU_ASSERT_EQUAL(whole(ifindex, PERIOD_NS), SESSIONS - cases[i].broken);
		CU_ASSERT_EQUAL(ensure(ifindex, PERIOD_NS, all), cases[i].lost);
		CU_ASSERT_EQUAL(ensure(ifindex, PERIOD_NS, all), 0);
		CU_ASSERT_EQUAL(whole(ifindex, PERIOD_NS), SESSIONS);
	}
	remove_link();
}

TEST(net_qdisc, messages)
{
	bool fresh[SESSIONS];
	struct tg_error e;

	CU_ASSERT_EQUAL(net_clock_ensure(fixture_net(), 1, 0, steer(), all, SESSIONS, fresh, &e), -EINVAL);
	CU_ASSERT_STRING_EQUAL(e.message, "device 1: a clock needs a period");
	CU_ASSERT_EQUAL(net_clock_ensure(fixture_net(), 9999, PERIOD_NS, steer(), all, SESSIONS, fresh, &e),
			-ENODEV);
}
