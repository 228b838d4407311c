/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "keys/tunnel.h"
#include "tensorguard/audit.h"

static uint64_t now_ms(void)
{
	return monotonic_ns() / 1000000u;
}

void tunnel_report(const struct tunnel *t, unsigned code, const char *agent, uint64_t a, uint64_t b)
{
	char subject[TG_TUNNEL_NAME_LEN + TG_AGENT_NAME_LEN + 1];

	snprintf(subject, sizeof(subject), "%s%s%s", t->conf->name, *agent ? " " : "", agent);
	t->keys->conf->event(t->keys->conf->ctx, code, subject, a, b);
}

/* Which one serves the device is asked again when the one that did does not answer. */
static int look(struct tunnel *t, struct wg_status *ret_status, struct tg_error *e)
{
	int ret;

	if (t->has_status && !wg_status_get(t->keys->net, t->conf->name, t->backend, ret_status, NULL))
		return 0;
	ret = wg_backend_of(t->keys->net, t->conf->name, &t->backend, e);
	return ret ? ret : wg_status_get(t->keys->net, t->conf->name, t->backend, ret_status, e);
}

int64_t tunnel_handshake_ns(const struct tunnel *t, const struct link *l)
{
	const struct wg_peer_status *on =
		l->peer->has_active ? device_peer(&t->status, l->peer->active) : NULL;

	return on ? on->last_handshake_s * 1000000000 + on->last_handshake_ns : 0;
}

static void notice(struct tunnel *t, uint64_t now)
{
	for (size_t i = 0; i < t->state.count; i++) {
		struct link *l = &t->links[i];

		if (!l->peer->has_active)
			l->presence.begun = false;
		else if (device_peer(&t->status, l->peer->active))
			presence_step(&l->presence, tunnel_handshake_ns(t, l), now);
	}
}

bool tunnel_look(struct tunnel *t)
{
	struct wg_status status;
	struct tg_error e;

	if (look(t, &status, &e)) {
		if (!t->said_absent)
			keys_say(t->keys, "tunnel %s: %s", t->conf->name, e.message);
		t->said_absent = true;
		t->has_status = false;
		return false;
	}
	free(t->status.peers);
	t->status = status;
	t->has_status = true;
	t->said_absent = false;
	notice(t, now_ms());
	return true;
}

/* ---- configuring ---- */

static enum keys_which in_use(const struct tunnel *t)
{
	return t->rotate.phase == ROTATE_SWITCHED ? KEYS_NEXT : KEYS_CURRENT;
}

static const uint8_t *own_key(const struct tunnel *t)
{
	return in_use(t) == KEYS_NEXT ? t->own.next : t->own.current;
}

/* With the lock, and with a look at the device. */
static int configure(struct tunnel *t)
{
	struct tg_error e;
	int ret = device_configure(t->keys->net, t->conf, t->backend, &t->state, &t->status, in_use(t), &e);

	if (!ret)
		ret = keys_state_save(t->conf, &t->state, &e);
	if (ret)
		keys_say(t->keys, "tunnel %s: %s", t->conf->name, e.message);
	return ret;
}

static int lock(struct tunnel *t, int *ret_fd)
{
	int fd = t->lock_fd >= 0 ? t->lock_fd : keys_lock(t->keys);

	*ret_fd = fd;
	return fd < 0 ? fd : 0;
}

static void unlock(struct tunnel *t, int fd)
{
	if (fd != t->lock_fd)
		keys_unlock(t->keys, fd);
}

/* What tg-load or anybody else has made of it, and what the Platform said meanwhile. */
static void make_fit(struct tunnel *t)
{
	int fd;

	if (!t->has_own || !tunnel_look(t) || device_fits(t->conf, &t->state, &t->status, own_key(t)) ||
	    lock(t, &fd))
		return;
	if (!configure(t))
		tunnel_look(t);
	unlock(t, fd);
}

/* ---- what the Platform says ---- */

static void forget(struct tunnel *t, struct link *l)
{
	if (!l->peer->has_known && !l->peer->has_active)
		return;
	keys_say(t->keys, "tunnel %s: agent %s has no key any more, or may not be a peer", t->conf->name,
		 l->conf->agent);
	l->peer->has_known = l->peer->has_active = false;
	watch_restart(&l->watch);
	tunnel_report(t, TG_AUDIT_TUNNEL_PEER_CHANGED, l->conf->agent, 0, 0);
}

static void learn_keys(struct tunnel *t, struct link *l, const struct tg_tunnel_keys *keys)
{
	struct keys_peer *p = l->peer;
	bool is_active = p->has_active && (!memcmp(p->active, keys->current, TG_KEY_LEN) ||
					   (keys->has_next && !memcmp(p->active, keys->next, TG_KEY_LEN)));

	p->known = *keys;
	p->has_known = true;
	watch_restart(&l->watch);
	if (is_active)
		return;
	/* it has changed over while this end did not see it, or is new */
	memcpy(p->active, keys->current, TG_KEY_LEN);
	p->has_active = true;
	tunnel_report(t, TG_AUDIT_TUNNEL_PEER_CHANGED, l->conf->agent, 1, 0);
}

static bool same_keys(const struct keys_peer *peer, const struct tg_tunnel_keys *keys)
{
	return peer->has_known && !memcmp(peer->known.current, keys->current, TG_KEY_LEN) &&
	       peer->known.has_next == keys->has_next &&
	       (!keys->has_next || !memcmp(peer->known.next, keys->next, TG_KEY_LEN));
}

/* WireGuard takes no peer with the device's own key: it would be the end of one of the two. */
static bool is_own(const struct tunnel *t, const uint8_t *key)
{
	return !memcmp(key, t->own.current, TG_KEY_LEN) ||
	       (t->own.has_next && !memcmp(key, t->own.next, TG_KEY_LEN));
}

static bool is_stored(const struct tunnel *t, const struct keys_book *book)
{
	for (size_t i = 0; i < book->stored_count; i++)
		if (tg_tunnel_keys_equal(&book->stored[i], &t->own))
			return true;
	return false;
}

void tunnel_learn(struct tunnel *t, const struct keys_book *book)
{
	bool changed = false;

	for (size_t i = 0; i < t->state.count; i++) {
		struct link *l = &t->links[i];
		const struct tg_tunnel_keys *keys = keys_book_find(book, l->conf->agent, t->conf->name);

		if (!keys || is_own(t, keys->current) || (keys->has_next && is_own(t, keys->next))) {
			forget(t, l);
			changed = true;
		} else if (!same_keys(l->peer, keys)) {
			learn_keys(t, l, keys);
			changed = true;
		}
	}
	t->published = t->has_own && is_stored(t, book);
	if (t->published && !t->said_published)
		tunnel_report(t, TG_AUDIT_TUNNEL_KEY_PUBLISHED, "", t->state.epoch + t->own.has_next, 0);
	t->said_published |= t->published;
	if (changed)
		make_fit(t);
}

/* ---- what peers say ---- */

static struct link *find_link(struct tunnel *t, const struct control_address *from)
{
	for (size_t i = 0; i < t->state.count; i++)
		if (control_address_equal(&t->links[i].address, from))
			return &t->links[i];
	return NULL;
}

/* A baseline from before the peer's handshake: it begins one when it has the answer. */
static bool observe(struct tunnel *t, struct link *l, uint64_t now)
{
	const uint8_t *candidate = keys_candidate(l->peer);
	const struct wg_peer_status *on = candidate ? device_peer(&t->status, candidate) : NULL;
	const struct wg_peer_status *active = device_peer(&t->status, l->peer->active);

	if (!on || !active)
		return false;
	return watch_step(&l->watch, on->rx_bytes, active->rx_bytes, now);
}

static bool knows(const struct tunnel *t, const struct link *l, const uint8_t *key)
{
	return l->peer->has_active && device_peer(&t->status, key) && l->peer->has_known &&
	       (!memcmp(l->peer->known.current, key, TG_KEY_LEN) ||
		(l->peer->known.has_next && !memcmp(l->peer->known.next, key, TG_KEY_LEN)));
}

static void answer(struct tunnel *t, struct link *l, const struct control_message *asked)
{
	struct control_message reply = *asked;
	uint64_t now = now_ms();

	make_fit(t);
	if (!t->has_status || !knows(t, l, asked->key) ||
	    !rotate_yield(&t->rotate, t->keys->policy->role == TG_ROLE_GATEWAY, (uint32_t)asked->number, now))
		return;
	/* one that was under way when it came over is no new one */
	if (memcmp(l->peer->active, asked->key, TG_KEY_LEN) || !watch_is_promised(&l->watch, now))
		watch_promise(&l->watch, asked->bound_ms, now);
	observe(t, l, now);
	reply.type = CONTROL_READY;
	control_send(&t->control, &l->address, &reply);
}

static void receive(void *ctx, const struct control_address *from, const struct control_message *message)
{
	struct tunnel *t = ctx;
	struct link *l = find_link(t, from);

	if (!l)
		return;
	if (message->type == CONTROL_ASK)
		answer(t, l, message);
	else if (message->type == CONTROL_READY && t->rotate.phase == ROTATE_ASK && t->own.has_next &&
		 message->number == t->number && !memcmp(message->key, t->own.next, TG_KEY_LEN))
		l->ready_ms = now_ms();
}

/* ---- a peer's change ---- */

static void swap(struct tunnel *t, struct link *l, uint64_t now)
{
	struct control_message hello = { .type = CONTROL_HELLO };
	uint8_t former[TG_KEY_LEN];
	int fd;

	if (lock(t, &fd))
		return;
	memcpy(former, l->peer->active, TG_KEY_LEN);
	memcpy(l->peer->active, keys_candidate(l->peer), TG_KEY_LEN);
	if (configure(t)) {
		memcpy(l->peer->active, former, TG_KEY_LEN);
	} else {
		/* this end begins the handshake, whether or not there is something to send */
		control_send(&t->control, &l->address, &hello);
		watch_swapped(&l->watch, now);
		/* what the device says of this key is of another handshake than what it said of the former */
		l->peer->before = tunnel_handshake_ns(t, l);
		tunnel_report(t, TG_AUDIT_TUNNEL_PEER_CHANGED, l->conf->agent, 1, 0);
	}
	unlock(t, fd);
}

static bool any_candidate(const struct tunnel *t)
{
	for (size_t i = 0; i < t->state.count; i++)
		if (keys_candidate(t->links[i].peer))
			return true;
	return false;
}

void tunnel_step(struct tunnel *t, uint64_t now)
{
	bool matters = t->own.has_next || any_candidate(t);

	if (!t->has_own || (matters && !tunnel_look(t)))
		return;
	for (size_t i = 0; matters && i < t->state.count; i++)
		if (observe(t, &t->links[i], now))
			swap(t, &t->links[i], now);
	change_step(t, now);
}

bool tunnel_is_hasty(const struct tunnel *t, uint64_t now)
{
	if (t->rotate.phase == ROTATE_SWITCHED || t->rotate.phase == ROTATE_ASK)
		return true;
	for (size_t i = 0; i < t->state.count; i++)
		if (watch_is_promised(&t->links[i].watch, now) && keys_candidate(t->links[i].peer))
			return true;
	return false;
}

/* ---- its life ---- */

static void open_sockets(struct tunnel *t)
{
	struct net_link device;
	struct tg_error e;

	if (net_link_get(t->keys->net, t->conf->name, &device, NULL) || !device.up) {
		control_close(&t->control);
		return;
	}
	if (t->control.ifindex == device.ifindex)
		return;
	if (control_open(&t->control, t->keys->base, t->conf, device.ifindex, &e))
		keys_say(t->keys, "%s", e.message);
}

void tunnel_tend(struct tunnel *t, uint64_t now)
{
	open_sockets(t);
	if (t->has_own)
		make_fit(t);
	change_resume(t, now);
}

static int make_links(struct tunnel *t, struct tg_error *e)
{
	size_t n = 0;

	t->links = calloc(t->state.count + 1, sizeof(*t->links));
	if (!t->links)
		return tg_error(e, -ENOMEM, "out of memory");
	for (size_t i = 0; i < t->conf->peer_count; i++) {
		const struct tg_peer *peer = &t->conf->peers[i];

		if (!peer->agent[0])
			continue;
		t->links[n] = (struct link){ .conf = peer,
					     .peer = &t->state.peers[n],
					     .address = control_address_of(t->conf, peer) };
		n++;
	}
	return 0;
}

int tunnel_begin(struct tunnel *t, struct keys *k, const struct tg_tunnel *conf, struct tg_error *e)
{
	int ret;

	*t = (struct tunnel){ .keys = k, .conf = conf, .lock_fd = -1 };
	control_init(&t->control);
	t->control.receive = receive;
	t->control.ctx = t;
	memcpy(t->own.tunnel, conf->name, sizeof(t->own.tunnel));
	ret = keys_state_load(conf, &t->state, e);
	t->made_ms = rotate_made_ms(t->state.made, time(NULL), now_ms());
	return ret ? ret : make_links(t, e);
}

void tunnel_inherit(struct tunnel *t, const struct tunnel *former)
{
	if (strcmp(t->conf->name, former->conf->name) || strcmp(t->conf->key_file, former->conf->key_file) ||
	    t->state.epoch != former->state.epoch)
		return;
	t->made_ms = former->made_ms;
	for (size_t i = 0; i < t->state.count; i++)
		for (size_t j = 0; j < former->state.count; j++)
			if (!strcmp(t->links[i].conf->agent, former->links[j].conf->agent))
				t->links[i].presence = former->links[j].presence;
}

void tunnel_end(struct tunnel *t)
{
	control_close(&t->control);
	if (t->lock_fd >= 0)
		keys_unlock(t->keys, t->lock_fd);
	free(t->links);
	free(t->status.peers);
	keys_state_free(&t->state);
}
