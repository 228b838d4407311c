/* SPDX-License-Identifier: BSD-3-Clause */
/* Packets from readable layers: Ethernet, IPv4 or IPv6 with extension headers, a transport, a payload. */
#ifndef TESTS_BPF_PACKET_H
#define TESTS_BPF_PACKET_H

#include <stddef.h>
#include <stdint.h>

enum { PACKET_ROOM = 4096 };

struct packet_spec {
	int family;		/* 4 or 6; 0 = no IP: ethertype is `ethertype` */
	const char *src, *dst;
	uint8_t proto;		/* IPPROTO_* of the last header */
	uint16_t sport, dport;
	uint8_t icmp_type;
	unsigned payload;	/* bytes behind the transport header */
	uint8_t tos;		/* IPv4 TOS or IPv6 traffic class */
	uint16_t frag_off; /* IPv4: as in the header, host order; IPv6: != 0 adds a fragment header with it */
	uint8_t ihl;       /* IPv4 header words; 0 = 5. Larger ones are filled with NOPs, smaller ones lie */
	unsigned ext_hopopts; /* IPv6: number of hop-by-hop headers of 8 bytes (more than one is hostile, and
				 parsed) */
	int lie_length;		/* added to the stated IP length */
	unsigned cut;		/* bytes cut off the end after building */
	unsigned trailer;	/* bytes appended behind the IP packet */
	uint16_t ethertype;	/* 0 = by family */
};

/* Builds the frame into `frame` (PACKET_ROOM bytes). Returns its length, Ethernet header included. */
size_t packet_build(const struct packet_spec *spec, uint8_t *frame);

/* Ones' complement sum over an IPv4 header: 0 when its checksum is right. */
uint16_t packet_ipv4_check(const uint8_t *ip);

#endif
