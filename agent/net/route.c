/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net/internal.h"

static struct nlmsghdr *route_message(struct net *net, uint16_t type, uint16_t flags,
				      const struct net_route *route)
{
	struct nlmsghdr *message = net_message(net, type, flags);
	struct rtmsg *header = mnl_nlmsg_put_extra_header(message, sizeof(*header));

	header->rtm_family = (uint8_t)route->to.family;
	header->rtm_dst_len = route->to.length;
	header->rtm_table = route->table < 256 ? (uint8_t)route->table : RT_TABLE_UNSPEC;
	header->rtm_protocol = TG_RT_PROTOCOL;
	header->rtm_type = RTN_UNICAST;
	header->rtm_scope = route->to.family == AF_INET ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
	mnl_attr_put_u32(message, RTA_TABLE, route->table);
	if (route->to.length)
		mnl_attr_put(message, RTA_DST, net_family_bytes(route->to.family), route->to.addr);
	if (route->ifindex)
		mnl_attr_put_u32(message, RTA_OIF, route->ifindex);
	return message;
}

/* `how`: NLM_F_REPLACE or NLM_F_EXCL */
static int route_put(struct net *net, uint16_t how, const struct net_route *route, struct tg_error *e)
{
	struct nlmsghdr *message = route_message(net, RTM_NEWROUTE, NLM_F_CREATE | how, route);
	char text[INET6_ADDRSTRLEN + 4];
	struct nlattr *metrics;
	int err;

	/*
	 * IPv6 too, and below its least MTU of 1280: kernels 5.10 to 6.18 take such a lock and go on sending.
	 * Seen on 6.18: UDP is cut into fragments of that size, TCP's segments fit it. Without it everything
	 * longer than a small cell would be dropped. A test in tests/netns/net holds the kernel to it.
	 */
	if (route->mtu_lock) {
		metrics = mnl_attr_nest_start(message, RTA_METRICS);
		mnl_attr_put_u32(message, RTAX_LOCK, 1u << RTAX_MTU);
		mnl_attr_put_u32(message, RTAX_MTU, route->mtu_lock);
		mnl_attr_nest_end(message, metrics);
	}
	err = net_apply(net, message, e);
	if (err)
		tg_error_prefix(e, err, "cannot add route %s in table %u through device %u",
				net_cidr_text(&route->to, text), route->table, route->ifindex);
	return err;
}

/* The host has no IPv6: not compiled in, not booted with, or turned off for every device. */
static bool ipv6_off(void)
{
	bool off;

	return !net_has_ipv6() || (!net_conf_get(AF_INET6, "all", "disable_ipv6", &off) && off);
}

int net_route_ensure(struct net *net, uint32_t table, unsigned ifindex, unsigned mtu_lock, struct tg_error *e)
{
	struct net_route route = { .table = table, .ifindex = ifindex, .mtu_lock = mtu_lock };
	int err;

	route.to.family = AF_INET;
	err = route_put(net, NLM_F_REPLACE, &route, e);
	if (err)
		return err;
	route.to.family = AF_INET6;
	err = net_has_ipv6() ? route_put(net, NLM_F_REPLACE, &route, e) : 0;
	/* there is no IPv6 traffic that the route could be missing for */
	return err && ipv6_off() ? 0 : err;
}

int net_route_to_ensure(struct net *net, const struct tg_cidr *to, unsigned ifindex, unsigned mtu_lock,
			struct tg_error *e)
{
	struct net_route route = {
		.to = *to, .table = RT_TABLE_MAIN, .ifindex = ifindex, .mtu_lock = mtu_lock
	};
	struct net_route *all;
	bool ours = false;
	size_t count;
	int err;

	err = net_route_list(net, &all, &count, e);
	if (err)
		return err;
	for (size_t i = 0; i < count; i++)
		ours |= all[i].table == RT_TABLE_MAIN && net_cidr_equal(&all[i].to, to);
	free(all);
	/* NLM_F_REPLACE could take the place of somebody else's route to the same prefix */
	return route_put(net, ours ? NLM_F_REPLACE : NLM_F_EXCL, &route, e);
}

static void read_metrics(const struct nlattr *nest, struct net_route *route)
{
	const struct nlattr *table[RTAX_MAX + 1] = { NULL };
	struct net_attrs attrs = { table, RTAX_MAX };

	if (nest && mnl_attr_parse_nested(nest, net_gather, &attrs) >= 0 &&
	    (net_attr_u32(table[RTAX_LOCK], 0) & 1u << RTAX_MTU))
		route->mtu_lock = net_attr_u32(table[RTAX_MTU], 0);
}

static int take_route(const struct nlmsghdr *reply, void *data)
{
	const struct nlattr *table[RTA_MAX + 1] = { NULL };
	struct net_attrs attrs = { table, RTA_MAX };
	const struct rtmsg *header = mnl_nlmsg_get_payload(reply);
	struct net_route *route;

	if (mnl_nlmsg_get_payload_len(reply) < sizeof(*header))
		return -EBADMSG;
	if (header->rtm_protocol != TG_RT_PROTOCOL || header->rtm_flags & RTM_F_CLONED ||
	    (header->rtm_family != AF_INET && header->rtm_family != AF_INET6))
		return 0;
	if (mnl_attr_parse(reply, sizeof(*header), net_gather, &attrs) < 0)
		return -EBADMSG;
	route = net_array_add(data, sizeof(*route));
	if (!route)
		return -ENOMEM;
	route->to.family = header->rtm_family;
	route->to.length = header->rtm_dst_len;
	if (table[RTA_DST] &&
	    mnl_attr_get_payload_len(table[RTA_DST]) >= net_family_bytes(header->rtm_family))
		memcpy(route->to.addr, mnl_attr_get_payload(table[RTA_DST]),
		       net_family_bytes(header->rtm_family));
	route->table = net_attr_u32(table[RTA_TABLE], header->rtm_table);
	route->ifindex = net_attr_u32(table[RTA_OIF], 0);
	read_metrics(table[RTA_METRICS], route);
	return 0;
}

static void array_restart(void *data)
{
	struct net_array *array = data;

	free(array->data);
	*array = (struct net_array){ .data = NULL };
}

int net_route_list(struct net *net, struct net_route **ret_routes, size_t *ret_count, struct tg_error *e)
{
	struct net_array routes = { .data = NULL };
	struct nlmsghdr *message = net_message(net, RTM_GETROUTE, NLM_F_DUMP);
	int err;

	mnl_nlmsg_put_extra_header(message, sizeof(struct rtmsg));
	err = net_dump(net, net->route, message, take_route, array_restart, &routes, e);
	if (err) {
		array_restart(&routes);
		return tg_error_prefix(e, err, "cannot list routes");
	}
	*ret_routes = routes.data;
	*ret_count = routes.count;
	return 0;
}

int net_route_remove(struct net *net, const struct net_route *route, struct tg_error *e)
{
	char text[INET6_ADDRSTRLEN + 4];
	int err;

	err = net_apply(net, route_message(net, RTM_DELROUTE, 0, route), e);
	/* gone already, or gone with its device */
	if (!err || err == -ESRCH || err == -ENODEV)
		return 0;
	return tg_error_prefix(e, err, "cannot remove route %s in table %u", net_cidr_text(&route->to, text),
			       route->table);
}
