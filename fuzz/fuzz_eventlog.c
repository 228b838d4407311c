/* SPDX-License-Identifier: BSD-3-Clause */
/* The firmware's event log. */
#include "tensorguard/attest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tg_event_log_pcrs pcrs;
	struct tg_error e;

	tg_event_log_replay(data, size, &pcrs, &e);
	return 0;
}
