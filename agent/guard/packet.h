/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The headers of one IP packet, read strictly: every length is checked against
 * the bytes at hand before it is believed.
 */
#ifndef AGENT_GUARD_PACKET_H
#define AGENT_GUARD_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/types.h"

enum packet_kind {
	PACKET_FLOW,		/* a packet of a flow; key and, for TCP, the fields below */
	PACKET_FRAGMENT,	/* ports unknown: belongs to no flow that we could tell */
	PACKET_ICMP_ERROR,	/* belongs to the connection that it reports on */
	PACKET_MALFORMED,
};

#define PACKET_FIN 0x01
#define PACKET_SYN 0x02
#define PACKET_RST 0x04

struct packet {
	enum packet_kind kind;
	struct tg_flow_key key;
	uint8_t tcp_flags;
	uint32_t seq;		/* TCP only, host order */
	const uint8_t *payload;	/* TCP only, inside the given bytes */
	size_t payload_len;	/* bytes at hand */
	size_t payload_total;	/* bytes that the packet had on the way: more when it was captured in part */
};

/*
 * Reads the packet that begins at data[0]. `size` bytes are at hand, `total`
 * (>= size) is the packet's own length: more when only its head was captured.
 * Bytes beyond the IP length are padding and ignored. Returns ret_packet->kind.
 */
enum packet_kind packet_parse(const uint8_t *data, size_t size, size_t total, struct packet *ret_packet);

/* Whether an address of a key stands for an IPv4 one (::ffff:a.b.c.d). */
bool packet_addr_is_ipv4(const uint8_t addr[16]);

#endif
