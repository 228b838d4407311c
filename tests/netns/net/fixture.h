/* SPDX-License-Identifier: BSD-3-Clause */
/* What the tests of agent/net share; fixture.c has put the program into namespaces of its own. */
#ifndef TESTS_NETNS_NET_FIXTURE_H
#define TESTS_NETNS_NET_FIXTURE_H

#include "harness.h"
#include "net/net.h"

/* The socket of all tests. Aborts when it cannot be opened. */
struct net *fixture_net(void);

/* Runs a shell command; returns its exit status. */
int fixture_run(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Its standard output without the final newline, in a buffer that the next call overwrites. */
const char *fixture_output(const char *format, ...) __attribute__((format(printf, 1, 2)));

struct tg_cidr fixture_cidr(const char *text);

/* Asserts success and prints the message otherwise. */
#define OK(call, e)                                                                         \
	do {                                                                                \
		int ok_err = (call);                                                        \
		if (ok_err)                                                                 \
			printf("%s:%d: %d: %s\n", __FILE__, __LINE__, ok_err, (e).message); \
		CU_ASSERT_EQUAL_FATAL(ok_err, 0);                                           \
	} while (0)

#endif
