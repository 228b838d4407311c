/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fixture.h"
#include "pace/share.h"
#include "pace/tap.h"

static void make_pair(const char *head, const char *tail, struct plan_tunnel *t)
{
	struct net_link link;
	struct tg_error e;

	OK(net_veth_ensure(fixture_net(), head, tail, 1434, 600, "tensorguard:tap segmenter", &e), e);
	OK(net_link_get(fixture_net(), head, &link, &e), e);
	t->head_ifindex = link.ifindex;
	t->tail_ifindex = link.peer_ifindex;
}

static void send_taken(const struct plan_tunnel *t)
{
	static const struct tg_ether_meta meta = { .kind = TG_CELL_TAKEN };
	static const uint8_t packet[64] = { 0x60 };
	int fd = tap_open();

	CU_ASSERT_TRUE_FATAL(fd >= 0);
	CU_ASSERT_EQUAL(tap_send(fd, t->head_ifindex, &meta, 0, packet, sizeof(packet)), 0);
	close(fd);
}

static bool has_heard(const struct share *share, const struct plan *plan)
{
	char byte;

	return recv(share_fd(share, plan, 0), &byte, sizeof(byte), MSG_DONTWAIT) >= 0;
}

/* The first tunnel of a policy is another one in the next: its socket must not bring the former's packets. */
TEST(tap, packets_stay_with_their_tunnel)
{
	static struct tg_policy policy = { .tunnel_count = 1 };
	static struct plan first = { .policy = &policy }, second = { .policy = &policy };
	struct share *share;
	struct tg_error e;

	make_pair("tgta", "tgtap", &first.tunnels[0]);
	make_pair("tgtb", "tgtbp", &second.tunnels[0]);
	OK(share_new(&share, &e), e);
	CU_ASSERT_EQUAL_FATAL(share_adopt(share, &first), 0);
	send_taken(&first.tunnels[0]);
	CU_ASSERT_TRUE(has_heard(share, &first));
	/* the same plan again: what waits stays */
	send_taken(&first.tunnels[0]);
	CU_ASSERT_EQUAL_FATAL(share_adopt(share, &first), 0);
	CU_ASSERT_TRUE(has_heard(share, &first));
	send_taken(&first.tunnels[0]);
	CU_ASSERT_EQUAL_FATAL(share_adopt(share, &second), 0);
	CU_ASSERT_FALSE(has_heard(share, &second));
	send_taken(&first.tunnels[0]);
	CU_ASSERT_FALSE(has_heard(share, &second));
	send_taken(&second.tunnels[0]);
	CU_ASSERT_TRUE(has_heard(share, &second));
	share_free(share);
	OK(net_link_remove(fixture_net(), "tgta", &e), e);
	OK(net_link_remove(fixture_net(), "tgtb", &e), e);
}
