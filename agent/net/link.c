/* SPDX-License-Identifier: BSD-3-Clause */
#include <ctype.h>
#include <errno.h>
#include <linux/if_link.h>
#include <linux/veth.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "net/internal.h"
#include "net/userspace.h"

bool net_name_valid(const char *name)
{
	size_t len = strnlen(name, IFNAMSIZ);

	if (!len || len >= IFNAMSIZ || !strcmp(name, ".") || !strcmp(name, ".."))
		return false;
	for (; *name; name++)
		if (isspace((unsigned char)*name) || *name == '/' || *name == ':' || *name == '%')
			return false;
	return true;
}

bool net_link_is_ours(const struct net_link_full *full)
{
	if (full->link.alias[0])
		return !strncmp(full->link.alias, TG_LINK_ALIAS, strlen(TG_LINK_ALIAS));
	return full->group == NET_LINK_GROUP;
}

/* ---- reading ---- */

static void read_kind(const struct nlattr *info, char kind[static 16])
{
	const struct nlattr *table[IFLA_INFO_MAX + 1] = { NULL };
	struct net_attrs attrs = { table, IFLA_INFO_MAX };

	if (info && mnl_attr_parse_nested(info, net_gather, &attrs) >= 0)
		net_attr_text(table[IFLA_INFO_KIND], kind, 16);
}

static unsigned read_xdp(const struct nlattr *xdp)
{
	const struct nlattr *table[IFLA_XDP_MAX + 1] = { NULL };
	struct net_attrs attrs = { table, IFLA_XDP_MAX };

	if (!xdp || mnl_attr_parse_nested(xdp, net_gather, &attrs) < 0)
		return 0;
	return net_attr_u32(table[IFLA_XDP_SKB_PROG_ID], 0);
}

static int read_link(const struct nlmsghdr *reply, struct net_link_full *ret_full)
{
	const struct nlattr *table[IFLA_MAX + 1] = { NULL };
	struct net_attrs attrs = { table, IFLA_MAX };
	const struct ifinfomsg *header = mnl_nlmsg_get_payload(reply);
	struct net_link_full full = { .flags = 0 };

	if (reply->nlmsg_type != RTM_NEWLINK || mnl_nlmsg_get_payload_len(reply) < sizeof(*header) ||
	    mnl_attr_parse(reply, sizeof(*header), net_gather, &attrs) < 0)
		return -EBADMSG;
	full.flags = header->ifi_flags;
	full.group = net_attr_u32(table[IFLA_GROUP], 0);
	full.link.ifindex = (unsigned)header->ifi_index;
	full.link.up = header->ifi_flags & IFF_UP;
	/* a kernel that does not say so has no complaint */
	full.link.carrier = !table[IFLA_CARRIER] || mnl_attr_get_payload_len(table[IFLA_CARRIER]) != 1 ||
			    mnl_attr_get_u8(table[IFLA_CARRIER]);
	full.link.mtu = net_attr_u32(table[IFLA_MTU], 0);
	full.link.txqlen = net_attr_u32(table[IFLA_TXQLEN], 0);
	full.link.gso_max_segs = net_attr_u32(table[IFLA_GSO_MAX_SEGS], 0);
	net_attr_text(table[IFLA_IFNAME], full.name, sizeof(full.name));
	net_attr_text(table[IFLA_IFALIAS], full.link.alias, sizeof(full.link.alias));
	full.link.xdp_id = read_xdp(table[IFLA_XDP]);
	read_kind(table[IFLA_LINKINFO], full.link.kind);
	/* with a namespace id beside it the index belongs to another namespace */
	if (!strcmp(full.link.kind, "veth") && !table[IFLA_LINK_NETNSID])
		full.link.peer_ifindex = net_attr_u32(table[IFLA_LINK], 0);
	*ret_full = full;
	return 0;
}

static int take_link(const struct nlmsghdr *reply, void *data)
{
	return read_link(reply, data);
}

static struct nlmsghdr *link_message(struct net *net, uint16_t type, uint16_t flags, unsigned ifindex)
{
	struct nlmsghdr *message = net_message(net, type, flags);
	struct ifinfomsg *header = mnl_nlmsg_put_extra_header(message, sizeof(*header));

	header->ifi_family = AF_UNSPEC;
	header->ifi_index = (int)ifindex;
	return message;
}

int net_link_query(struct net *net, const char *name, struct net_link_full *ret_full, struct tg_error *e)
{
	struct nlmsghdr *message;
	int err;

	if (!net_name_valid(name))
		return tg_error(e, -EINVAL, "\"%s\" is no device name", name);
	message = link_message(net, RTM_GETLINK, 0, 0);
	mnl_attr_put_strz(message, IFLA_IFNAME, name);
	err = net_request(net, net->route, message, take_link, ret_full, e);
	return err ? tg_error_prefix(e, err, "link %s", name) : 0;
}

int net_link_get(struct net *net, const char *name, struct net_link *ret_link, struct tg_error *e)
{
	struct net_link_full full;
	int err = net_link_query(net, name, &full, e);

	if (!err)
		*ret_link = full.link;
	return err;
}

struct name_list {
	struct net_array names;	/* char * */
	const char *prefix;
};

static void names_free(void *data)
{
	struct name_list *list = data;
	char **names = list->names.data;

	for (size_t i = 0; i < list->names.count; i++)
		free(names[i]);
	free(names);
	list->names = (struct net_array){ .data = NULL };
}

static int take_name(const struct nlmsghdr *reply, void *data)
{
	struct name_list *list = data;
	struct net_link_full full;
	char **entry;
	int err = read_link(reply, &full);

	if (err)
		return err;
	/* a run that was killed may have left links with no alias yet */
	if (full.link.alias[0] ? !!strncmp(full.link.alias, list->prefix, strlen(list->prefix))
			       : strcmp(list->prefix, TG_LINK_ALIAS) || !net_link_is_ours(&full))
		return 0;
	entry = net_array_add(&list->names, sizeof(*entry));
	if (!entry)
		return -ENOMEM;
	*entry = strdup(full.name);
	return *entry ? 0 : -ENOMEM;
}

int net_link_list(struct net *net, const char *alias_prefix, char ***ret_names, size_t *ret_count,
		  struct tg_error *e)
{
	struct name_list list = { .prefix = alias_prefix };
	int err;

	err = net_dump(net, net->route, link_message(net, RTM_GETLINK, NLM_F_DUMP, 0), take_name, names_free,
		       &list, e);
	if (err) {
		names_free(&list);
		return tg_error_prefix(e, err, "cannot list links");
	}
	*ret_names = list.names.data;
	*ret_count = list.names.count;
	return 0;
}

/* ---- changing ---- */

int net_link_set_up(struct net *net, const char *name, bool up, struct tg_error *e)
{
	struct net_link_full full;
	struct nlmsghdr *message;
	struct ifinfomsg *header;
	int err = net_link_query(net, name, &full, e);

	if (err || full.link.up == up)
		return err;
	message = link_message(net, RTM_NEWLINK, 0, full.link.ifindex);
	header = mnl_nlmsg_get_payload(message);
	header->ifi_flags = up ? IFF_UP : 0;
	header->ifi_change = IFF_UP;
	err = net_apply(net, message, e);
	return err ? tg_error_prefix(e, err, "link %s: cannot set it %s", name, up ? "up" : "down") : 0;
}

int net_link_set_mtu(struct net *net, const char *name, unsigned mtu, struct tg_error *e)
{
	struct net_link_full full;
	struct nlmsghdr *message;
	int err = net_link_query(net, name, &full, e);

	if (err || full.link.mtu == mtu)
		return err;
	message = link_message(net, RTM_NEWLINK, 0, full.link.ifindex);
	mnl_attr_put_u32(message, IFLA_MTU, mtu);
	err = net_apply(net, message, e);
	return err ? tg_error_prefix(e, err, "link %s: cannot set MTU %u", name, mtu) : 0;
}

int net_link_set_alias(struct net *net, const char *name, const char *alias, struct tg_error *e)
{
	struct net_link_full full;
	struct nlmsghdr *message;
	int err;

	if (strlen(alias) >= sizeof(full.link.alias))
		return tg_error(e, -EINVAL, "link %s: alias longer than %zu characters", name,
				sizeof(full.link.alias) - 1);
	err = net_link_query(net, name, &full, e);
	if (err || !strcmp(full.link.alias, alias))
		return err;
	message = link_message(net, RTM_NEWLINK, 0, full.link.ifindex);
	mnl_attr_put_str(message, IFLA_IFALIAS, alias);
	err = net_apply(net, message, e);
	return err ? tg_error_prefix(e, err, "link %s: cannot set alias \"%s\"", name, alias) : 0;
}

static int delete_link(struct net *net, const struct net_link_full *full, struct tg_error *e)
{
	int err = net_apply(net, link_message(net, RTM_DELLINK, 0, full->link.ifindex), e);

	if (err == -ENODEV)
		return 0;
	return err ? tg_error_prefix(e, err, "link %s: cannot delete it", full->name) : 0;
}

int net_link_remove(struct net *net, const char *name, struct tg_error *e)
{
	struct net_link_full full;
	int err = net_link_query(net, name, &full, e);
	bool tun;

	if (err == -ENODEV)
		return wg_userspace_gone(name, 0, e);
	if (err)
		return err;
	if (!net_link_is_ours(&full))
		return tg_error(e, -EPERM, "link %s: not made by TensorGuard, left alone", name);
	tun = !strcmp(full.link.kind, "tun");
	/* a process that starts, of a run that was killed, would make its socket after we looked */
	if (tun)
		wg_userspace_await(name, WG_ADOPT_WAIT_MS, NULL);
	err = delete_link(net, &full, e);
	if (!err && tun)
		err = wg_userspace_gone(name, WG_EXIT_WAIT_MS, e);
	return err;
}

/* ---- the internal pairs ---- */

enum { IPV6_LEAST_MTU = 1280 };
enum { PAIR_FLAGS_OFF = IFF_MULTICAST, PAIR_FLAGS_ON = IFF_NOARP };

struct pair {
	const char *names[2];
	struct net_link_full ends[2];
	bool there[2];
	unsigned mtu, txqlen;
	const char *alias;
};

/*
 * What both ends have from the first instant: a packet of the kernel's own must not get in even while we
 * work.
 */
static void put_end(struct nlmsghdr *message, struct ifinfomsg *header, const struct pair *pair, int end)
{
	header->ifi_flags = PAIR_FLAGS_ON;
	header->ifi_change = PAIR_FLAGS_ON | PAIR_FLAGS_OFF;
	mnl_attr_put_strz(message, IFLA_IFNAME, pair->names[end]);
	mnl_attr_put_u32(message, IFLA_MTU, pair->mtu);
	mnl_attr_put_u32(message, IFLA_TXQLEN, pair->txqlen);
	mnl_attr_put_u32(message, IFLA_GSO_MAX_SEGS, 1);
	mnl_attr_put_u32(message, IFLA_GROUP, NET_LINK_GROUP);
}

static int create_pair(struct net *net, const struct pair *pair, struct tg_error *e)
{
	struct nlmsghdr *message = link_message(net, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0);
	struct nlattr *info, *data, *peer;
	int err;

	put_end(message, mnl_nlmsg_get_payload(message), pair, 0);
	info = mnl_attr_nest_start(message, IFLA_LINKINFO);
	mnl_attr_put_strz(message, IFLA_INFO_KIND, "veth");
	data = mnl_attr_nest_start(message, IFLA_INFO_DATA);
	peer = mnl_attr_nest_start(message, VETH_INFO_PEER);
	put_end(message, mnl_nlmsg_put_extra_header(message, sizeof(struct ifinfomsg)), pair, 1);
	mnl_attr_nest_end(message, peer);
	mnl_attr_nest_end(message, data);
	mnl_attr_nest_end(message, info);
	err = net_apply(net, message, e);
	if (err)
		return tg_error_prefix(e, err, "link %s: cannot create a veth pair with %s", pair->names[0],
				       pair->names[1]);
	return 0;
}

static int query_pair(struct net *net, struct pair *pair, struct tg_error *e)
{
	for (int i = 0; i < 2; i++) {
		int err = net_link_query(net, pair->names[i], &pair->ends[i], e);

		if (err && err != -ENODEV)
			return err;
		pair->there[i] = !err;
		if (pair->there[i] && !net_link_is_ours(&pair->ends[i]))
			return tg_error(e, -EEXIST, "link %s: exists and was not made by TensorGuard",
					pair->names[i]);
	}
	return 0;
}

static bool is_pair(const struct pair *pair)
{
	return pair->there[0] && pair->there[1] &&
	       pair->ends[0].link.peer_ifindex == pair->ends[1].link.ifindex &&
	       pair->ends[1].link.peer_ifindex == pair->ends[0].link.ifindex;
}

/*
 * Removes what is left of a pair of ours that is not one any more: an end alone, or two ends of different
 * pairs.
 */
static int remove_remains(struct net *net, struct pair *pair, struct tg_error *e)
{
	for (int i = 0; i < 2; i++) {
		int err = pair->there[i] ? delete_link(net, &pair->ends[i], e) : 0;

		if (err)
			return err;
	}
	return 0;
}

static int make_pair(struct net *net, struct pair *pair, struct tg_error *e)
{
	int err = query_pair(net, pair, e);

	if (err || is_pair(pair))
		return err;
	err = remove_remains(net, pair, e);
	if (!err)
		err = create_pair(net, pair, e);
	if (!err)
		err = query_pair(net, pair, e);
	if (!err && !is_pair(pair))
		err = tg_error(e, -EIO, "link %s: its other end is not %s", pair->names[0], pair->names[1]);
	return err;
}

/* No link-local address, hence no neighbour discovery and no MLD. */
static void put_no_autoconf(struct nlmsghdr *message)
{
	struct nlattr *spec = mnl_attr_nest_start(message, IFLA_AF_SPEC);
	struct nlattr *inet6 = mnl_attr_nest_start(message, AF_INET6);

	mnl_attr_put_u8(message, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
	mnl_attr_nest_end(message, inet6);
	mnl_attr_nest_end(message, spec);
}

/*
 * Below the least MTU of IPv6 a device has no IPv6 at all. Raising it above
 * makes it anew with the kernel's defaults: on a device that is up it would
 * talk at once.
 */
static int settle_mtu(struct net *net, const struct pair *pair, int end, struct tg_error *e)
{
	const struct net_link_full *full = &pair->ends[end];
	int err = 0;

	if (full->link.mtu == pair->mtu)
		return 0;
	if (full->link.up && full->link.mtu < IPV6_LEAST_MTU && pair->mtu >= IPV6_LEAST_MTU)
		err = net_link_set_up(net, pair->names[end], false, e);
	return err ? err : net_link_set_mtu(net, pair->names[end], pair->mtu, e);
}

/*
 * Brings one end into its final state, in the order that keeps it silent: the kernel's own talk off before
 * up.
 */
static int settle_end(struct net *net, const struct pair *pair, int end, struct tg_error *e)
{
	const struct net_link_full *full = &pair->ends[end];
	struct nlmsghdr *message;
	struct ifinfomsg *header;
	bool ipv6, off;
	int err;

	err = settle_mtu(net, pair, end, e);
	if (err)
		return err;
	ipv6 = !net_conf_get(AF_INET6, pair->names[end], "disable_ipv6", &off);
	message = link_message(net, RTM_NEWLINK, 0, full->link.ifindex);
	header = mnl_nlmsg_get_payload(message);
	header->ifi_flags = PAIR_FLAGS_ON;
	header->ifi_change = PAIR_FLAGS_ON | PAIR_FLAGS_OFF;
	if (ipv6)
		put_no_autoconf(message);
	if (full->link.txqlen != pair->txqlen)
		mnl_attr_put_u32(message, IFLA_TXQLEN, pair->txqlen);
	if (full->link.gso_max_segs != 1)
		mnl_attr_put_u32(message, IFLA_GSO_MAX_SEGS, 1);
	mnl_attr_put_str(message, IFLA_IFALIAS, pair->alias);
	err = net_apply(net, message, e);
	if (err)
		return tg_error_prefix(e, err, "link %s: cannot configure it", pair->names[end]);
	if (ipv6 && !off)
		err = net_conf_set(AF_INET6, pair->names[end], "disable_ipv6", true, e);
	return err ? err : net_offload_off(pair->names[end], e);
}

int net_veth_ensure(struct net *net, const char *name, const char *peer, unsigned mtu, unsigned txqlen,
		    const char *alias, struct tg_error *e)
{
	struct pair pair = { .names = { name, peer }, .mtu = mtu, .txqlen = txqlen, .alias = alias };
	int err;

	if (strncmp(alias, TG_LINK_ALIAS, strlen(TG_LINK_ALIAS)) ||
	    strlen(alias) >= sizeof(pair.ends[0].link.alias))
		return tg_error(e, -EINVAL, "link %s: alias \"%s\" does not begin with %s or is too long",
				name, alias, TG_LINK_ALIAS);
	err = make_pair(net, &pair, e);
	for (int i = 0; i < 2 && !err; i++)
		err = settle_end(net, &pair, i, e);
	for (int i = 0; i < 2 && !err; i++)
		err = net_link_set_up(net, pair.names[i], true, e);
	return err;
}
