/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "keys/control.h"

static const uint8_t magic[4] = { 'T', 'G', 'K', '1' };

enum { AT_TYPE = 4, AT_ZERO = 5, AT_BOUND = 6, AT_NUMBER = 8, AT_KEY = 16, BURST = 64 };

void control_encode(const struct control_message *message, uint8_t ret_data[static CONTROL_LEN])
{
	uint64_t number = htobe64(message->number);
	uint16_t bound = htobe16(message->bound_ms);

	memset(ret_data, 0, CONTROL_LEN);
	memcpy(ret_data, magic, sizeof(magic));
	ret_data[AT_TYPE] = (uint8_t)message->type;
	memcpy(ret_data + AT_BOUND, &bound, sizeof(bound));
	memcpy(ret_data + AT_NUMBER, &number, sizeof(number));
	memcpy(ret_data + AT_KEY, message->key, TG_KEY_LEN);
}

int control_decode(const uint8_t *data, size_t len, struct control_message *ret_message)
{
	uint64_t number;
	uint16_t bound;

	if (len != CONTROL_LEN || memcmp(data, magic, sizeof(magic)) || !data[AT_TYPE] ||
	    data[AT_TYPE] >= CONTROL_TYPES || data[AT_ZERO])
		return -EBADMSG;
	memcpy(&number, data + AT_NUMBER, sizeof(number));
	ret_message->type = (enum control_type)data[AT_TYPE];
	ret_message->number = be64toh(number);
	memcpy(&bound, data + AT_BOUND, sizeof(bound));
	ret_message->bound_ms = be16toh(bound);
	memcpy(ret_message->key, data + AT_KEY, TG_KEY_LEN);
	return 0;
}

/* ---- addresses ---- */

static const struct tg_cidr *own_address(const struct tg_tunnel *tunnel, int family)
{
	for (size_t i = 0; i < tunnel->address_count; i++)
		if (tunnel->addresses[i].family == family)
			return &tunnel->addresses[i];
	return NULL;
}

static bool is_host(const struct tg_cidr *cidr)
{
	return cidr->length == (cidr->family == AF_INET ? 32 : 128);
}

static bool is_near(const struct tg_tunnel *tunnel, const struct tg_cidr *cidr)
{
	for (size_t i = 0; i < tunnel->address_count; i++) {
		struct tg_cidr network = tg_cidr_network(&tunnel->addresses[i]);

		if (tg_cidr_contains(&network, cidr))
			return true;
	}
	return false;
}

struct control_address control_address_of(const struct tg_tunnel *tunnel, const struct tg_peer *peer)
{
	struct control_address address = { .family = 0 };
	const struct tg_cidr *found = NULL;

	for (size_t i = 0; i < peer->allowed_ip_count; i++) {
		const struct tg_cidr *cidr = &peer->allowed_ips[i];

		if (!is_host(cidr) || !own_address(tunnel, cidr->family))
			continue;
		if (!found || (is_near(tunnel, cidr) && !is_near(tunnel, found)))
			found = cidr;
	}
	if (found) {
		address.family = found->family;
		memcpy(address.addr, found->addr, sizeof(address.addr));
	}
	return address;
}

bool control_address_equal(const struct control_address *a, const struct control_address *b)
{
	return a->family == b->family && !memcmp(a->addr, b->addr, sizeof(a->addr));
}

struct address {
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	};
	socklen_t len;
};

static struct address socket_address(int family, const uint8_t *addr)
{
	struct address a = { .len = 0 };

	if (family == AF_INET) {
		a.v4 = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(TG_KEYS_PORT) };
		memcpy(&a.v4.sin_addr, addr, sizeof(a.v4.sin_addr));
		a.len = sizeof(a.v4);
	} else {
		a.v6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = htons(TG_KEYS_PORT) };
		memcpy(&a.v6.sin6_addr, addr, sizeof(a.v6.sin6_addr));
		a.len = sizeof(a.v6);
	}
	return a;
}

/* From the port that only an agent's socket has. */
static bool read_address(const struct address *from, struct control_address *ret_address)
{
	struct control_address address = { .family = from->any.sa_family };

	if (address.family == AF_INET && from->v4.sin_port == htons(TG_KEYS_PORT))
		memcpy(address.addr, &from->v4.sin_addr, sizeof(from->v4.sin_addr));
	else if (address.family == AF_INET6 && from->v6.sin6_port == htons(TG_KEYS_PORT))
		memcpy(address.addr, &from->v6.sin6_addr, sizeof(from->v6.sin6_addr));
	else
		return false;
	*ret_address = address;
	return true;
}

/* ---- sockets ---- */

static void on_readable(evutil_socket_t fd, short what, void *ctx)
{
	struct control *c = ctx;
	uint8_t data[CONTROL_LEN + 1];
	struct control_message message;
	struct control_address sender;

	(void)what;
	/* whoever floods it does not keep it from its other work */
	for (int i = 0; i < BURST; i++) {
		struct address from = { .len = sizeof(from.v6) };
		ssize_t got = recvfrom(fd, data, sizeof(data), MSG_DONTWAIT, &from.any, &from.len);

		if (got < 0)
			return;
		if (read_address(&from, &sender) && !control_decode(data, (size_t)got, &message))
			c->receive(c->ctx, &sender, &message);
	}
}

void control_init(struct control *control)
{
	control->fds[0] = control->fds[1] = -1;
	control->events[0] = control->events[1] = NULL;
	control->ifindex = 0;
}

void control_close(struct control *control)
{
	for (int i = 0; i < 2; i++) {
		if (control->events[i])
			event_free(control->events[i]);
		if (control->fds[i] >= 0)
			close(control->fds[i]);
	}
	control_init(control);
}

static int open_one(struct control *c, struct event_base *base, const struct tg_tunnel *tunnel, int i)
{
	static const int families[2] = { AF_INET, AF_INET6 };
	const struct tg_cidr *own = own_address(tunnel, families[i]);
	struct address address;
	int fd, one = 1;

	if (!own)
		return 0;
	address = socket_address(own->family, own->addr);
	fd = socket(own->family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_UDP);
	if (fd < 0)
		return -errno;
	c->fds[i] = fd;
	if (own->family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)))
		return -errno;
	/* to and from the tunnel alone, whatever the routes are */
	if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, tunnel->name, (socklen_t)strlen(tunnel->name)) ||
	    bind(fd, &address.any, address.len))
		return -errno;
	c->events[i] = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, c);
	return !c->events[i] || event_add(c->events[i], NULL) ? -ENOMEM : 0;
}

int control_open(struct control *control, struct event_base *base, const struct tg_tunnel *tunnel,
		 unsigned ifindex, struct tg_error *e)
{
	int ret = 0;

	control_close(control);
	for (int i = 0; i < 2 && !ret; i++)
		ret = open_one(control, base, tunnel, i);
	if (ret) {
		control_close(control);
		return tg_error(e, ret, "tunnel %s: no socket for what agents say in it: %s", tunnel->name,
				strerror(-ret));
	}
	control->ifindex = ifindex;
	return 0;
}

int control_send(const struct control *control, const struct control_address *to,
		 const struct control_message *message)
{
	int fd = control->fds[to->family == AF_INET ? 0 : 1];
	struct address address = socket_address(to->family, to->addr);
	uint8_t data[CONTROL_LEN];

	if (!to->family || fd < 0)
		return -EDESTADDRREQ;
	control_encode(message, data);
	return sendto(fd, data, sizeof(data), MSG_DONTWAIT, &address.any, address.len) < 0 ? -errno : 0;
}
