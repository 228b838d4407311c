/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The queue's file, as bytes:
 *
 *	0	slot 0, RING_SLOT bytes		the valid one with the higher generation counts
 *	4096	slot 1
 *	8192	`size` bytes of frames, in a ring: the frame at logical offset x is at x % size
 *
 *	frame	length (4) | record | SHA-256 of the record (32)
 *	end	0 (4): behind the last frame, written together with it
 *
 *	slot	magic (8) | generation | size | tail | base sequence | lost | lost at | lost since | mark (8
 *each) | base hash (32) | chain (16) | source (64, with zeros) | SHA-256 of all before (32)
 *
 * Numbers are big-endian. `tail` is the logical offset of the oldest frame. Old frames stay behind the end
 *until they are overwritten: their sequences are lower, so that nobody takes them for new ones.
 */
#ifndef LIB_AUDIT_RING_H
#define LIB_AUDIT_RING_H

#include "tensorguard/audit_queue.h"

enum {
	RING_SLOT_STEP = 4096,
	RING_DATA = 2 * RING_SLOT_STEP,
	RING_SLOT = 8 + 8 * 8 + TG_SHA256_LEN + TG_AUDIT_CHAIN_LEN + TG_ID_LEN + TG_SHA256_LEN,
	RING_FRAME = 4 + TG_SHA256_LEN,	/* of a frame, beside its record */
	RING_END = 4,
	RING_SIZE_MAX = 64 * 1024 * 1024,
};

struct ring_slot {
	uint64_t generation, size, tail;
	struct tg_audit_chain base;	/* before the frame at `tail` */
	uint64_t lost, lost_at, lost_since_ms; /* see queue.c */
	uint64_t mark;
};

int ring_slot_encode(const struct ring_slot *slot, uint8_t ret_data[static RING_SLOT], struct tg_error *e);
/* -EBADMSG. */
int ring_slot_decode(const uint8_t *data, struct ring_slot *ret_slot);
/* The one of a file that counts; `len` bytes of it are there. -EBADMSG: none is valid. */
int ring_slot_choose(const uint8_t *file, size_t len, struct ring_slot *ret_slot);

/* What is found in a file. */
struct ring_found {
	struct tg_audit_chain end;
	uint64_t head;		/* logical offset behind the last good frame */
	uint64_t rest; /* bytes of what is there behind it and is no frame; 0: it ends as it should */
};

typedef int ring_each(void *arg, const struct tg_audit_record *record, const uint8_t *data, size_t len);

/* Follows the chain from the tail, `data` being the ring. `each` may be NULL; what it returns ends it. */
int ring_follow(const struct ring_slot *slot, const uint8_t *ring, ring_each *each, void *arg,
		struct ring_found *ret_found, struct tg_error *e);
/*
 * Frames that are whole, wherever they are, of a sequence of at least `from`, in the order of their
 * sequences. `chain` NULL: of any chain. Returns how many were given to `each`, or what that returned.
 */
int ring_rescue(const uint8_t *ring, uint64_t size, const uint8_t *chain, uint64_t from, ring_each *each,
		void *arg, struct tg_error *e);

/* A frame with the end behind it: the caller frees it. */
int ring_frame(const struct tg_bytes *record, struct tg_bytes *ret_frame, struct tg_error *e);

static inline uint32_t ring_be32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

#endif
