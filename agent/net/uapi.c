/* SPDX-License-Identifier: BSD-3-Clause */
/* WireGuard's cross-platform text protocol (wireguard.com/xplatform) over wireguard-go's socket. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/userspace.h"
#include "net/wg.h"
#include "tensorguard/x25519.h"

enum { MAX_REPLY = 4 * 1024 * 1024, KEY_HEX = 2 * TG_KEY_LEN };

/* ---- writing ---- */

/* Never grows: a growing buffer leaves copies of the keys behind. */
struct text {
	char *data;
	size_t used, size;
	bool full;
};

static void __attribute__((format(printf, 2, 3))) put(struct text *text, const char *format, ...)
{
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(text->data + text->used, text->size - text->used, format, args);
	va_end(args);
	if (len < 0 || (size_t)len >= text->size - text->used)
		text->full = true;
	else
		text->used += (size_t)len;
}

/* "name=" and the key in hexadecimal, without a branch or a table access that depends on it. */
static void put_key(struct text *text, const char *name, const uint8_t *key)
{
	put(text, "%s=", name);
	if (text->full || text->size - text->used < KEY_HEX + 2) {
		text->full = true;
		return;
	}
	for (int i = 0; i < KEY_HEX; i++) {
		int nibble = key[i / 2] >> (i % 2 ? 0 : 4) & 15;

		text->data[text->used++] = (char)('0' + nibble + ((9 - nibble) >> 31 & ('a' - '0' - 10)));
	}
	put(text, "\n");
}

static void put_endpoint(struct text *text, const struct tg_endpoint *endpoint)
{
	char address[INET6_ADDRSTRLEN];

	if (!endpoint->family || !inet_ntop(endpoint->family, endpoint->addr, address, sizeof(address)))
		return;
	put(text, endpoint->family == AF_INET6 ? "endpoint=[%s]:%u\n" : "endpoint=%s:%u\n", address,
	    endpoint->port);
}

static void put_peer(struct text *text, const struct wg_change *change, size_t index)
{
	const struct tg_peer *peer = &change->tunnel->peers[index];
	enum wg_allowed allowed = wg_change_allowed(change, peer);
	char prefix[INET6_ADDRSTRLEN + 4];

	put_key(text, "public_key", peer->public_key);
	put_key(text, "preshared_key", change->secrets->preshared[index]);
	put_endpoint(text, &peer->endpoint);
	put(text, "persistent_keepalive_interval=%u\n", peer->keepalive_s);
	if (allowed == WG_ALLOWED_REPLACE)
		put(text, "replace_allowed_ips=true\n");
	for (size_t i = 0; allowed != WG_ALLOWED_SAME && i < peer->allowed_ip_count; i++)
		put(text, "allowed_ip=%s\n", net_cidr_text(&peer->allowed_ips[i], prefix));
}

static size_t set_size(const struct wg_change *change)
{
	size_t size = 512 + change->state->peers.count * 128;

	for (size_t i = 0; i < change->tunnel->peer_count; i++)
		size += 512 + change->tunnel->peers[i].allowed_ip_count * (INET6_ADDRSTRLEN + 20);
	return size;
}

int uapi_build(const struct wg_change *change, char **ret_text, size_t *ret_size)
{
	const struct wg_peer_state *old = change->state->peers.data;
	struct text text = { .size = set_size(change) };

	text.data = malloc(text.size);
	if (!text.data)
		return -ENOMEM;
	put(&text, "set=1\n");
	put_key(&text, "private_key", change->secrets->private_key);
	if (wg_change_port(change))
		put(&text, "listen_port=%u\n", change->tunnel->listen_port);
	if (change->state->fwmark != change->fwmark)
		put(&text, "fwmark=%u\n", change->fwmark);
	for (size_t i = 0; i < change->state->peers.count; i++) {
		if (wg_change_keeps(change, old[i].status.public_key))
			continue;
		put_key(&text, "public_key", old[i].status.public_key);
		put(&text, "remove=true\n");
	}
	for (size_t i = 0; i < change->tunnel->peer_count; i++)
		put_peer(&text, change, i);
	put(&text, "\n");
	if (text.full) {
		explicit_bzero(text.data, text.size);
		free(text.data);
		return -ENOBUFS;
	}
	*ret_text = text.data;
	*ret_size = text.size;
	return 0;
}

/* ---- reading ---- */

/* A decimal number and nothing else. */
static int parse_number(const char *value, uint64_t max, uint64_t *ret_number)
{
	uint64_t number = 0;

	if (!*value || strlen(value) > 20)
		return -EBADMSG;
	for (; *value; value++) {
		uint64_t digit = (uint64_t)(*value - '0');

		if (*value < '0' || *value > '9' || number > (UINT64_MAX - digit) / 10)
			return -EBADMSG;
		number = number * 10 + digit;
	}
	if (number > max)
		return -EBADMSG;
	*ret_number = number;
	return 0;
}

static int parse_key(const char *value, uint8_t ret_key[static TG_KEY_LEN])
{
	uint8_t key[TG_KEY_LEN];
	int bad = strlen(value) != KEY_HEX;

	for (int i = 0; i < KEY_HEX && !bad; i++) {
		int c = (unsigned char)value[i];
		int digit = (('0' - 1 - c) & (c - '9' - 1)) >> 31,
		    letter = (('a' - 1 - c) & (c - 'f' - 1)) >> 31;
		int nibble = (digit & (c - '0')) | (letter & (c - 'a' + 10));

		bad |= !(digit | letter);
		key[i / 2] = (uint8_t)(i % 2 ? key[i / 2] | nibble : nibble << 4);
	}
	if (!bad)
		memcpy(ret_key, key, sizeof(key));
	explicit_bzero(key, sizeof(key));
	return bad ? -EBADMSG : 0;
}

/* "192.0.2.1:51820" or "[2001:db8::1]:51820", also with a zone: "[fe80::1%eth0]:51820" */
static int parse_endpoint(const char *value, struct tg_endpoint *ret_endpoint)
{
	struct tg_endpoint endpoint = { .family = *value == '[' ? AF_INET6 : AF_INET };
	const char *colon = strrchr(value, ':');
	char address[INET6_ADDRSTRLEN + IFNAMSIZ + 2];
	size_t skip = *value == '[' ? 1 : 0, len;
	uint64_t port;

	if (!colon || (size_t)(colon - value) < 2 * skip || (skip && colon[-1] != ']'))
		return -EBADMSG;
	len = (size_t)(colon - value) - 2 * skip;
	if (len >= sizeof(address))
		return -EBADMSG;
	memcpy(address, value + skip, len);
	address[len] = '\0';
	if (skip)
		address[strcspn(address, "%")] = '\0';
	if (inet_pton(endpoint.family, address, endpoint.addr) != 1 || parse_number(colon + 1, 65535, &port))
		return -EBADMSG;
	endpoint.port = (uint16_t)port;
	*ret_endpoint = endpoint;
	return 0;
}

static int parse_allowed(const char *value, struct wg_peer_state *peer)
{
	struct tg_cidr cidr = { .family = strchr(value, ':') ? AF_INET6 : AF_INET };
	const char *slash = strchr(value, '/');
	char address[INET6_ADDRSTRLEN];
	struct tg_cidr *entry;
	uint64_t length;

	if (!slash || (size_t)(slash - value) >= sizeof(address))
		return -EBADMSG;
	memcpy(address, value, (size_t)(slash - value));
	address[slash - value] = '\0';
	if (inet_pton(cidr.family, address, cidr.addr) != 1 ||
	    parse_number(slash + 1, 8 * net_family_bytes(cidr.family), &length))
		return -EBADMSG;
	cidr.length = (uint8_t)length;
	entry = net_array_add(&peer->allowed, sizeof(*entry));
	if (!entry)
		return -ENOMEM;
	*entry = cidr;
	return 0;
}

struct parse {
	struct wg_state state;
	struct wg_peer_state *peer; /* the newest; NULL before the first */
	bool has_result;
	uint64_t result;	/* the reply's errno */
};

static int parse_device(struct parse *parse, const char *key, const char *value)
{
	uint8_t private_key[TG_KEY_LEN];
	uint64_t number;
	int err;

	if (!strcmp(key, "private_key")) {
		err = parse_key(value, private_key);
		parse->state.has_private_key = !err;
		if (!err)
			err = tg_x25519_public(private_key, parse->state.public_key, NULL);
		explicit_bzero(private_key, sizeof(private_key));
		return err;
	}
	if (!strcmp(key, "listen_port")) {
		err = parse_number(value, 65535, &number);
		if (!err)
			parse->state.listen_port = (uint16_t)number;
		return err;
	}
	if (!strcmp(key, "fwmark")) {
		err = parse_number(value, UINT32_MAX, &number);
		if (!err)
			parse->state.fwmark = (uint32_t)number;
		return err;
	}
	return 0;	/* of a newer version */
}

static int parse_peer(struct wg_peer_state *peer, const char *key, const char *value)
{
	uint64_t number;
	int err;

	if (!strcmp(key, "endpoint"))
		return parse_endpoint(value, &peer->status.endpoint);
	if (!strcmp(key, "allowed_ip"))
		return parse_allowed(value, peer);
	if (!strcmp(key, "rx_bytes"))
		return parse_number(value, UINT64_MAX, &peer->status.rx_bytes);
	if (!strcmp(key, "tx_bytes"))
		return parse_number(value, UINT64_MAX, &peer->status.tx_bytes);
	if (!strcmp(key, "last_handshake_time_nsec")) {
		err = parse_number(value, 999999999, &number);
		if (!err)
			peer->status.last_handshake_ns = (uint32_t)number;
		return err;
	}
	if (!strcmp(key, "last_handshake_time_sec")) {
		err = parse_number(value, INT64_MAX, &number);
		if (!err)
			peer->status.last_handshake_s = (int64_t)number;
		return err;
	}
	return 0;
}

static int parse_line(struct parse *parse, const char *key, const char *value)
{
	if (!strcmp(key, "errno")) {
		parse->has_result = true;
		/* wireguard-go gives its own errors, a port in use among them, with a minus sign */
		return parse_number(value + (*value == '-'), 4095, &parse->result);
	}
	if (parse->has_result)
		return -EBADMSG;
	if (strcmp(key, "public_key"))
		return parse->peer ? parse_peer(parse->peer, key, value) : parse_device(parse, key, value);
	parse->peer = net_array_add(&parse->state.peers, sizeof(*parse->peer));
	if (!parse->peer)
		return -ENOMEM;
	return parse_key(value, parse->peer->status.public_key);
}

/* A reply up to its empty line. Messages name the key of a line, never its value: that may be secret. */
static int parse_reply(const char *text, struct parse *parse, struct tg_error *e)
{
	char line[256];
	int err = 0;

	while (!err && *text != '\n') {
		size_t len = strcspn(text, "\n");
		char *value;

		if (len >= sizeof(line) || text[len] != '\n') {
			err = tg_error(e, -EBADMSG,
				       "wireguard-go's reply is cut off or has an overlong line");
			break;
		}
		memcpy(line, text, len);
		line[len] = '\0';
		value = strchr(line, '=');
		if (!value || value == line) {
			err = tg_error(e, -EBADMSG, "wireguard-go's reply has a line without a key");
			break;
		}
		*value++ = '\0';
		err = parse_line(parse, line, value);
		if (err)
			tg_error(e, err, "wireguard-go's reply has a bad \"%s\"", line);
		text += len + 1;
	}
	explicit_bzero(line, sizeof(line));
	if (!err && !parse->has_result)
		err = tg_error(e, -EBADMSG, "wireguard-go's reply has no result");
	if (!err && parse->result)
		err = tg_error(e, -(int)parse->result, "wireguard-go refused: %s",
			       strerror((int)parse->result));
	return err;
}

int uapi_parse(const char *text, struct wg_state *ret_state, struct tg_error *e)
{
	struct parse parse = { .peer = NULL };
	int err = parse_reply(text, &parse, e);

	if (err)
		wg_state_free(&parse.state);
	else
		*ret_state = parse.state;
	return err;
}

int uapi_parse_result(const char *text, struct tg_error *e)
{
	struct wg_state state;
	int err = uapi_parse(text, &state, e);

	if (!err)
		wg_state_free(&state);
	return err;
}

/* ---- talking ---- */

static int send_all(int fd, const char *text)
{
	size_t left = strlen(text);

	while (left) {
		ssize_t sent = send(fd, text, left, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return -errno;
		text += sent;
		left -= (size_t)sent;
	}
	return 0;
}

struct reply {
	char *text;		/* NUL at `used` */
	size_t used, size;
};

static void reply_free(struct reply *reply)
{
	if (reply->text)
		explicit_bzero(reply->text, reply->size);
	free(reply->text);
}

/* Not realloc(): it would leave keys in the memory that it gives back. */
static int reply_grow(struct reply *reply)
{
	struct reply grown = { .used = reply->used, .size = reply->size ? 2 * reply->size : 8192 };

	if (grown.size > MAX_REPLY)
		return -EFBIG;
	grown.text = malloc(grown.size);
	if (!grown.text)
		return -ENOMEM;
	if (reply->used)
		memcpy(grown.text, reply->text, reply->used);
	reply_free(reply);
	*reply = grown;
	return 0;
}

static bool reply_complete(const struct reply *reply)
{
	return reply->used >= 2 && !memcmp(reply->text + reply->used - 2, "\n\n", 2);
}

static int receive_reply(int fd, struct reply *reply)
{
	while (!reply->used || !reply_complete(reply)) {
		ssize_t got;

		if (reply->used + 1 >= reply->size) {
			int err = reply_grow(reply);

			if (err)
				return err;
		}
		got = recv(fd, reply->text + reply->used, reply->size - reply->used - 1, 0);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got ? -errno : -ECONNRESET;
		reply->used += (size_t)got;
		reply->text[reply->used] = '\0';
	}
	return 0;
}

static int exchange(const char *name, const char *request, struct reply *ret_reply, struct tg_error *e)
{
	struct reply reply = { .text = NULL };
	int fd = wg_userspace_connect(name, e), err;

	if (fd < 0)
		return fd;
	err = send_all(fd, request);
	if (!err)
		err = receive_reply(fd, &reply);
	close(fd);
	if (!err && strlen(reply.text) != reply.used)
		err = -EBADMSG;
	if (err) {
		reply_free(&reply);
		return tg_error(e, err, "wireguard-go of %s: %s", name, strerror(-err));
	}
	*ret_reply = reply;
	return 0;
}

int uapi_get(const char *name, struct wg_state *ret_state, struct tg_error *e)
{
	struct reply reply;
	int err = exchange(name, "get=1\n\n", &reply, e);

	if (err)
		return err;
	err = uapi_parse(reply.text, ret_state, e);
	reply_free(&reply);
	return err;
}

int uapi_set(const char *name, const struct wg_change *change, struct tg_error *e)
{
	struct reply reply;
	size_t size;
	char *text;
	int err = uapi_build(change, &text, &size);

	if (err)
		return tg_error(e, err, "%s", strerror(-err));
	err = exchange(name, text, &reply, e);
	explicit_bzero(text, size);
	free(text);
	if (err)
		return err;
	err = uapi_parse_result(reply.text, e);
	reply_free(&reply);
	return err;
}
