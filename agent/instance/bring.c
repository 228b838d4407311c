/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Up, repair and reload are one algorithm: every step ensures its part, in an
 * order in which no moment lets matched traffic out unshaped or in clear:
 * blackholes, devices, programs, tables, addresses, and the routing rules last.
 */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "instance/instance.h"
#include "keys/state.h"
#include "shared/mark.h"

enum { SEGMENTER_TXQLEN = 1000 };

void segmenter_names(const char *tunnel, char ret_head[IFNAMSIZ], char ret_tail[IFNAMSIZ])
{
	snprintf(ret_head, IFNAMSIZ, "%.8ss", tunnel);
	snprintf(ret_tail, IFNAMSIZ, "%.8ssp", tunnel);
}

/* The backend that made the device stays; else the kernel's own WireGuard where there is one. */
static int choose_backend(struct net *net, const struct tg_tunnel *tunnel, enum wg_backend *ret_backend,
			  struct tg_error *e)
{
	bool available;
	int ret;

	if (!wg_backend_of(net, tunnel->name, ret_backend, NULL))
		return 0;
	ret = wg_kernel_available(net, &available, e);
	if (!ret)
		*ret_backend = available ? WG_KERNEL : WG_USERSPACE;
	return ret;
}

static int ensure_device(struct net *net, const struct tg_tunnel *tunnel, enum wg_backend *ret_backend,
			 unsigned *ret_ifindex, struct tg_error *e)
{
	struct net_link link;
	int ret = 0;

	if (!tunnel->external[0]) {
		ret = choose_backend(net, tunnel, ret_backend, e);
		if (!ret)
			ret = wg_device_ensure(net, tunnel->name, *ret_backend, tunnel->mtu, e);
	}
	if (!ret)
		ret = net_link_get(net, tg_tunnel_device(tunnel), &link, e);
	if (!ret)
		*ret_ifindex = link.ifindex;
	return ret;
}

static int ensure_segmenter(struct net *net, const struct dataplane *dp, const struct tg_tunnel *tunnel,
			    unsigned ifindex, struct tg_error *e)
{
	char head[IFNAMSIZ], tail[IFNAMSIZ], alias[64];
	struct tg_devices devices;
	struct net_link link;
	int ret;

	segmenter_names(tunnel->name, head, tail);
	snprintf(alias, sizeof(alias), TG_LINK_ALIAS "%s segmenter", tunnel->name);
	ret = net_veth_ensure(net, head, tail, tunnel->mtu, SEGMENTER_TXQLEN, alias, e);
	if (!ret)
		ret = net_link_get(net, head, &link, e);
	if (ret)
		return ret;
	devices = (struct tg_devices){ .tunnel_ifindex = ifindex, .segmenter_ifindex = link.ifindex };
	ret = dataplane_set_devices(dp, &devices, e);
	if (!ret)
		ret = dataplane_port_set(dp, link.peer_ifindex, TG_NO_QUEUE, e);
	if (!ret)
		ret = dataplane_attach(dp, DP_SEGMENT, link.peer_ifindex, DP_HOOK_INGRESS, e);
	return ret;
}

/* Paced by the agent: it has no queue here. */
static bool is_of_agent(const struct tg_compiled *compiled, size_t i)
{
	return compiled->classes[compiled->queues[i].class].queue == TG_NO_QUEUE;
}

/* Those that run as they are wanted first: a class that changed must not take another's queue. */
static int choose_queues(const struct dataplane *dp, const struct tg_compiled *compiled,
			 struct queue_choice *ret_choices, bool *taken, struct tg_error *e)
{
	bool chosen[TG_MAX_CLASSES] = { false };
	int ret = 0;

	for (int fit = QUEUE_AS_WANTED; fit <= QUEUE_ANY; fit++)
		for (size_t i = 0; i < compiled->queue_count; i++) {
			if (chosen[i] || is_of_agent(compiled, i))
				continue;
			ret = queue_choose(dp, &compiled->queues[i], (enum queue_fit)fit, taken,
					   &ret_choices[i], e);
			if (ret == -ENOENT)
				continue;
			if (ret)
				return ret;
			chosen[i] = taken[ret_choices[i].id] = true;
		}
	return 0;
}

static int ensure_queues(struct net *net, const struct dataplane *dp, const struct tg_tunnel *tunnel,
			 const struct tg_compiled *compiled, const struct roster *roster, unsigned *ids,
			 bool *taken, struct tg_error *e)
{
	struct queue_choice choices[TG_MAX_CLASSES];
	int ret = choose_queues(dp, compiled, choices, taken, e);

	for (size_t i = 0; i < compiled->queue_count && !ret; i++) {
		if (is_of_agent(compiled, i))
			continue;
		ids[i] = choices[i].id;
		ret = queue_ensure(dp, net, tunnel, &choices[i], &compiled->queues[i], roster, e);
	}
	return ret;
}

/* Sessions that are to change queues, those of peers that the policy has no more, then such whole queues. */
static int drain_unused(struct net *net, const struct dataplane *dp, const struct tg_tunnel *tunnel,
			const bool *taken, const struct roster *roster, struct tg_error *e)
{
	int ret = 0;

	for (unsigned id = 0; id < TG_MAX_QUEUES && !ret; id++)
		if (taken[id])
			ret = queue_settle(dp, tunnel, id, roster, e);
	for (unsigned id = 0; id < TG_MAX_QUEUES && !ret; id++)
		if (taken[id])
			ret = queue_drain_gone(dp, net, id, roster, e);

	for (unsigned id = 0; id < TG_MAX_QUEUES && !ret; id++) {
		char head[IFNAMSIZ], tail[IFNAMSIZ];
		struct tg_queue queue = { 0 };
		struct net_link link;

		if (taken[id])
			continue;
		queue_names(dp->tunnel, id, head, tail);
		if (id < dp->queues)
			ret = dataplane_queue_get(dp, id, &queue, e);
		/* without an entry: a run was killed after it had made the devices */
		if (!ret && (queue.head_ifindex || !net_link_get(net, head, &link, NULL)))
			ret = queue_drain(dp, net, id, e);
	}
	if (!ret)
		ret = roster_clear_gone(dp, roster, e);
	return ret;
}

static int ensure_metronomes(struct net *net, const struct dataplane *dp, const struct tg_tunnel *tunnel,
			     const struct tg_compiled *compiled, struct tg_error *e)
{
	int ret = 0;

	for (size_t i = 0; i < compiled->metronome_count && !ret; i++)
		ret = metronome_ensure(dp, net, tunnel, &compiled->metronomes[i], e);
	return ret;
}

static int remove_unused_metronomes(struct net *net, const struct dataplane *dp,
				    const struct tg_compiled *compiled, struct tg_error *e)
{
	bool used[TG_MAX_CLASSES] = { false };
	int ret = 0;

	for (size_t i = 0; i < compiled->metronome_count; i++)
		used[compiled->metronomes[i].class] = true;
	for (unsigned class = 0; class < TG_MAX_CLASSES && !ret; class ++)
		if (!used[class])
			ret = metronome_remove(dp, net, class, e);
	return ret;
}

/* Whether the tables in force are these; a needless switch would make the classifier decide every flow again.
 */
static bool tables_in_force(const struct dataplane *dp, const struct tg_compiled *compiled,
			    const unsigned *ids, bool same_policy)
{
	struct tg_class class, wanted;
	uint64_t generation;

	if (!same_policy || dataplane_generation(dp, &generation, NULL) || !generation)
		return false;
	for (unsigned i = 0; i < compiled->config.class_count; i++) {
		wanted = compiled->classes[i];
		if (wanted.queue != TG_NO_QUEUE)
			wanted.queue = ids[wanted.queue];
		if (dataplane_class_get(dp, generation, i, &class, NULL) ||
		    memcmp(&class, &wanted, sizeof(class)))
			return false;
	}
	return true;
}

/* Counters are kept per class number: a number that now means another class begins at 0. */
static int reset_renamed(const struct dataplane *dp, const struct tg_tunnel *old, const struct tg_tunnel *new,
			 struct tg_error *e)
{
	int ret = 0;

	for (unsigned i = 0; old && i < TG_MAX_CLASSES && !ret; i++) {
		bool was = i < old->class_count, is = i < new->class_count;

		if (was && (!is || strcmp(old->classes[i].name, new->classes[i].name)))
			ret = dataplane_stats_reset(dp, i, e);
	}
	return ret;
}

static const struct tg_tunnel *tunnel_of(const struct tg_policy *policy, const char *name)
{
	for (size_t i = 0; policy && i < policy->tunnel_count; i++)
		if (!strcmp(policy->tunnels[i].name, name))
			return &policy->tunnels[i];
	return NULL;
}

/* Agents that are peers, with the keys that they had last (the process keys). */
static int configure_wireguard(struct net *net, const struct tg_tunnel *tunnel, enum wg_backend backend,
			       struct tg_error *e)
{
	struct tg_tunnel resolved;
	int ret = keys_resolve(tunnel, &resolved, e);

	if (ret)
		return ret;
	ret = wg_configure(net, &resolved, backend, TG_MARK_OUTER, e);
	keys_resolved_free(tunnel, &resolved);
	return ret;
}

static int configure_device(struct net *net, const struct tg_tunnel *tunnel, enum wg_backend backend,
			    unsigned ifindex, struct tg_error *e)
{
	int ret = 0;

	if (tunnel->external[0])
		return 0;
	ret = configure_wireguard(net, tunnel, backend, e);
	if (!ret)
		ret = net_link_set_mtu(net, tunnel->name, tunnel->mtu, e);
	if (!ret)
		ret = net_link_set_up(net, tunnel->name, true, e);
	for (size_t i = 0; i < tunnel->address_count && !ret; i++)
		ret = net_addr_ensure(net, ifindex, &tunnel->addresses[i], e);
	if (!ret)
		ret = net_addr_prune(net, ifindex, tunnel->addresses, tunnel->address_count, e);
	return ret;
}

/*
 * Generic XDP turns the device's GRO off, so only where dummies are to be
 * expected. An external device may have an XDP program of somebody else: then
 * tg_ingress drops the dummies, behind the packet sockets instead of before.
 */
static int mute_dummies(const struct dataplane *dp, const struct tg_tunnel *tunnel, unsigned ifindex,
			struct tg_error *e)
{
	int ret;

	if (!tg_tunnel_has_dummies(tunnel))
		return dataplane_detach_mute(ifindex, e);
	ret = dataplane_attach_mute(dp, ifindex, e);
	return ret == -EBUSY && tunnel->external[0] ? 0 : ret;
}

/* Programs and tables of one tunnel; `old` is the policy that is in force, or NULL. */
static int shape_tunnel(struct instance *in, size_t n, const struct tg_policy *old, unsigned ifindex,
			struct tg_error *e)
{
	const struct tg_tunnel *tunnel = &in->policy->tunnels[n];
	unsigned ids[TG_MAX_CLASSES] = { 0 };
	bool taken[TG_MAX_QUEUES] = { false };
	struct tg_compiled *compiled = NULL;
	struct roster roster = { 0 };
	struct dataplane *dp = NULL;
	uint64_t generation;
	bool fresh;
	int ret;

	ret = tg_policy_compile(in->policy, n, &compiled, e);
	if (!ret)
		ret = dataplane_ensure(in->pin_dir, tunnel, in->policy->engine, &dp, &fresh, e);
	if (!ret)
		ret = roster_make(dp, tunnel, &roster, e);
	if (!ret)
		ret = roster_put(dp, &roster, e);
	if (!ret)
		ret = ensure_segmenter(in->net, dp, tunnel, ifindex, e);
	if (!ret)
		ret = dataplane_budget_set(dp, &compiled->budget, e);
	if (!ret)
		ret = ensure_queues(in->net, dp, tunnel, compiled, &roster, ids, taken, e);
	if (!ret)
		ret = ensure_metronomes(in->net, dp, tunnel, compiled, e);
	if (!ret)
		ret = reset_renamed(dp, tunnel_of(old, tunnel->name), tunnel, e);
	if (!ret && !tables_in_force(dp, compiled, ids, !fresh && old == in->policy))
		ret = dataplane_switch(dp, compiled, ids, roster.numbers, &generation, e);
	if (!ret)
		ret = dataplane_attach(dp, DP_INGRESS, ifindex, DP_HOOK_INGRESS, e);
	if (!ret)
		ret = mute_dummies(dp, tunnel, ifindex, e);
	if (!ret)
		ret = dataplane_attach(dp, DP_EGRESS, ifindex, DP_HOOK_EGRESS, e);
	if (!ret)
		ret = drain_unused(in->net, dp, tunnel, taken, &roster, e);
	if (!ret)
		ret = remove_unused_metronomes(in->net, dp, compiled, e);
	roster_free(&roster);
	dataplane_close(dp);
	tg_compiled_free(compiled);
	return ret;
}

static int tunnel_up(struct instance *in, size_t n, const struct tg_policy *old, unsigned ifindex,
		     enum wg_backend backend, struct tg_error *e)
{
	const struct tg_tunnel *tunnel = &in->policy->tunnels[n];
	int ret = shape_tunnel(in, n, old, ifindex, e);

	if (!ret)
		ret = configure_device(in->net, tunnel, backend, ifindex, e);
	return ret ? tg_error_prefix(e, ret, "tunnel %s", tunnel->name) : 0;
}

static int detach_all(struct net *net, unsigned ifindex, struct tg_error *e)
{
	int ret = dataplane_detach_mute(ifindex, e);

	return ret ? ret : dataplane_detach(net, ifindex, e);
}

static int release_external(struct instance *in, const char *name, struct tg_error *e)
{
	struct dataplane *dp;
	struct tg_devices devices;
	char device[IFNAMSIZ];
	struct net_link link;
	int ret = 0;

	/* An external device stays: take our filters off it. Ours go with their devices. */
	if (!dataplane_open(in->pin_dir, name, &dp, NULL)) {
		if (!dataplane_devices_get(dp, &devices, NULL) && devices.tunnel_ifindex &&
		    if_indextoname(devices.tunnel_ifindex, device) &&
		    !net_link_get(in->net, device, &link, NULL) &&
		    strncmp(link.alias, TG_LINK_ALIAS, sizeof(TG_LINK_ALIAS) - 1))
			ret = detach_all(in->net, devices.tunnel_ifindex, e);
		dataplane_close(dp);
	}
	return ret;
}

/* Links whose alias begins with `prefix`; both ends of a pair carry it, and the second is gone with the
 * first. */
static int remove_links(struct net *net, const char *prefix, struct tg_error *e)
{
	char **names;
	size_t count;
	int ret = net_link_list(net, prefix, &names, &count, e);

	if (ret)
		return ret;
	for (size_t i = 0; i < count; i++) {
		if (!ret)
			ret = net_link_remove(net, names[i], e);
		free(names[i]);
	}
	free(names);
	return ret;
}

static int remove_tunnel(struct instance *in, const char *name, struct tg_error *e)
{
	char alias[64];
	int ret = release_external(in, name, e);

	/* "tensorguard:tg0" and "tensorguard:tg0 queue", but not "tensorguard:tg01" */
	snprintf(alias, sizeof(alias), TG_LINK_ALIAS "%s ", name);
	if (!ret)
		ret = remove_links(in->net, alias, e);
	if (!ret)
		ret = net_link_remove(in->net, name, e);
	if (ret == -EPERM)
		ret = 0;	/* a device of that name which is not ours */
	if (!ret)
		ret = dataplane_unpin(in->pin_dir, name, e);
	return ret;
}

/* Filters of ours on devices that the policy does not name (any more), whether pins still tell of them or
 * not. */
static int detach_strays(struct net *net, const struct tg_policy *policy, struct tg_error *e)
{
	struct if_nameindex *all = if_nameindex();
	int ret = 0;

	if (!all)
		return tg_error(e, -errno, "cannot list links: %s", strerror(errno));
	for (struct if_nameindex *i = all; i->if_index && !ret; i++) {
		bool wanted = false;
		struct net_link link;

		for (size_t n = 0; policy && n < policy->tunnel_count; n++)
			wanted |= !strcmp(tg_tunnel_device(&policy->tunnels[n]), i->if_name);
		/* what is ours altogether keeps its filters for as long as it exists */
		if (!wanted && !net_link_get(net, i->if_name, &link, NULL) &&
		    strncmp(link.alias, TG_LINK_ALIAS, sizeof(TG_LINK_ALIAS) - 1))
			ret = detach_all(net, i->if_index, e);
	}
	if_freenameindex(all);
	return ret;
}

/* Whether the policy wants the link whose alias is "tensorguard:NAME" (a device) or "tensorguard:NAME use".
 */
static bool link_wanted(const struct tg_policy *policy, const char *alias)
{
	const char *name = alias + sizeof(TG_LINK_ALIAS) - 1;
	size_t len = strcspn(name, " ");

	for (size_t i = 0; i < policy->tunnel_count; i++)
		if (strlen(policy->tunnels[i].name) == len && !memcmp(policy->tunnels[i].name, name, len))
			return name[len] || !policy->tunnels[i].external[0];
	return false;
}

/* Links of tunnels that have no pins, and devices of tunnels that are external now. */
static int remove_stray_links(struct instance *in, struct tg_error *e)
{
	char **names;
	size_t count;
	int ret = net_link_list(in->net, TG_LINK_ALIAS, &names, &count, e);

	if (ret)
		return ret;
	for (size_t i = 0; i < count; i++) {
		struct net_link link;

		if (!ret && !net_link_get(in->net, names[i], &link, NULL) && link.alias[0] &&
		    !link_wanted(in->policy, link.alias))
			ret = net_link_remove(in->net, names[i], e);
		free(names[i]);
	}
	free(names);
	return ret;
}

/* Tunnels that the policy does not name any more. */
static int remove_others(struct instance *in, struct tg_error *e)
{
	char **names;
	size_t count;
	int ret = dataplane_list(in->pin_dir, &names, &count, e);

	if (ret)
		return ret;
	for (size_t i = 0; i < count; i++) {
		if (!ret && !tunnel_of(in->policy, names[i]))
			ret = remove_tunnel(in, names[i], e);
		free(names[i]);
	}
	free(names);
	if (!ret)
		ret = remove_stray_links(in, e);
	return ret ? ret : detach_strays(in->net, in->policy, e);
}

/* While two policies overlap, packets must fit the cells of both. */
static void overlap_caps(const struct tg_policy *old, const struct tg_policy *new, unsigned *caps)
{
	for (size_t i = 0; i < new->tunnel_count; i++) {
		const struct tg_tunnel *before = tunnel_of(old, new->tunnels[i].name);
		unsigned a = before ? tg_tunnel_smallest_cell(before) : 0,
			 b = tg_tunnel_smallest_cell(&new->tunnels[i]);

		caps[i] = a && (!b || a < b) ? a : b;
	}
}

static int apply_routing(struct instance *in, const unsigned *ifindexes, const unsigned *caps, bool prune,
			 struct tg_error *e)
{
	struct routing plan;
	int ret = routing_plan(in->policy, ifindexes, caps, &plan, e);

	if (ret)
		return ret;
	ret = routing_apply(in->net, &plan, prune, e);
	routing_free(&plan);
	return ret;
}

/* The rules of both policies. A tunnel that is not up yet takes no routes: it was not in use either. */
static int apply_overlap(struct instance *in, const struct tg_policy *old, const unsigned *ifindexes,
			 struct tg_error *e)
{
	unsigned running[TG_MAX_TUNNELS] = { 0 }, caps[TG_MAX_TUNNELS];

	for (size_t i = 0; i < in->policy->tunnel_count; i++) {
		struct net_link link;
		int ret = net_link_get(in->net, tg_tunnel_device(&in->policy->tunnels[i]), &link, e);

		if (ret)
			return ret;
		if (link.up)
			running[i] = ifindexes[i];
	}
	overlap_caps(old, in->policy, caps);
	return apply_routing(in, running, caps, false, e);
}

static int apply_blackholes(struct instance *in, struct tg_error *e)
{
	const unsigned none[TG_MAX_TUNNELS] = { 0 };
	struct routing plan;
	int ret = routing_plan(in->policy, none, NULL, &plan, e);

	if (ret)
		return ret;
	ret = routing_apply_blackholes(in->net, &plan, e);
	routing_free(&plan);
	return ret;
}

/* Before a queue or a table of a running policy is touched: a key that is missing must not cost it a session.
 */
static int check_keys(const struct tg_policy *policy, struct tg_error *e)
{
	int ret = 0;

	for (size_t i = 0; i < policy->tunnel_count && !ret; i++) {
		if (!policy->tunnels[i].external[0])
			ret = keys_ensure(&policy->tunnels[i], e);
		if (!ret && !policy->tunnels[i].external[0])
			ret = wg_keys_check(&policy->tunnels[i], e);
		if (ret)
			tg_error_prefix(e, ret, "tunnel %s", policy->tunnels[i].name);
	}
	return ret;
}

int instance_bring_up(struct instance *in, const struct tg_policy *old, struct tg_error *e)
{
	const struct tg_policy *policy = in->policy;
	unsigned ifindexes[TG_MAX_TUNNELS] = { 0 };
	enum wg_backend backends[TG_MAX_TUNNELS] = { WG_KERNEL };
	int ret;

	ret = apply_blackholes(in, e);
	if (!ret)
		ret = check_keys(policy, e);
	for (size_t i = 0; i < policy->tunnel_count && !ret; i++) {
		ret = ensure_device(in->net, &policy->tunnels[i], &backends[i], &ifindexes[i], e);
		if (ret)
			tg_error_prefix(e, ret, "tunnel %s", policy->tunnels[i].name);
	}
	if (!ret && old && old != policy)
		ret = apply_overlap(in, old, ifindexes, e);
	for (size_t i = 0; i < policy->tunnel_count && !ret; i++)
		ret = tunnel_up(in, i, old, ifindexes[i], backends[i], e);
	if (!ret)
		ret = iptables_ensure(policy, e);
	if (!ret)
		ret = apply_routing(in, ifindexes, NULL, true, e);
	if (!ret)
		ret = remove_others(in, e);
	return ret;
}

/* Devices, programs and pins. */
static int remove_shaping(struct instance *in, struct tg_error *e)
{
	char **names;
	size_t count;
	int ret = dataplane_list(in->pin_dir, &names, &count, e);

	if (ret)
		return ret;
	for (size_t i = 0; i < count; i++) {
		if (!ret)
			ret = remove_tunnel(in, names[i], e);
		free(names[i]);
	}
	free(names);
	/* what a run that was killed early had made before its first pin */
	if (!ret)
		ret = remove_links(in->net, TG_LINK_ALIAS, e);
	/* empty, when somebody has taken the pins out of it; else it stays, or was never there */
	rmdir(in->pin_dir);
	return ret ? ret : detach_strays(in->net, NULL, e);
}

int instance_bring_down(struct instance *in, struct tg_error *e)
{
	int ret = routing_remove(in->net, e);

	if (!ret)
		ret = iptables_remove(e);
	return ret ? ret : remove_shaping(in, e);
}

/* Blackholes come first: whatever fails behind them, they hold. */
int instance_fall_closed(struct instance *in, struct tg_policy *policy, struct tg_error *e)
{
	struct tg_error second = { "" };
	int ret = instance_lock_down(in, policy, e), removed = remove_shaping(in, ret ? &second : e);

	return ret ? ret : removed;
}
