/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "tensorguard/aggfrag.h"

enum { SUB_TYPE = 0, IPV4_HEADER = 20, IPV6_HEADER = 40 };

static uint16_t read_be16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

/* ---- writing ---- */

void tg_aggfrag_begin(struct tg_aggfrag_writer *w, uint8_t *data, size_t size, size_t rest)
{
	*w = (struct tg_aggfrag_writer){ data, size, TG_AGGFRAG_HEADER };
	data[0] = SUB_TYPE;
	data[1] = 0;
	data[2] = (uint8_t)(rest >> 8);
	data[3] = (uint8_t)rest;
}

size_t tg_aggfrag_put(struct tg_aggfrag_writer *w, const uint8_t *bytes, size_t len, bool begins)
{
	size_t room = w->size - w->used;

	if (begins && room < TG_AGGFRAG_BEGIN)
		return 0;
	if (len > room)
		len = room;
	memcpy(w->data + w->used, bytes, len);
	w->used += len;
	return len;
}

void tg_aggfrag_end(struct tg_aggfrag_writer *w)
{
	memset(w->data + w->used, 0, w->size - w->used);
	w->used = w->size;
}

/* ---- reading ---- */

static void give_up(struct tg_aggfrag_reader *r)
{
	r->broken += r->want != 0;
	r->have = r->want = 0;
}

/* Length of the packet that begins with these bytes; 0 = none could. */
static size_t packet_length(const uint8_t *at, size_t left)
{
	size_t length;

	if (left < TG_AGGFRAG_BEGIN)
		return 0;
	switch (at[0] >> 4) {
	case 4:
		length = read_be16(at + 2);
		return length < IPV4_HEADER ? 0 : length;
	case 6:
		return (size_t)read_be16(at + 4) + IPV6_HEADER;
	default:
		return 0;
	}
}

/* Whether the cell was overtaken: then it is looked at for its whole packets only. What it does not follow on
 * is given up. */
static bool is_late(struct tg_aggfrag_reader *r, uint32_t sequence)
{
	uint32_t ahead = (sequence - r->next) & TG_AGGFRAG_SEQUENCE_MASK;

	if (r->started && ahead > TG_AGGFRAG_SEQUENCE_MASK / 2)
		return true;
	if (r->started && ahead) {
		r->lost += ahead;
		give_up(r);
	}
	r->started = true;
	r->next = (sequence + 1) & TG_AGGFRAG_SEQUENCE_MASK;
	return false;
}

/* What the cell has of the packet that an earlier one began; `offset` is how much is to come of it. */
static void take_rest(struct tg_aggfrag_reader *r, const uint8_t *data, size_t size, size_t offset,
		      tg_aggfrag_deliver_fn deliver, void *ctx)
{
	size_t part = offset < size ? offset : size;

	if (!r->want)
		return;
	if (offset != r->want - r->have) {
		give_up(r);
		return;
	}
	memcpy(r->buffer + r->have, data, part);
	r->have += part;
	if (r->have < r->want)
		return;
	part = r->want;
	r->have = r->want = 0;
	deliver(ctx, r->buffer, part);
}

static void keep_part(struct tg_aggfrag_reader *r, const uint8_t *data, size_t part, size_t length)
{
	memcpy(r->buffer, data, part);
	r->have = part;
	r->want = length;
}

/* Packets that begin in the cell. */
static int take_blocks(struct tg_aggfrag_reader *r, const uint8_t *data, size_t size, bool late,
		       tg_aggfrag_deliver_fn deliver, void *ctx)
{
	size_t at = 0;

	while (at < size && data[at] >> 4) {
		size_t left = size - at, length = packet_length(data + at, left);

		if (!length || length > r->room)
			return -EBADMSG;
		if (length > left) {
			if (!late)
				keep_part(r, data + at, left, length);
			return 0;
		}
		deliver(ctx, data + at, length);
		at += length;
	}
	return 0;
}

int tg_aggfrag_read(struct tg_aggfrag_reader *r, uint32_t sequence, const uint8_t *data, size_t size,
		    tg_aggfrag_deliver_fn deliver, void *ctx)
{
	size_t offset;
	bool late;
	int ret;

	if (size <= TG_AGGFRAG_HEADER || data[0] != SUB_TYPE) {
		r->malformed++;
		return -EBADMSG;
	}
	late = is_late(r, sequence);
	offset = read_be16(data + 2);
	data += TG_AGGFRAG_HEADER;
	size -= TG_AGGFRAG_HEADER;
	if (!late)
		take_rest(r, data, size, offset, deliver, ctx);
	if (offset >= size)
		return 0;
	ret = take_blocks(r, data + offset, size - offset, late, deliver, ctx);
	r->malformed += ret != 0;
	return ret;
}
