/* SPDX-License-Identifier: BSD-3-Clause */
/* The CBOR reader: the check, and every typed call from every place that it says is an item. */
#include "tensorguard/cbor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void typed(const struct tg_cbor *at)
{
	struct tg_cbor_map map;
	const uint8_t *bytes;
	const char *text;
	struct tg_cbor r;
	uint64_t number;
	int64_t key;
	size_t len;
	bool flag;

	r = *at;
	(void)tg_cbor_uint(&r, "", &number);
	r = *at;
	(void)tg_cbor_int(&r, "", &key);
	r = *at;
	(void)tg_cbor_bool(&r, "", &flag);
	r = *at;
	(void)tg_cbor_bytes(&r, "", &bytes, &len);
	r = *at;
	(void)tg_cbor_text(&r, "", &text, &len);
	r = *at;
	(void)tg_cbor_array(&r, "", &len);
	r = *at;
	if (!tg_cbor_map(&r, "", &map))
		while (tg_cbor_map_next(&r, "", &map, &key) > 0 && !tg_cbor_skip(&r, "", NULL, NULL))
			;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tg_error e;
	struct tg_cbor r;

	(void)tg_cbor_check(data, size, &e);
	for (size_t i = 0; i < size && i < 256; i++) {
		tg_cbor_init(&r, data + i, size - i, &e);
		typed(&r);
	}
	return 0;
}
