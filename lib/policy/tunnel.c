/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/parts.h"
#include "tensorguard/base64.h"
#include "tensorguard/certificate.h"
#include "util/parse.h"

enum { DEFAULT_MTU = 1420, MIN_MTU = 1280 };
#define ROTATION_MIN_NS 1000000000ull
#define ROTATION_MAX_NS (30 * 86400 * 1000000000ull)

/* Those that stand in the site file as well, which is about devices, come first. */
static const char *const keys[] = { "name", "external", "key_file", "listen_port", "addresses", "peers",
				    "mtu",  "dummy",    "budget",   "classes",     "default",   "rotation" };
enum { SITE_KEYS = CONF_KEY_COUNT(keys) - 3 };

/* Keys of a managed device, which `external` rules out. */
static const char *const managed_keys[] = { "key_file", "listen_port", "addresses" };

static bool from_site(const struct conf *c, const config_setting_t *s)
{
	return c->site.open && s->config == &c->site.config;
}

static bool is_host(const struct tg_cidr *cidr)
{
	struct in6_addr v6;

	if (cidr->family == AF_INET)
		return cidr->addr[0] && cidr->addr[0] != 127 && cidr->addr[0] < 224;
	memcpy(&v6, cidr->addr, sizeof(v6));
	return !IN6_IS_ADDR_UNSPECIFIED(&v6) && !IN6_IS_ADDR_LOOPBACK(&v6) && !IN6_IS_ADDR_MULTICAST(&v6);
}

static struct tg_cidr host_of(const struct in6_addr *addr)
{
	struct tg_cidr cidr = { .family = AF_INET6, .length = 128 };

	memcpy(cidr.addr, addr, sizeof(cidr.addr));
	return cidr;
}

static bool peer_allows(const struct tg_peer *peer, const struct tg_cidr *cidr)
{
	for (size_t i = 0; i < peer->allowed_ip_count; i++)
		if (tg_cidr_contains(&peer->allowed_ips[i], cidr))
			return true;
	return false;
}

/* ---- peers ---- */

static int parse_public_key(struct conf_group *g, struct tg_peer *peer)
{
	static const uint8_t zero[TG_KEY_LEN];
	const config_setting_t *s;
	int ret;

	ret = conf_require(g, "public_key", &s);
	if (ret)
		return ret;
	if (!config_setting_get_string(s) ||
	    tg_key_from_base64(config_setting_get_string(s), peer->public_key) ||
	    !memcmp(peer->public_key, zero, sizeof(zero)))
		return conf_expected_secret(g->conf, s, "a WireGuard public key: 44 characters of base64");
	return 0;
}

/* Whose key it is, or the key. */
static int parse_owner(struct conf_group *g, struct tg_peer *peer)
{
	const config_setting_t *s = conf_get(g, "agent");
	const char *id;
	int ret;

	if (!s)
		return parse_public_key(g, peer);
	if (conf_get(g, "public_key"))
		return conf_fail(g->conf, s,
				 "agent contradicts public_key, expected one of them: an agent's keys come "
				 "from the Platform");
	ret = conf_string(g->conf, s, "an agent's id", &id);
	if (ret)
		return ret;
	if (!tg_id_valid(id) || strlen(id) >= sizeof(peer->agent))
		return conf_expected(g->conf, s, "an agent's id: 1 to 63 of a-z 0-9 - _ .");
	strcpy(peer->agent, id);
	return 0;
}

static int parse_endpoint(struct conf_group *g, struct tg_peer *peer)
{
	const config_setting_t *s = conf_get(g, "endpoint");

	if (!s)
		return 0;
	if (!config_setting_get_string(s) || tg_parse_endpoint(config_setting_get_string(s), &peer->endpoint))
		return conf_expected(g->conf, s,
				     "an address and port such as 192.0.2.1:51820 or [2001:db8::1]:51820 "
				     "(names are not resolved: at boot there may be no DNS)");
	return 0;
}

/* Without a word from the policy only a single host in allowed_ips is beyond doubt. */
static int parse_dummy_target(struct conf_group *g, struct tg_peer *peer)
{
	const config_setting_t *s = conf_get(g, "dummy_target");
	struct tg_cidr target;
	size_t hosts = 0;
	int ret;

	if (s) {
		ret = conf_in6_addr(g->conf, s, &peer->dummy_target);
		if (ret)
			return ret;
		target = host_of(&peer->dummy_target);
		return peer_allows(peer, &target)
			       ? 0
			       : conf_expected(g->conf, s, "an address within allowed_ips");
	}
	for (size_t i = 0; i < peer->allowed_ip_count; i++) {
		const struct tg_cidr *cidr = &peer->allowed_ips[i];

		if (cidr->family == AF_INET6 && cidr->length == 128 && !hosts++)
			memcpy(&peer->dummy_target, cidr->addr, sizeof(peer->dummy_target));
	}
	if (hosts != 1)
		peer->dummy_target = in6addr_any;
	return 0;
}

/* What only WireGuard wants to know. */
static int parse_wireguard_peer(struct conf_group *g, struct tg_peer *peer)
{
	const config_setting_t *value;
	int64_t keepalive = 0;
	int ret = parse_owner(g, peer);

	if (ret)
		return ret;
	value = conf_get(g, "preshared_key_file");
	if (value)
		ret = conf_path(g->conf, value, &peer->preshared_key_file);
	if (!ret)
		ret = parse_endpoint(g, peer);
	if (!ret)
		ret = conf_get_integer(g, "keepalive", CONF_OPTIONAL, 0, 65535, &keepalive);
	peer->keepalive_s = (unsigned)keepalive;
	return ret;
}

/* Of a peer behind an external device it matters only which packets are its. */
static int parse_peer(struct conf *c, const config_setting_t *s, bool external, struct tg_peer *peer)
{
	static const char *const peer_keys[] = { "public_key",  "agent",     "preshared_key_file", "endpoint",
						 "allowed_ips", "keepalive", "dummy_target" };
	static const char *const external_keys[] = { "allowed_ips", "dummy_target" };
	const config_setting_t *value;
	struct conf_group g;
	int ret;

	ret = conf_group_begin(c, s, "peer", &g);
	if (!ret)
		ret = external ? conf_check_keys(&g, external_keys, CONF_KEY_COUNT(external_keys))
			       : conf_check_keys(&g, peer_keys, CONF_KEY_COUNT(peer_keys));
	if (!ret && !external)
		ret = parse_wireguard_peer(&g, peer);
	if (!ret)
		ret = conf_require(&g, "allowed_ips", &value);
	if (!ret)
		ret = conf_cidr_list(c, value, TG_MAX_LIST, &peer->allowed_ips, &peer->allowed_ip_count);
	return ret ? ret : parse_dummy_target(&g, peer);
}

/* One prefix, or the dummy target, of one peer. */
struct claim {
	struct tg_cidr cidr;
	bool target;
	size_t peer;
};

/* A prefix comes before what it contains; of equal ones the earlier peer's first, and targets last. */
static int by_claim(const void *a, const void *b)
{
	const struct claim *x = a, *y = b;
	int order;

	if (x->cidr.family != y->cidr.family)
		return x->cidr.family < y->cidr.family ? -1 : 1;
	order = memcmp(x->cidr.addr, y->cidr.addr, sizeof(x->cidr.addr));
	if (!order)
		order = (int)x->cidr.length - (int)y->cidr.length;
	if (!order)
		order = (int)x->target - (int)y->target;
	return order ? order : (x->peer > y->peer) - (x->peer < y->peer);
}

static struct claim *gather_claims(const struct tg_tunnel *t, size_t *ret_count)
{
	struct claim *claims;
	size_t count = 0, n = 0;

	for (size_t i = 0; i < t->peer_count; i++)
		count += t->peers[i].allowed_ip_count + 1;
	claims = calloc(count + 1, sizeof(*claims));
	for (size_t i = 0; claims && i < t->peer_count; i++) {
		const struct tg_peer *peer = &t->peers[i];

		for (size_t k = 0; k < peer->allowed_ip_count; k++)
			claims[n++] = (struct claim){ .cidr = peer->allowed_ips[k], .peer = i };
		if (!IN6_IS_ADDR_UNSPECIFIED(&peer->dummy_target))
			claims[n++] = (struct claim){ .cidr = host_of(&peer->dummy_target),
						      .target = true,
						      .peer = i };
	}
	if (claims)
		qsort(claims, n, sizeof(*claims), by_claim);
	*ret_count = n;
	return claims;
}

/* `around`: the innermost prefix that contains the claim, or NULL. */
static int check_claim(const struct conf *c, const config_setting_t *peers, const struct tg_tunnel *t,
		       const struct claim *claim, const struct claim *around)
{
	const config_setting_t *elem = config_setting_get_elem(peers, (unsigned)claim->peer);
	char text[TG_CIDR_TEXT_LEN];

	if (!around || around->peer == claim->peer)
		return 0;
	if (claim->target)
		return conf_fail(c, elem,
				 "dummy_target of a peer of tunnel '%s' is within %s, which another peer "
				 "has, expected an address of its own",
				 t->name, tg_cidr_text(&around->cidr, text));
	if (tg_cidr_equal(&around->cidr, &claim->cidr))
		return conf_fail(c, elem, "two peers of tunnel '%s' have %s in allowed_ips, expected one",
				 t->name, tg_cidr_text(&claim->cidr, text));
	return 0;
}

/*
 * WireGuard would move a prefix to the peer that is set last, and gives a packet
 * to the peer with the longest prefix around its destination: the dummies of
 * another's session would go there. The open prefixes form a chain, as in
 * compile.c.
 */
static int check_claims(const struct conf *c, const config_setting_t *peers, const struct tg_tunnel *t,
			const struct claim *claims, size_t count)
{
	const struct claim *chain[130], *around;
	size_t depth = 0;
	int ret = 0;

	for (size_t i = 0; i < count && !ret; i++) {
		const struct claim *claim = &claims[i];

		while (depth && !tg_cidr_contains(&chain[depth - 1]->cidr, &claim->cidr))
			depth--;
		around = depth ? chain[depth - 1] : NULL;
		ret = check_claim(c, peers, t, claim, around);
		if (!claim->target && !(around && tg_cidr_equal(&around->cidr, &claim->cidr)))
			chain[depth++] = claim;
	}
	return ret;
}

struct owned_key {
	const struct tg_peer *owner;
	size_t peer;
};

static int compare_owners(const struct tg_peer *a, const struct tg_peer *b)
{
	int order = memcmp(a->public_key, b->public_key, TG_KEY_LEN);

	return order ? order : strcmp(a->agent, b->agent);
}

static int by_key(const void *a, const void *b)
{
	const struct owned_key *x = a, *y = b;
	int order = compare_owners(x->owner, y->owner);

	return order ? order : (x->peer > y->peer) - (x->peer < y->peer);
}

/* WireGuard would take the two for one. */
static int check_keys(const struct conf *c, const config_setting_t *peers, const struct tg_tunnel *t)
{
	struct owned_key *owned = calloc(t->peer_count + 1, sizeof(*owned));
	int ret = 0;

	if (!owned)
		return tg_error(c->e, -ENOMEM, "out of memory");
	for (size_t i = 0; i < t->peer_count; i++)
		owned[i] = (struct owned_key){ .owner = &t->peers[i], .peer = i };
	qsort(owned, t->peer_count, sizeof(*owned), by_key);
	for (size_t i = 1; i < t->peer_count && !ret; i++)
		if (!compare_owners(owned[i - 1].owner, owned[i].owner))
			ret = conf_fail(c, config_setting_get_elem(peers, (unsigned)owned[i].peer),
					"two peers of tunnel '%s' have this %s, expected one", t->name,
					owned[i].owner->agent[0] ? "agent" : "public_key");
	free(owned);
	return ret;
}

/* Sorted, not each with each: there may be thousands. */
static int check_peers(const struct conf *c, const config_setting_t *peers, const struct tg_tunnel *t)
{
	struct claim *claims;
	size_t count;
	int ret = t->external[0] ? 0 : check_keys(c, peers, t);

	if (ret)
		return ret;
	claims = gather_claims(t, &count);
	if (!claims)
		return tg_error(c->e, -ENOMEM, "out of memory");
	ret = check_claims(c, peers, t, claims, count);
	free(claims);
	return ret;
}

static int parse_peers(struct conf *c, const config_setting_t *s, struct tg_tunnel *t)
{
	size_t count = 0;
	int ret;

	ret = conf_list_length(c, s, TG_MAX_PEERS, &count);
	if (ret)
		return ret;
	t->peers = calloc(count, sizeof(*t->peers));
	if (!t->peers)
		return tg_error(c->e, -ENOMEM, "out of memory");
	for (size_t i = 0; i < count && !ret; i++) {
		t->peer_count++;
		ret = parse_peer(c, config_setting_get_elem(s, (unsigned)i), t->external[0], &t->peers[i]);
	}
	return ret ? ret : check_peers(c, s, t);
}

/* ---- the device ---- */

static int parse_addresses(struct conf *c, const config_setting_t *s, struct tg_tunnel *t)
{
	size_t count = 0;
	int ret;

	ret = conf_list_length(c, s, TG_MAX_ADDRESSES, &count);
	for (size_t i = 0; !ret && i < count; i++) {
		const config_setting_t *elem = config_setting_get_elem(s, (unsigned)i);

		ret = conf_cidr(c, elem, false, &t->addresses[i]);
		if (!ret && !is_host(&t->addresses[i]))
			ret = conf_expected(c, elem, "the address of a host, such as 192.0.2.1/24");
		for (size_t k = 0; k < i && !ret; k++)
			if (!memcmp(t->addresses[k].addr, t->addresses[i].addr, sizeof(t->addresses[i].addr)))
				ret = conf_expected(c, elem, "each address once");
		t->address_count = i + 1;
	}
	return ret;
}

/* Before anything of the peers has been checked. */
static bool any_agent(const config_setting_t *peers)
{
	for (int i = 0; i < config_setting_length(peers); i++) {
		const config_setting_t *peer = config_setting_get_elem(peers, (unsigned)i);

		if (config_setting_is_group(peer) && config_setting_get_member(peer, "agent"))
			return true;
	}
	return false;
}

static int default_key_file(const struct conf *c, struct tg_tunnel *t)
{
	if (asprintf(&t->key_file, TG_KEYS_FOLDER "/%s.key", t->name) >= 0)
		return 0;
	t->key_file = NULL;
	return tg_error(c->e, -ENOMEM, "out of memory");
}

static int parse_managed(struct conf_group *g, struct tg_tunnel *t)
{
	const config_setting_t *key, *addresses, *peers;
	int64_t port = 0;
	int ret;

	key = conf_get_site(g, "key_file");
	addresses = conf_get_site(g, "addresses");
	peers = conf_get_site(g, "peers");
	if (!addresses || !peers || (!key && !any_agent(peers)))
		return conf_fail(g->conf, g->set,
				 "no key '%s' in %s, expected key_file, addresses and peers, or external",
				 !key && !(peers && any_agent(peers)) ? "key_file"
				 : !addresses                         ? "addresses"
								      : "peers",
				 g->what);
	ret = key ? conf_path(g->conf, key, &t->key_file) : default_key_file(g->conf, t);
	if (!ret && conf_get_site(g, "listen_port"))
		ret = conf_integer(g->conf, conf_get_site(g, "listen_port"), 0, 65535, &port);
	t->listen_port = (uint16_t)port;
	if (!ret)
		ret = parse_addresses(g->conf, addresses, t);
	return ret ? ret : parse_peers(g->conf, peers, t);
}

/* A peer whose key is in a file somewhere would not hear of this end's new one. */
static int parse_rotation(struct conf_group *g, struct tg_tunnel *t)
{
	const config_setting_t *s = conf_get(g, "rotation");

	if (!s)
		return 0;
	if (t->external[0])
		return conf_fail(g->conf, s, "rotation contradicts external, expected one of them");
	for (size_t i = 0; i < t->peer_count; i++)
		if (!t->peers[i].agent[0])
			return conf_fail(g->conf, s,
					 "rotation in a tunnel whose peer %zu of %zu has a public_key, "
					 "expected agent in each peer",
					 i + 1, t->peer_count);
	return conf_duration(g->conf, s, ROTATION_MIN_NS, ROTATION_MAX_NS, &t->rotation_ns);
}

static int parse_external(struct conf_group *g, const config_setting_t *external, struct tg_tunnel *t)
{
	const config_setting_t *peers = conf_get_site(g, "peers");
	const char *name = config_setting_get_string(external);
	size_t len = name ? strlen(name) : 0;

	if (!len || len >= sizeof(t->external) || strcspn(name, "/ \t:") != len || !strcmp(name, ".") ||
	    !strcmp(name, ".."))
		return conf_expected(g->conf, external, "the name of a network device");
	for (size_t i = 0; i < len; i++)
		if (name[i] < '!' || name[i] > '~')
			return conf_expected(g->conf, external, "the name of a network device");
	memcpy(t->external, name, len + 1);
	/* who is behind the device; the peers of a managed device that the site file replaces are not meant
	 */
	if (!peers || from_site(g->conf, external) != from_site(g->conf, peers))
		return 0;
	return parse_peers(g->conf, peers, t);
}

/* The site file may turn a managed tunnel into an external one, or back: what it overrides is not looked at.
 */
static int parse_device(struct conf_group *g, struct tg_tunnel *t)
{
	const config_setting_t *external = conf_get_site(g, "external"), *s;

	for (size_t i = 0; i < CONF_KEY_COUNT(managed_keys); i++) {
		s = conf_get_site(g, managed_keys[i]);
		if (!s || !external || (from_site(g->conf, external) && !from_site(g->conf, s)))
			continue;
		if (!i && from_site(g->conf, s) && !from_site(g->conf, external)) {
			external = NULL;
			continue;
		}
		return conf_fail(g->conf, s,
				 "%s contradicts external: expected one of them, as an external device is "
				 "configured by its owner",
				 managed_keys[i]);
	}
	return external ? parse_external(g, external, t) : parse_managed(g, t);
}

/* ---- dummies ---- */

static int check_dummy_source(struct conf_group *g, const config_setting_t *s, const struct tg_tunnel *t)
{
	if (t->external[0])
		return 0;
	for (size_t i = 0; i < t->address_count; i++)
		if (t->addresses[i].family == AF_INET6 &&
		    !memcmp(t->addresses[i].addr, &t->dummy_source, sizeof(t->dummy_source)))
			return 0;
	return conf_expected(g->conf, s, "one of the tunnel's addresses");
}

static int check_dummy_target(struct conf_group *g, const config_setting_t *s, const struct tg_tunnel *t)
{
	struct tg_cidr target = host_of(&t->dummy_target);
	const config_setting_t *peers;

	if (!memcmp(&t->dummy_target, &t->dummy_source, sizeof(t->dummy_target)))
		return conf_expected(g->conf, s, "another address than source");
	if (!t->peer_count)
		return 0;
	peers = conf_get_site(g, "peers");
	for (size_t i = 0; i < t->peer_count; i++) {
		if (config_setting_get_member(config_setting_get_elem(peers, (unsigned)i), "dummy_target"))
			return conf_fail(
				g->conf, s,
				"target contradicts dummy_target of a peer, expected only one of them");
		if (peer_allows(&t->peers[i], &target))
			return 0;
	}
	return conf_expected(g->conf, s, "an address within allowed_ips");
}

static int parse_dummy_group(struct conf_group *g, const config_setting_t *s, struct tg_tunnel *t)
{
	static const char *const dummy_keys[] = { "source", "target" };
	const config_setting_t *source, *target;
	struct conf_group dummy;
	int ret;

	ret = conf_group_begin(g->conf, s, "dummy", &dummy);
	if (!ret)
		ret = conf_check_keys(&dummy, dummy_keys, CONF_KEY_COUNT(dummy_keys));
	if (ret)
		return ret;
	source = conf_get(&dummy, "source");
	if (source)
		ret = conf_in6_addr(g->conf, source, &t->dummy_source);
	if (source && !ret)
		ret = check_dummy_source(g, source, t);
	target = conf_get(&dummy, "target");
	if (target && !ret)
		ret = conf_in6_addr(g->conf, target, &t->dummy_target);
	if (target && !ret)
		ret = check_dummy_target(g, target, t);
	if (!ret && t->peer_count == 1)
		t->peers[0].dummy_target = t->dummy_target;
	return ret;
}

/* A stock peer drops what does not come from its allowed addresses: a link-local source is none of them. */
static int parse_dummy(struct conf_group *g, struct tg_tunnel *t)
{
	const config_setting_t *s = conf_get_site(g, "dummy");

	for (size_t i = t->address_count; i-- > 0;) {
		struct in6_addr addr;

		memcpy(&addr, t->addresses[i].addr, sizeof(addr));
		if (t->addresses[i].family == AF_INET6 && !IN6_IS_ADDR_LINKLOCAL(&addr))
			t->dummy_source = addr;
	}
	if (t->peer_count == 1)
		t->dummy_target = t->peers[0].dummy_target;
	return s ? parse_dummy_group(g, s, t) : 0;
}

/* ---- classes ---- */

/* The first peer that dummies cannot be sent to, or NULL. */
static const struct tg_peer *peer_without_target(const struct tg_tunnel *t)
{
	for (size_t i = 0; i < t->peer_count; i++)
		if (IN6_IS_ADDR_UNSPECIFIED(&t->peers[i].dummy_target))
			return &t->peers[i];
	return NULL;
}

static int check_dummies(const struct conf *c, const config_setting_t *s, const struct tg_tunnel *t,
			 const struct tg_policy_class *class)
{
	const struct tg_peer *without = peer_without_target(t);
	const char *defence = tg_defence_name(class->defence);

	if (!tg_defence_has_dummies(class->defence) || c->rules_only)
		return 0;
	if (IN6_IS_ADDR_UNSPECIFIED(&t->dummy_source))
		return conf_fail(c, s, "%s class '%s' in a tunnel without a source for dummies, expected %s",
				 defence, class->name,
				 t->external[0] ? "dummy = { source = ...; target = ...; }"
						: "an IPv6 address in addresses");
	if (t->peer_count > 1 && without)
		return conf_fail(c, s,
				 "%s class '%s' in a tunnel whose peer %zu of %zu has no target for "
				 "dummies, expected dummy_target or a single IPv6 host (/128) in its "
				 "allowed_ips",
				 defence, class->name, (size_t)(without - t->peers) + 1, t->peer_count);
	if (t->peer_count > 1 && !tg_defence_is_paced(class->defence))
		return conf_fail(
			c, s,
			"%s class '%s' in a tunnel with %zu peers, expected one: all would share its session",
			defence, class->name, t->peer_count);
	if (t->peer_count <= 1 && IN6_IS_ADDR_UNSPECIFIED(&t->dummy_target))
		return conf_fail(c, s,
				 "%s class '%s' in a tunnel without a target for dummies, expected "
				 "dummy = { target = ...; }%s",
				 defence, class->name,
				 t->external[0] ? "" : " or a single IPv6 host (/128) in allowed_ips");
	return 0;
}

static int parse_classes(struct conf_group *g, struct tg_tunnel *t)
{
	const config_setting_t *s, *elem;
	size_t count = 0;
	int ret;

	ret = conf_require(g, "classes", &s);
	if (!ret)
		ret = conf_list_length(g->conf, s, TG_MAX_CLASSES, &count);
	for (size_t i = 0; !ret && i < count; i++) {
		elem = config_setting_get_elem(s, (unsigned)i);
		ret = policy_parse_class(g->conf, elem, t, &t->classes[i]);
		for (size_t k = 0; k < i && !ret; k++)
			if (!strcmp(t->classes[k].name, t->classes[i].name))
				ret = conf_fail(g->conf, elem,
						"a second class '%s' in tunnel '%s', expected another name",
						t->classes[i].name, t->name);
		if (!ret)
			ret = check_dummies(g->conf, elem, t, &t->classes[i]);
		t->class_count = i + 1;
	}
	return ret;
}

/* With one class there is nothing to choose. */
static int parse_default(struct conf_group *g, struct tg_tunnel *t)
{
	const config_setting_t *s = conf_get(g, "default");
	const char *name;
	int ret;

	if (!s && t->class_count == 1)
		return 0;
	ret = conf_require(g, "default", &s);
	if (!ret)
		ret = conf_string(g->conf, s, "the name of a class", &name);
	if (ret)
		return ret;
	for (size_t i = 0; i < t->class_count; i++) {
		if (!strcmp(t->classes[i].name, name)) {
			t->default_class = (unsigned)i;
			return 0;
		}
	}
	return conf_expected(g->conf, s, "the name of a class of tunnel '%s'", t->name);
}

/* ---- the tunnel ---- */

static int parse_name(struct conf_group *g, struct tg_tunnel *t)
{
	int ret = 0;

	if (!conf_get(g, "name"))
		ret = conf_check_keys(g, keys, CONF_KEY_COUNT(keys));
	if (!ret)
		ret = conf_get_name(g, t->name, sizeof(t->name));
	if (ret)
		return ret;
	if (!strcmp(t->name, "lo") || !strcmp(t->name, "all") || !strcmp(t->name, "default"))
		return conf_expected(g->conf, conf_get(g, "name"),
				     "a name that the kernel does not use itself");
	snprintf(g->what, sizeof(g->what), "tunnel '%s'", t->name);
	return conf_check_keys(g, keys, CONF_KEY_COUNT(keys));
}

int policy_check_site_tunnel(struct conf *c, const config_setting_t *s, const char **ret_name)
{
	const char *name = NULL;
	struct conf_group g;
	int ret;

	ret = conf_group_begin(c, s, "tunnel", &g);
	if (ret)
		return ret;
	if (config_setting_lookup_string(s, "name", &name))
		snprintf(g.what, sizeof(g.what), "tunnel '%.*s'", IFNAMSIZ, name);
	ret = conf_check_keys(&g, keys, SITE_KEYS);
	if (!ret && !name)
		ret = conf_fail(c, s,
				"no key 'name' in tunnel, expected the name of one of the policy's tunnels");
	if (!ret)
		*ret_name = name;
	return ret;
}

/* The site file's entry of this name; that it is a group was checked. */
static const config_setting_t *find_site(const struct conf *c, const char *name)
{
	const config_setting_t *list, *elem;
	const char *other;

	if (!c->site.open)
		return NULL;
	list = config_setting_get_member(config_root_setting(&c->site.config), "tunnels");
	for (int i = 0; i < config_setting_length(list); i++) {
		elem = config_setting_get_elem(list, (unsigned)i);
		if (config_setting_lookup_string(elem, "name", &other) && !strcmp(name, other))
			return elem;
	}
	return NULL;
}

/* Keys, addresses and peers. */
static int parse_link(struct conf_group *g, struct tg_tunnel *t)
{
	int ret = parse_device(g, t);

	if (!ret)
		ret = parse_rotation(g, t);
	return ret ? ret : parse_dummy(g, t);
}

int policy_parse_tunnel(struct conf *c, const config_setting_t *s, struct tg_tunnel *t)
{
	const config_setting_t *mtu, *budget;
	struct conf_group g;
	/* the site file may have a larger one than the default */
	int64_t value = c->rules_only ? TG_MAX_CELL : DEFAULT_MTU;
	int ret;

	t->line = config_setting_source_line(s);
	ret = conf_group_begin(c, s, "tunnel", &g);
	if (!ret)
		ret = parse_name(&g, t);
	if (ret)
		return ret;
	g.site = find_site(c, t->name);
	if (!c->rules_only)
		ret = parse_link(&g, t);
	mtu = conf_get_site(&g, "mtu");
	if (!ret && mtu)
		ret = conf_integer(c, mtu, MIN_MTU, TG_MAX_CELL, &value);
	t->mtu = (unsigned)value;
	budget = conf_get_site(&g, "budget");
	if (!ret && budget)
		ret = policy_parse_budget(c, budget, &t->budget);
	if (!ret)
		ret = parse_classes(&g, t);
	if (!ret)
		ret = parse_default(&g, t);
	return ret;
}

const char *tg_tunnel_device(const struct tg_tunnel *tunnel)
{
	return tunnel->external[0] ? tunnel->external : tunnel->name;
}

bool tg_tunnel_has_agents(const struct tg_tunnel *tunnel)
{
	for (size_t i = 0; i < tunnel->peer_count; i++)
		if (tunnel->peers[i].agent[0])
			return true;
	return false;
}

bool tg_tunnel_has_dummies(const struct tg_tunnel *tunnel)
{
	for (size_t i = 0; i < tunnel->class_count; i++)
		if (tg_defence_has_dummies(tunnel->classes[i].defence))
			return true;
	return false;
}

bool tg_tunnel_is_paced(const struct tg_tunnel *tunnel)
{
	for (size_t i = 0; i < tunnel->class_count; i++)
		if (tg_defence_is_paced(tunnel->classes[i].defence))
			return true;
	return false;
}

bool tg_policy_needs_agent(const struct tg_policy *policy)
{
	for (size_t i = 0; i < policy->tunnel_count; i++)
		for (size_t k = 0; k < policy->tunnels[i].class_count; k++)
			if (tg_defence_needs_agent(policy->tunnels[i].classes[k].defence))
				return true;
	return false;
}

bool tg_policy_is_paced(const struct tg_policy *policy)
{
	for (size_t i = 0; i < policy->tunnel_count; i++)
		if (tg_tunnel_is_paced(&policy->tunnels[i]))
			return true;
	return false;
}

unsigned tg_tunnel_smallest_cell(const struct tg_tunnel *tunnel)
{
	unsigned cell = tunnel->mtu;

	for (size_t i = 0; i < tunnel->class_count; i++)
		if (tg_class_packet(&tunnel->classes[i]) < cell)
			cell = tg_class_packet(&tunnel->classes[i]);
	return cell;
}
