/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The packets that go round in a veth pair and are its clock (shared/twins.h).
 * Ours are only the first: a program sends clones of them round.
 */
#ifndef AGENT_DATAPLANE_LOOP_H
#define AGENT_DATAPLANE_LOOP_H

#include <netinet/in.h>
#include <stdint.h>

#include "tensorguard/error.h"

struct loop {
	unsigned ifindex; /* the pair's head */
	unsigned index;	  /* queue, or the metronome's class */
	unsigned cell;	  /* inner bytes */
	unsigned length;  /* of the frame in the pair: what its clock reads from it, too */
	int fd;
	uint8_t *frame;
};

/* Opens the socket and makes room for the packet; close it whatever it returns. */
int loop_open(struct loop *loop, struct tg_error *e);
/* Puts both packets of one clock in: dummies (IPv6, next header 59) from `source` to `target`. Of those that
 * went round before under the same `peer` nothing remains. */
int loop_start(struct loop *loop, unsigned peer, const struct in6_addr *source, const void *target,
	       struct tg_error *e);
void loop_close(struct loop *loop);

#endif
