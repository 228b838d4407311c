/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "guard/links.h"

struct device {
	char name[IFNAMSIZ];
	uint32_t ifindex;	/* 0 = there is none */
	bool up;
	bool seen;		/* in the dump that is under way */
};

struct links {
	struct mnl_socket *socket;
	link_changed changed;
	void *ctx;
	struct device devices[TG_MAX_TUNNELS];
	size_t count;
	uint32_t dump;		/* sequence number of the dump that is under way, 0 = none */
};

static void set_state(struct links *l, struct device *d, uint32_t ifindex, bool up)
{
	bool change = d->up != up;

	d->ifindex = ifindex;
	d->up = up;
	if (change && l->changed)
		l->changed(l->ctx, (size_t)(d - l->devices), up);
}

static void take_link(struct links *l, const struct nlmsghdr *nlh)
{
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(nlh);
	bool gone = nlh->nlmsg_type == RTM_DELLINK;
	const struct nlattr *attr;
	const char *name = "";

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*info))
		return;
	mnl_attr_for_each(attr, nlh, sizeof(*info)) if (mnl_attr_get_type(attr) == IFLA_IFNAME &&
							mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >= 0)
		name = mnl_attr_get_str(attr);
	for (size_t i = 0; i < l->count; i++) {
		struct device *d = &l->devices[i];
		bool ours = !strcmp(d->name, name);

		if (ours && !gone) {
			d->seen = true;
			set_state(l, d, (uint32_t)info->ifi_index, info->ifi_flags & IFF_UP);
		} else if (d->ifindex == (uint32_t)info->ifi_index) {
			/* deleted, or renamed */
			set_state(l, d, 0, false);
		}
	}
}

static void end_dump(struct links *l)
{
	l->dump = 0;
	for (size_t i = 0; i < l->count; i++)
		if (!l->devices[i].seen)
			set_state(l, &l->devices[i], 0, false);
}

static void take_messages(struct links *l, const char *buffer, int size)
{
	const struct nlmsghdr *nlh = (const void *)buffer;

	for (; mnl_nlmsg_ok(nlh, size); nlh = mnl_nlmsg_next(nlh, &size)) {
		if (nlh->nlmsg_type == RTM_NEWLINK || nlh->nlmsg_type == RTM_DELLINK)
			take_link(l, nlh);
		else if (nlh->nlmsg_type == NLMSG_DONE && l->dump && nlh->nlmsg_seq == l->dump)
			end_dump(l);
	}
}

static int start_dump(struct links *l)
{
	static uint32_t sequence;
	_Alignas(struct nlmsghdr) char buffer[128];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buffer);
	struct ifinfomsg *info;

	nlh->nlmsg_type = RTM_GETLINK;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	nlh->nlmsg_seq = ++sequence;
	info = mnl_nlmsg_put_extra_header(nlh, sizeof(*info));
	info->ifi_family = AF_UNSPEC;
	for (size_t i = 0; i < l->count; i++)
		l->devices[i].seen = false;
	if (mnl_socket_sendto(l->socket, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	l->dump = nlh->nlmsg_seq;
	return 0;
}

void links_read(struct links *l)
{
	_Alignas(struct nlmsghdr) char buffer[32768];

	for (;;) {
		ssize_t n = recv(links_fd(l), buffer, sizeof(buffer), MSG_DONTWAIT);

		if (n > 0) {
			take_messages(l, buffer, (int)n);
		} else if (n < 0 && errno == ENOBUFS) {
			/* news were lost: look at everything again */
			start_dump(l);
		} else if (!(n < 0 && errno == EINTR)) {
			return;
		}
	}
}

static int first_dump(struct links *l)
{
	_Alignas(struct nlmsghdr) char buffer[32768];
	int ret = start_dump(l);

	while (!ret && l->dump) {
		ssize_t n = recv(links_fd(l), buffer, sizeof(buffer), 0);

		if (n > 0)
			take_messages(l, buffer, (int)n);
		else if (errno != EINTR)
			ret = n < 0 ? -errno : -EIO;
	}
	return ret;
}

static int open_socket(struct links *l)
{
	const struct timeval limit = { .tv_sec = 5 };
	int group = RTNLGRP_LINK;

	l->socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	if (!l->socket || mnl_socket_bind(l->socket, 0, MNL_SOCKET_AUTOPID) ||
	    mnl_socket_setsockopt(l->socket, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) ||
	    setsockopt(links_fd(l), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)))
		return -errno;
	return first_dump(l);
}

int links_open(const struct tg_policy *policy, link_changed changed, void *ctx, struct links **ret_links,
	       struct tg_error *e)
{
	struct links *l = calloc(1, sizeof(*l));
	int ret;

	if (!l)
		return tg_error(e, -ENOMEM, "out of memory");
	l->count = policy->tunnel_count;
	for (size_t i = 0; i < l->count; i++) {
		const struct tg_tunnel *t = &policy->tunnels[i];

		strncpy(l->devices[i].name, tg_tunnel_device(t), IFNAMSIZ - 1);
	}
	ret = open_socket(l);
	if (ret) {
		links_close(l);
		return tg_error(e, ret, "cannot watch the network devices: %s", strerror(-ret));
	}
	l->changed = changed;
	l->ctx = ctx;
	*ret_links = l;
	return 0;
}

void links_close(struct links *l)
{
	if (!l)
		return;
	if (l->socket)
		mnl_socket_close(l->socket);
	free(l);
}

int links_fd(const struct links *l)
{
	return mnl_socket_get_fd(l->socket);
}

bool links_is_up(const struct links *l, size_t tunnel)
{
	return tunnel < l->count && l->devices[tunnel].up;
}

int links_tunnel(const struct links *l, uint32_t ifindex)
{
	for (size_t i = 0; ifindex && i < l->count; i++)
		if (l->devices[i].ifindex == ifindex)
			return (int)i;
	return -1;
}
