/* SPDX-License-Identifier: BSD-3-Clause */
/* The change of this end's own key. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/draw.h"
#include "keys/tunnel.h"
#include "tensorguard/audit.h"

/* Unpaced classes say nothing of how much they send; robots' control loops run at up to this rate. */
enum { UNPACED_CELLS = 1000 };

static void fail(struct tunnel *t, int error, const char *why)
{
	snprintf(t->failure, sizeof(t->failure), "%s", why);
	keys_say(t->keys, "tunnel %s: the key was not changed: %s", t->conf->name, why);
	tunnel_report(t, TG_AUDIT_TUNNEL_ROTATION_FAILED, "", (uint64_t)-error, 0);
}

/* ---- what it looks like ---- */

static bool is_live(const struct link *l, uint64_t now)
{
	return l->peer->has_active && presence_is_there(&l->presence, now);
}

static bool is_ready(const struct link *l, uint64_t now)
{
	return l->ready_ms && now - l->ready_ms < ROTATE_FRESH_MS;
}

static uint64_t cells_per_s(const struct tg_tunnel *tunnel)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < tunnel->class_count; i++) {
		const struct tg_policy_class *class = &tunnel->classes[i];

		if (class->period_ns)
			sum += 1000000000u / class->period_ns;
		else
			sum += class->rate ? class->rate : UNPACED_CELLS;
	}
	return sum;
}

static struct rotate_view view_of(const struct tunnel *t, uint64_t now)
{
	struct rotate_view view = { .has_next = t->own.has_next,
				    .published = t->published,
				    .bound_ms = rotate_bound_ms(cells_per_s(t->conf)),
				    .draw = (uint32_t)draw_number() };

	view.due = t->published && rotate_is_due(t->made_ms, t->conf->rotation_ns, now);
	for (size_t i = 0; i < t->state.count; i++) {
		const struct link *l = &t->links[i];

		view.promised |= watch_is_promised(&l->watch, now);
		if (t->rotate.phase == ROTATE_SWITCHED) {
			view.live += l->peer->awaited;
			view.moved += l->peer->awaited &&
				      presence_moved(l->peer->before, tunnel_handshake_ns(t, l));
		} else if (is_live(l, now)) {
			view.live++;
			view.ready += is_ready(l, now);
		}
	}
	return view;
}

/* ---- what is done ---- */

static void make(struct tunnel *t)
{
	struct tg_error e;
	int ret = keys_make(t->conf, KEYS_NEXT, &e);

	if (!ret)
		ret = keys_read_public(t->conf, KEYS_NEXT, t->own.next, &e);
	if (ret) {
		fail(t, ret, e.message);
		rotate_failed(&t->rotate, (uint32_t)draw_number(), t->keys->looked_ms);
		return;
	}
	t->own.has_next = true;
	t->published = t->said_published = false;
	tunnel_report(t, TG_AUDIT_TUNNEL_KEY_MADE, "", t->state.epoch + 1, 0);
}

static void ask(struct tunnel *t, uint64_t now)
{
	struct control_message message = { .type = CONTROL_ASK,
					   .bound_ms = (uint16_t)rotate_bound_ms(cells_per_s(t->conf)) };

	if (t->rotate.since_ms == now) {
		t->number = draw_number();
		for (size_t i = 0; i < t->state.count; i++)
			t->links[i].ready_ms = 0;
	}
	message.number = t->number;
	memcpy(message.key, t->own.next, TG_KEY_LEN);
	for (size_t i = 0; i < t->state.count; i++)
		if (!is_ready(&t->links[i], now))
			control_send(&t->control, &t->links[i].address, &message);
}

static void greet(const struct tunnel *t)
{
	const struct control_message hello = { .type = CONTROL_HELLO };

	for (size_t i = 0; i < t->state.count; i++)
		if (t->links[i].peer->awaited)
			control_send(&t->control, &t->links[i].address, &hello);
}

/*
 * Who is awaited, and the last handshake of each by the look at the device that this step began with: another
 * one is of the next key. A look more would take its time from the peers'.
 */
static void await_live(struct tunnel *t, uint64_t now)
{
	for (size_t i = 0; i < t->state.count; i++) {
		struct link *l = &t->links[i];

		l->peer->awaited = is_live(l, now);
		l->peer->before = tunnel_handshake_ns(t, l);
	}
}

/* The key first, the mark of it before: whoever comes after a crash finds out by the device which one it has.
 */
static void switch_over(struct tunnel *t, uint64_t now)
{
	struct tg_error e;
	int ret;

	t->lock_fd = keys_lock(t->keys);
	if (t->lock_fd < 0) {
		rotate_yield(&t->rotate, true, (uint32_t)draw_number(), now);
		return;
	}
	await_live(t, now);
	ret = keys_mark(t->conf, &t->state, &e);
	if (!ret)
		ret = device_configure(t->keys->net, t->conf, t->backend, &t->state, &t->status, KEYS_NEXT,
				       &e);
	if (!ret) {
		greet(t);
		t->switched_ms = now;
		rotate_switched(&t->rotate, now);
		return;
	}
	fail(t, ret, e.message);
	rotate_failed(&t->rotate, (uint32_t)draw_number(), now);
	/* whatever it has taken of it: tunnel_tend() makes it right */
	keys_unmark(t->conf, NULL);
	keys_unlock(t->keys, t->lock_fd);
	t->lock_fd = -1;
}

static void count_epoch(struct tunnel *t, uint64_t now)
{
	struct tg_error e;

	t->state.epoch++;
	t->state.made = time(NULL);
	t->made_ms = (int64_t)now;
	if (keys_state_save(t->conf, &t->state, &e))
		keys_say(t->keys, "tunnel %s: %s", t->conf->name, e.message);
}

static void release(struct tunnel *t)
{
	struct tg_error e;

	if (keys_unmark(t->conf, &e))
		keys_say(t->keys, "tunnel %s: %s", t->conf->name, e.message);
	if (t->lock_fd >= 0)
		keys_unlock(t->keys, t->lock_fd);
	t->lock_fd = -1;
}

static void go_back(struct tunnel *t, int error, const char *why)
{
	struct tg_error e;
	int ret =
		device_configure(t->keys->net, t->conf, t->backend, &t->state, &t->status, KEYS_CURRENT, &e);

	if (ret)
		keys_say(t->keys, "tunnel %s: %s", t->conf->name, e.message);
	greet(t);
	release(t);
	fail(t, error, why);
}

static void commit(struct tunnel *t, uint64_t now)
{
	uint64_t waited = now - t->switched_ms;
	struct tg_error e;

	if (keys_promote(t->conf, &e)) {
		keys_say(t->keys, "tunnel %s: %s", t->conf->name, e.message);
		/* a key that would be gone with the next start is none; what of the old one could not be
		 * wiped is said, and not undone */
		if (!keys_read_public(t->conf, KEYS_NEXT, t->own.next, NULL)) {
			rotate_failed(&t->rotate, (uint32_t)draw_number(), now);
			go_back(t, -EIO, e.message);
			return;
		}
	}
	memcpy(t->own.current, t->own.next, TG_KEY_LEN);
	t->own.has_next = false;
	t->published = t->said_published = false;
	t->failure[0] = '\0';
	count_epoch(t, now);
	release(t);
	keys_say(t->keys, "tunnel %s: key number %llu is in use; packets waited for %llu ms", t->conf->name,
		 (unsigned long long)t->state.epoch, (unsigned long long)waited);
	tunnel_report(t, TG_AUDIT_TUNNEL_ROTATED, "", t->state.epoch, waited);
}

void change_step(struct tunnel *t, uint64_t now)
{
	struct rotate_view view = view_of(t, now);

	switch (rotate_step(&t->rotate, &view, now)) {
	case ROTATE_DO_MAKE:
		make(t);
		break;
	case ROTATE_DO_ASK:
		ask(t, now);
		break;
	case ROTATE_DO_SWITCH:
		switch_over(t, now);
		break;
	case ROTATE_DO_COMMIT:
		commit(t, now);
		break;
	case ROTATE_DO_BACK:
		go_back(t, -ETIMEDOUT, "a peer did not come over in time, and the old key is back");
		break;
	case ROTATE_DO_SAY:
		fail(t, -ETIMEDOUT, "a peer that has a session does not answer");
		break;
	case ROTATE_NOTHING:
		break;
	}
}

/* ---- after a start ---- */

/* The next key may be in the device, and the process that put it there is gone. */
static void go_on(struct tunnel *t, uint64_t now)
{
	if (memcmp(t->status.public_key, t->own.next, TG_KEY_LEN)) {
		release(t);
		return;
	}
	t->lock_fd = keys_lock(t->keys);
	if (t->lock_fd < 0)
		return;
	/* where it does not say, a handshake from now on: if in doubt it goes back */
	if (keys_mark_load(t->conf, &t->state, NULL))
		await_live(t, now);
	t->switched_ms = now;
	rotate_switched(&t->rotate, now);
	greet(t);
}

static bool read_own(struct tunnel *t)
{
	struct tg_error e;

	if (keys_read_public(t->conf, KEYS_CURRENT, t->own.current, &e)) {
		if (!t->failure[0])
			keys_say(t->keys, "tunnel %s: %s", t->conf->name, e.message);
		snprintf(t->failure, sizeof(t->failure), "%s", e.message);
		return false;
	}
	t->failure[0] = '\0';
	t->own.has_next = !keys_read_public(t->conf, KEYS_NEXT, t->own.next, NULL);
	return true;
}

void change_resume(struct tunnel *t, uint64_t now)
{
	struct tg_error e;

	if (t->has_own)
		return;
	if (keys_ensure(t->conf, &e)) {
		if (strcmp(t->failure, e.message))
			keys_say(t->keys, "tunnel %s: %s", t->conf->name, e.message);
		snprintf(t->failure, sizeof(t->failure), "%s", e.message);
		return;
	}
	if (!read_own(t))
		return;
	if (!t->state.epoch) {
		count_epoch(t, now);
		tunnel_report(t, TG_AUDIT_TUNNEL_KEY_MADE, "", t->state.epoch, 0);
	}
	if (!keys_is_marked(t->conf)) {
		t->has_own = true;
		return;
	}
	/* without its device nothing is known of it */
	if (!tunnel_look(t))
		return;
	if (t->own.has_next) {
		go_on(t, now);
		t->has_own = t->rotate.phase == ROTATE_SWITCHED || !keys_is_marked(t->conf);
		return;
	}
	count_epoch(t, now);
	release(t);
	tunnel_report(t, TG_AUDIT_TUNNEL_ROTATED, "", t->state.epoch, 0);
	t->has_own = true;
}
