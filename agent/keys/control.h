/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the agents at the two ends of a tunnel say to one another, inside it: datagrams of one size between
 * tunnel addresses, from port TG_KEYS_PORT to the same. WireGuard says whom they are from. Public keys are
 *the most secret that is in them.
 *
 *	offset	size
 *	0	4	"TGK1"
 *	4	1	type, enum control_type
 *	5	1	zero
 *	6	2	how many milliseconds after its change the sender goes back, big-endian
 *	8	8	number of the try, big-endian
 *	16	32	the public key that it is about
 */
#ifndef AGENT_KEYS_CONTROL_H
#define AGENT_KEYS_CONTROL_H

#include <event2/event.h>

#include "tensorguard/policy.h"

enum { TG_KEYS_PORT = 7484, CONTROL_LEN = 48 };

enum control_type {
	CONTROL_ASK = 1, /* do you know this key of mine? I am about to use it */
	CONTROL_READY,	 /* I do, and I watch for it */
	CONTROL_HELLO,	 /* nothing: it makes WireGuard shake hands */
	CONTROL_TYPES
};

struct control_message {
	enum control_type type;
	uint16_t bound_ms;
	uint64_t number;
	uint8_t key[TG_KEY_LEN];
};

void control_encode(const struct control_message *message, uint8_t ret_data[static CONTROL_LEN]);
/* -EBADMSG for whatever is not one. */
int control_decode(const uint8_t *data, size_t len, struct control_message *ret_message);

/* An address in the tunnel, or none (family 0). */
struct control_address {
	int family;
	uint8_t addr[16];
};

/*
 * Where a peer's agent listens: the first host in its allowed IPs that is in a network of the tunnel's own
 * addresses, else the first host; of a family that this end has an address of.
 */
struct control_address control_address_of(const struct tg_tunnel *tunnel, const struct tg_peer *peer);
bool control_address_equal(const struct control_address *a, const struct control_address *b);

/* The sockets of one tunnel. */
struct control {
	int fds[2];		/* IPv4, IPv6; -1: none */
	struct event *events[2];
	unsigned ifindex;	/* of the device that they are bound to; 0: not open */
	void (*receive)(void *ctx, const struct control_address *from, const struct control_message *message);
	void *ctx;
};

void control_init(struct control *control);
/* Bound to the device, which has this number. What was open before is closed. */
int control_open(struct control *control, struct event_base *base, const struct tg_tunnel *tunnel,
		 unsigned ifindex, struct tg_error *e);
void control_close(struct control *control);
/* 0, or a negative errno: it is lost, as any packet may be. */
int control_send(const struct control *control, const struct control_address *to,
		 const struct control_message *message);

#endif
