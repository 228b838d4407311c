/* SPDX-License-Identifier: BSD-3-Clause */
/* Parts of the process vault that programs reach: who has a package, and what comes over the socket. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "vault/internal.h"

/* ---- who has a package ---- */

static uint64_t now(void)
{
	return 1234;
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

/* An open package of one file, whose descriptor is returned. */
static int hold(struct held *h)
{
	h->used = true;
	h->files.fds = calloc(1, sizeof(*h->files.fds));
	CU_ASSERT_PTR_NOT_NULL_FATAL(h->files.fds);
	h->files.fds[h->files.count++] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return h->files.fds[0];
}

TEST(vault_parts, who_opens_a_package_again_keeps_it)
{
	static struct vault v;
	struct client *c = &v.clients[0], *other = &v.clients[1];
	struct held *arm = &v.held[0], *leg = &v.held[1];
	int arm_fd = hold(arm), leg_fd = hold(leg);

	v.conf.now = now;
	c->vault = other->vault = &v;
	held_lease(c, arm, "a");
	held_lease(c, arm, "a");
	CU_ASSERT_PTR_EQUAL(c->held, arm);
	CU_ASSERT_TRUE(arm->used && is_open(arm_fd));
	CU_ASSERT_EQUAL(arm->leases, 1);
	held_lease(other, arm, "b");
	CU_ASSERT_EQUAL(arm->leases, 2);
	/* another one in its place */
	held_lease(c, leg, "a");
	CU_ASSERT_TRUE(arm->used && leg->used);
	CU_ASSERT_EQUAL(arm->leases, 1);
	CU_ASSERT_STRING_EQUAL(other->consumer, "b");
	held_release(other);
	CU_ASSERT_FALSE(arm->used || is_open(arm_fd));
	held_release(c);
	CU_ASSERT_FALSE(leg->used || is_open(leg_fd));
}
