/* SPDX-License-Identifier: BSD-3-Clause */
/* Parts of the process vault that programs reach: who has a package, and what comes over the socket. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
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

static unsigned fill(struct vault *v, uid_t uid, struct held *h)
{
	struct client *c;
	unsigned n = 0;

	for (; n < VAULT_CLIENTS && (c = vault_place(v, uid)); n++)
		*c = (struct client){ .vault = v, .used = true, .peer = { .uid = uid }, .held = h };
	return n;
}

/* Consumers who hold on to their places do not keep root and the Platform from revoking. */
TEST(vault_parts, who_manages_finds_a_place)
{
	enum { TRUST = 7, FIRST = 1000 };
	static struct vault v;

	v.conf.trust = TRUST;
	CU_ASSERT_EQUAL(fill(&v, FIRST, NULL), VAULT_CLIENTS_OF_USER);
	CU_ASSERT_EQUAL(fill(&v, FIRST, &v.held[0]), 0);
	CU_ASSERT_EQUAL(fill(&v, FIRST + 1, &v.held[0]), VAULT_CLIENTS_OF_USER);
	CU_ASSERT_EQUAL(fill(&v, FIRST + 2, NULL), VAULT_CLIENTS_USING - 2 * VAULT_CLIENTS_OF_USER);
	CU_ASSERT_EQUAL(fill(&v, FIRST + 3, NULL), 0);
	CU_ASSERT_PTR_NOT_NULL(vault_place(&v, 0));
	CU_ASSERT_PTR_NOT_NULL(vault_place(&v, TRUST));
}

/* Root as a consumer: its leases are not what it manages models by. */
TEST(vault_parts, leases_of_root_leave_it_a_place)
{
	static struct vault v;

	for (unsigned i = 0; i < VAULT_CLIENTS_USING; i++)
		v.clients[i] = (struct client){ .vault = &v, .used = true, .held = &v.held[0] };
	CU_ASSERT_PTR_NOT_NULL(vault_place(&v, 0));
	CU_ASSERT_PTR_NULL(vault_place(&v, 1000));
}

/* The Platform stops a roll-out because of failures: a restart of a process must not be one. */
TEST(vault_parts, what_passes_is_no_failure_of_the_package)
{
	struct tg_hpke_private key;
	struct tg_error e;
	struct link link;

	link_init(&link);
	CU_ASSERT_FALSE(held_is_failure(link_private(&link, &key, &e)));
	CU_ASSERT_FALSE(held_is_failure(-EAGAIN) || held_is_failure(-ENOMEM) || held_is_failure(0));
	/* documents that ended, and an offline time, before the first word of the Platform after a boot */
	CU_ASSERT_FALSE(held_is_failure(-EKEYEXPIRED) || held_is_failure(-ENETDOWN));
	/* not for this device's key, revoked, damaged */
	CU_ASSERT_TRUE(held_is_failure(-ENOKEY) && held_is_failure(-EKEYREVOKED) &&
		       held_is_failure(-EBADMSG));
}

/* ---- what comes over the socket ---- */

static int lowest_free(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	close(fd);
	return fd;
}

/* A message of these bytes, with our own end of the connection as its descriptor. */
static ssize_t send_fd(int fd, const char *text)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { .head = { .cmsg_level = SOL_SOCKET,
				.cmsg_type = SCM_RIGHTS,
				.cmsg_len = CMSG_LEN(sizeof(int)) } };
	struct iovec part = { (void *)(uintptr_t)text, strlen(text) };
	struct msghdr m = { .msg_iov = &part,
			    .msg_iovlen = 1,
			    .msg_control = control.room,
			    .msg_controllen = sizeof(control.room) };

	memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
	return sendmsg(fd, &m, MSG_NOSIGNAL);
}

TEST(vault_parts, no_message_leaves_a_descriptor_behind)
{
	static const struct {
		const char *text;
		int result;
	} cases[] = { { "", 0 }, { "{", -EBADMSG }, { "[]", -EBADMSG } };
	struct call_fds got = { .count = 0 };
	/* a descriptor that stays would keep the connection's end from coming */
	const struct timeval limit = { .tv_sec = 2 };
	json_t *message;
	int fds[2], lowest;

	CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	CU_ASSERT_EQUAL(setsockopt(fds[1], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
	lowest = lowest_free();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CU_ASSERT_EQUAL(send_fd(fds[0], cases[i].text), (ssize_t)strlen(cases[i].text));
		CU_ASSERT_EQUAL(call_receive(fds[1], &message, &got), cases[i].result);
		CU_ASSERT_EQUAL(got.count, 0);
		CU_ASSERT_EQUAL(lowest_free(), lowest);
	}
	CU_ASSERT_EQUAL(send_fd(fds[0], "{}"), 2);
	CU_ASSERT_EQUAL_FATAL(call_receive(fds[1], &message, &got), 1);
	CU_ASSERT_EQUAL(got.count, 1);
	json_decref(message);
	call_close(&got);
	close(fds[0]);
	/* the end of the connection is none of them */
	CU_ASSERT_EQUAL(call_receive(fds[1], &message, &got), 0);
	close(fds[1]);
}
