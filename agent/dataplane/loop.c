/* SPDX-License-Identifier: BSD-3-Clause */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <netinet/ip6.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dataplane/loop.h"
#include "shared/twins.h"

enum {
	CLOCK_PRIORITY = 2,	/* TC_PRIO_BULK: pfifo_fast's last band */
	/*
	 * The second packet of a clock waits a period in its queue: with the default, some
	 * 300 of them would hold up all others.
	 */
	SEND_BUFFER = 1 << 29,
};

static int open_socket(unsigned ifindex)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = (int)ifindex };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	const int priority = CLOCK_PRIORITY, room = SEND_BUFFER;

	if (fd < 0)
		return -errno;
	if (bind(fd, (const struct sockaddr *)&to, sizeof(to)) ||
	    setsockopt(fd, SOL_SOCKET, SO_PRIORITY, &priority, sizeof(priority)) ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room))) {
		int ret = -errno;

		close(fd);
		return ret;
	}
	return fd;
}

int loop_open(struct loop *loop, struct tg_error *e)
{
	loop->fd = -1;
	loop->frame = calloc(1, loop->length);
	if (!loop->frame)
		return tg_error(e, -ENOMEM, "out of memory");
	loop->fd = open_socket(loop->ifindex);
	if (loop->fd < 0)
		return tg_error(e, loop->fd, "cannot open a packet socket on device %u: %s", loop->ifindex,
				strerror(-loop->fd));
	return 0;
}

void loop_close(struct loop *loop)
{
	if (loop->fd >= 0)
		close(loop->fd);
	free(loop->frame);
}

static void put_dummy(uint8_t *at, unsigned size, const struct in6_addr *source, const void *target)
{
	struct ip6_hdr ip = { .ip6_src = *source };

	memcpy(&ip.ip6_dst, target, sizeof(ip.ip6_dst));
	ip.ip6_flow = htonl(6u << 28);
	ip.ip6_plen = htons((uint16_t)(size - sizeof(ip)));
	ip.ip6_nxt = IPPROTO_NONE;
	ip.ip6_hlim = 64;
	memcpy(at, &ip, sizeof(ip));
}

int loop_start(struct loop *loop, unsigned peer, const struct in6_addr *source, const void *target,
	       struct tg_error *e)
{
	struct tg_ether_meta meta = { .kind = TG_CELL_START,
				      .peer = (uint16_t)peer,
				      .queue = (uint8_t)loop->index,
				      .h_proto = htons(ETHERTYPE_IPV6) };
	size_t size = loop->length;

	put_dummy(loop->frame + TG_L2_LEN, loop->cell, source, target);
	for (meta.number = 0; meta.number < TG_TWINS; meta.number++) {
		ssize_t sent;

		memcpy(loop->frame, &meta, sizeof(meta));
		sent = send(loop->fd, loop->frame, size, 0);
		if (sent != (ssize_t)size)
			return tg_error(e, sent < 0 ? -errno : -EIO,
					"cannot send a clock packet to device %u: %s", loop->ifindex,
					strerror(sent < 0 ? errno : EIO));
	}
	return 0;
}
