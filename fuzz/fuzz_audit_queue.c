/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A queue's file. An input is the two slots and the beginning of the ring; the rest of it is zeros. Its
 * slots' hashes are set right if the first byte says so, or nothing behind them would ever be reached.
 */
#include <stdlib.h>
#include <string.h>

#include "audit/ring.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FILE_LEN = RING_DATA + TG_AUDIT_QUEUE_SIZE_MIN };

static int look(void *arg, const struct tg_audit_record *record, const uint8_t *data, size_t len)
{
	uint64_t *last = arg;

	(void)data;
	if (record->sequence <= *last || !len)
		abort();
	*last = record->sequence;
	return 0;
}

static void place(uint8_t *file, size_t at, const uint8_t **data, size_t *size, size_t room)
{
	size_t len = *size < room ? *size : room;

	memcpy(file + at, *data, len);
	*data += len;
	*size -= len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t file[FILE_LEN];
	struct tg_audit_queue_state state;
	struct ring_slot slot;
	struct tg_error e;
	uint64_t last = 0;
	bool right;

	if (size < 1)
		return 0;
	right = data[0] & 1;
	data++;
	size--;
	memset(file, 0, sizeof(file));
	place(file, 0, &data, &size, RING_SLOT);
	place(file, RING_SLOT_STEP, &data, &size, RING_SLOT);
	place(file, RING_DATA, &data, &size, TG_AUDIT_QUEUE_SIZE_MIN);
	for (size_t at = 0; right && at <= RING_SLOT_STEP; at += RING_SLOT_STEP)
		(void)tg_audit_hash(file + at, RING_SLOT - TG_SHA256_LEN,
				    file + at + RING_SLOT - TG_SHA256_LEN, NULL);
	(void)tg_audit_queue_scan(file, sizeof(file), &state, look, &last, &e);
	if (!ring_slot_choose(file, sizeof(file), &slot)) {
		last = 0;
		(void)ring_rescue(file + RING_DATA, slot.size, slot.base.chain, 1, NULL, NULL, &e);
	}
	return 0;
}
