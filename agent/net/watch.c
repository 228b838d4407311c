/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/watch.h"

static int join(int fd, const int *groups, size_t count)
{
	const struct sockaddr_nl address = { .nl_family = AF_NETLINK };

	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)))
		return -errno;
	for (size_t i = 0; i < count; i++)
		if (setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &groups[i], sizeof(groups[i])))
			return -errno;
	return 0;
}

static int open_watch(int bus, const int *groups, size_t count, int *ret_fd, struct tg_error *e)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, bus);
	int ret = fd < 0 ? -errno : join(fd, groups, count);

	if (ret) {
		if (fd >= 0)
			close(fd);
		return tg_error(e, ret, "cannot watch the network: %s", strerror(-ret));
	}
	*ret_fd = fd;
	return 0;
}

int net_watch_open(int *ret_fd, struct tg_error *e)
{
	static const int groups[] = { RTNLGRP_LINK,       RTNLGRP_TC,        RTNLGRP_IPV4_ROUTE,
				      RTNLGRP_IPV6_ROUTE, RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_RULE };

	return open_watch(NETLINK_ROUTE, groups, sizeof(groups) / sizeof(groups[0]), ret_fd, e);
}

int net_watch_open_filters(int *ret_fd, struct tg_error *e)
{
	static const int groups[] = { NFNLGRP_NFTABLES };

	return open_watch(NETLINK_NETFILTER, groups, 1, ret_fd, e);
}

/* One byte of each: the rest of a message is of no interest. */
bool net_watch_take(int fd)
{
	bool any = false;
	char byte;

	for (;;) {
		ssize_t n = recv(fd, &byte, sizeof(byte), MSG_DONTWAIT | MSG_TRUNC);

		if (n < 0 && errno != EINTR && errno != ENOBUFS)
			return any;
		any |= n > 0 || errno == ENOBUFS;
	}
}
