/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What an eavesdropper reads off a packet: every header field outside the
 * encryption, and what kind of packet that makes it. Pure.
 */
#ifndef TESTS_TOOLS_WIRE_PACKET_H
#define TESTS_TOOLS_WIRE_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WIRE_MAX_PORTS = 16, WIRE_MAX_ADDRESSES = 8, WIRE_KEEPALIVE_BYTES = 32 };

enum wire_kind {
	WIRE_DATA = 0,		/* WireGuard type 4 with something inside */
	WIRE_HANDSHAKE = 1,	/* types 1, 2 and 3 */
	WIRE_KEEPALIVE = 2,	/* type 4, empty */
	WIRE_OTHER = 3,		/* UDP of a tunnel port, but no WireGuard message */
	WIRE_LINK = 4,		/* ARP, IPv6 neighbour discovery and group membership */
	WIRE_FRAGMENT = 5,	/* a later fragment: no header that tells what it is */
	WIRE_CLEAR = 6,		/* anything else: traffic outside the tunnel */
	WIRE_CONTROL = 7,	/* TCP with a host that was named: the agent's with the Platform */
	WIRE_KINDS
};

/* Fields in host order; those that a packet does not have are 0. */
struct wire_headers {
	int family;		/* AF_INET, AF_INET6, or 0 for neither */
	uint16_t ether_type;
	uint8_t src[16], dst[16];
	uint32_t ip_bytes;	/* of the whole packet, by its IP header */
	uint32_t header_bytes;	/* IP header with options or extension headers */
	uint8_t dscp, ecn, ttl, protocol;
	bool df, mf;
	uint16_t fragment_offset; /* bytes */
	uint32_t id;		/* IPv4, or of the IPv6 fragment header */
	uint32_t flow_label;
	uint16_t sport, dport, udp_bytes, udp_checksum;
	uint8_t icmp6_type;
	bool is_udp;		/* ports and lengths below are valid */
	uint32_t payload_bytes;	/* UDP payload, by the UDP header */
	uint8_t message[4];	/* WireGuard's type and reserved bytes */
	uint32_t receiver;	/* WireGuard's receiver index of a data message */
	uint64_t counter;	/* and its counter: counts the sender's packets */
};

struct wire_address {
	int family;
	uint8_t addr[16];
};

struct wire_filter {
	uint16_t ports[WIRE_MAX_PORTS];	/* none: every WireGuard message on any port counts */
	size_t port_count;
	struct wire_address edge[WIRE_MAX_ADDRESSES];	/* outer addresses of the edge: from them is up */
	size_t edge_count;
	struct wire_address control[WIRE_MAX_ADDRESSES];
	size_t control_count;
};

/* `packet` begins with the IP header; `size` bytes of it were captured. False when it is cut short or
 * malformed. */
bool wire_parse(uint16_t ether_type, const uint8_t *packet, size_t size, struct wire_headers *ret_headers);

enum wire_kind wire_classify(const struct wire_filter *filter, const struct wire_headers *headers);

/* 1 = up (from the edge), -1 = down (to the edge), 0 = neither. */
int wire_direction(const struct wire_filter *filter, const struct wire_headers *headers);

#endif
