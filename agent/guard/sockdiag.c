/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "guard/packet.h"
#include "guard/sockdiag.h"

/* Headers older than kernel 5.8 do not name it. */
enum { DIAG_CGROUP_ID = 21 };

struct sockdiag {
	struct mnl_socket *socket;
	uint32_t sequence;
};

int sockdiag_open(struct sockdiag **ret_diag, struct tg_error *e)
{
	/* The kernel answers before sendmsg() returns: the limit is for the unforeseen. */
	const struct timeval limit = { .tv_usec = 100000 };
	struct sockdiag *d = calloc(1, sizeof(*d));

	if (!d)
		return tg_error(e, -ENOMEM, "out of memory");
	d->socket = mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC);
	if (!d->socket || mnl_socket_bind(d->socket, 0, MNL_SOCKET_AUTOPID) ||
	    setsockopt(mnl_socket_get_fd(d->socket), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit))) {
		int ret = -errno;

		sockdiag_close(d);
		return tg_error(e, ret, "cannot open the kernel's socket diagnosis: %s", strerror(-ret));
	}
	*ret_diag = d;
	return 0;
}

void sockdiag_close(struct sockdiag *d)
{
	if (!d)
		return;
	if (d->socket)
		mnl_socket_close(d->socket);
	free(d);
}

static void put_addr(__be32 to[4], const uint8_t addr[16], bool ipv4)
{
	if (ipv4)
		memcpy(to, addr + 12, 4);
	else
		memcpy(to, addr, 16);
}

static void fill_request(struct inet_diag_req_v2 *req, const struct tg_flow_key *flow)
{
	bool ipv4 = packet_addr_is_ipv4(flow->saddr);
	/* The kernel looks UDP sockets up as for a packet that arrives: the peer is the source. */
	bool swap = flow->proto == IPPROTO_UDP;

	req->sdiag_family = ipv4 ? AF_INET : AF_INET6;
	req->sdiag_protocol = flow->proto;
	req->idiag_states = ~0u;
	put_addr(req->id.idiag_src, swap ? flow->daddr : flow->saddr, ipv4);
	put_addr(req->id.idiag_dst, swap ? flow->saddr : flow->daddr, ipv4);
	req->id.idiag_sport = swap ? flow->dport : flow->sport;
	req->id.idiag_dport = swap ? flow->sport : flow->dport;
	req->id.idiag_cookie[0] = req->id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
}

static int read_owner(const struct nlmsghdr *nlh, void *data)
{
	const struct inet_diag_msg *msg = mnl_nlmsg_get_payload(nlh);
	struct socket_owner *owner = data;
	const struct nlattr *attr;

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*msg))
		return MNL_CB_ERROR;
	owner->uid = msg->idiag_uid;
	mnl_attr_for_each(attr, nlh, sizeof(*msg))
	{
		if (mnl_attr_get_type(attr) != DIAG_CGROUP_ID || mnl_attr_get_payload_len(attr) != 8)
			continue;
		owner->cgroup = mnl_attr_get_u64(attr);
		owner->has_cgroup = true;
	}
	return MNL_CB_STOP;
}

static int receive(struct sockdiag *d, struct socket_owner *ret_owner)
{
	_Alignas(struct nlmsghdr) char buffer[4096];
	struct socket_owner owner = { 0 };

	for (;;) {
		const struct nlmsghdr *nlh = (const struct nlmsghdr *)buffer;
		ssize_t n = mnl_socket_recvfrom(d->socket, buffer, sizeof(buffer));

		if (n < 0)
			return -errno;
		/* the late answer to a request that was given up */
		if (n < (ssize_t)sizeof(*nlh) || nlh->nlmsg_seq != d->sequence)
			continue;
		if (mnl_cb_run(buffer, (size_t)n, d->sequence, mnl_socket_get_portid(d->socket), read_owner,
			       &owner) < 0)
			return -errno;
		*ret_owner = owner;
		return 0;
	}
}

int sockdiag_lookup(struct sockdiag *d, const struct tg_flow_key *flow, struct socket_owner *ret_owner)
{
	_Alignas(struct nlmsghdr) char buffer[256];
	struct nlmsghdr *nlh;

	if (flow->proto != IPPROTO_TCP && flow->proto != IPPROTO_UDP)
		return -EPROTONOSUPPORT;
	nlh = mnl_nlmsg_put_header(buffer);
	nlh->nlmsg_type = SOCK_DIAG_BY_FAMILY;
	nlh->nlmsg_flags = NLM_F_REQUEST;
	nlh->nlmsg_seq = ++d->sequence;
	fill_request(mnl_nlmsg_put_extra_header(nlh, sizeof(struct inet_diag_req_v2)), flow);
	if (mnl_socket_sendto(d->socket, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	return receive(d, ret_owner);
}
