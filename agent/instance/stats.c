/* SPDX-License-Identifier: BSD-3-Clause */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "instance/print.h"
#include "shared/hist.h"

/* The lower edge of the bucket in which the quantile falls: true to a quarter of its value. */
static json_int_t delay_quantile(const __u64 *buckets, uint64_t total, unsigned per_mille)
{
	uint64_t rank = (total * per_mille + 999) / 1000, seen = 0;

	for (unsigned i = 0; i < TG_DELAY_BUCKETS; i++) {
		seen += buckets[i];
		if (total && seen >= rank)
			return (json_int_t)tg_hist_floor_us(i);
	}
	return 0;
}

static json_t *delay_json(const struct tg_stats *st)
{
	json_t *histogram = json_array();
	uint64_t total = 0;

	for (unsigned i = 0; i < TG_DELAY_BUCKETS; i++) {
		total += st->delay[i];
		if (st->delay[i])
			json_array_append_new(histogram, json_pack("{s:I, s:I}", "from_us",
								   (json_int_t)tg_hist_floor_us(i), "count",
								   (json_int_t)st->delay[i]));
	}
	return json_pack("{s:I, s:I, s:I, s:I, s:o}", "count", (json_int_t)total, "p50_us",
			 delay_quantile(st->delay, total, 500), "p90_us",
			 delay_quantile(st->delay, total, 900), "p99_us",
			 delay_quantile(st->delay, total, 990), "histogram", histogram);
}

static json_t *counters_json(const struct tg_stats *st)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "real_packets",
			 (json_int_t)st->real_packets, "real_bytes", (json_int_t)st->real_bytes, "pad_bytes",
			 (json_int_t)st->pad_bytes, "dummy_packets", (json_int_t)st->dummy_packets,
			 "dummy_bytes", (json_int_t)st->dummy_bytes, "drop_packets",
			 (json_int_t)st->drop_packets, "drop_bytes", (json_int_t)st->drop_bytes,
			 "late_packets", (json_int_t)st->late_packets);
}

/* The sessions of a class: sums, but of `left` the most. */
struct totals {
	uint64_t peers, running, sessions, extensions, backlog, ticks, lost, overdue;
	uint32_t left;
};

static void add_session(struct totals *sum, const struct tg_queue *queue, const struct tg_session_state *s)
{
	sum->peers++;
	sum->running += !queue->slots || s->left;
	sum->sessions += s->sessions;
	sum->extensions += s->extensions;
	sum->backlog += tg_session_backlog(s);
	sum->ticks += s->ticks;
	sum->lost += s->lost;
	sum->overdue += s->overdue;
	sum->left = s->left > sum->left ? s->left : sum->left;
}

static json_t *peer_json(unsigned number, const struct tg_peer_entry *entry, const struct tg_queue *queue,
			 const struct tg_session_state *s)
{
	char target[INET6_ADDRSTRLEN] = "";

	inet_ntop(AF_INET6, entry->dummy_target, target, sizeof(target));
	return json_pack("{s:I, s:s, s:b, s:I, s:I, s:I, s:I, s:I}", "number", (json_int_t)number,
			 "dummy_target", target, "running", !queue->slots || s->left, "slots_left",
			 (json_int_t)s->left, "sessions", (json_int_t)s->sessions, "extensions",
			 (json_int_t)s->extensions, "backlog", (json_int_t)tg_session_backlog(s), "ticks",
			 (json_int_t)s->ticks);
}

/* How long the peer's tick is that was learnt; null while it is being learnt, and before. */
static void add_tick(json_t *peer, const struct tg_session_state *s)
{
	json_object_set_new(peer, "tick_ns",
			    s->clock_due_ns ? json_integer((json_int_t)s->last_clock_ns) : json_null());
}

static json_t *lean_json(const struct tg_lean_count *c)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "shared_cells",
			 (json_int_t)c->shared_cells, "shared_packets", (json_int_t)c->shared_packets,
			 "received_cells", (json_int_t)c->received_cells, "received_packets",
			 (json_int_t)c->received_packets, "refused_packets", (json_int_t)c->refused_packets,
			 "lost_cells", (json_int_t)c->lost_cells, "locked", (json_int_t)c->locked, "unlocked",
			 (json_int_t)c->unlocked);
}

static json_t *session_json(const struct tg_queue *queue, const struct totals *sum, json_t *peers)
{
	return json_pack("{s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "always",
			 !queue->slots, "running", sum->running > 0, "running_peers",
			 (json_int_t)sum->running, "slots_left", (json_int_t)sum->left, "slots",
			 (json_int_t)queue->slots, "sessions", (json_int_t)sum->sessions, "extensions",
			 (json_int_t)sum->extensions, "backlog", (json_int_t)sum->backlog, "ticks",
			 (json_int_t)sum->ticks, "period_ns", (json_int_t)queue->period_ns, "lost",
			 (json_int_t)sum->lost, "overdue", (json_int_t)sum->overdue, "peers", peers);
}

/* All sessions of a queue, each with its peer, and their sums. */
static int sessions_json(const struct dataplane *dp, const struct tg_queue *queue, enum tg_defence defence,
			 bool agents, json_t **ret_json, struct tg_error *e)
{
	struct tg_peer_entry *entries = calloc(dp->room, sizeof(*entries));
	struct tg_session_state state;
	struct totals sum = { 0 };
	json_t *peers = json_array();
	int ret = entries ? roster_read(dp, entries, e) : tg_error(e, -ENOMEM, "out of memory");

	for (unsigned n = 0; !ret && n < queue->room && n < dp->room; n++) {
		if (roster_is_free(&entries[n]))
			continue;
		ret = agents ? dataplane_paced_session_get(dp, queue->first + n, &state, e)
			     : dataplane_session_get(dp, queue->first + n, &state, e);
		if (ret)
			break;
		add_session(&sum, queue, &state);
		json_array_append_new(peers, peer_json(n, &entries[n], queue, &state));
		if (defence == TG_DEFENCE_LEAN)
			add_tick(json_array_get(peers, json_array_size(peers) - 1), &state);
	}
	free(entries);
	if (ret) {
		json_decref(peers);
		return ret;
	}
	*ret_json = session_json(queue, &sum, peers);
	return 0;
}

static json_t *violations_json(const __u64 *violations)
{
	json_t *o = json_object();

	for (unsigned i = 0; i < TG_VIOLATION_COUNT; i++)
		json_object_set_new(o, dataplane_violation_name(i), json_integer((json_int_t)violations[i]));
	return o;
}

static json_t *metronome_json(const struct tg_metronome *m, const struct tg_metronome_state *s)
{
	json_t *o = json_pack("{s:s, s:I, s:b, s:I, s:I, s:I, s:I}", "clock", metronome_clock_name(m->clock),
			      "tick_ns", (json_int_t)m->tick_ns, "running", s->mode != 0, "sessions",
			      (json_int_t)s->sessions, "dummies", (json_int_t)s->dummies, "ticks",
			      (json_int_t)s->ticks, "gaps", (json_int_t)s->gaps);

	if (o && m->defence == TG_DEFENCE_FRONT) {
		json_object_set_new(o, "planned", json_integer(s->front.planned));
		json_object_set_new(o, "sent", json_integer(s->front.sent));
		json_object_set_new(o, "window_us", json_integer(s->front.window_us));
	}
	return o;
}

static int add_metronome(const struct dataplane *dp, unsigned class, json_t *o, struct tg_error *e)
{
	struct tg_metronome_state state;
	struct tg_metronome m;
	int ret = dataplane_metronome_get(dp, class, &m, e);

	if (!ret)
		ret = dataplane_metronome_state(dp, class, &state, e);
	if (!ret)
		json_object_set_new(o, "metronome", metronome_json(&m, &state));
	return ret;
}

/* The schedule of a class that the agent paces, or will when there is one. */
static int paced_queue(const struct dataplane *dp, const struct tg_policy *policy,
		       const struct tg_policy_class *class, unsigned index, struct tg_queue *ret_queue,
		       struct tg_error *e)
{
	struct tg_paced paced;
	int ret = dataplane_paced_get(dp, index, &paced, e);

	if (ret)
		return ret;
	if (!paced.schedule.defence) {
		tg_policy_schedule(policy, class, &paced.schedule);
		paced.schedule.queue.room = dp->room;
	}
	*ret_queue = paced.schedule.queue;
	return 0;
}

/* What only a class with a schedule has, in one form wherever its engine keeps it. */
static int add_schedule(const struct dataplane *dp, const struct tg_policy *policy,
			const struct tg_policy_class *class, unsigned index, const struct tg_class *loaded,
			const struct tg_stats *out, json_t *o, struct tg_error *e)
{
	bool agents = loaded->flags & TG_CLASS_AGENT;
	struct tg_queue queue;
	json_t *session = NULL;
	int ret;

	if (!agents && loaded->queue == TG_NO_QUEUE)
		return 0;
	ret = agents ? paced_queue(dp, policy, class, index, &queue, e)
		     : dataplane_queue_get(dp, loaded->queue, &queue, e);
	if (!ret && class->defence != TG_DEFENCE_JITTER)
		ret = sessions_json(dp, &queue, class->defence, agents, &session, e);
	if (ret)
		return ret;
	json_object_set_new(o, "delay", delay_json(out));
	json_object_set_new(o, "delay_limit_ns", json_integer(queue.guard_ns));
	json_object_set_new(o, "violations", violations_json(out->violations));
	if (session)
		json_object_set_new(o, "session", session);
	return 0;
}

static int add_lean(const struct dataplane *dp, unsigned index, json_t *o, struct tg_error *e)
{
	struct tg_paced paced;
	int ret = dataplane_paced_get(dp, index, &paced, e);

	if (!ret)
		json_object_set_new(o, "lean", lean_json(&paced.lean));
	return ret;
}

static int class_stats_json(const struct dataplane *dp, const struct tg_policy *policy,
			    const struct tg_policy_class *class, unsigned index, uint64_t generation,
			    json_t **ret_json, struct tg_error *e)
{
	struct tg_stats out, in;
	struct tg_class loaded;
	json_t *o;
	int ret;

	ret = dataplane_stats_get(dp, TG_OUT, index, &out, e);
	if (!ret)
		ret = dataplane_stats_get(dp, TG_IN, index, &in, e);
	if (!ret)
		ret = dataplane_class_get(dp, generation, index, &loaded, e);
	if (ret)
		return ret;
	o = json_pack("{s:s, s:s, s:i, s:o, s:o}", "name", class->name, "defence",
		      tg_defence_name(class->defence), "cell", (int)class->cell, "out", counters_json(&out),
		      "in", counters_json(&in));
	ret = add_schedule(dp, policy, class, index, &loaded, &out, o, e);
	if (!ret && class->defence == TG_DEFENCE_LEAN)
		ret = add_lean(dp, index, o, e);
	if (!ret && tg_defence_has_metronome(class->defence))
		ret = add_metronome(dp, index, o, e);
	if (!ret && tg_defence_has_metronome(class->defence))
		json_object_set_new(json_object_get(o, "metronome"), "violations",
				    violations_json(out.violations));
	if (ret) {
		json_decref(o);
		return ret;
	}
	*ret_json = o;
	return 0;
}

/* What is left of the day; null without a budget. */
static int budget_json(const struct dataplane *dp, const struct tg_policy_budget *b, json_t **ret_json,
		       struct tg_error *e)
{
	bool limited = b->metered || b->day_limited;
	struct tg_spending_state s;
	uint64_t age;
	int ret;

	if (!limited && !b->dummy_share) {
		*ret_json = json_null();
		return 0;
	}
	ret = dataplane_spending_get(dp, &s, e);
	if (ret)
		return ret;
	age = monotonic_ns() - s.day_start_ns;
	if (!s.day_start_ns || age >= TG_DAY_NS) {
		s.day_bytes = 0;
		age = 0;
	}
	*ret_json =
		json_pack("{s:b, s:o, s:I, s:I, s:s}", "metered", b->metered, "day_limit_bytes",
			  limited ? json_integer((json_int_t)(b->metered ? b->metered_bytes : b->day_bytes))
				  : json_null(),
			  "day_spent_bytes", (json_int_t)s.day_bytes, "day_age_s",
			  (json_int_t)(age / 1000000000u), "violation", tg_violation_name(b->violation));
	return 0;
}

static int reasons_json(const struct dataplane *dp, json_t **ret_json, struct tg_error *e)
{
	uint64_t reasons[TG_REASON_COUNT];
	json_t *o;
	int ret = dataplane_reasons_get(dp, reasons, e);

	if (ret)
		return ret;
	o = json_object();
	for (unsigned i = 0; i < TG_REASON_COUNT; i++)
		json_object_set_new(o, dataplane_reason_name(i), json_integer((json_int_t)reasons[i]));
	*ret_json = o;
	return 0;
}

static int tunnel_stats_json(const struct dataplane *dp, const struct tg_policy *policy,
			     const struct tg_tunnel *tunnel, json_t **ret_json, struct tg_error *e)
{
	json_t *classes = json_array(), *reasons = NULL, *budget = NULL;
	uint64_t generation;
	int ret = dataplane_generation(dp, &generation, e);

	for (unsigned i = 0; i < tunnel->class_count && !ret; i++) {
		json_t *class;

		ret = class_stats_json(dp, policy, &tunnel->classes[i], i, generation, &class, e);
		if (!ret)
			json_array_append_new(classes, class);
	}
	if (!ret)
		ret = budget_json(dp, &tunnel->budget, &budget, e);
	if (!ret)
		ret = reasons_json(dp, &reasons, e);
	if (ret) {
		json_decref(budget);
		json_decref(classes);
		return ret;
	}
	*ret_json = json_pack("{s:s, s:s, s:I, s:o, s:o, s:o}", "name", tunnel->name, "engine",
			      tunnel_engine(policy, tunnel), "generation", (json_int_t)generation, "budget",
			      budget, "classes", classes, "reasons", reasons);
	return *ret_json ? 0 : tg_error(e, -ENOMEM, "out of memory");
}

int stats_collect(const char *pin_dir, const struct tg_policy *policy, json_t **ret_stats, struct tg_error *e)
{
	json_t *tunnels = json_array();
	int ret = 0;

	for (size_t i = 0; i < policy->tunnel_count && !ret; i++) {
		struct dataplane *dp;
		json_t *tunnel;

		ret = dataplane_open(pin_dir, policy->tunnels[i].name, &dp, e);
		if (ret)
			break;
		ret = tunnel_stats_json(dp, policy, &policy->tunnels[i], &tunnel, e);
		if (!ret)
			json_array_append_new(tunnels, tunnel);
		dataplane_close(dp);
	}
	if (ret) {
		json_decref(tunnels);
		return ret;
	}
	*ret_stats = json_pack("{s:I, s:s, s:o}", "monotonic_ms", (json_int_t)(monotonic_ns() / 1000000),
			       "policy", policy->name, "tunnels", tunnels);
	return *ret_stats ? 0 : tg_error(e, -ENOMEM, "out of memory");
}
