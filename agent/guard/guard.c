/* SPDX-License-Identifier: BSD-3-Clause */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <linux/netfilter.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/clock.h"
#include "guard/cgroup.h"
#include "guard/classify.h"
#include "guard/files.h"
#include "guard/flowmap.h"
#include "guard/guard.h"
#include "guard/hold.h"
#include "guard/links.h"
#include "guard/queue.h"
#include "guard/sockdiag.h"
#include "shared/mark.h"
#include "tensorguard/compile.h"

enum {
	BATCHES = 16, /* per wake-up: signals and links must get their turn under load */
	HOLD_SPARE =
		1024, /* room in the kernel's queue for tunnels that are up while others' packets are held */
};

/* A policy and what was opened for it; replaced as a whole. */
struct active {
	struct tg_policy *policy;
	struct cgroups *cgroups;
	struct links *links;
	struct flowmap maps;
	struct stat files[2];	/* policy and site, as loaded */
};

/* The owner of the present packet's socket: asked for once, however many rules want to know. */
struct asked {
	bool done, found;
	struct socket_owner owner;
};

struct guard {
	struct guard_conf conf;
	struct event_base *base;
	struct active active;
	struct queue *queue;
	struct classifier *classifier;
	struct sockdiag *diag;
	struct hold hold;
	struct asked asked;
	struct event *on_queue, *on_links, *on_tick;
	uint64_t started_ns, reload_after_ns;
	uint64_t reasons[CLASSIFY_REASONS];
	uint64_t flows_written, map_errors, held, hold_dropped, unmatched_cgroup, reloads, reload_errors;
	bool cgroup_warned;
	size_t missing_maps;
	int failure;
};

__attribute__((format(printf, 2, 3))) static void say(const struct guard *g, const char *format, ...)
{
	char line[512];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	g->conf.ops.log(g->conf.ops.ctx, line);
}

/* ---- who owns the packet's socket ---- */

static bool ask_owner(struct guard *g, const struct tg_flow_key *key)
{
	if (!g->asked.done) {
		g->asked.done = true;
		g->asked.found = !sockdiag_lookup(g->diag, key, &g->asked.owner);
	}
	return g->asked.found;
}

static bool find_uid(void *ctx, const struct tg_flow_key *key, uint32_t *ret_uid)
{
	struct guard *g = ctx;

	if (!ask_owner(g, key))
		return false;
	*ret_uid = g->asked.owner.uid;
	return true;
}

static bool in_cgroup(void *ctx, const struct tg_flow_key *key, size_t rule)
{
	struct guard *g = ctx;

	if (ask_owner(g, key) && g->asked.owner.has_cgroup)
		return cgroups_match(g->active.cgroups, g->asked.owner.cgroup, rule);
	g->unmatched_cgroup++;
	if (g->asked.found && !g->cgroup_warned) {
		g->cgroup_warned = true;
		say(g, "this kernel (before 5.8) does not tell a socket's cgroup: cgroup rules cannot match");
	}
	return false;
}

/* ---- packets ---- */

static void release(void *ctx, const struct held *packet)
{
	struct guard *g = ctx;

	queue_verdict(g->queue, packet->id, NF_ACCEPT, packet->has_mark ? &packet->mark : NULL);
}

static void write_flow(struct guard *g, const struct classify_output *out, uint64_t now)
{
	int ret = flowmap_write(&g->active.maps, &out->packet.key, &out->decision, now);

	if (ret)
		g->map_errors++;
	else
		g->flows_written++;
}

static void log_decision(const struct guard *g, enum classify_reason reason,
			 const struct classify_output *out)
{
	const struct tg_tunnel *tunnel = &g->active.policy->tunnels[out->decision.tunnel];
	const struct tg_flow_key *key = &out->packet.key;
	char from[INET6_ADDRSTRLEN], to[INET6_ADDRSTRLEN];

	inet_ntop(AF_INET6, key->saddr, from, sizeof(from));
	inet_ntop(AF_INET6, key->daddr, to, sizeof(to));
	say(g, "flow %s %u -> %s %u protocol %u: %s/%s by %s%s%s", from, ntohs(key->sport), to,
	    ntohs(key->dport), key->proto, tunnel->name, tunnel->classes[out->decision.class].name,
	    classify_reason_name(reason), out->host ? ", name " : "", out->host ? out->host : "");
}

/* Verdict for a packet of a flow, decided or not: at once, or when its tunnel is up. */
static void settle(struct guard *g, const struct queue_packet *p, bool decided,
		   const struct decision *decision)
{
	struct held packet = { .id = p->id, .tunnel = (uint8_t)decision->tunnel, .has_mark = decided };

	packet.mark = p->mark & ~TG_MARK_FLOW_MASK;
	if (decided)
		packet.mark |= TG_MARK_OF_CLASS(decision->class) |
			       tg_mark_tag(&g->active.policy->tunnels[decision->tunnel]);
	if (!g->active.policy->classifier.hold || links_is_up(g->active.links, decision->tunnel)) {
		release(g, &packet);
	} else if (hold_add(&g->hold, &packet)) {
		g->held++;
	} else {
		g->hold_dropped++;
		queue_verdict(g->queue, p->id, NF_DROP, NULL);
	}
}

static void handle_packet(void *ctx, const struct queue_packet *p)
{
	struct guard *g = ctx;
	struct classify_input in = {
		.data = p->data,
		.size = p->size,
		.total = p->total,
		.mark = p->mark,
		.local = p->local,
		.has_uid = p->has_uid,
		.uid = p->uid,
		.tunnel = links_tunnel(g->active.links, p->out_ifindex),
		.now = monotonic_ns(),
	};
	struct classify_output out;
	enum classify_reason reason;
	bool decided;

	g->asked.done = g->asked.found = false;
	reason = classify_packet(g->classifier, &in, &out);
	decided = classify_is_decided(reason);
	g->reasons[reason]++;
	if (decided && reason != CLASSIFY_REPEATED) {
		write_flow(g, &out, in.now);
		if (g->conf.verbose)
			log_decision(g, reason, &out);
	}
	if (decided || reason == CLASSIFY_WAIT)
		settle(g, p, decided, &out.decision);
	else if (reason == CLASSIFY_MALFORMED && g->active.policy->classifier.hold)
		queue_verdict(g->queue, p->id, NF_DROP, NULL);
	else
		queue_verdict(g->queue, p->id, NF_ACCEPT, NULL);
}

/* A failed reload is tried again by the clock, not by every packet. */
static void reload_if_stale(struct guard *g)
{
	struct tg_error e = { "" };

	if (monotonic_ns() < g->reload_after_ns || !flowmap_is_stale(&g->active.maps))
		return;
	if (guard_reload(g, &e))
		say(g, "the old policy stays in force: %s", e.message);
}

static void queue_ready(evutil_socket_t fd, short what, void *ctx)
{
	struct guard *g = ctx;

	(void)fd;
	(void)what;
	reload_if_stale(g);
	for (int i = 0; i < BATCHES; i++) {
		int n = queue_receive(g->queue, handle_packet, g);

		if (n > 0)
			continue;
		if (n < 0) {
			g->failure = n;
			say(g, "the packet queue failed: %s", strerror(-n));
			event_base_loopbreak(g->base);
		}
		break;
	}
}

/* ---- links ---- */

static void link_news(void *ctx, size_t tunnel, bool up)
{
	struct guard *g = ctx;
	const struct tg_tunnel *t = &g->active.policy->tunnels[tunnel];
	size_t before = g->hold.count;

	if (up) {
		hold_release(&g->hold, (uint8_t)tunnel, release, g);
		queue_flush(g->queue);
	}
	say(g, "tunnel %s is %s%s", t->name, up ? "up" : "down",
	    before != g->hold.count ? ", packets released" : "");
}

static void links_ready(evutil_socket_t fd, short what, void *ctx)
{
	struct guard *g = ctx;

	(void)fd;
	(void)what;
	links_read(g->active.links);
}

/* ---- policy ---- */

static void active_close(struct active *a)
{
	flowmap_close(&a->maps);
	links_close(a->links);
	cgroups_free(a->cgroups);
	tg_policy_free(a->policy);
	memset(a, 0, sizeof(*a));
}

static int active_open(struct guard *g, struct active *ret_active, struct tg_error *e)
{
	char policy[PATH_MAX], site[PATH_MAX];
	struct active a = { .policy = NULL };
	int ret;

	files_stat(&g->conf, a.files);
	ret = tg_policy_load(files_policy(&g->conf, policy), files_site(&g->conf, site), &a.policy, e);
	if (ret)
		return ret;
	ret = cgroups_new(NULL, a.policy, &a.cgroups);
	if (ret)
		tg_error(e, ret, "out of memory");
	else
		ret = links_open(a.policy, link_news, g, &a.links, e);
	if (ret) {
		active_close(&a);
		return ret;
	}
	flowmap_open(&a.maps, g->conf.pin_dir, a.policy);
	*ret_active = a;
	return 0;
}

static bool same_queue(const struct tg_classifier_conf *a, const struct tg_classifier_conf *b)
{
	return a->hold == b->hold && a->queue == b->queue && a->queue_length == b->queue_length;
}

static int open_queue(struct guard *g, const struct tg_classifier_conf *c, struct tg_error *e)
{
	struct queue_conf conf = {
		.number = c->queue,
		.length = c->queue_length + (c->hold ? HOLD_SPARE : 0),
		.fail_open = !c->hold,
	};
	struct queue *queue;
	int ret;

	if (g->queue && g->active.policy->classifier.queue == c->queue) {
		queue_change(g->queue, &conf);
		return 0;
	}
	ret = queue_open(&conf, &queue, e);
	if (ret)
		return ret;
	if (g->on_queue)
		event_free(g->on_queue);
	queue_close(g->queue);
	g->queue = queue;
	/* what was held went with the old queue */
	g->hold.count = 0;
	g->on_queue = event_new(g->base, queue_fd(queue), EV_READ | EV_PERSIST, queue_ready, g);
	if (!g->on_queue || event_add(g->on_queue, NULL))
		return tg_error(e, -ENOMEM, "out of memory");
	return 0;
}

static int watch_links(struct guard *g, const struct active *a, struct tg_error *e)
{
	struct event *on_links = event_new(g->base, links_fd(a->links), EV_READ | EV_PERSIST, links_ready, g);

	if (!on_links || event_add(on_links, NULL)) {
		if (on_links)
			event_free(on_links);
		return tg_error(e, -ENOMEM, "out of memory");
	}
	if (g->on_links)
		event_free(g->on_links);
	g->on_links = on_links;
	return 0;
}

/* What is held goes over to the new policy's numbering; what may go now, goes. */
static void carry_over(struct guard *g, const struct tg_policy *from, const struct active *to)
{
	int number[TG_MAX_TUNNELS];

	for (size_t i = 0; i < from->tunnel_count; i++) {
		number[i] = -1;
		for (size_t j = 0; j < to->policy->tunnel_count; j++)
			if (!strcmp(from->tunnels[i].name, to->policy->tunnels[j].name))
				number[i] = (int)j;
	}
	hold_renumber(&g->hold, number, release, g);
	for (size_t j = 0; j < to->policy->tunnel_count; j++)
		if (!to->policy->classifier.hold || links_is_up(to->links, j))
			hold_release(&g->hold, (uint8_t)j, release, g);
	queue_flush(g->queue);
}

static int adopt(struct guard *g, struct active *a, struct tg_error *e)
{
	const struct tg_classifier_conf *conf = &a->policy->classifier;
	const struct tg_policy *old = g->active.policy;
	int ret = 0;

	if (!old || !same_queue(&old->classifier, conf))
		ret = open_queue(g, conf, e);
	if (!ret && hold_resize(&g->hold, conf->hold ? conf->queue_length : 0))
		ret = tg_error(e, -ENOMEM, "out of memory");
	if (!ret)
		ret = watch_links(g, a, e);
	if (ret)
		return ret;
	if (old)
		carry_over(g, old, a);
	classifier_set_policy(g->classifier, a->policy);
	active_close(&g->active);
	g->active = *a;
	return 0;
}

int guard_reload(struct guard *g, struct tg_error *e)
{
	struct active a;
	int ret = active_open(g, &a, e);

	g->reload_after_ns = monotonic_ns() + 1000000000u;
	if (!ret) {
		ret = adopt(g, &a, e);
		if (ret)
			active_close(&a);
	}
	g->conf.ops.loaded(g->conf.ops.ctx, ret, g->active.policy);
	if (ret) {
		g->reload_errors++;
		return ret;
	}
	g->reloads++;
	say(g, "policy %s, version %llu, is in force", g->active.policy->name,
	    (unsigned long long)g->active.policy->version);
	return 0;
}

/* ---- once a second ---- */

static void tick(evutil_socket_t fd, short what, void *ctx)
{
	struct guard *g = ctx;
	struct tg_error e = { "" };

	(void)fd;
	(void)what;
	classifier_expire(g->classifier, monotonic_ns());
	flowmap_retry(&g->active.maps, g->conf.pin_dir, g->active.policy, &g->missing_maps);
	if (!files_changed(&g->conf, g->active.files) && !flowmap_is_stale(&g->active.maps) &&
	    !flowmap_is_replaced(&g->active.maps, g->conf.pin_dir, g->active.policy))
		return;
	if (guard_reload(g, &e)) {
		say(g, "the old policy stays in force: %s", e.message);
		/* a bad file is not tried again until it changes */
		files_stat(&g->conf, g->active.files);
	}
}

/* ---- the guard ---- */

static int start_tick(struct guard *g, struct tg_error *e)
{
	const struct timeval second = { .tv_sec = 1 };

	g->on_tick = event_new(g->base, -1, EV_PERSIST, tick, g);
	if (!g->on_tick || event_add(g->on_tick, &second))
		return tg_error(e, -ENOMEM, "out of memory");
	return 0;
}

int guard_new(const struct guard_conf *conf, struct event_base *base, struct guard **ret_guard,
	      struct tg_error *e)
{
	struct guard *g = calloc(1, sizeof(*g));
	struct decide_ops ops = { .uid = find_uid, .in_cgroup = in_cgroup, .ctx = g };
	uint64_t seed;
	int ret;

	if (!g)
		return tg_error(e, -ENOMEM, "out of memory");
	g->conf = *conf;
	g->base = base;
	g->started_ns = monotonic_ns();
	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		ret = tg_error(e, -EIO, "no random numbers to be had");
	else if (classifier_new(&ops, seed, &g->classifier))
		ret = tg_error(e, -ENOMEM, "out of memory");
	else
		ret = sockdiag_open(&g->diag, e);
	if (!ret)
		ret = guard_reload(g, e);
	if (!ret)
		ret = start_tick(g, e);
	if (ret) {
		guard_free(g);
		return ret;
	}
	flowmap_retry(&g->active.maps, g->conf.pin_dir, g->active.policy, &g->missing_maps);
	*ret_guard = g;
	return 0;
}

static void free_event(struct event *event)
{
	if (event)
		event_free(event);
}

void guard_free(struct guard *g)
{
	if (!g)
		return;
	free_event(g->on_queue);
	free_event(g->on_links);
	free_event(g->on_tick);
	queue_close(g->queue);
	sockdiag_close(g->diag);
	classifier_free(g->classifier);
	active_close(&g->active);
	hold_free(&g->hold);
	free(g);
}

const struct tg_policy *guard_policy(const struct guard *guard)
{
	return guard->active.policy;
}

int guard_failure(const struct guard *g)
{
	return g->failure;
}

static json_t *decided_object(const struct guard *g)
{
	json_t *object = json_object();

	for (int i = 0; object && i < CLASSIFY_REASONS; i++)
		json_object_set_new(object, classify_reason_name((enum classify_reason)i),
				    json_integer((json_int_t)g->reasons[i]));
	return object;
}

static json_t *names_object(const struct tracker *t)
{
	const struct tracker_stats *s = tracker_stats(t);

	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "tracked",
			 (json_int_t)tracker_count(t), "flows", (json_int_t)s->flows, "named",
			 (json_int_t)s->named, "no_name", (json_int_t)s->no_name, "not_tls",
			 (json_int_t)s->not_tls, "malformed", (json_int_t)s->malformed, "limit_idle",
			 (json_int_t)s->limit_idle, "limit_time", (json_int_t)s->limit_time, "closed",
			 (json_int_t)s->closed, "evicted", (json_int_t)s->evicted, "early",
			 (json_int_t)s->early, "early_lost", (json_int_t)s->early_lost);
}

json_t *guard_stats(const struct guard *g)
{
	const struct queue_stats *q = queue_stats(g->queue);
	json_t *stats =
		json_pack("{s:i, s:I, s:s, s:I, s:I, s:I, s:I, s:I}", "pid", (int)getpid(), "uptime_s",
			  (json_int_t)((monotonic_ns() - g->started_ns) / 1000000000u), "policy",
			  g->active.policy->name, "policy_version", (json_int_t)g->active.policy->version,
			  "reloads", (json_int_t)g->reloads, "reload_errors", (json_int_t)g->reload_errors,
			  "missing_maps", (json_int_t)g->missing_maps, "packets", (json_int_t)q->packets);
	json_t *rest = json_pack(
		"{s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "reasons", decided_object(g),
		"names", names_object(classifier_tracker(g->classifier)), "undecided",
		(json_int_t)g->reasons[CLASSIFY_WAIT], "holding", (json_int_t)g->hold.count, "held",
		(json_int_t)g->held, "hold_dropped", (json_int_t)g->hold_dropped, "enobufs",
		(json_int_t)q->enobufs, "verdict_errors", (json_int_t)q->verdict_errors, "bad_messages",
		(json_int_t)q->bad_messages, "unmatched_cgroup", (json_int_t)g->unmatched_cgroup,
		"flows_written", (json_int_t)g->flows_written, "map_errors", (json_int_t)g->map_errors);

	if (!stats || !rest || json_object_update(stats, rest)) {
		json_decref(stats);
		stats = NULL;
	}
	json_decref(rest);
	return stats;
}
