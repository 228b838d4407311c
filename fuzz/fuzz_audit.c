/* SPDX-License-Identifier: BSD-3-Clause */
/* Audit records and batches: what is taken is encoded again as it was. The first byte says which. */
#include <stdlib.h>
#include <string.h>

#include "tensorguard/audit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void one_record(const uint8_t *data, size_t size)
{
	struct tg_audit_record record;
	struct tg_bytes again;
	struct tg_error e;

	if (tg_audit_decode(data, size, &record, &e) || tg_audit_encode(&record, &again, &e))
		return;
	if (again.len != size || memcmp(again.data, data, size))
		abort();
	tg_bytes_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct tg_audit_batch batch;
	struct tg_error e;

	if (size < 1)
		return 0;
	if (data[0] == 'r')
		one_record(data + 1, size - 1);
	else if (!tg_audit_batch_decode(data + 1, size - 1, &batch, &e) &&
		 (!batch.count || batch.last - batch.first + 1 != batch.count))
		abort();
	return 0;
}
