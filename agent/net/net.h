/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The network configuration that the loader makes, through rtnetlink (libmnl).
 * Every "ensure" brings about a state whether or not it, or a part of it,
 * exists already, and every "remove" succeeds when there is nothing to remove:
 * that makes `tg-load up` and `down` repeatable after a crash at any point.
 *
 * What is ours is recognised by tags, not by a state file: links carry an
 * alias that begins with TG_LINK_ALIAS, rules and routes the protocol number
 * TG_RT_PROTOCOL, iptables chains the prefix TENSORGUARD.
 *
 * Errors: negative errno with a message in `e` (the kernel's extended ack text
 * where it gives one).
 */
#ifndef AGENT_NET_NET_H
#define AGENT_NET_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tensorguard/policy.h"

#define TG_LINK_ALIAS "tensorguard:"
#define TG_RT_PROTOCOL 84	/* FRA_PROTOCOL and rtm_protocol of our rules and routes */

/* One rtnetlink socket; not thread-safe. */
struct net;
int net_open(struct net **ret_net, struct tg_error *e);
void net_close(struct net *net);	/* NULL-safe */

/* ---- links (link.c) ---- */

struct net_link {
	unsigned ifindex;
	unsigned mtu;
	unsigned txqlen;
	unsigned gso_max_segs;
	bool up;		/* IFF_UP */
	bool carrier;		/* of a TUN device that is up: a process holds it */
	char kind[16];		/* IFLA_INFO_KIND: "veth", "wireguard", "tun", ... or "" */
	char alias[64];		/* IFLA_IFALIAS or "" */
	unsigned peer_ifindex;	/* IFLA_LINK: the other end of a veth, else 0 */
	unsigned xdp_id;	/* of the program in its generic XDP hook, 0 = none */
};

/* -ENODEV when there is no such link. */
int net_link_get(struct net *net, const char *name, struct net_link *ret_link, struct tg_error *e);
/* Ensures the pair with these names, MTU and transmit queue length, both ends up, with `alias`, ARP and
 * multicast chatter off (NOARP, IFF_MULTICAST cleared, IPv6 addrconf off, so that the kernel itself never
 * sends a packet into it), all segmentation offloads off. A pair that is there but not ours is -EEXIST. */
int net_veth_ensure(struct net *net, const char *name, const char *peer, unsigned mtu, unsigned txqlen,
		    const char *alias, struct tg_error *e);
int net_link_set_up(struct net *net, const char *name, bool up, struct tg_error *e);
int net_link_set_mtu(struct net *net, const char *name, unsigned mtu, struct tg_error *e);
int net_link_set_alias(struct net *net, const char *name, const char *alias, struct tg_error *e);
/* Deletes the link if it is there and its alias begins with TG_LINK_ALIAS; a foreign one is -EPERM. */
int net_link_remove(struct net *net, const char *name, struct tg_error *e);
/* Names of all links whose alias begins with `alias_prefix`, with TG_LINK_ALIAS also of ours without an alias
 * yet; free each name and the array. */
int net_link_list(struct net *net, const char *alias_prefix, char ***ret_names, size_t *ret_count,
		  struct tg_error *e);

/* ---- addresses and routes (addr.c, route.c) ---- */

/* Without a connected route: net_route_to_ensure() makes the one that is wanted. */
int net_addr_ensure(struct net *net, unsigned ifindex, const struct tg_cidr *addr, struct tg_error *e);
/* Removes addresses of the link that are not in the list (IPv6 link-local ones stay). */
int net_addr_prune(struct net *net, unsigned ifindex, const struct tg_cidr *keep, size_t count,
		   struct tg_error *e);
/* Default route of both families through the link in `table`, protocol TG_RT_PROTOCOL; mtu_lock 0 = no lock.
 */
int net_route_ensure(struct net *net, uint32_t table, unsigned ifindex, unsigned mtu_lock,
		     struct tg_error *e);
/* A route to `to` through the link in the main table (for allowed IPs), protocol TG_RT_PROTOCOL. */
int net_route_to_ensure(struct net *net, const struct tg_cidr *to, unsigned ifindex, unsigned mtu_lock,
			struct tg_error *e);

struct net_route {
	struct tg_cidr to;	/* length 0 for a default route */
	uint32_t table;
	unsigned ifindex;
	unsigned mtu_lock;	/* 0 = none */
};

/* All routes with our protocol; free the array. */
int net_route_list(struct net *net, struct net_route **ret_routes, size_t *ret_count, struct tg_error *e);
int net_route_remove(struct net *net, const struct net_route *route, struct tg_error *e);

/* ---- policy routing (rule.c) ---- */

struct net_rule {
	int family;		/* AF_INET or AF_INET6 */
	uint32_t priority;
	bool has_to, has_from;
	struct tg_cidr to, from;
	uint8_t proto;		/* 0 = any */
	struct tg_port_range dport, sport; /* 0..0 = any */
	bool has_uid;
	uint32_t uid_lo, uid_hi;
	uint32_t mark, mark_mask; /* mask 0 = any */
	bool blackhole;		/* FR_ACT_BLACKHOLE, table unused */
	uint32_t table;
};

/*
 * -ERANGE for a port range that ends with 65535 and begins above 1: the kernel's rules cannot match that
 * port, and leaving it out would let it by. Widen the range to any port, or narrow it on purpose.
 */
int net_rule_ensure(struct net *net, const struct net_rule *rule, struct tg_error *e);
int net_rule_remove(struct net *net, const struct net_rule *rule, struct tg_error *e);
/* All rules of both families with our protocol; free the array. */
int net_rule_list(struct net *net, struct net_rule **ret_rules, size_t *ret_count, struct tg_error *e);
bool net_rule_equal(const struct net_rule *a, const struct net_rule *b);

/* ---- queueing disciplines (qdisc.c) ---- */

/*
 * The clocks of many sessions on one device: an HTB as root (1:) with a class
 * 1:n+1 for session n, which lets one cell go per period, and pfifo_fast inside
 * each. A size table makes all cells cost the same, whatever their size. What no
 * class takes is dropped, not sent: its direct queue has no room. *
 * Ensures the HTB, `steer` (a BPF program that names the class of a packet) as
 * its filter, and the class of each n below `count` that has wanted[n]. What is
 * right is left untouched, and a class of another period is changed in place:
 * the cell that is due leaves when it would have, and the new period begins.
 * ret_fresh[n] tells which were made, and have lost what waited in them. Other
 * classes stay.
 */
int net_clock_ensure(struct net *net, unsigned ifindex, uint64_t period_ns, int steer, const bool *wanted,
		     size_t count, bool *ret_fresh, struct tg_error *e);
/* ret_whole[n]: whether session n's class is there with what belongs into it. */
int net_clock_look(struct net *net, unsigned ifindex, uint64_t period_ns, size_t count, bool *ret_whole,
		   struct tg_error *e);
/* Removes the classes of all n that have gone[n], with what waits in them. */
int net_clock_drop(struct net *net, unsigned ifindex, const bool *gone, size_t count, struct tg_error *e);
#define NET_CLOCK_PARENT 0x10000u	/* 1:0, where the filter is */

/* ---- the clocks of metronomes (pace.c) ---- */

#define NET_KIND_LEN 16

/* Root fq (handle 3:): lets a packet go at the time in it. An error when the kernel has none. */
int net_pace_fq(struct net *net, unsigned ifindex, struct tg_error *e);
/* Root TBF (handle 3:) for frames of this size at `rate` bytes per second. */
int net_pace_tbf(struct net *net, unsigned ifindex, uint64_t rate, uint32_t frame, struct tg_error *e);
/* The kind of the root qdisc, "" when there is none of its own. */
int net_pace_kind(struct net *net, unsigned ifindex, char ret_kind[static NET_KIND_LEN], struct tg_error *e);

/* ---- filters (filter.c) ---- */

/* Whether anybody's filter is left in the device's clsact. */
int net_filters_present(struct net *net, unsigned ifindex, bool *ret_present, struct tg_error *e);

/* ---- WireGuard (wireguard.c: generic netlink; uapi.c: wireguard-go's socket) ---- */

enum wg_backend { WG_KERNEL, WG_USERSPACE };

/* Whether this kernel makes `wireguard` links (tried, not guessed from a version). */
int wg_kernel_available(struct net *net, bool *ret_available, struct tg_error *e);
/* Ensures the tunnel device with TG_LINK_ALIAS + name: kernel, or a wireguard-go process that outlives us.
 * The program is looked up in PATH, or $TG_WIREGUARD_GO. Waits (bounded, 5 s) until its socket answers. */
int wg_device_ensure(struct net *net, const char *name, enum wg_backend backend, unsigned mtu,
		     struct tg_error *e);
/* Whether the tunnel's key files can be read and hold keys: changes nothing. */
int wg_keys_check(const struct tg_tunnel *tunnel, struct tg_error *e);
/* Sets private key (read from the tunnel's key_file and wiped), listen port, fwmark and peers; peers that the
 * tunnel does not name are removed; sessions of unchanged peers go on. */
int wg_configure(struct net *net, const struct tg_tunnel *tunnel, enum wg_backend backend, uint32_t fwmark,
		 struct tg_error *e);

/* The keys that a tunnel's files hold. */
struct wg_secrets {
	uint8_t private_key[TG_KEY_LEN];
	uint8_t (*preshared)[TG_KEY_LEN]; /* one per peer; all zero = none, as in the protocol */
	size_t count;
};
/* wg_secrets_wipe() when done. */
int wg_secrets_read(const struct tg_tunnel *tunnel, struct wg_secrets *ret_secrets, struct tg_error *e);
void wg_secrets_wipe(struct wg_secrets *secrets);
/*
 * wg_configure() with other keys than those of the files. A peer without allowed IPs is one that is known and
 * gets no packets. Peers come in their order: what one is given the one that had it before has lost.
 */
int wg_configure_with(struct net *net, const struct tg_tunnel *tunnel, const struct wg_secrets *secrets,
		      enum wg_backend backend, uint32_t fwmark, struct tg_error *e);
/*
 * A key file holds 44 characters of base64 and at most one newline, belongs to
 * root or to us and is open to its owner only.
 */
int wg_key_file_read(const char *path, uint8_t ret_key[static TG_KEY_LEN], struct tg_error *e);

struct wg_peer_status {
	uint8_t public_key[TG_KEY_LEN];
	struct tg_endpoint endpoint; /* family 0 = unknown */
	uint64_t rx_bytes, tx_bytes;
	int64_t last_handshake_s; /* CLOCK_REALTIME, 0 = never */
	uint32_t last_handshake_ns; /* behind the second */
	size_t allowed_count;	/* of its allowed IPs */
};
struct wg_status {
	uint8_t public_key[TG_KEY_LEN]; /* of the device; zeros: it has no key */
	uint16_t listen_port;
	uint32_t fwmark;
	struct wg_peer_status *peers;
	size_t peer_count;
};
/* Free ret_status->peers. */
int wg_status_get(struct net *net, const char *name, enum wg_backend backend, struct wg_status *ret_status,
		  struct tg_error *e);
/* What an existing device is: WG_KERNEL by link kind, WG_USERSPACE by its socket; -ENODEV if neither. */
int wg_backend_of(struct net *net, const char *name, enum wg_backend *ret_backend, struct tg_error *e);

/* ---- iptables (iptables.c: runs iptables and ip6tables, -w) ---- */

/* Ensures the chains TENSORGUARD (from mangle OUTPUT and PREROUTING) and TENSORGUARD_SAVE (from mangle
 * POSTROUTING) that send undecided packets of the policy's flow rules to the queue and keep the class in the
 * connection mark (shared/mark.h), and TENSORGUARD_MSS (from mangle POSTROUTING) that keeps TCP segments
 * within small cells; with fail = "closed", TENSORGUARD_CLOSED (from mangle POSTROUTING) drops what a rule
 * matches on every other device. Chains that the policy does not need are removed. Applied
 * with iptables-restore
 * --noflush in one transaction per family, so that a reload leaves no gap. */
int iptables_ensure(const struct tg_policy *policy, struct tg_error *e);
int iptables_remove(struct tg_error *e);
/* Whether the chains are there as `policy` needs them. */
int iptables_check(const struct tg_policy *policy, bool *ret_present, struct tg_error *e);
/* Whether the programs and the kernel do what chains need: nothing is left of it. For an empty namespace. */
int iptables_try(struct tg_error *e);

#endif
