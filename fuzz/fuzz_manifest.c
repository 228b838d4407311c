/* SPDX-License-Identifier: BSD-3-Clause */
/* The manifest's decoder; what it accepts must be encoded and decoded again, and be held against a device. */
#include <stdlib.h>

#include "tensorguard/tgsp_manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const accelerators[] = { "npu" };
	const struct tg_tgsp_device device = { "north", "1.2.3", true, accelerators, 1, 1 };
	struct tg_tgsp_manifest *m, *again;
	uint8_t *encoded;
	struct tg_error e;
	size_t len;

	if (tg_tgsp_manifest_decode(data, size, &m, &e))
		return 0;
	(void)tg_tgsp_manifest_permits(m, &device, m->not_before, &e);
	if (tg_tgsp_manifest_encode(m, &encoded, &len, &e) ||
	    tg_tgsp_manifest_decode(encoded, len, &again, &e))
		abort();
	tg_tgsp_manifest_free(again);
	free(encoded);
	tg_tgsp_manifest_free(m);
	return 0;
}
