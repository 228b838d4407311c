/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "audit/ring.h"

static const uint8_t magic[8] = { 'T', 'G', 'A', 'U', 'D', 'I', 'T', '1' };

/* ---- slots ---- */

static uint8_t *put64(uint8_t *at, uint64_t value)
{
	for (int i = 0; i < 8; i++)
		*at++ = (uint8_t)(value >> (56 - 8 * i));
	return at;
}

static uint64_t take64(const uint8_t **at)
{
	uint64_t value = 0;

	for (int i = 0; i < 8; i++)
		value = value << 8 | *(*at)++;
	return value;
}

static uint8_t *put(uint8_t *at, const void *data, size_t len)
{
	memcpy(at, data, len);
	return at + len;
}

static void take(const uint8_t **at, void *ret_data, size_t len)
{
	memcpy(ret_data, *at, len);
	*at += len;
}

int ring_slot_encode(const struct ring_slot *slot, uint8_t ret_data[static RING_SLOT], struct tg_error *e)
{
	const uint64_t numbers[] = { slot->generation,    slot->size, slot->tail,
				     slot->base.sequence, slot->lost, slot->lost_at,
				     slot->lost_since_ms, slot->mark };
	uint8_t *at = put(ret_data, magic, sizeof(magic));

	for (size_t i = 0; i < 8; i++)
		at = put64(at, numbers[i]);
	at = put(at, slot->base.hash, sizeof(slot->base.hash));
	at = put(at, slot->base.chain, sizeof(slot->base.chain));
	at = put(at, slot->base.source, sizeof(slot->base.source));
	return tg_audit_hash(ret_data, (size_t)(at - ret_data), at, e);
}

int ring_slot_decode(const uint8_t *data, struct ring_slot *ret_slot)
{
	struct ring_slot slot = { .generation = 0 };
	uint8_t hash[TG_SHA256_LEN];
	const uint8_t *at = data + sizeof(magic);

	if (memcmp(data, magic, sizeof(magic)) ||
	    tg_audit_hash(data, RING_SLOT - TG_SHA256_LEN, hash, NULL) ||
	    memcmp(data + RING_SLOT - TG_SHA256_LEN, hash, sizeof(hash)))
		return -EBADMSG;
	slot.generation = take64(&at);
	slot.size = take64(&at);
	slot.tail = take64(&at);
	slot.base.sequence = take64(&at);
	slot.lost = take64(&at);
	slot.lost_at = take64(&at);
	slot.lost_since_ms = take64(&at);
	slot.mark = take64(&at);
	take(&at, slot.base.hash, sizeof(slot.base.hash));
	take(&at, slot.base.chain, sizeof(slot.base.chain));
	take(&at, slot.base.source, sizeof(slot.base.source));
	/* whoever can write the file can also make the hash: nothing in it may lead beyond the file */
	if (slot.size < TG_AUDIT_QUEUE_SIZE_MIN || slot.size > RING_SIZE_MAX || slot.tail > INT64_MAX ||
	    slot.base.sequence > INT64_MAX || !memchr(slot.base.source, 0, sizeof(slot.base.source)) ||
	    (slot.base.source[0] && !tg_id_valid(slot.base.source)))
		return -EBADMSG;
	*ret_slot = slot;
	return 0;
}

int ring_slot_choose(const uint8_t *file, size_t len, struct ring_slot *ret_slot)
{
	struct ring_slot slot, best = { .size = 0 };

	for (size_t at = 0; at <= RING_SLOT_STEP; at += RING_SLOT_STEP)
		if (len >= at + RING_SLOT && !ring_slot_decode(file + at, &slot) &&
		    (!best.size || slot.generation > best.generation))
			best = slot;
	if (!best.size || len < RING_DATA + best.size)
		return -EBADMSG;
	*ret_slot = best;
	return 0;
}

/* ---- frames ---- */

static void copy_out(const uint8_t *ring, uint64_t size, uint64_t offset, void *ret_data, size_t len)
{
	size_t at = (size_t)(offset % size), first = size - at < len ? (size_t)(size - at) : len;

	memcpy(ret_data, ring + at, first);
	memcpy((uint8_t *)ret_data + first, ring, len - first);
}

/* The record of the frame there, if it is whole and lies within `room` bytes: its length, else 0. */
static size_t take_frame(const uint8_t *ring, uint64_t size, uint64_t offset, uint64_t room,
			 uint8_t ret_record[static TG_AUDIT_RECORD_MAX])
{
	uint8_t head[4], hash[TG_SHA256_LEN], real[TG_SHA256_LEN];
	size_t len;

	if (room < RING_FRAME)
		return 0;
	copy_out(ring, size, offset, head, sizeof(head));
	len = ring_be32(head);
	if (!len || len > TG_AUDIT_RECORD_MAX || RING_FRAME + len > room)
		return 0;
	copy_out(ring, size, offset + 4, ret_record, len);
	copy_out(ring, size, offset + 4 + len, hash, sizeof(hash));
	if (tg_audit_hash(ret_record, len, real, NULL) || memcmp(hash, real, sizeof(hash)))
		return 0;
	return len;
}

int ring_follow(const struct ring_slot *slot, const uint8_t *ring, ring_each *each, void *arg,
		struct ring_found *ret_found, struct tg_error *e)
{
	struct ring_found found = { .end = slot->base, .head = slot->tail };
	uint8_t data[TG_AUDIT_RECORD_MAX], end[RING_END];
	uint64_t limit = slot->tail + slot->size;
	struct tg_audit_record record;
	size_t len;

	while ((len = take_frame(ring, slot->size, found.head, limit - found.head, data))) {
		int ret = tg_audit_chain_follow(&found.end, data, len, &record, NULL);

		if (ret == -ENOMEM || ret == -EIO)
			return tg_error(e, ret, "cannot check a record");
		/* an old one, or one that was put there */
		if (ret)
			break;
		ret = each ? each(arg, &record, data, len) : 0;
		if (ret)
			return ret;
		found.head += RING_FRAME + len;
	}
	copy_out(ring, slot->size, found.head, end, sizeof(end));
	if (found.head + RING_END > limit || ring_be32(end))
		found.rest = limit - found.head;
	*ret_found = found;
	return 0;
}

struct rescued {
	uint64_t sequence;
	uint64_t offset;
};

static int by_sequence(const void *a, const void *b)
{
	const struct rescued *x = a, *y = b;

	return x->sequence < y->sequence ? -1 : x->sequence > y->sequence;
}

int ring_rescue(const uint8_t *ring, uint64_t size, const uint8_t *chain, uint64_t from, ring_each *each,
		void *arg, struct tg_error *e)
{
	size_t max = (size_t)(size / (RING_FRAME + 64)) + 1, count = 0;
	struct rescued *found = calloc(max, sizeof(*found));
	uint8_t data[TG_AUDIT_RECORD_MAX];
	struct tg_audit_record record;
	int ret = 0, given = 0;
	size_t len;

	if (!found)
		return tg_error(e, -ENOMEM, "out of memory");
	for (uint64_t offset = 0; offset < size && count < max; offset++) {
		len = take_frame(ring, size, offset, size, data);
		if (!len || tg_audit_decode(data, len, &record, NULL) || record.sequence < from ||
		    (chain && memcmp(record.chain, chain, sizeof(record.chain))))
			continue;
		found[count++] = (struct rescued){ record.sequence, offset };
		offset += RING_FRAME + len - 1;
	}
	qsort(found, count, sizeof(*found), by_sequence);
	for (size_t i = 0; !ret && i < count; i++) {
		len = take_frame(ring, size, found[i].offset, size, data);
		if (len && !tg_audit_decode(data, len, &record, NULL)) {
			ret = each ? each(arg, &record, data, len) : 0;
			given++;
		}
	}
	free(found);
	return ret ? ret : given;
}

int ring_frame(const struct tg_bytes *record, struct tg_bytes *ret_frame, struct tg_error *e)
{
	struct tg_bytes frame = { calloc(1, RING_FRAME + RING_END + record->len),
				  RING_FRAME + RING_END + record->len };
	int ret;

	if (!frame.data)
		return tg_error(e, -ENOMEM, "out of memory");
	for (int i = 0; i < 4; i++)
		frame.data[i] = (uint8_t)(record->len >> (24 - 8 * i));
	memcpy(frame.data + 4, record->data, record->len);
	ret = tg_audit_hash(record->data, record->len, frame.data + 4 + record->len, e);
	if (ret)
		tg_bytes_free(&frame);
	else
		*ret_frame = frame;
	return ret;
}
