/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "tensorguard/key_sync.h"
#include "wire/fields.h"
#include "wire/keys.h"

static const struct wire_field tunnel_fields[] = {
	{ WIRE_FIELD("tunnel", WIRE_TEXT, struct tg_tunnel_keys, tunnel, TG_TUNNEL_NAME_LEN) },
	{ WIRE_FIELD("current", WIRE_FIXED, struct tg_tunnel_keys, current, TG_KEY_LEN) },
	{ WIRE_FIELD("next", WIRE_FIXED, struct tg_tunnel_keys, next, TG_KEY_LEN), .flagged = true,
	  .flag_offset = offsetof(struct tg_tunnel_keys, has_next) },
	{ 0 },
};

static const struct wire_field wanted_fields[] = {
	{ WIRE_FIELD("agent", WIRE_TEXT, struct tg_keys_wanted, agent, TG_ID_LEN) },
	{ WIRE_FIELD("tunnel", WIRE_TEXT, struct tg_keys_wanted, tunnel, TG_TUNNEL_NAME_LEN) },
	{ 0 },
};

const struct wire_field wire_keys_request[] = {
	{ WIRE_FIELD("tunnels", WIRE_OBJECTS, struct tg_keys_request, tunnels, sizeof(struct tg_tunnel_keys)),
	  .optional = true, .list_max = TG_MAX_TUNNELS,
	  .count_offset = offsetof(struct tg_keys_request, tunnel_count), .fields = tunnel_fields },
	{ WIRE_FIELD("peers", WIRE_OBJECTS, struct tg_keys_request, peers, sizeof(struct tg_keys_wanted)),
	  .optional = true, .list_max = TG_KEYS_PEERS_MAX,
	  .count_offset = offsetof(struct tg_keys_request, peer_count), .fields = wanted_fields },
	{ 0 },
};

static const struct wire_field peer_fields[] = {
	{ WIRE_FIELD("agent", WIRE_TEXT, struct tg_peer_keys, agent, TG_ID_LEN) },
	{ WIRE_FIELD("tunnel", WIRE_TEXT, struct tg_peer_keys, keys.tunnel, TG_TUNNEL_NAME_LEN) },
	{ WIRE_FIELD("current", WIRE_FIXED, struct tg_peer_keys, keys.current, TG_KEY_LEN) },
	{ WIRE_FIELD("next", WIRE_FIXED, struct tg_peer_keys, keys.next, TG_KEY_LEN), .flagged = true,
	  .flag_offset = offsetof(struct tg_peer_keys, keys.has_next) },
	{ 0 },
};

const struct wire_field wire_keys_answer[] = {
	{ WIRE_FIELD("refused", WIRE_TEXT, struct tg_keys_answer, refused, TG_KEYS_REFUSED_LEN),
	  .optional = true },
	{ WIRE_FIELD("peers", WIRE_OBJECTS, struct tg_keys_answer, peers, sizeof(struct tg_peer_keys)),
	  .optional = true, .list_max = TG_KEYS_PEERS_MAX,
	  .count_offset = offsetof(struct tg_keys_answer, peer_count), .fields = peer_fields },
	{ 0 },
};

bool tg_tunnel_keys_equal(const struct tg_tunnel_keys *a, const struct tg_tunnel_keys *b)
{
	return !strcmp(a->tunnel, b->tunnel) && !memcmp(a->current, b->current, TG_KEY_LEN) &&
	       a->has_next == b->has_next && (!a->has_next || !memcmp(a->next, b->next, TG_KEY_LEN));
}

static int check_keys(const struct tg_tunnel_keys *keys, const char *where, struct tg_error *e)
{
	static const uint8_t zero[TG_KEY_LEN];

	if (!memcmp(keys->current, zero, TG_KEY_LEN) ||
	    (keys->has_next && !memcmp(keys->next, zero, TG_KEY_LEN)))
		return tg_error(e, -EINVAL, "%s: a key of zeros", where);
	if (keys->has_next && !memcmp(keys->next, keys->current, TG_KEY_LEN))
		return tg_error(e, -EINVAL, "%s.next: the current key once more", where);
	return 0;
}

static bool share_a_key(const struct tg_tunnel_keys *a, const struct tg_tunnel_keys *b)
{
	return !memcmp(a->current, b->current, TG_KEY_LEN) ||
	       (a->has_next && !memcmp(a->next, b->current, TG_KEY_LEN)) ||
	       (b->has_next && !memcmp(a->current, b->next, TG_KEY_LEN)) ||
	       (a->has_next && b->has_next && !memcmp(a->next, b->next, TG_KEY_LEN));
}

static int check_tunnels(const struct tg_keys_request *request, struct tg_error *e)
{
	for (size_t i = 0; i < request->tunnel_count; i++) {
		int ret = check_keys(&request->tunnels[i], "keys.tunnels", e);

		if (ret)
			return ret;
		for (size_t k = 0; k < i; k++) {
			if (!strcmp(request->tunnels[i].tunnel, request->tunnels[k].tunnel))
				return tg_error(e, -EINVAL, "keys.tunnels: a tunnel twice");
			if (share_a_key(&request->tunnels[i], &request->tunnels[k]))
				return tg_error(e, -EINVAL, "keys.tunnels: a key in two tunnels");
		}
	}
	return 0;
}

int tg_keys_request_check(const struct tg_keys_request *request, struct tg_error *e)
{
	const struct tg_keys_wanted *peers = request->peers;

	for (size_t i = 0; i < request->peer_count; i++) {
		if (!tg_id_valid(peers[i].agent))
			return tg_error(e, -EINVAL, "keys.peers.agent: not a name of an agent");
		for (size_t k = 0; k < i; k++)
			if (!strcmp(peers[i].agent, peers[k].agent) &&
			    !strcmp(peers[i].tunnel, peers[k].tunnel))
				return tg_error(e, -EINVAL, "keys.peers: a peer twice");
	}
	return check_tunnels(request, e);
}

int tg_keys_answer_check(const struct tg_keys_answer *answer, struct tg_error *e)
{
	const struct tg_peer_keys *peers = answer->peers;

	for (size_t i = 0; i < answer->peer_count; i++) {
		int ret = check_keys(&peers[i].keys, "keys.peers", e);

		if (ret)
			return ret;
		if (!tg_id_valid(peers[i].agent))
			return tg_error(e, -EINVAL, "keys.peers.agent: not a name of an agent");
		for (size_t k = 0; k < i; k++) {
			if (!strcmp(peers[i].agent, peers[k].agent) &&
			    !strcmp(peers[i].keys.tunnel, peers[k].keys.tunnel))
				return tg_error(e, -EINVAL, "keys.peers: a peer twice");
			if (share_a_key(&peers[i].keys, &peers[k].keys))
				return tg_error(e, -EINVAL, "keys.peers: a key of two peers");
		}
	}
	return 0;
}
