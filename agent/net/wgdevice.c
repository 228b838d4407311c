/* SPDX-License-Identifier: BSD-3-Clause */
/* Tunnel devices, whichever back-end makes them. */
#include <errno.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/userspace.h"
#include "net/wg.h"

#define PROBE_NAME "tgprobe0"

/* ---- state and change ---- */

void wg_state_free(struct wg_state *state)
{
	struct wg_peer_state *peers = state->peers.data;

	for (size_t i = 0; i < state->peers.count; i++)
		free(peers[i].allowed.data);
	free(peers);
	*state = (struct wg_state){ .fwmark = 0 };
}

const struct wg_peer_state *wg_state_peer(const struct wg_state *state, const uint8_t *public_key)
{
	const struct wg_peer_state *peers = state->peers.data;

	for (size_t i = 0; i < state->peers.count; i++)
		if (!memcmp(peers[i].status.public_key, public_key, TG_KEY_LEN))
			return &peers[i];
	return NULL;
}

bool wg_change_port(const struct wg_change *change)
{
	return change->tunnel->listen_port && change->tunnel->listen_port != change->state->listen_port;
}

/*
 * One that had no allowed IPs and gets some is made anew: it may have answered a handshake that came to
 * nothing, and would begin none itself for five seconds after that.
 */
bool wg_change_keeps(const struct wg_change *change, const uint8_t *public_key)
{
	const struct wg_peer_state *old = wg_state_peer(change->state, public_key);

	for (size_t i = 0; i < change->tunnel->peer_count; i++)
		if (!memcmp(change->tunnel->peers[i].public_key, public_key, TG_KEY_LEN))
			return !old || old->allowed.count || !change->tunnel->peers[i].allowed_ip_count;
	return false;
}

/* Both back-ends store prefixes with the host bits cut off. */
static struct tg_cidr masked(const struct tg_cidr *cidr)
{
	struct tg_cidr copy = *cidr;

	for (unsigned bit = cidr->length; bit < 8 * net_family_bytes(cidr->family); bit++)
		copy.addr[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
	return copy;
}

static bool among(const struct tg_cidr *cidr, const struct tg_cidr *list, size_t count)
{
	struct tg_cidr plain = masked(cidr);

	for (size_t i = 0; i < count; i++) {
		struct tg_cidr other = masked(&list[i]);

		if (net_cidr_equal(&plain, &other))
			return true;
	}
	return false;
}

enum wg_allowed wg_change_allowed(const struct wg_change *change, const struct tg_peer *peer)
{
	const struct wg_peer_state *old = wg_state_peer(change->state, peer->public_key);
	const struct tg_cidr *has;

	if (!old)
		return WG_ALLOWED_ADD;
	has = old->allowed.data;
	for (size_t i = 0; i < old->allowed.count; i++)
		if (!among(&has[i], peer->allowed_ips, peer->allowed_ip_count))
			return WG_ALLOWED_REPLACE;
	for (size_t i = 0; i < peer->allowed_ip_count; i++)
		if (!among(&peer->allowed_ips[i], has, old->allowed.count))
			return WG_ALLOWED_ADD;
	return WG_ALLOWED_SAME;
}

void wg_secrets_wipe(struct wg_secrets *secrets)
{
	if (secrets->preshared)
		explicit_bzero(secrets->preshared, secrets->count * sizeof(*secrets->preshared));
	free(secrets->preshared);
	explicit_bzero(secrets, sizeof(*secrets));
}

static bool all_zero(const uint8_t *key)
{
	uint8_t any = 0;

	for (int i = 0; i < TG_KEY_LEN; i++)
		any |= key[i];
	return !any;
}

int wg_secrets_read(const struct tg_tunnel *tunnel, struct wg_secrets *ret_secrets, struct tg_error *e)
{
	struct wg_secrets secrets = { .count = tunnel->peer_count };
	int err;

	if (!tunnel->key_file)
		return tg_error(e, -EINVAL, "tunnel %s: no key file", tunnel->name);
	secrets.preshared = calloc(tunnel->peer_count + 1, sizeof(*secrets.preshared));
	if (!secrets.preshared)
		return tg_error(e, -ENOMEM, "out of memory");
	err = wg_key_file_read(tunnel->key_file, secrets.private_key, e);
	/* WireGuard takes it for the absence of a key, and the tunnel would stay dead without a word */
	if (!err && all_zero(secrets.private_key))
		err = tg_error(e, -EINVAL, "key file %s: the key is all zero", tunnel->key_file);
	for (size_t i = 0; i < tunnel->peer_count && !err; i++)
		if (tunnel->peers[i].preshared_key_file)
			err = wg_key_file_read(tunnel->peers[i].preshared_key_file, secrets.preshared[i], e);
	if (err) {
		wg_secrets_wipe(&secrets);
		return err;
	}
	*ret_secrets = secrets;
	explicit_bzero(&secrets, sizeof(secrets));
	return 0;
}

int wg_keys_check(const struct tg_tunnel *tunnel, struct tg_error *e)
{
	struct wg_secrets secrets;
	int err = wg_secrets_read(tunnel, &secrets, e);

	if (!err)
		wg_secrets_wipe(&secrets);
	return err;
}

/* ---- both back-ends ---- */

static int state_get(struct net *net, const char *name, enum wg_backend backend, struct wg_state *ret_state,
		     struct tg_error *e)
{
	int err;

	if (backend == WG_KERNEL)
		return wg_genl_get(net, name, ret_state, e);
	err = uapi_get(name, ret_state, e);
	return err ? tg_error_prefix(e, err, "link %s: cannot read WireGuard's state", name) : 0;
}

int wg_configure_with(struct net *net, const struct tg_tunnel *tunnel, const struct wg_secrets *secrets,
		      enum wg_backend backend, uint32_t fwmark, struct tg_error *e)
{
	struct wg_state state;
	struct wg_change change = {
		.tunnel = tunnel,
		.secrets = secrets,
		.state = &state,
		.fwmark = fwmark,
	};
	int err = state_get(net, tunnel->name, backend, &state, e);

	if (err)
		return err;
	if (backend == WG_KERNEL)
		err = wg_genl_set(net, tunnel->name, &change, e);
	else
		err = uapi_set(tunnel->name, &change, e);
	if (err)
		tg_error_prefix(e, err, "link %s: cannot configure WireGuard", tunnel->name);
	wg_state_free(&state);
	return err;
}

int wg_configure(struct net *net, const struct tg_tunnel *tunnel, enum wg_backend backend, uint32_t fwmark,
		 struct tg_error *e)
{
	struct wg_secrets secrets;
	int err = wg_secrets_read(tunnel, &secrets, e);

	if (err)
		return err;
	err = wg_configure_with(net, tunnel, &secrets, backend, fwmark, e);
	wg_secrets_wipe(&secrets);
	return err;
}

int wg_status_get(struct net *net, const char *name, enum wg_backend backend, struct wg_status *ret_status,
		  struct tg_error *e)
{
	const struct wg_peer_state *peers;
	struct wg_status status;
	struct wg_state state;
	int err = state_get(net, name, backend, &state, e);

	if (err)
		return err;
	peers = state.peers.data;
	status = (struct wg_status){ .listen_port = state.listen_port, .fwmark = state.fwmark };
	status.peers = calloc(state.peers.count + 1, sizeof(*status.peers));
	memcpy(status.public_key, state.public_key, sizeof(status.public_key));
	for (size_t i = 0; status.peers && i < state.peers.count; i++) {
		status.peers[status.peer_count] = peers[i].status;
		status.peers[status.peer_count++].allowed_count = peers[i].allowed.count;
	}
	wg_state_free(&state);
	if (!status.peers)
		return tg_error(e, -ENOMEM, "out of memory");
	*ret_status = status;
	return 0;
}

static bool socket_answers(const char *name)
{
	int fd = wg_userspace_connect(name, NULL);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

int wg_backend_of(struct net *net, const char *name, enum wg_backend *ret_backend, struct tg_error *e)
{
	struct net_link link;
	int err = net_link_get(net, name, &link, e);

	if (err)
		return err;
	if (!strcmp(link.kind, "wireguard")) {
		*ret_backend = WG_KERNEL;
		return 0;
	}
	/* the socket alone may belong to a device of that name in another network namespace */
	if (strcmp(link.kind, "tun") || !socket_answers(name))
		return tg_error(e, -ENODEV, "link %s: no WireGuard device", name);
	*ret_backend = WG_USERSPACE;
	return 0;
}

/* ---- making devices ---- */

static int create_kernel(struct net *net, const char *name, struct tg_error *e)
{
	struct nlmsghdr *message = net_message(net, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
	struct nlattr *info;

	mnl_nlmsg_put_extra_header(message, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(message, IFLA_IFNAME, name);
	mnl_attr_put_u32(message, IFLA_GROUP, NET_LINK_GROUP);
	info = mnl_attr_nest_start(message, IFLA_LINKINFO);
	mnl_attr_put_strz(message, IFLA_INFO_KIND, "wireguard");
	mnl_attr_nest_end(message, info);
	return net_apply(net, message, e);
}

int wg_kernel_available(struct net *net, bool *ret_available, struct tg_error *e)
{
	int err;

	/* one that a kill left behind */
	err = net_link_remove(net, PROBE_NAME, e);
	if (err)
		return err;
	err = create_kernel(net, PROBE_NAME, e);
	if (err && err != -EOPNOTSUPP)
		return tg_error_prefix(e, err, "cannot try a WireGuard device");
	if (!err) {
		err = net_link_remove(net, PROBE_NAME, e);
		if (err)
			return err;
		*ret_available = true;
		return 0;
	}
	*ret_available = false;
	return 0;
}

static const char *kind_of(enum wg_backend backend)
{
	return backend == WG_KERNEL ? "wireguard" : "tun";
}

/* The tag comes before the device is made to stay: a run that is killed leaves nothing, or what is known as
 * ours. */
static int make_tun(struct net *net, const char *name, struct tg_error *e)
{
	char alias[sizeof(((struct net_link *)0)->alias)];
	int fd, err = wg_userspace_open(name, &fd, e);

	if (err)
		return err;
	snprintf(alias, sizeof(alias), "%s%s", TG_LINK_ALIAS, name);
	err = net_link_set_alias(net, name, alias, e);
	if (!err)
		err = wg_userspace_keep(fd, e);
	close(fd);
	return err;
}

/*
 * The TUN device is ours and persistent, and wireguard-go attaches to it: when
 * that dies, matched traffic goes into a device without a reader, and a new
 * process takes over addresses, routes and programs as they are.
 */
static int create_userspace(struct net *net, const char *name, struct tg_error *e)
{
	int err = wg_userspace_gone(name, WG_EXIT_WAIT_MS, e);

	if (err == -ETIMEDOUT)
		return tg_error(e, -EADDRINUSE,
				"a wireguard-go answers for %s, but there is no such link here: "
				"is it in another network namespace?",
				name);
	if (!err)
		err = make_tun(net, name, e);
	/* a process that a killed run has started is about to answer */
	if (err == -EBUSY)
		return wg_userspace_await(name, WG_START_WAIT_MS, e);
	return err ? err : wg_userspace_start(name, e);
}

/* Whether what is there serves. What is ours and of another kind is removed; a TUN without a process gets
 * one. */
static int adopt(struct net *net, const struct net_link_full *full, enum wg_backend backend, bool *ret_serves,
		 struct tg_error *e)
{
	const char *name = full->name;

	if (!net_link_is_ours(full))
		return tg_error(e, -EEXIST, "link %s: exists and was not made by TensorGuard", name);
	if (strcmp(full->link.kind, kind_of(backend))) {
		*ret_serves = false;
		return net_link_remove(net, name, e);
	}
	*ret_serves = backend == WG_KERNEL || socket_answers(name);
	return 0;
}

/*
 * A TUN device gets a link-local address and talks on its own (router
 * solicitations, MLD): traffic that would enter the tunnel and start sessions.
 * Kernel WireGuard leaves all that out; here the same is said to a TUN.
 */
static int settle(struct net *net, const char *name, unsigned mtu, struct tg_error *e)
{
	struct nlmsghdr *message;
	struct ifinfomsg *header;
	struct nlattr *spec, *inet6;
	struct net_link_full full;
	char alias[sizeof(full.link.alias)];
	bool off;
	int err = net_link_query(net, name, &full, e);

	if (err)
		return err;
	snprintf(alias, sizeof(alias), "%s%s", TG_LINK_ALIAS, name);
	message = net_message(net, RTM_NEWLINK, 0);
	header = mnl_nlmsg_put_extra_header(message, sizeof(*header));
	header->ifi_index = (int)full.link.ifindex;
	header->ifi_flags = IFF_NOARP;
	header->ifi_change = IFF_NOARP | IFF_MULTICAST;
	if (full.link.mtu != mtu)
		mnl_attr_put_u32(message, IFLA_MTU, mtu);
	mnl_attr_put_str(message, IFLA_IFALIAS, alias);
	if (!net_conf_get(AF_INET6, name, "disable_ipv6", &off)) {
		spec = mnl_attr_nest_start(message, IFLA_AF_SPEC);
		inet6 = mnl_attr_nest_start(message, AF_INET6);
		mnl_attr_put_u8(message, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
		mnl_attr_nest_end(message, inet6);
		mnl_attr_nest_end(message, spec);
	}
	err = net_apply(net, message, e);
	return err ? tg_error_prefix(e, err, "link %s: cannot configure it", name) : 0;
}

/*
 * The device has a carrier only while wireguard-go serves it. Without one its
 * routes do not count, and what comes next decides: the blackholes of a policy
 * that fails closed, the other routes of one that fails open.
 */
static int ignore_without_carrier(const char *name, struct tg_error *e)
{
	static const char key[] = "ignore_routes_with_linkdown";
	bool on;
	int err = net_conf_set(AF_INET, name, key, true, e);

	return err || net_conf_get(AF_INET6, name, key, &on) ? err
							     : net_conf_set(AF_INET6, name, key, true, e);
}

int wg_device_ensure(struct net *net, const char *name, enum wg_backend backend, unsigned mtu,
		     struct tg_error *e)
{
	struct net_link_full full;
	bool serves = false;
	int err = net_link_query(net, name, &full, e);

	if (err && err != -ENODEV)
		return err;
	if (!err) {
		err = adopt(net, &full, backend, &serves, e);
		if (err)
			return err;
	}
	if (!serves) {
		err = backend == WG_KERNEL ? create_kernel(net, name, e) : create_userspace(net, name, e);
		if (err)
			return tg_error_prefix(e, err, "link %s: cannot make a tunnel", name);
	}
	err = settle(net, name, mtu, e);
	return err || backend == WG_KERNEL ? err : ignore_without_carrier(name, e);
}
