/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Several IP packets in one cell, and large ones over several: the payload of
 * RFC 9347 (AGGFRAG, sub-type 0), here as what an IPv6 packet of protocol 144
 * carries:
 *
 *	0        1        2                 4
 *	sub-type reserved BlockOffset (BE)  the rest of a packet that an earlier cell began,
 *	                                    then packets, each recognised by its version and as
 *	                                    long as its own header says, then zeros
 *
 * BlockOffset is what is still to come of the packet that an earlier cell began,
 * also where that is more than this cell holds. The last packet goes on in the
 * next cell. A packet begins only where TG_AGGFRAG_BEGIN bytes of it fit, so that
 * its length is always in the cell that it begins in.
 *
 * Cells carry numbers of TG_AGGFRAG_SEQUENCE_BITS (the flow label of the packet
 * around them; RFC 9347 takes those of ESP): pieces of two packets are never put
 * together, whatever was lost or overtaken in between.
 *
 * Nothing here allocates memory per cell or packet.
 */
#ifndef TENSORGUARD_AGGFRAG_H
#define TENSORGUARD_AGGFRAG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TG_AGGFRAG_PROTOCOL 144
#define TG_AGGFRAG_HEADER 4u
#define TG_AGGFRAG_BEGIN 6u	/* an IPv6 packet's length ends there */
#define TG_AGGFRAG_SEQUENCE_BITS 20
#define TG_AGGFRAG_SEQUENCE_MASK ((1u << TG_AGGFRAG_SEQUENCE_BITS) - 1)

/* ---- writing ---- */

struct tg_aggfrag_writer {
	uint8_t *data;
	size_t size, used;
};

/* `size` > TG_AGGFRAG_HEADER bytes at `data` become a payload; `rest` bytes, up to 65535, are still to come
 * of the packet that an earlier cell began. */
void tg_aggfrag_begin(struct tg_aggfrag_writer *w, uint8_t *data, size_t size, size_t rest);

/* Takes as much of these bytes as has room and returns how much that is: of a packet from its first byte on
 * (`begins`), or of the one that goes on. 0 = full. */
size_t tg_aggfrag_put(struct tg_aggfrag_writer *w, const uint8_t *bytes, size_t len, bool begins);

/* Fills what is left with zeros, which are the padding block. */
void tg_aggfrag_end(struct tg_aggfrag_writer *w);

/* ---- reading ---- */

/* What was received of one sender. Zeros are its beginning, but for the buffer. */
struct tg_aggfrag_reader {
	uint8_t *buffer;	/* the caller's: `room` bytes, as long as the longest packet that is taken */
	size_t room;
	size_t have, want;	/* of the packet that is being put together; want 0 = none */
	uint32_t next;		/* number of the next cell */
	bool started;
	uint64_t lost;		/* cells that did not come, or came too late to continue a packet */
	uint64_t broken;	/* packets of which only a part came */
	uint64_t malformed;	/* cells */
};

/* Gets each whole packet, as long as its own header says; valid during the call. */
typedef void (*tg_aggfrag_deliver_fn)(void *ctx, const uint8_t *packet, size_t len);

/* Whole packets of a cell's payload go to `deliver`. -EBADMSG for a cell that none of ours would send: what
 * it held up to there was delivered. */
int tg_aggfrag_read(struct tg_aggfrag_reader *r, uint32_t sequence, const uint8_t *data, size_t size,
		    tg_aggfrag_deliver_fn deliver, void *ctx);

#endif
