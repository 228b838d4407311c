/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of agent/net share among themselves; everyone else uses net.h. */
#ifndef AGENT_NET_INTERNAL_H
#define AGENT_NET_INTERNAL_H

#include <libmnl/libmnl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "net/net.h"

/*
 * Links of ours carry this group number ("TGRD") from the instant of their
 * creation: rtnetlink cannot set the alias in the same message, and a crash
 * between the two must not leave a link that nobody owns.
 */
#define NET_LINK_GROUP 0x54475244u

enum { NET_RECEIVE_SIZE = 65536, NET_SEND_SIZE = 8192 };

struct net {
	struct mnl_socket *route;
	struct mnl_socket *generic;	/* opened by the first user, see net_generic() */
	uint16_t wg_family;		/* generic netlink family of WireGuard, 0 = not asked yet */
	uint32_t seq;
	char out[NET_SEND_SIZE] __attribute__((aligned(8)));
	char in[NET_RECEIVE_SIZE] __attribute__((aligned(8)));
};

/* ---- netlink.c ---- */

/*
 * Starts a message in net->out. `flags` beside NLM_F_REQUEST; an acknowledgement is asked for unless it
 * dumps.
 */
struct nlmsghdr *net_message(struct net *net, uint16_t type, uint16_t flags);

/* Called for each reply; a negative errno ends the request with it. */
typedef int (*net_reply_fn)(const struct nlmsghdr *reply, void *data);

/*
 * Sends a request and takes its replies until the acknowledgement or the end
 * of the dump. On failure `e` holds the kernel's own text, without a prefix.
 */
int net_request(struct net *net, struct mnl_socket *socket, struct nlmsghdr *request, net_reply_fn fn,
		void *data, struct tg_error *e);

/*
 * A dump that the kernel marks as interrupted (NLM_F_DUMP_INTR: something
 * changed meanwhile) is taken again, a bounded number of times, after
 * `restart` has thrown away what was gathered.
 */
int net_dump(struct net *net, struct mnl_socket *socket, struct nlmsghdr *request, net_reply_fn fn,
	     void (*restart)(void *data), void *data, struct tg_error *e);

/* The same two on the rtnetlink socket, for a request without replies. */
int net_apply(struct net *net, struct nlmsghdr *request, struct tg_error *e);

/*
 * Many requests without replies in few system calls. Each message made by
 * net_message() is copied by net_batch_add(), which sends what has gathered when
 * there is no more room; net_batch_end() sends the rest. Errors: the first one.
 */
struct net_batch {
	struct net *net;
	size_t used;
	uint32_t count;
	char buffer[32768] __attribute__((aligned(8)));
};
int net_batch_add(struct net_batch *batch, const struct nlmsghdr *message, struct tg_error *e);
int net_batch_end(struct net_batch *batch, struct tg_error *e);

/* The kernel's extended acknowledgement text in an NLMSG_ERROR or NLMSG_DONE message, or NULL. */
const char *net_ack_text(const struct nlmsghdr *message);

/* Opens a socket of `bus` (NETLINK_ROUTE, NETLINK_GENERIC) with extended acknowledgements on. */
int net_socket_open(int bus, struct mnl_socket **ret_socket, struct tg_error *e);

/*
 * Gathers `attr` into table[type]: data of mnl_attr_parse_cb(), whose table has
 * `max` + 1 entries. Unknown types of newer kernels are passed over.
 */
struct net_attrs {
	const struct nlattr **table;
	unsigned max;
};
int net_gather(const struct nlattr *attr, void *data);

/* Attribute `attr` as a number of exactly its size, or `otherwise` when it is absent or too short. */
uint32_t net_attr_u32(const struct nlattr *attr, uint32_t otherwise);
void net_attr_text(const struct nlattr *attr, char *ret_text, size_t size);

/* A traffic control message about qdiscs, classes or filters. */
struct nlmsghdr *net_tc_message(struct net *net, uint16_t type, uint16_t flags, unsigned ifindex,
				uint32_t handle, uint32_t parent);
/* Its header, and its attributes in table[TCA_MAX + 1]. */
int net_tc_parse(const struct nlmsghdr *reply, const struct nlattr **table, const struct tcmsg **ret_header);

/* ---- link.c ---- */

struct net_link_full {
	struct net_link link;
	unsigned flags;		/* IFF_* */
	uint32_t group;
	char name[IFNAMSIZ];
};

int net_link_query(struct net *net, const char *name, struct net_link_full *ret_full, struct tg_error *e);
bool net_link_is_ours(const struct net_link_full *full);
/* An interface name that the kernel takes and that is one path component. */
bool net_name_valid(const char *name);

/* ---- offload.c ---- */

/* Turns off every feature that lets a super-packet pass whole, and makes sure of it. */
int net_offload_off(const char *name, struct tg_error *e);
/* Whether a feature of this name is one of them. */
bool net_feature_is_offload(const char *feature);

/* ---- cidr.c ---- */

unsigned net_family_bytes(int family);	/* 4 or 16 */
bool net_cidr_equal(const struct tg_cidr *a, const struct tg_cidr *b);
/* "192.0.2.0/24" */
const char *net_cidr_text(const struct tg_cidr *cidr, char text[static INET6_ADDRSTRLEN + 4]);
/* False where the kernel was built or booted without IPv6. */
bool net_has_ipv6(void);
/* Reads or writes /proc/sys/net/ipv4/conf/`name`/`key`, or ipv6. */
int net_conf_get(int family, const char *name, const char *key, bool *ret_on);
int net_conf_set(int family, const char *name, const char *key, bool on, struct tg_error *e);

/* An array that grows; `data` is NULL when `count` is 0. */
struct net_array {
	void *data;
	size_t count, size;	/* entries in use, entries allocated */
};
/* Room for one more entry of `width` bytes, zeroed and counted; NULL = out of memory. */
void *net_array_add(struct net_array *array, size_t width);

#endif
