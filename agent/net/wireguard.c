/* SPDX-License-Identifier: BSD-3-Clause */
/* Kernel WireGuard's generic netlink interface (linux/wireguard.h). */
#include <errno.h>
#include <linux/genetlink.h>
#include <linux/time_types.h>
#include <linux/wireguard.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "net/wg.h"

/*
 * Upper bounds of what one peer without its allowed IPs, one allowed IP and one
 * peer to remove take, with all attribute headers and padding:
 *
 *	peer		nest 4, key 36, flags 8, preshared 36, endpoint 32, keepalive 8, nest 4
 *	allowed IP	nest 4, family 8, address 20, length 8
 *	removal		nest 4, key 36, flags 8
 */
enum { PEER_SIZE = 128, ALLOWED_SIZE = 40, REMOVAL_SIZE = 48, MESSAGE_SIZE = 8192 };

/* ---- writing ---- */

static size_t room(const struct nlmsghdr *message, size_t size)
{
	size_t used = MNL_ALIGN(message->nlmsg_len);

	return used < size ? size - used : 0;
}

static void put_device(struct nlmsghdr *message, const struct wg_change *change)
{
	mnl_attr_put(message, WGDEVICE_A_PRIVATE_KEY, WG_KEY_LEN, change->secrets->private_key);
	if (wg_change_port(change))
		mnl_attr_put_u16(message, WGDEVICE_A_LISTEN_PORT, change->tunnel->listen_port);
	if (change->state->fwmark != change->fwmark)
		mnl_attr_put_u32(message, WGDEVICE_A_FWMARK, change->fwmark);
}

static void put_removal(struct nlmsghdr *message, const uint8_t *public_key)
{
	struct nlattr *nest = mnl_attr_nest_start(message, 0);

	mnl_attr_put(message, WGPEER_A_PUBLIC_KEY, WG_KEY_LEN, public_key);
	/* with UPDATE_ONLY a peer that has gone meanwhile is not made to be removed */
	mnl_attr_put_u32(message, WGPEER_A_FLAGS, WGPEER_F_REMOVE_ME | WGPEER_F_UPDATE_ONLY);
	mnl_attr_nest_end(message, nest);
}

static void put_endpoint(struct nlmsghdr *message, const struct tg_endpoint *endpoint)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(endpoint->port) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(endpoint->port) };

	if (endpoint->family == AF_INET) {
		memcpy(&v4.sin_addr, endpoint->addr, sizeof(v4.sin_addr));
		mnl_attr_put(message, WGPEER_A_ENDPOINT, sizeof(v4), &v4);
	} else if (endpoint->family == AF_INET6) {
		memcpy(&v6.sin6_addr, endpoint->addr, sizeof(v6.sin6_addr));
		mnl_attr_put(message, WGPEER_A_ENDPOINT, sizeof(v6), &v6);
	}
}

static void put_allowed(struct nlmsghdr *message, const struct tg_cidr *cidr)
{
	struct nlattr *nest = mnl_attr_nest_start(message, 0);

	mnl_attr_put_u16(message, WGALLOWEDIP_A_FAMILY, (uint16_t)cidr->family);
	mnl_attr_put(message, WGALLOWEDIP_A_IPADDR, net_family_bytes(cidr->family), cidr->addr);
	mnl_attr_put_u8(message, WGALLOWEDIP_A_CIDR_MASK, cidr->length);
	mnl_attr_nest_end(message, nest);
}

/* A peer, or the rest of one, as far as the message goes. Returns whether it is complete. */
static bool put_peer(struct nlmsghdr *message, size_t size, const struct wg_change *change,
		     struct wg_cursor *cursor)
{
	const struct tg_peer *peer = &change->tunnel->peers[cursor->peer];
	/* judged by the state before the change: the same for every message */
	enum wg_allowed allowed = wg_change_allowed(change, peer);
	size_t count = allowed == WG_ALLOWED_SAME ? 0 : peer->allowed_ip_count;
	struct nlattr *nest = mnl_attr_nest_start(message, 0), *list;

	mnl_attr_put(message, WGPEER_A_PUBLIC_KEY, WG_KEY_LEN, peer->public_key);
	if (!cursor->begun) {
		mnl_attr_put_u32(message, WGPEER_A_FLAGS,
				 allowed == WG_ALLOWED_REPLACE ? WGPEER_F_REPLACE_ALLOWEDIPS : 0);
		mnl_attr_put(message, WGPEER_A_PRESHARED_KEY, WG_KEY_LEN,
			     change->secrets->preshared[cursor->peer]);
		put_endpoint(message, &peer->endpoint);
		mnl_attr_put_u16(message, WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL,
				 (uint16_t)peer->keepalive_s);
		cursor->begun = true;
	}
	list = mnl_attr_nest_start(message, WGPEER_A_ALLOWEDIPS);
	for (; cursor->allowed < count && room(message, size) >= ALLOWED_SIZE; cursor->allowed++)
		put_allowed(message, &peer->allowed_ips[cursor->allowed]);
	mnl_attr_nest_end(message, list);
	mnl_attr_nest_end(message, nest);
	return cursor->allowed >= count;
}

/* Peers to remove come first: they may hold allowed IPs that others are to get. */
static bool put_peers(struct nlmsghdr *message, size_t size, const struct wg_change *change,
		      struct wg_cursor *cursor)
{
	const struct wg_peer_state *old = change->state->peers.data;

	for (; cursor->removed < change->state->peers.count; cursor->removed++) {
		const uint8_t *key = old[cursor->removed].status.public_key;

		if (wg_change_keeps(change, key))
			continue;
		if (room(message, size) < REMOVAL_SIZE)
			return false;
		put_removal(message, key);
	}
	while (cursor->peer < change->tunnel->peer_count) {
		if (room(message, size) < PEER_SIZE + ALLOWED_SIZE ||
		    !put_peer(message, size, change, cursor))
			return false;
		cursor->peer++;
		cursor->allowed = 0;
		cursor->begun = false;
	}
	return true;
}

static struct nlmsghdr *start_message(void *buffer, uint16_t family, uint8_t command, uint16_t flags,
				      const char *name)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	struct genlmsghdr *header;

	message->nlmsg_type = family;
	message->nlmsg_flags = NLM_F_REQUEST | flags;
	header = mnl_nlmsg_put_extra_header(message, sizeof(*header));
	header->cmd = command;
	header->version = WG_GENL_VERSION;
	mnl_attr_put_strz(message, WGDEVICE_A_IFNAME, name);
	return message;
}

int wg_genl_build(const struct wg_change *change, const char *name, uint16_t family, struct wg_cursor *cursor,
		  void *buffer, size_t size, struct nlmsghdr **ret_message, bool *ret_more)
{
	struct wg_cursor before = *cursor;
	struct nlmsghdr *message;
	struct nlattr *nest;
	bool complete;

	if (size < 128 + PEER_SIZE + ALLOWED_SIZE)
		return -EMSGSIZE;
	message = start_message(buffer, family, WG_CMD_SET_DEVICE, NLM_F_ACK, name);
	if (!cursor->device)
		put_device(message, change);
	cursor->device = true;
	nest = mnl_attr_nest_start(message, WGDEVICE_A_PEERS);
	complete = put_peers(message, size, change, cursor);
	mnl_attr_nest_end(message, nest);
	if (!complete && !memcmp(&before, cursor, sizeof(before)))
		return -EMSGSIZE;
	*ret_message = message;
	*ret_more = !complete;
	return 0;
}

/* ---- reading ---- */

static bool holds(const struct nlattr *attr, size_t size)
{
	return attr && mnl_attr_get_payload_len(attr) >= size;
}

static void read_endpoint(const struct nlattr *attr, struct tg_endpoint *endpoint)
{
	struct sockaddr_in6 v6;
	struct sockaddr_in v4;
	sa_family_t family;

	if (!holds(attr, sizeof(family)))
		return;
	memcpy(&family, mnl_attr_get_payload(attr), sizeof(family));
	if (family == AF_INET && holds(attr, sizeof(v4))) {
		memcpy(&v4, mnl_attr_get_payload(attr), sizeof(v4));
		*endpoint = (struct tg_endpoint){ .family = AF_INET, .port = ntohs(v4.sin_port) };
		memcpy(endpoint->addr, &v4.sin_addr, sizeof(v4.sin_addr));
	} else if (family == AF_INET6 && holds(attr, sizeof(v6))) {
		memcpy(&v6, mnl_attr_get_payload(attr), sizeof(v6));
		*endpoint = (struct tg_endpoint){ .family = AF_INET6, .port = ntohs(v6.sin6_port) };
		memcpy(endpoint->addr, &v6.sin6_addr, sizeof(v6.sin6_addr));
	}
}

static int take_allowed(const struct nlattr *attr, void *data)
{
	const struct nlattr *table[WGALLOWEDIP_A_MAX + 1] = { NULL };
	struct net_attrs attrs = { table, WGALLOWEDIP_A_MAX };
	struct wg_peer_state *peer = data;
	struct tg_cidr *cidr;
	int family;

	if (mnl_attr_parse_nested(attr, net_gather, &attrs) < 0 || !holds(table[WGALLOWEDIP_A_FAMILY], 2) ||
	    !holds(table[WGALLOWEDIP_A_CIDR_MASK], 1))
		return -EBADMSG;
	family = mnl_attr_get_u16(table[WGALLOWEDIP_A_FAMILY]);
	if ((family != AF_INET && family != AF_INET6) ||
	    !holds(table[WGALLOWEDIP_A_IPADDR], net_family_bytes(family)))
		return -EBADMSG;
	cidr = net_array_add(&peer->allowed, sizeof(*cidr));
	if (!cidr)
		return -ENOMEM;
	cidr->family = family;
	cidr->length = mnl_attr_get_u8(table[WGALLOWEDIP_A_CIDR_MASK]);
	memcpy(cidr->addr, mnl_attr_get_payload(table[WGALLOWEDIP_A_IPADDR]), net_family_bytes(family));
	return 0;
}

static void read_handshake(const struct nlattr *attr, struct wg_peer_status *status)
{
	struct __kernel_timespec time;

	if (!holds(attr, sizeof(time)))
		return;
	memcpy(&time, mnl_attr_get_payload(attr), sizeof(time));
	status->last_handshake_s = time.tv_sec;
	status->last_handshake_ns = (uint32_t)time.tv_nsec;
}

static int take_peer(const struct nlattr *attr, struct wg_state *state)
{
	const struct nlattr *table[WGPEER_A_MAX + 1] = { NULL }, *allowed;
	struct net_attrs attrs = { table, WGPEER_A_MAX };
	struct wg_peer_state *peers = state->peers.data, *peer;
	const uint8_t *key;
	int err;

	if (mnl_attr_parse_nested(attr, net_gather, &attrs) < 0 ||
	    !holds(table[WGPEER_A_PUBLIC_KEY], WG_KEY_LEN))
		return -EBADMSG;
	key = mnl_attr_get_payload(table[WGPEER_A_PUBLIC_KEY]);
	/* the last peer again: more of its allowed IPs */
	peer = state->peers.count ? &peers[state->peers.count - 1] : NULL;
	if (!peer || memcmp(peer->status.public_key, key, WG_KEY_LEN)) {
		peer = net_array_add(&state->peers, sizeof(*peer));
		if (!peer)
			return -ENOMEM;
		memcpy(peer->status.public_key, key, WG_KEY_LEN);
		read_endpoint(table[WGPEER_A_ENDPOINT], &peer->status.endpoint);
		if (holds(table[WGPEER_A_RX_BYTES], 8))
			peer->status.rx_bytes = mnl_attr_get_u64(table[WGPEER_A_RX_BYTES]);
		if (holds(table[WGPEER_A_TX_BYTES], 8))
			peer->status.tx_bytes = mnl_attr_get_u64(table[WGPEER_A_TX_BYTES]);
		read_handshake(table[WGPEER_A_LAST_HANDSHAKE_TIME], &peer->status);
	}
	if (!table[WGPEER_A_ALLOWEDIPS])
		return 0;
	mnl_attr_for_each_nested(allowed, table[WGPEER_A_ALLOWEDIPS])
	{
		err = take_allowed(allowed, peer);
		if (err)
			return err;
	}
	return 0;
}

int wg_genl_take(const struct nlmsghdr *reply, void *data)
{
	static const uint8_t no_key[WG_KEY_LEN];
	const struct nlattr *table[WGDEVICE_A_MAX + 1] = { NULL }, *peer;
	struct net_attrs attrs = { table, WGDEVICE_A_MAX };
	struct wg_state *state = data;
	int err;

	if (mnl_nlmsg_get_payload_len(reply) < GENL_HDRLEN ||
	    mnl_attr_parse(reply, GENL_HDRLEN, net_gather, &attrs) < 0)
		return -EBADMSG;
	if (holds(table[WGDEVICE_A_PRIVATE_KEY], WG_KEY_LEN))
		state->has_private_key =
			memcmp(mnl_attr_get_payload(table[WGDEVICE_A_PRIVATE_KEY]), no_key, WG_KEY_LEN);
	if (holds(table[WGDEVICE_A_PUBLIC_KEY], WG_KEY_LEN))
		memcpy(state->public_key, mnl_attr_get_payload(table[WGDEVICE_A_PUBLIC_KEY]), WG_KEY_LEN);
	if (holds(table[WGDEVICE_A_LISTEN_PORT], 2))
		state->listen_port = mnl_attr_get_u16(table[WGDEVICE_A_LISTEN_PORT]);
	state->fwmark = net_attr_u32(table[WGDEVICE_A_FWMARK], state->fwmark);
	if (!table[WGDEVICE_A_PEERS])
		return 0;
	mnl_attr_for_each_nested(peer, table[WGDEVICE_A_PEERS])
	{
		err = take_peer(peer, state);
		if (err)
			return err;
	}
	return 0;
}

/* ---- talking ---- */

static int take_family(const struct nlmsghdr *reply, void *data)
{
	const struct nlattr *table[CTRL_ATTR_MAX + 1] = { NULL };
	struct net_attrs attrs = { table, CTRL_ATTR_MAX };
	uint16_t *family = data;

	if (mnl_nlmsg_get_payload_len(reply) < GENL_HDRLEN ||
	    mnl_attr_parse(reply, GENL_HDRLEN, net_gather, &attrs) < 0 ||
	    !holds(table[CTRL_ATTR_FAMILY_ID], 2))
		return -EBADMSG;
	*family = mnl_attr_get_u16(table[CTRL_ATTR_FAMILY_ID]);
	return 0;
}

/* Opens the generic netlink socket and asks for WireGuard's number, both once. */
static int find_family(struct net *net, struct tg_error *e)
{
	struct nlmsghdr *message;
	struct genlmsghdr *header;
	int err = 0;

	if (!net->generic)
		err = net_socket_open(NETLINK_GENERIC, &net->generic, e);
	if (err || net->wg_family)
		return err;
	message = net_message(net, GENL_ID_CTRL, 0);
	header = mnl_nlmsg_put_extra_header(message, sizeof(*header));
	header->cmd = CTRL_CMD_GETFAMILY;
	header->version = 1;
	mnl_attr_put_strz(message, CTRL_ATTR_FAMILY_NAME, WG_GENL_NAME);
	err = net_request(net, net->generic, message, take_family, &net->wg_family, e);
	return err ? tg_error_prefix(e, err, "the kernel has no WireGuard") : 0;
}

static void restart_state(void *data)
{
	wg_state_free(data);
}

int wg_genl_get(struct net *net, const char *name, struct wg_state *ret_state, struct tg_error *e)
{
	struct wg_state state = { .fwmark = 0 };
	struct nlmsghdr *message;
	int err = find_family(net, e);

	if (err)
		return err;
	message = start_message(net->out, net->wg_family, WG_CMD_GET_DEVICE, NLM_F_DUMP, name);
	err = net_dump(net, net->generic, message, wg_genl_take, restart_state, &state, e);
	/* the kernel tells root the private key */
	explicit_bzero(net->in, sizeof(net->in));
	if (err) {
		wg_state_free(&state);
		return tg_error_prefix(e, err, "link %s: cannot read WireGuard's state", name);
	}
	*ret_state = state;
	return 0;
}

int wg_genl_set(struct net *net, const char *name, const struct wg_change *change, struct tg_error *e)
{
	char buffer[MESSAGE_SIZE] __attribute__((aligned(8)));
	struct wg_cursor cursor = { .peer = 0 };
	struct nlmsghdr *message;
	bool more = true;
	int err = find_family(net, e);

	while (!err && more) {
		err = wg_genl_build(change, name, net->wg_family, &cursor, buffer, sizeof(buffer), &message,
				    &more);
		if (err)
			tg_error(e, err, "%s", strerror(-err));
		else
			err = net_request(net, net->generic, message, NULL, NULL, e);
	}
	explicit_bzero(buffer, sizeof(buffer));
	/* a kernel that echoes the refused request would have put the key here */
	explicit_bzero(net->in, sizeof(net->in));
	return err;
}
