/* SPDX-License-Identifier: BSD-3-Clause */
/* WireGuard's configuration as both back-ends see it: generic netlink (wireguard.c) and UAPI (uapi.c). */
#ifndef AGENT_NET_WG_H
#define AGENT_NET_WG_H

#include "net/internal.h"

/* What a device has now. Key material is not kept, only whether there is any. */
struct wg_peer_state {
	struct wg_peer_status status;
	struct net_array allowed; /* struct tg_cidr */
};

struct wg_state {
	bool has_private_key;
	uint8_t public_key[TG_KEY_LEN]; /* that of the private key */
	uint16_t listen_port;
	uint32_t fwmark;
	struct net_array peers;	/* struct wg_peer_state */
};

void wg_state_free(struct wg_state *state);
const struct wg_peer_state *wg_state_peer(const struct wg_state *state, const uint8_t *public_key);

/* What is to be done to get from `state` to `tunnel`. */
struct wg_change {
	const struct tg_tunnel *tunnel;
	const struct wg_secrets *secrets;
	const struct wg_state *state;
	uint32_t fwmark;
};

/*
 * The listen port is set only when the tunnel names one that the device has not: setting it opens new
 * sockets.
 */
bool wg_change_port(const struct wg_change *change);
/*
 * How to bring a peer's allowed IPs about. Replacing drops them for an instant,
 * so that it is done only when some have to go.
 */
enum wg_allowed { WG_ALLOWED_SAME, WG_ALLOWED_ADD, WG_ALLOWED_REPLACE };
enum wg_allowed wg_change_allowed(const struct wg_change *change, const struct tg_peer *peer);
bool wg_change_keeps(const struct wg_change *change, const uint8_t *public_key);

/* ---- uapi.c ---- */

/* The text of a set operation; the caller wipes it (*ret_size bytes) and frees it. */
int uapi_build(const struct wg_change *change, char **ret_text, size_t *ret_size);
/* The reply to a get operation: `text` ends with an empty line. Free *ret_state with wg_state_free(). */
int uapi_parse(const char *text, struct wg_state *ret_state, struct tg_error *e);
/* The reply to a set operation: 0, or the negative errno that it states. */
int uapi_parse_result(const char *text, struct tg_error *e);

int uapi_get(const char *name, struct wg_state *ret_state, struct tg_error *e);
int uapi_set(const char *name, const struct wg_change *change, struct tg_error *e);

/* ---- wireguard.c ---- */

int wg_genl_get(struct net *net, const char *name, struct wg_state *ret_state, struct tg_error *e);
int wg_genl_set(struct net *net, const char *name, const struct wg_change *change, struct tg_error *e);

/*
 * The messages of a change, one after another: begins with `cursor` zeroed and
 * goes on until *ret_more is false. Pure but for `buffer`, which the caller
 * wipes. -EMSGSIZE when `size` holds not even one peer.
 */
struct wg_cursor {
	size_t removed, peer, allowed;	/* how much of each is in earlier messages */
	bool device;			/* the device's own settings are */
	bool begun;			/* so are this peer's, and some of its allowed IPs */
};
int wg_genl_build(const struct wg_change *change, const char *name, uint16_t family, struct wg_cursor *cursor,
		  void *buffer, size_t size, struct nlmsghdr **ret_message, bool *ret_more);
/* Adds what one message of a device dump tells; a peer may go on in the next one. */
int wg_genl_take(const struct nlmsghdr *reply, void *data);

#endif
