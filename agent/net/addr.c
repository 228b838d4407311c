/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <linux/if_addr.h>
#include <stdlib.h>
#include <string.h>

#include "net/internal.h"

struct address {
	struct tg_cidr cidr;
	bool link_local;	/* IPv6, made by the kernel */
};

struct address_list {
	struct net_array addresses;
	unsigned ifindex;
};

static int take_address(const struct nlmsghdr *reply, void *data)
{
	const struct nlattr *table[IFA_MAX + 1] = { NULL };
	struct net_attrs attrs = { table, IFA_MAX };
	const struct ifaddrmsg *header = mnl_nlmsg_get_payload(reply);
	struct address_list *list = data;
	const struct nlattr *value;
	struct address *entry;

	if (mnl_nlmsg_get_payload_len(reply) < sizeof(*header) ||
	    mnl_attr_parse(reply, sizeof(*header), net_gather, &attrs) < 0)
		return -EBADMSG;
	if (header->ifa_index != list->ifindex ||
	    (header->ifa_family != AF_INET && header->ifa_family != AF_INET6))
		return 0;
	/* on a link with a peer address IFA_ADDRESS is the peer's */
	value = table[IFA_LOCAL] ? table[IFA_LOCAL] : table[IFA_ADDRESS];
	if (!value || mnl_attr_get_payload_len(value) < net_family_bytes(header->ifa_family))
		return -EBADMSG;
	entry = net_array_add(&list->addresses, sizeof(*entry));
	if (!entry)
		return -ENOMEM;
	entry->cidr.family = header->ifa_family;
	entry->cidr.length = header->ifa_prefixlen;
	memcpy(entry->cidr.addr, mnl_attr_get_payload(value), net_family_bytes(header->ifa_family));
	entry->link_local = header->ifa_family == AF_INET6 && header->ifa_scope == RT_SCOPE_LINK;
	return 0;
}

static void addresses_free(void *data)
{
	struct address_list *list = data;

	free(list->addresses.data);
	list->addresses = (struct net_array){ .data = NULL };
}

static struct nlmsghdr *address_message(struct net *net, uint16_t type, uint16_t flags, unsigned ifindex,
					const struct tg_cidr *cidr)
{
	struct nlmsghdr *message = net_message(net, type, flags);
	struct ifaddrmsg *header = mnl_nlmsg_put_extra_header(message, sizeof(*header));

	header->ifa_index = ifindex;
	if (!cidr)
		return message;
	header->ifa_family = (uint8_t)cidr->family;
	header->ifa_prefixlen = cidr->length;
	header->ifa_scope = RT_SCOPE_UNIVERSE;
	/*
	 * A tunnel has nobody to ask whether the address is taken, and asking is
	 * traffic. The route to its network is ours to make: it must be locked to
	 * the cell, which the kernel's own could not be.
	 */
	mnl_attr_put_u32(message, IFA_FLAGS,
			 IFA_F_NOPREFIXROUTE | (cidr->family == AF_INET6 ? IFA_F_NODAD : 0));
	mnl_attr_put(message, IFA_LOCAL, net_family_bytes(cidr->family), cidr->addr);
	mnl_attr_put(message, IFA_ADDRESS, net_family_bytes(cidr->family), cidr->addr);
	return message;
}

static int address_list(struct net *net, unsigned ifindex, struct address_list *ret_list, struct tg_error *e)
{
	struct address_list list = { .ifindex = ifindex };
	int err;

	err = net_dump(net, net->route, address_message(net, RTM_GETADDR, NLM_F_DUMP, ifindex, NULL),
		       take_address, addresses_free, &list, e);
	if (err) {
		addresses_free(&list);
		return tg_error_prefix(e, err, "cannot list the addresses of device %u", ifindex);
	}
	*ret_list = list;
	return 0;
}

static int address_remove(struct net *net, unsigned ifindex, const struct tg_cidr *addr, struct tg_error *e)
{
	char text[INET6_ADDRSTRLEN + 4];
	int err = net_apply(net, address_message(net, RTM_DELADDR, 0, ifindex, addr), e);

	/* an IPv4 secondary goes with its primary */
	if (err == -EADDRNOTAVAIL)
		return 0;
	if (err)
		tg_error_prefix(e, err, "device %u: cannot remove address %s", ifindex,
				net_cidr_text(addr, text));
	return err;
}

static int address_add(struct net *net, unsigned ifindex, const struct tg_cidr *addr, struct tg_error *e)
{
	char text[INET6_ADDRSTRLEN + 4];
	int err;

	err = net_apply(net, address_message(net, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, ifindex, addr), e);
	if (err == -EEXIST)
		return 0;
	if (err == -EACCES && addr->family == AF_INET6)
		tg_error(e, err, "IPv6 is disabled on it (sysctl disable_ipv6)");
	if (err)
		tg_error_prefix(e, err, "device %u: cannot add address %s", ifindex,
				net_cidr_text(addr, text));
	return err;
}

/* Adds `addr` given what is there. */
static int ensure_among(struct net *net, const struct address_list *list, const struct tg_cidr *addr,
			struct tg_error *e)
{
	const struct address *entries = list->addresses.data;
	int err;

	for (size_t i = 0; i < list->addresses.count; i++) {
		struct tg_cidr same = entries[i].cidr;

		if (net_cidr_equal(&same, addr))
			return 0;
		/* the kernel keeps one prefix length per IPv6 address and does not change it */
		same.length = addr->length;
		if (addr->family != AF_INET6 || !net_cidr_equal(&same, addr))
			continue;
		err = address_remove(net, list->ifindex, &entries[i].cidr, e);
		if (err)
			return err;
	}
	return address_add(net, list->ifindex, addr, e);
}

int net_addr_ensure(struct net *net, unsigned ifindex, const struct tg_cidr *addr, struct tg_error *e)
{
	struct address_list list;
	int err = address_list(net, ifindex, &list, e);

	if (err)
		return err;
	err = ensure_among(net, &list, addr, e);
	addresses_free(&list);
	return err;
}

static bool listed(const struct tg_cidr *cidr, const struct tg_cidr *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (net_cidr_equal(cidr, &list[i]))
			return true;
	return false;
}

int net_addr_prune(struct net *net, unsigned ifindex, const struct tg_cidr *keep, size_t count,
		   struct tg_error *e)
{
	struct address_list list;
	const struct address *entries;
	bool removed_v4 = false;
	int err = address_list(net, ifindex, &list, e);

	if (err)
		return err;
	entries = list.addresses.data;
	for (size_t i = 0; i < list.addresses.count && !err; i++) {
		if (entries[i].link_local || listed(&entries[i].cidr, keep, count))
			continue;
		err = address_remove(net, ifindex, &entries[i].cidr, e);
		removed_v4 |= entries[i].cidr.family == AF_INET;
	}
	/* the secondaries of an IPv4 primary went with it, and some may be ones to keep */
	for (size_t i = 0; i < list.addresses.count && removed_v4 && !err; i++)
		if (listed(&entries[i].cidr, keep, count))
			err = address_add(net, ifindex, &entries[i].cidr, e);
	addresses_free(&list);
	return err;
}
