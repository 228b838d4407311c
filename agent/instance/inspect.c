/* SPDX-License-Identifier: BSD-3-Clause */
/* In what the running network differs from what the policy wants. Reads only. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "instance/instance.h"

/* Enough real packets from the peer to expect a dummy among them. */
enum { ENOUGH_TO_JUDGE = 100 };

static void problem(struct report *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void problem(struct report *r, const char *format, ...)
{
	char(*grown)[384] = realloc(r->problems, (r->problem_count + 1) * sizeof(*grown));
	va_list args;

	if (!grown)
		abort();	/* a report that hides a problem is worse than none */
	r->problems = grown;
	va_start(args, format);
	vsnprintf(grown[r->problem_count++], sizeof(*grown), format, args);
	va_end(args);
}

/* One more of the last kind: nothing that a repair could mend. */
static void is_behaviour(struct report *r)
{
	r->behaviour_count++;
}

static void check_attached(struct report *r, const struct dataplane *dp, enum dp_prog prog, unsigned ifindex,
			   enum dp_hook hook, const char *device)
{
	bool attached = false;

	if (dataplane_attached(dp, prog, ifindex, hook, &attached, NULL) || !attached)
		problem(r, "tunnel %s: %s is not attached to %s", dp->tunnel, dp_prog_names[prog], device);
}

static void check_mute(struct report *r, const struct dataplane *dp, const struct tg_tunnel *tunnel,
		       const struct tunnel_report *t)
{
	bool attached = false;

	/* on an external device it may be somebody else's place */
	if (!tg_tunnel_has_dummies(tunnel) || tunnel->external[0])
		return;
	if (dataplane_is_mute(dp, t->xdp_id, &attached, NULL) || !attached)
		problem(r, "tunnel %s: %s is not attached to %s", dp->tunnel, dp_prog_names[DP_MUTE],
			t->device);
}

static void check_pair(struct instance *in, struct report *r, const struct dataplane *dp, const char *head,
		       enum dp_prog prog)
{
	struct net_link link;

	if (net_link_get(in->net, head, &link, NULL)) {
		problem(r, "tunnel %s: device %s is missing", dp->tunnel, head);
		return;
	}
	if (!link.up)
		problem(r, "tunnel %s: device %s is down", dp->tunnel, head);
	check_attached(r, dp, prog, link.peer_ifindex, DP_HOOK_INGRESS, head);
}

/* The sessions of one queue: how many, and how many of them are not as they should be. */
struct clocks {
	size_t count, replaced, stopped, first /* that stands */;
};

static int look_at_clocks(struct instance *in, const struct dataplane *dp, unsigned id, unsigned ifindex,
			  struct clocks *ret_clocks)
{
	bool *taken = NULL, *stopped = calloc(dp->room, sizeof(*stopped));
	bool *whole = calloc(dp->room, sizeof(*whole));
	struct clocks c = { 0 };
	struct tg_queue queue;
	int ret = stopped && whole ? roster_taken(dp, &taken, NULL) : -ENOMEM;

	if (!ret)
		ret = dataplane_queue_get(dp, id, &queue, NULL);
	if (!ret)
		ret = net_clock_look(in->net, ifindex, queue.period_ns, dp->room, whole, NULL);
	if (!ret)
		ret = queue_stopped(dp, id, taken, stopped, &c.stopped, NULL);
	for (size_t n = dp->room; !ret && n-- > 0;) {
		c.count += taken[n];
		c.replaced += taken[n] && !whole[n];
		if (stopped[n])
			c.first = n;
	}
	free(taken);
	free(stopped);
	free(whole);
	if (!ret)
		*ret_clocks = c;
	return ret;
}

static void check_queue(struct instance *in, struct report *r, const struct dataplane *dp, unsigned id)
{
	char head[IFNAMSIZ], tail[IFNAMSIZ];
	struct clocks clocks = { 0 };
	struct net_link link;

	queue_names(dp->tunnel, id, head, tail);
	check_pair(in, r, dp, head, DP_RELEASE);
	if (net_link_get(in->net, head, &link, NULL))
		return;
	if (look_at_clocks(in, dp, id, link.ifindex, &clocks)) {
		problem(r, "tunnel %s: cannot read the clocks of queue %u", dp->tunnel, id);
		return;
	}
	check_attached(r, dp, DP_STEER, link.ifindex, DP_HOOK_CLOCK, head);
	if (clocks.replaced)
		problem(r, "tunnel %s: the clock of queue %u (htb on %s) was replaced: %zu of %zu sessions",
			dp->tunnel, id, head, clocks.replaced, clocks.count);
	if (clocks.stopped)
		problem(r,
			"tunnel %s: queue %u stands still: its clock cell is lost (%zu of %zu sessions, "
			"first "
			"number %zu)",
			dp->tunnel, id, clocks.stopped, clocks.count, clocks.first);
}

static void check_metronome(struct instance *in, struct report *r, const struct dataplane *dp, unsigned class)
{
	char head[IFNAMSIZ], tail[IFNAMSIZ], kind[NET_KIND_LEN];
	struct tg_metronome m;
	struct net_link link;
	bool ticking = false;

	metronome_names(dp->tunnel, class, head, tail);
	check_pair(in, r, dp, head, DP_METRONOME);
	if (dataplane_metronome_get(dp, class, &m, NULL))
		return;
	if (!net_link_get(in->net, head, &link, NULL)) {
		if (net_pace_kind(in->net, link.ifindex, kind, NULL) ||
		    strcmp(kind, metronome_clock_name(m.clock)))
			problem(r, "tunnel %s: the clock of metronome %u (%s on %s) was replaced", dp->tunnel,
				class, metronome_clock_name(m.clock), head);
		if (m.clock == TG_CLOCK_FQ)
			check_attached(r, dp, DP_TIMED, link.ifindex, DP_HOOK_EGRESS, head);
	}
	if (metronome_ticking(dp, class, &ticking, NULL) || !ticking)
		problem(r, "tunnel %s: metronome %u stands still: its clock packet is lost", dp->tunnel,
			class);
}

/* Whether it runs at all is inspect_agent()'s to say. */
static void check_paced(struct report *r, const struct dataplane *dp, const struct tg_tunnel *tunnel,
			unsigned class, uint64_t generation)
{
	const char *name = tunnel->classes[class].name;
	struct tg_paced paced;

	if (dataplane_paced_get(dp, class, &paced, NULL)) {
		problem(r, "tunnel %s: the map paced cannot be read", tunnel->name);
		return;
	}
	if (paced.generation != generation)
		problem(r, "tunnel %s: no tensorguard-agent paces class %s by generation %llu", tunnel->name,
			name, (unsigned long long)generation);
	else if (!(paced.flags & TG_PACED_REALTIME))
		problem(r,
			"tunnel %s: tensorguard-agent paces class %s without real-time priority and locked "
			"memory: on a busy machine its cells are late",
			tunnel->name, name);
	else
		return;
	is_behaviour(r);
}

static void check_classes(struct instance *in, struct report *r, const struct dataplane *dp,
			  const struct tg_tunnel *tunnel, uint64_t generation)
{
	for (unsigned i = 0; i < tunnel->class_count; i++) {
		struct tg_class class;

		if (dataplane_class_get(dp, generation, i, &class, NULL) ||
		    class.defence != tunnel->classes[i].defence || class.cell != tunnel->classes[i].cell)
			problem(r, "tunnel %s: class %s is not the one that the kernel has", tunnel->name,
				tunnel->classes[i].name);
		else if (class.queue != TG_NO_QUEUE)
			check_queue(in, r, dp, class.queue);
		else if (tg_defence_has_metronome(tunnel->classes[i].defence))
			check_metronome(in, r, dp, i);
		else if ((class.flags & TG_CLASS_AGENT) && !in->kernel_only)
			check_paced(r, dp, tunnel, i, generation);
	}
}

/* A peer that shapes sends dummies as long as a session lasts; one that does not never sends any.
 * The dummies of other defences may be long in coming. */
/* Whether dummies come as long as anything does: those of other defences may be spent. */
static bool fills_slots(const struct tg_tunnel *tunnel)
{
	for (size_t i = 0; i < tunnel->class_count; i++)
		if (tunnel->classes[i].defence == TG_DEFENCE_CONSTANT ||
		    tunnel->classes[i].defence == TG_DEFENCE_LEAN)
			return true;
	return false;
}

static void judge_peer(struct report *r, const struct dataplane *dp, const struct tg_tunnel *tunnel,
		       struct tunnel_report *t)
{
	uint64_t real = 0, dummies = 0;

	if (!tg_tunnel_has_dummies(tunnel))
		return;
	for (unsigned i = 0; i < tunnel->class_count; i++) {
		struct tg_stats st;

		if (dataplane_stats_get(dp, TG_IN, i, &st, NULL))
			return;
		real += st.real_packets;
		dummies += st.dummy_packets;
	}
	if (dummies) {
		t->peer_shaping = PEER_SHAPES;
	} else if (real >= ENOUGH_TO_JUDGE && fills_slots(tunnel)) {
		t->peer_shaping = PEER_DOES_NOT_SHAPE;
		problem(r, "tunnel %s: the peer does not shape its direction (%llu real packets, no dummy)",
			tunnel->name, (unsigned long long)real);
		is_behaviour(r);
	}
}

static void add_violations(const struct dataplane *dp, const struct tg_tunnel *tunnel,
			   struct tunnel_report *t)
{
	for (unsigned i = 0; i < tunnel->class_count; i++) {
		struct tg_stats st;

		if (dataplane_stats_get(dp, TG_OUT, i, &st, NULL))
			return;
		for (unsigned v = 0; v < TG_VIOLATION_COUNT; v++)
			t->violations[v] += st.violations[v];
	}
}

const char *tunnel_engine(const struct tg_policy *policy, const struct tg_tunnel *tunnel)
{
	return tg_engine_name(policy->engine == TG_ENGINE_QUEUE && tg_tunnel_is_paced(tunnel)
				      ? TG_ENGINE_QUEUE
				      : TG_ENGINE_KERNEL);
}

static void inspect_dataplane(struct instance *in, struct report *r, const struct tg_tunnel *tunnel,
			      struct tunnel_report *t)
{
	char head[IFNAMSIZ], tail[IFNAMSIZ];
	struct tg_devices devices;
	struct dataplane *dp;

	if (dataplane_open(in->pin_dir, tunnel->name, &dp, NULL)) {
		problem(r, "tunnel %s: programs or maps are not pinned under %s/%s", tunnel->name,
			in->pin_dir, tunnel->name);
		return;
	}
	t->has_dataplane = true;
	snprintf(t->engine, sizeof(t->engine), "%s", tunnel_engine(in->policy, tunnel));
	if (dataplane_generation(dp, &t->generation, NULL) || !t->generation)
		problem(r, "tunnel %s: no policy is in force", tunnel->name);
	if (dataplane_devices_get(dp, &devices, NULL) || (t->ifindex && devices.tunnel_ifindex != t->ifindex))
		problem(r, "tunnel %s: the programs send to another device than %s", tunnel->name, t->device);
	if (t->ifindex) {
		check_attached(r, dp, DP_EGRESS, t->ifindex, DP_HOOK_EGRESS, t->device);
		check_attached(r, dp, DP_INGRESS, t->ifindex, DP_HOOK_INGRESS, t->device);
		check_mute(r, dp, tunnel, t);
	}
	segmenter_names(tunnel->name, head, tail);
	check_pair(in, r, dp, head, DP_SEGMENT);
	check_classes(in, r, dp, tunnel, t->generation);
	if (!in->kernel_only) {
		judge_peer(r, dp, tunnel, t);
		add_violations(dp, tunnel, t);
	}
	dataplane_close(dp);
}

static void inspect_wireguard(struct instance *in, struct report *r, const struct tg_tunnel *tunnel,
			      struct tunnel_report *t)
{
	enum wg_backend backend;
	struct tg_error e = { "" };

	if (tunnel->external[0]) {
		snprintf(t->backend, sizeof(t->backend), "external");
		return;
	}
	if (wg_backend_of(in->net, tunnel->name, &backend, NULL)) {
		problem(r, "tunnel %s: no WireGuard answers for device %s", tunnel->name, tunnel->name);
		return;
	}
	snprintf(t->backend, sizeof(t->backend), backend == WG_KERNEL ? "wireguard" : "wireguard-go");
	if (wg_status_get(in->net, tunnel->name, backend, &t->wireguard, &e)) {
		problem(r, "tunnel %s: %s", tunnel->name, e.message);
		return;
	}
	t->has_wireguard = true;
	if (t->wireguard.peer_count != tunnel->peer_count)
		problem(r, "tunnel %s: %zu peers, the policy has %zu", tunnel->name, t->wireguard.peer_count,
			tunnel->peer_count);
}

/* The device outlives wireguard-go, and loses its carrier with it. Others' devices may be as they please. */
static bool is_deserted(const struct tg_tunnel *tunnel, const struct net_link *link)
{
	return !tunnel->external[0] && !link->carrier && !strcmp(link->kind, "tun");
}

static void inspect_tunnel(struct instance *in, struct report *r, size_t n)
{
	const struct tg_tunnel *tunnel = &in->policy->tunnels[n];
	struct tunnel_report *t = &r->tunnels[n];
	struct net_link link;

	snprintf(t->device, sizeof(t->device), "%s", tg_tunnel_device(tunnel));
	if (net_link_get(in->net, t->device, &link, NULL)) {
		problem(r, "tunnel %s: device %s is missing", tunnel->name, t->device);
	} else {
		t->ifindex = link.ifindex;
		t->xdp_id = link.xdp_id;
		if (!link.up)
			problem(r, "tunnel %s: device %s is down", tunnel->name, t->device);
		/* who may ask WireGuard itself says so below */
		else if (in->kernel_only && is_deserted(tunnel, &link))
			problem(r, "tunnel %s: no process serves device %s", tunnel->name, t->device);
		/* WireGuard rounds no size up beyond the MTU: another MTU is another size on the wire. */
		if (!tunnel->external[0] && link.mtu != tunnel->mtu)
			problem(r, "tunnel %s: device %s has an MTU of %u, the policy %u", tunnel->name,
				t->device, link.mtu, (unsigned)tunnel->mtu);
		if (!in->kernel_only)
			inspect_wireguard(in, r, tunnel, t);
	}
	inspect_dataplane(in, r, tunnel, t);
}

static bool same_route(const struct net_route *a, const struct net_route *b)
{
	return a->table == b->table && a->ifindex == b->ifindex && a->to.family == b->to.family &&
	       a->to.length == b->to.length && !memcmp(a->to.addr, b->to.addr, sizeof(a->to.addr)) &&
	       a->mtu_lock == b->mtu_lock;
}

static int missing_rules(struct instance *in, const struct routing *plan, size_t *ret_missing,
			 struct tg_error *e)
{
	struct net_rule *rules;
	size_t count, missing = 0;
	int ret = net_rule_list(in->net, &rules, &count, e);

	if (ret)
		return ret;
	for (size_t i = 0; i < plan->rule_count; i++) {
		bool found = false;

		for (size_t j = 0; j < count && !found; j++)
			found = net_rule_equal(&plan->rules[i], &rules[j]);
		missing += !found;
	}
	free(rules);
	*ret_missing = missing;
	return 0;
}

static int missing_routes(struct instance *in, const struct routing *plan, size_t *ret_missing,
			  struct tg_error *e)
{
	struct net_route *routes;
	size_t count, missing = 0;
	int ret = net_route_list(in->net, &routes, &count, e);

	if (ret)
		return ret;
	for (size_t i = 0; i < plan->route_count; i++) {
		bool found = false;

		for (size_t j = 0; j < count && !found; j++)
			found = same_route(&plan->routes[i], &routes[j]);
		missing += !found;
	}
	free(routes);
	*ret_missing = missing;
	return 0;
}

static int inspect_routing(struct instance *in, struct report *r, struct tg_error *e)
{
	unsigned ifindexes[TG_MAX_TUNNELS] = { 0 };
	size_t rules = 0, routes = 0;
	struct routing plan;
	int ret;

	for (size_t i = 0; i < in->policy->tunnel_count; i++)
		ifindexes[i] = r->tunnels[i].ifindex;
	ret = routing_plan(in->policy, ifindexes, NULL, &plan, e);
	if (ret)
		return ret;
	ret = missing_rules(in, &plan, &rules, e);
	if (!ret)
		ret = missing_routes(in, &plan, &routes, e);
	if (!ret && rules)
		problem(r, "%zu of %zu routing rules are missing", rules, plan.rule_count);
	if (!ret && routes)
		problem(r, "%zu of %zu routes are missing", routes, plan.route_count);
	routing_free(&plan);
	return ret;
}

/* Whether somebody serves the agent's socket. */
static bool agent_answers(const char *run_dir)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd, n = snprintf(address.sun_path, sizeof(address.sun_path), "%s/agent.sock", run_dir);
	bool answers;

	if (n < 0 || (size_t)n >= sizeof(address.sun_path))
		return false;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return false;
	answers = !connect(fd, (const struct sockaddr *)&address, sizeof(address));
	close(fd);
	return answers;
}

static bool has_flow_rules(const struct tg_policy *policy)
{
	for (size_t i = 0; i < policy->rule_count; i++)
		if (tg_rule_is_flow(&policy->rules[i]))
			return true;
	return false;
}

/* Under bypass the kernel's own rules decide without it; under hold nothing passes. What it paces waits for
 * it. */
static void inspect_agent(struct instance *in, struct report *r)
{
	const struct tg_policy *policy = in->policy;
	bool decides = has_flow_rules(policy);
	bool paces = policy->engine == TG_ENGINE_QUEUE && tg_policy_is_paced(policy);

	if (!decides && !paces)
		return;
	r->agent = agent_answers(in->run_dir) ? AGENT_RUNS : AGENT_ABSENT;
	if (r->agent == AGENT_RUNS)
		return;
	if (paces) {
		problem(r, "tensorguard-agent does not run, and paces the classes of engine queue: %s",
			policy->fail == TG_FAIL_OPEN ? "their packets leave as they come"
						     : "their packets are dropped");
		is_behaviour(r);
	}
	if (decides && policy->classifier.hold) {
		problem(r,
			"tensorguard-agent does not run: packets of rules with uid, cgroup or sni are held");
		is_behaviour(r);
	}
}

int instance_inspect(struct instance *in, struct report *ret_report, struct tg_error *e)
{
	struct report r = { .tunnels = calloc(in->policy->tunnel_count, sizeof(*r.tunnels)),
			    .tunnel_count = in->policy->tunnel_count };
	bool present = true;
	int ret;

	if (!r.tunnels)
		return tg_error(e, -ENOMEM, "out of memory");
	for (size_t i = 0; i < in->policy->tunnel_count; i++)
		inspect_tunnel(in, &r, i);
	ret = inspect_routing(in, &r, e);
	if (!ret && !in->kernel_only)
		ret = iptables_check(in->policy, &present, e);
	if (!ret && !present)
		problem(&r, "the iptables chains are missing, or not as they should be");
	if (!ret && !in->kernel_only)
		inspect_agent(in, &r);
	if (ret) {
		report_free(&r);
		return ret;
	}
	*ret_report = r;
	return 0;
}

void report_free(struct report *report)
{
	for (size_t i = 0; i < report->tunnel_count; i++)
		free(report->tunnels[i].wireguard.peers);
	free(report->tunnels);
	free(report->problems);
	memset(report, 0, sizeof(*report));
}
