/* SPDX-License-Identifier: BSD-3-Clause */
/* WireGuard's two protocols as bytes and text; what a device makes of them is tests/netns/net's affair. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/genetlink.h>
#include <linux/wireguard.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "net/wg.h"

enum { FAMILY = 33, PEERS = 4, ALLOWED = 300 };

struct world {
	struct tg_tunnel tunnel;
	struct tg_peer peers[PEERS];
	struct tg_cidr allowed[PEERS][ALLOWED];
	struct wg_secrets secrets;
	uint8_t preshared[PEERS][TG_KEY_LEN];
	struct wg_state state;
	struct wg_change change;
};

static struct tg_cidr v4(unsigned number)
{
	struct tg_cidr cidr = { .family = AF_INET, .length = 32, .addr = { 10, 9 } };

	cidr.addr[2] = (uint8_t)(number >> 8);
	cidr.addr[3] = (uint8_t)number;
	return cidr;
}

static void world_init(struct world *world, size_t allowed)
{
	memset(world, 0, sizeof(*world));
	world->change = (struct wg_change){ .tunnel = &world->tunnel,
					    .secrets = &world->secrets,
					    .state = &world->state,
					    .fwmark = 0x400000 };
	world->tunnel.listen_port = 51820;
	world->tunnel.peers = world->peers;
	world->tunnel.peer_count = PEERS;
	world->secrets.preshared = world->preshared;
	world->secrets.count = PEERS;
	memset(world->secrets.private_key, 0xab, TG_KEY_LEN);
	for (unsigned p = 0; p < PEERS; p++) {
		memset(world->peers[p].public_key, (int)p + 1, TG_KEY_LEN);
		world->peers[p].allowed_ips = world->allowed[p];
		world->peers[p].allowed_ip_count = allowed;
		for (unsigned i = 0; i < allowed; i++)
			world->allowed[p][i] = v4(p * ALLOWED + i);
	}
}

static void has_peer(struct world *world, int key, const struct tg_cidr *allowed, size_t count)
{
	struct wg_peer_state *peer = net_array_add(&world->state.peers, sizeof(*peer));

	memset(peer->status.public_key, key, TG_KEY_LEN);
	for (size_t i = 0; i < count; i++)
		*(struct tg_cidr *)net_array_add(&peer->allowed, sizeof(*allowed)) = allowed[i];
}

/* Builds all messages and reads them back with the dump's parser, as one list of attributes is both. */
static unsigned send_all(struct world *world, size_t size, struct wg_state *ret_state)
{
	char *buffer = aligned_alloc(8, size);
	struct wg_cursor cursor = { .peer = 0 };
	struct nlmsghdr *message;
	unsigned messages = 0;
	bool more = true;

	*ret_state = (struct wg_state){ .fwmark = 0 };
	while (more) {
		memset(buffer, 0xee, size);
		CU_ASSERT_EQUAL_FATAL(
			wg_genl_build(&world->change, "tg0", FAMILY, &cursor, buffer, size, &message, &more),
			0);
		CU_ASSERT_TRUE_FATAL(message->nlmsg_len <= size);
		CU_ASSERT_EQUAL_FATAL(wg_genl_take(message, ret_state), 0);
		CU_ASSERT_TRUE_FATAL(++messages < 1000);
	}
	free(buffer);
	return messages;
}

static void check_sent(const struct wg_state *state, size_t allowed)
{
	const struct wg_peer_state *peers = state->peers.data;

	CU_ASSERT_TRUE(state->has_private_key);
	CU_ASSERT_EQUAL(state->listen_port, 51820);
	CU_ASSERT_EQUAL(state->fwmark, 0x400000);
	CU_ASSERT_EQUAL_FATAL(state->peers.count, PEERS);
	for (unsigned p = 0; p < PEERS; p++) {
		const struct tg_cidr *list = peers[p].allowed.data;

		CU_ASSERT_EQUAL_FATAL(peers[p].allowed.count, allowed);
		for (unsigned i = 0; i < allowed; i++) {
			struct tg_cidr want = v4(p * ALLOWED + i);

			CU_ASSERT_TRUE_FATAL(net_cidr_equal(&list[i], &want));
		}
	}
}

TEST(net_wireguard, nothing_is_lost_however_small_the_messages)
{
	static const size_t sizes[] = { 296, 304, 320, 344, 512, 1000, 4096, 8192, 65536 };
	static struct world world;
	struct wg_state state;
	unsigned last = 1000;

	world_init(&world, ALLOWED);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		unsigned messages = send_all(&world, sizes[i], &state);

		CU_ASSERT_TRUE(messages <= last);
		last = messages;
		check_sent(&state, ALLOWED);
		wg_state_free(&state);
	}
	CU_ASSERT_EQUAL(last, 1);
}

TEST(net_wireguard, a_buffer_for_nothing_is_refused)
{
	static struct world world;
	struct wg_cursor cursor = { .peer = 0 };
	char buffer[200] __attribute__((aligned(8)));
	struct nlmsghdr *message;
	bool more;

	world_init(&world, 1);
	CU_ASSERT_EQUAL(
		wg_genl_build(&world.change, "tg0", FAMILY, &cursor, buffer, sizeof(buffer), &message, &more),
		-EMSGSIZE);
}

static const struct nlattr *find(const void *from, size_t len, unsigned type)
{
	const struct nlattr *attr = from;
	int left = (int)len;

	for (; mnl_attr_ok(attr, left); left -= MNL_ALIGN(attr->nla_len), attr = mnl_attr_next(attr))
		if (mnl_attr_get_type(attr) == type)
			return attr;
	return NULL;
}

static const struct nlattr *inside(const struct nlattr *nest, unsigned type)
{
	return find(mnl_attr_get_payload(nest), mnl_attr_get_payload_len(nest), type);
}

TEST(net_wireguard, message_of_an_unchanged_device)
{
	static struct world world;
	struct wg_cursor cursor = { .peer = 0 };
	char buffer[8192] __attribute__((aligned(8)));
	const struct nlattr *peers, *peer;
	const struct genlmsghdr *header;
	struct nlmsghdr *m;
	bool more;

	world_init(&world, 2);
	world.tunnel.peer_count = 1;
	world.state.listen_port = 51820;
	world.state.fwmark = 0x400000;
	world.peers[0].endpoint = (struct tg_endpoint){ .family = AF_INET6, .port = 7, .addr = { 0x20, 1 } };
	has_peer(&world, 1, world.allowed[0], 2);
	has_peer(&world, 99, world.allowed[1], 1);
	CU_ASSERT_EQUAL_FATAL(
		wg_genl_build(&world.change, "tg0", FAMILY, &cursor, buffer, sizeof(buffer), &m, &more), 0);
	CU_ASSERT_FALSE(more);
	CU_ASSERT_EQUAL(m->nlmsg_type, FAMILY);
	CU_ASSERT_EQUAL(m->nlmsg_flags, NLM_F_REQUEST | NLM_F_ACK);
	header = mnl_nlmsg_get_payload(m);
	CU_ASSERT_EQUAL(header->cmd, WG_CMD_SET_DEVICE);
	CU_ASSERT_EQUAL(header->version, WG_GENL_VERSION);
	CU_ASSERT_STRING_EQUAL(mnl_attr_get_str(find(header + 1, m->nlmsg_len - 20, WGDEVICE_A_IFNAME)),
			       "tg0");
	/* neither sockets nor peers anew */
	CU_ASSERT_PTR_NULL(find(header + 1, m->nlmsg_len - 20, WGDEVICE_A_LISTEN_PORT));
	CU_ASSERT_PTR_NULL(find(header + 1, m->nlmsg_len - 20, WGDEVICE_A_FWMARK));
	CU_ASSERT_PTR_NULL(find(header + 1, m->nlmsg_len - 20, WGDEVICE_A_FLAGS));
	peers = find(header + 1, m->nlmsg_len - 20, WGDEVICE_A_PEERS);
	if (!peers) {
		CU_FAIL("no peers in the message");
		return;
	}
	CU_ASSERT_TRUE(peers->nla_type & NLA_F_NESTED);
	/* the stranger goes first */
	peer = mnl_attr_get_payload(peers);
	CU_ASSERT_TRUE(peer->nla_type & NLA_F_NESTED);
	CU_ASSERT_EQUAL(*(const uint8_t *)mnl_attr_get_payload(inside(peer, WGPEER_A_PUBLIC_KEY)), 99);
	CU_ASSERT_EQUAL(mnl_attr_get_u32(inside(peer, WGPEER_A_FLAGS)),
			WGPEER_F_REMOVE_ME | WGPEER_F_UPDATE_ONLY);
	peer = mnl_attr_next(peer);
	CU_ASSERT_EQUAL(*(const uint8_t *)mnl_attr_get_payload(inside(peer, WGPEER_A_PUBLIC_KEY)), 1);
	CU_ASSERT_EQUAL(mnl_attr_get_u32(inside(peer, WGPEER_A_FLAGS)), 0);
	CU_ASSERT_EQUAL(mnl_attr_get_payload_len(inside(peer, WGPEER_A_ENDPOINT)),
			sizeof(struct sockaddr_in6));
	CU_ASSERT_EQUAL(mnl_attr_get_payload_len(inside(peer, WGPEER_A_PRESHARED_KEY)), TG_KEY_LEN);
	CU_ASSERT_EQUAL(mnl_attr_get_payload_len(inside(peer, WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL)), 2);
	CU_ASSERT_EQUAL(mnl_attr_get_payload_len(inside(peer, WGPEER_A_ALLOWEDIPS)), 0);
	wg_state_free(&world.state);
}

TEST(net_wireguard, allowed_ips_are_replaced_only_when_one_has_to_go)
{
	static struct world world;
	struct tg_cidr loose = { .family = AF_INET, .length = 24, .addr = { 10, 1, 1, 77 } };
	struct tg_cidr plain = { .family = AF_INET, .length = 24, .addr = { 10, 1, 1, 0 } };

	world_init(&world, 2);
	CU_ASSERT_EQUAL(wg_change_allowed(&world.change, &world.peers[0]), WG_ALLOWED_ADD);
	has_peer(&world, 1, world.allowed[0], 2);
	has_peer(&world, 2, world.allowed[1], 1);
	has_peer(&world, 3, world.allowed[2], 3);
	has_peer(&world, 4, &plain, 1);
	world.allowed[3][0] = loose;
	world.peers[3].allowed_ip_count = 1;
	CU_ASSERT_EQUAL(wg_change_allowed(&world.change, &world.peers[0]), WG_ALLOWED_SAME);
	CU_ASSERT_EQUAL(wg_change_allowed(&world.change, &world.peers[1]), WG_ALLOWED_ADD);
	CU_ASSERT_EQUAL(wg_change_allowed(&world.change, &world.peers[2]), WG_ALLOWED_REPLACE);
	/* host bits that the device does not store */
	CU_ASSERT_EQUAL(wg_change_allowed(&world.change, &world.peers[3]), WG_ALLOWED_SAME);
	wg_state_free(&world.state);
}

#define HEX(c) c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c

TEST(net_wireguard, uapi_text)
{
	static struct world world;
	size_t size;
	char *text;

	world_init(&world, 1);
	world.tunnel.peer_count = 2;
	world.peers[0].endpoint =
		(struct tg_endpoint){ .family = AF_INET, .port = 99, .addr = { 192, 0, 2, 1 } };
	world.peers[1].endpoint = (struct tg_endpoint){ .family = AF_INET6, .port = 98, .addr = { 0x20, 1 } };
	world.peers[1].keepalive_s = 25;
	memset(world.preshared[1], 0x9f, TG_KEY_LEN);
	has_peer(&world, 1, &world.allowed[1][0], 1);
	has_peer(&world, 0x63, NULL, 0);
	CU_ASSERT_EQUAL_FATAL(uapi_build(&world.change, &text, &size), 0);
	CU_ASSERT_STRING_EQUAL(
		text,
		"set=1\nprivate_key=" HEX(
			"ab") "\nlisten_port=51820\nfwmark=4194304\n"
			      "public_key=" HEX(
				      "63") "\nremove=true\n"
					    "public_key=" HEX("01") "\npreshared_key=" HEX(
						    "00") "\nendpoint=192.0.2.1:99\n"
							  "persistent_keepalive_interval=0\nreplace_allowed_"
							  "ips=true\nallowed_ip=10.9.0.0/32\n"
							  "public_key=" HEX("02") "\npreshared_key=" HEX(
								  "9f") "\nendpoint=[2001::]:98\n"
									"persistent_keepalive_interval="
									"25\nallowed_ip=10.9.1.44/32\n\n");
	CU_ASSERT_TRUE(strlen(text) < size);
	free(text);
	wg_state_free(&world.state);
}

TEST(net_wireguard, uapi_reply)
{
	static const char reply[] = "private_key=" HEX(
		"ab") "\nlisten_port=51820\nfwmark=4194304\nnew_thing=x\n"
		      "public_key=" HEX("0f") "\npreshared_key=" HEX(
			      "00") "\nprotocol_version=1\n"
				    "endpoint=192.0.2.1:1000\nlast_handshake_time_sec=1700000000\nlast_"
				    "handshake_time_nsec=5\n"
				    "tx_bytes=18446744073709551615\nrx_bytes=7\npersistent_keepalive_"
				    "interval=25\n"
				    "allowed_ip=10.0.0.0/8\nallowed_ip=fd00::/64\n"
				    "public_key=" HEX("a9") "\nendpoint=[fe80::1%eth0]:65535\nerrno=0\n\n";
	const struct wg_peer_state *peers;
	const struct tg_cidr *allowed;
	struct wg_state state;
	struct tg_error e;

	CU_ASSERT_EQUAL_FATAL(uapi_parse(reply, &state, &e), 0);
	CU_ASSERT_TRUE(state.has_private_key);
	CU_ASSERT_EQUAL(state.listen_port, 51820);
	CU_ASSERT_EQUAL(state.fwmark, 0x400000);
	CU_ASSERT_EQUAL_FATAL(state.peers.count, 2);
	peers = state.peers.data;
	CU_ASSERT_EQUAL(peers[0].status.public_key[31], 0x0f);
	CU_ASSERT_EQUAL(peers[0].status.tx_bytes, UINT64_MAX);
	CU_ASSERT_EQUAL(peers[0].status.rx_bytes, 7);
	CU_ASSERT_EQUAL(peers[0].status.last_handshake_s, 1700000000);
	CU_ASSERT_EQUAL(peers[0].status.endpoint.port, 1000);
	CU_ASSERT_EQUAL_FATAL(peers[0].allowed.count, 2);
	allowed = peers[0].allowed.data;
	CU_ASSERT_EQUAL(allowed[1].family, AF_INET6);
	CU_ASSERT_EQUAL(allowed[1].length, 64);
	CU_ASSERT_EQUAL(peers[1].status.endpoint.family, AF_INET6);
	CU_ASSERT_EQUAL(peers[1].status.endpoint.port, 65535);
	wg_state_free(&state);
}

TEST(net_wireguard, uapi_bad_replies)
{
	static const struct {
		const char *text, *message;
	} bad[] = {
		{ "\n", "wireguard-go's reply has no result" },
		{ "errno=1\n\n", "wireguard-go refused: Operation not permitted" },
		{ "errno=-98\n\n", "wireguard-go refused: Address already in use" },
		{ "errno=--1\n\n", "wireguard-go's reply has a bad \"errno\"" },
		{ "errno=-\n\n", "wireguard-go's reply has a bad \"errno\"" },
		{ "errno=0", "wireguard-go's reply is cut off or has an overlong line" },
		{ "errno=0\nlisten_port=1\n\n", "wireguard-go's reply has a bad \"listen_port\"" },
		{ "listen_port=65536\nerrno=0\n\n", "wireguard-go's reply has a bad \"listen_port\"" },
		{ "listen_port= 1\nerrno=0\n\n", "wireguard-go's reply has a bad \"listen_port\"" },
		{ "listen_port=1x\nerrno=0\n\n", "wireguard-go's reply has a bad \"listen_port\"" },
		{ "fwmark=\nerrno=0\n\n", "wireguard-go's reply has a bad \"fwmark\"" },
		{ "junk\nerrno=0\n\n", "wireguard-go's reply has a line without a key" },
		{ "=1\nerrno=0\n\n", "wireguard-go's reply has a line without a key" },
		{ "private_key=5ec4e7\nerrno=0\n\n", "wireguard-go's reply has a bad \"private_key\"" },
		{ "public_key=" HEX("0g") "\nerrno=0\n\n", "wireguard-go's reply has a bad \"public_key\"" },
		{ "public_key=" HEX("AB") "\nerrno=0\n\n", "wireguard-go's reply has a bad \"public_key\"" },
		{ "public_key=" HEX("01") "\nallowed_ip=10.0.0.0/33\nerrno=0\n\n",
		  "wireguard-go's reply has a bad \"allowed_ip\"" },
		{ "public_key=" HEX("01") "\nallowed_ip=10.0.0.0\nerrno=0\n\n",
		  "wireguard-go's reply has a bad \"allowed_ip\"" },
		{ "public_key=" HEX("01") "\nendpoint=10.0.0.1\nerrno=0\n\n",
		  "wireguard-go's reply has a bad \"endpoint\"" },
		{ "public_key=" HEX("01") "\nendpoint=[::1:5\nerrno=0\n\n",
		  "wireguard-go's reply has a bad \"endpoint\"" },
		{ "public_key=" HEX("01") "\nendpoint=[:5\nerrno=0\n\n",
		  "wireguard-go's reply has a bad \"endpoint\"" },
		{ "public_key=" HEX("01") "\nrx_bytes=18446744073709551616\nerrno=0\n\n",
		  "wireguard-go's reply has a bad \"rx_bytes\"" },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct wg_state state = { .fwmark = 0x1234 };
		struct tg_error e = { "" };

		CU_ASSERT_TRUE(uapi_parse(bad[i].text, &state, &e) < 0);
		CU_ASSERT_STRING_EQUAL(e.message, bad[i].message);
		CU_ASSERT_EQUAL(state.fwmark, 0x1234);
	}
}
