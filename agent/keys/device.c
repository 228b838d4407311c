/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "keys/device.h"
#include "shared/mark.h"

const uint8_t *keys_candidate(const struct keys_peer *peer)
{
	if (!peer->has_known || !peer->has_active || !peer->known.has_next)
		return NULL;
	return memcmp(peer->active, peer->known.next, TG_KEY_LEN) ? peer->known.next : peer->known.current;
}

const struct wg_peer_status *device_peer(const struct wg_status *status, const uint8_t *key)
{
	for (size_t i = 0; i < status->peer_count; i++)
		if (!memcmp(status->peers[i].public_key, key, TG_KEY_LEN))
			return &status->peers[i];
	return NULL;
}

bool device_fits(const struct tg_tunnel *tunnel, const struct keys_state *state,
		 const struct wg_status *status, const uint8_t *own)
{
	size_t wanted = 0, agent = 0;

	if (memcmp(status->public_key, own, TG_KEY_LEN))
		return false;
	for (size_t i = 0; i < tunnel->peer_count; i++) {
		const struct tg_peer *conf = &tunnel->peers[i];
		const struct keys_peer *peer = conf->agent[0] ? &state->peers[agent++] : NULL;
		const uint8_t *candidate = peer ? keys_candidate(peer) : NULL;
		const struct wg_peer_status *on;

		if (peer && !peer->has_active)
			continue;
		on = device_peer(status, peer ? peer->active : conf->public_key);
		if (!on || on->allowed_count != conf->allowed_ip_count)
			return false;
		on = candidate ? device_peer(status, candidate) : NULL;
		if (candidate && (!on || on->allowed_count))
			return false;
		wanted += candidate ? 2 : 1;
	}
	return wanted == status->peer_count;
}

/* Where the peer is, for an entry that the device has not yet, or that takes over. */
static struct tg_endpoint endpoint_of(const struct tg_peer *conf, const struct keys_peer *peer,
				      const struct wg_status *status)
{
	static const struct tg_endpoint as_it_is;
	const struct wg_peer_status *on = device_peer(status, peer->active);
	const uint8_t *candidate = keys_candidate(peer);

	/* what it has learnt is newer than the policy; one that had no allowed IPs is made anew */
	if (on && on->endpoint.family)
		return on->allowed_count ? as_it_is : on->endpoint;
	on = candidate ? device_peer(status, candidate) : NULL;
	return on && on->endpoint.family ? on->endpoint : conf->endpoint;
}

struct wanted {
	struct tg_tunnel tunnel;
	size_t candidates;	/* the last ones of its peers */
};

static int gather(const struct tg_tunnel *conf, const struct keys_state *state,
		  const struct wg_status *status, struct wanted *ret_wanted, struct tg_error *e)
{
	struct tg_tunnel tunnel = *conf;
	size_t agent = 0, candidates = 0;

	tunnel.peers = calloc(2 * conf->peer_count + 1, sizeof(*tunnel.peers));
	if (!tunnel.peers)
		return tg_error(e, -ENOMEM, "out of memory");
	tunnel.peer_count = 0;
	/* active ones first: allowed IPs move to them before others lose theirs */
	for (size_t i = 0; i < conf->peer_count; i++) {
		const struct keys_peer *peer = conf->peers[i].agent[0] ? &state->peers[agent++] : NULL;
		struct tg_peer *to = &tunnel.peers[tunnel.peer_count];

		if (peer && !peer->has_active)
			continue;
		*to = conf->peers[i];
		if (peer) {
			memcpy(to->public_key, peer->active, TG_KEY_LEN);
			to->endpoint = endpoint_of(to, peer, status);
		}
		tunnel.peer_count++;
	}
	for (size_t i = 0; i < state->count; i++) {
		const uint8_t *candidate = keys_candidate(&state->peers[i]);

		if (!candidate)
			continue;
		memcpy(tunnel.peers[tunnel.peer_count++].public_key, candidate, TG_KEY_LEN);
		candidates++;
	}
	*ret_wanted = (struct wanted){ tunnel, candidates };
	return 0;
}

static int lock_out(struct wg_secrets *secrets, size_t candidates, struct tg_error *e)
{
	for (size_t i = secrets->count - candidates; i < secrets->count; i++)
		if (getrandom(secrets->preshared[i], TG_KEY_LEN, 0) != TG_KEY_LEN)
			return tg_error(e, -EIO, "no random bytes are to be had");
	return 0;
}

int device_configure(struct net *net, const struct tg_tunnel *tunnel, enum wg_backend backend,
		     const struct keys_state *state, const struct wg_status *status, enum keys_which which,
		     struct tg_error *e)
{
	struct wg_secrets secrets;
	struct wanted wanted;
	int ret = gather(tunnel, state, status, &wanted, e);

	if (ret)
		return ret;
	ret = wg_secrets_read(&wanted.tunnel, &secrets, e);
	if (!ret) {
		if (which == KEYS_NEXT)
			ret = keys_read(tunnel, KEYS_NEXT, secrets.private_key, e);
		if (!ret)
			ret = lock_out(&secrets, wanted.candidates, e);
		if (!ret)
			ret = wg_configure_with(net, &wanted.tunnel, &secrets, backend, TG_MARK_OUTER, e);
		wg_secrets_wipe(&secrets);
	}
	free(wanted.tunnel.peers);
	return ret;
}
