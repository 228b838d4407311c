/* SPDX-License-Identifier: BSD-3-Clause */
#include "keys/rotate.h"

const char *rotate_phase_name(enum rotate_phase phase)
{
	static const char *const names[] = { "rest", "publish", "ask", "switched", "wait" };

	return names[phase];
}

static void enter(struct rotate *r, enum rotate_phase phase, uint64_t now)
{
	r->phase = phase;
	r->since_ms = now;
}

/* Up to half as long again, so that two ends that hinder one another do not meet again. */
static void wait_for(struct rotate *r, uint64_t ms, uint32_t draw, uint64_t now)
{
	enter(r, ROTATE_WAIT, now);
	r->until_ms = now + ms + ms * (draw % 1024) / 2048;
}

void rotate_failed(struct rotate *r, uint32_t draw, uint64_t now)
{
	uint64_t ms = ROTATE_WAIT_MS;

	for (unsigned i = 0; i < r->failures && ms < ROTATE_WAIT_MAX_MS; i++)
		ms *= 2;
	r->failures++;
	wait_for(r, ms < ROTATE_WAIT_MAX_MS ? ms : ROTATE_WAIT_MAX_MS, draw, now);
}

void rotate_switched(struct rotate *r, uint64_t now)
{
	enter(r, ROTATE_SWITCHED, now);
}

bool rotate_yield(struct rotate *r, bool gateway, uint32_t draw, uint64_t now)
{
	if (r->phase == ROTATE_SWITCHED || (r->phase == ROTATE_ASK && !gateway))
		return false;
	if (r->phase == ROTATE_ASK)
		wait_for(r, ROTATE_YIELD_MS, draw, now);
	return true;
}

static enum rotate_action ask(struct rotate *r, const struct rotate_view *view, uint64_t now)
{
	if (view->promised) {
		wait_for(r, ROTATE_YIELD_MS, view->draw, now);
		return ROTATE_NOTHING;
	}
	if (view->ready == view->live)
		return ROTATE_DO_SWITCH;
	if (now - r->since_ms >= ROTATE_ASK_MS) {
		rotate_failed(r, view->draw, now);
		return r->failures % ROTATE_SAY_AFTER ? ROTATE_NOTHING : ROTATE_DO_SAY;
	}
	if (r->asked_ms && now - r->asked_ms < ROTATE_AGAIN_MS)
		return ROTATE_NOTHING;
	r->asked_ms = now;
	return ROTATE_DO_ASK;
}

static enum rotate_action look_at_switched(struct rotate *r, const struct rotate_view *view, uint64_t now)
{
	if (view->moved >= view->live) {
		r->failures = 0;
		enter(r, ROTATE_REST, now);
		return ROTATE_DO_COMMIT;
	}
	if (now - r->since_ms < view->bound_ms)
		return ROTATE_NOTHING;
	rotate_failed(r, view->draw, now);
	return ROTATE_DO_BACK;
}

enum rotate_action rotate_step(struct rotate *r, const struct rotate_view *view, uint64_t now)
{
	if (r->phase == ROTATE_SWITCHED)
		return look_at_switched(r, view, now);
	if (r->phase == ROTATE_WAIT && now < r->until_ms)
		return ROTATE_NOTHING;
	if (!view->has_next) {
		r->phase = ROTATE_REST;
		return view->due ? ROTATE_DO_MAKE : ROTATE_NOTHING;
	}
	if (!view->published) {
		if (r->phase != ROTATE_PUBLISH)
			enter(r, ROTATE_PUBLISH, now);
		return ROTATE_NOTHING;
	}
	if (r->phase != ROTATE_ASK) {
		enter(r, ROTATE_ASK, now);
		r->asked_ms = 0;
	}
	return ask(r, view, now);
}

uint64_t rotate_bound_ms(uint64_t cells_per_s)
{
	uint64_t ms = cells_per_s ? ROTATE_STAGED * 1000ull / cells_per_s : ROTATE_BOUND_MAX_MS;

	if (ms < ROTATE_BOUND_MIN_MS)
		return ROTATE_BOUND_MIN_MS;
	return ms < ROTATE_BOUND_MAX_MS ? ms : ROTATE_BOUND_MAX_MS;
}

/* ---- how old a key is ---- */

int64_t rotate_made_ms(int64_t made, int64_t real, uint64_t now)
{
	if (made < 0 || made > real)
		return INT64_MIN / 2;
	return (int64_t)now - (real - made) * 1000;
}

bool rotate_is_due(int64_t made_ms, uint64_t rotation_ns, uint64_t now)
{
	return rotation_ns && (int64_t)now - made_ms >= (int64_t)(rotation_ns / 1000000u);
}

/* ---- who is there ---- */

void presence_step(struct presence *p, int64_t stamp, uint64_t now)
{
	if (p->begun && stamp == p->stamp)
		return;
	*p = (struct presence){ .begun = true, .stamp = stamp, .heard_ms = now };
}

bool presence_is_there(const struct presence *p, uint64_t now)
{
	return !p->begun || now < p->heard_ms + PRESENCE_MS;
}

bool presence_moved(int64_t before, int64_t stamp)
{
	return stamp && stamp != before;
}

/* ---- the other end ---- */

void watch_promise(struct watch *w, uint64_t bound, uint64_t now)
{
	w->promised_ms = now + WATCH_PROMISE_MS;
	w->bound_ms = bound;
	w->moved = false;
}

bool watch_is_promised(const struct watch *w, uint64_t now)
{
	return now < w->promised_ms;
}

void watch_restart(struct watch *w)
{
	*w = (struct watch){ .begun = false };
}

static void forget(struct watch *w, uint64_t candidate_rx)
{
	w->seen_ms = 0;
	w->candidate_rx = candidate_rx;
}

static void take(struct watch *w, uint64_t candidate_rx, uint64_t active_rx, uint64_t now)
{
	if (!w->begun || active_rx != w->active_rx)
		w->active_ms = now;
	w->active_rx = active_rx;
	/* it is another peer to WireGuard, that begins at 0, or what comes means nothing */
	if (!w->begun || candidate_rx < w->candidate_rx || now < w->quiet_ms)
		forget(w, candidate_rx);
	if (candidate_rx != w->candidate_rx && !w->seen_ms) {
		w->seen_ms = now;
		w->came_ms = w->begun ? w->polled_ms : now;
	}
	w->polled_ms = now;
	w->begun = true;
}

/*
 * One that comes late would meet a peer that is about to go back, or has gone: it finds the old key as it
 * was. One that goes back stays there, however late that is noticed.
 */
static bool is_late(const struct watch *w, uint64_t now)
{
	return !w->moved && now - w->came_ms > w->bound_ms / 2;
}

bool watch_step(struct watch *w, uint64_t candidate_rx, uint64_t active_rx, uint64_t now)
{
	take(w, candidate_rx, active_rx, now);
	if (!w->seen_ms)
		return false;
	if (watch_is_promised(w, w->seen_ms)) {
		if (now - w->seen_ms < WATCH_SETTLE_MS)
			return false;
		if (!is_late(w, now))
			return true;
		forget(w, candidate_rx);
		return false;
	}
	/* who has changed over sends nothing with the other key */
	if (w->active_ms > w->seen_ms + WATCH_SETTLE_MS) {
		forget(w, candidate_rx);
		return false;
	}
	return now - w->active_ms >= WATCH_SILENT_MS;
}

void watch_swapped(struct watch *w, uint64_t now)
{
	bool forward = watch_is_promised(w, w->seen_ms) && !w->moved;

	w->quiet_ms =
		forward && w->bound_ms > WATCH_SETTLE_MS ? w->came_ms + w->bound_ms - WATCH_SETTLE_MS : now;
	if (forward)
		w->promised_ms = now + WATCH_PROMISE_MS;
	else
		w->promised_ms = 0;
	w->moved = forward;
	w->seen_ms = 0;
	w->begun = false;
}
