/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "tensorguard/cbor.h"

enum { FIRST_SIZE = 256, INFO_U8 = 24, SIMPLE_FALSE = 20 };

/* The old memory is wiped before it goes: a writer may hold a secret. */
static bool grow(struct tg_cbor_writer *w, size_t need)
{
	size_t size = w->size ? w->size : FIRST_SIZE;
	uint8_t *data;

	while (size - w->len < need) {
		if (size > SIZE_MAX / 4)
			return false;
		size *= 2;
	}
	data = malloc(size);
	if (!data)
		return false;
	if (w->len)
		memcpy(data, w->data, w->len);
	if (w->data)
		OPENSSL_cleanse(w->data, w->size);
	free(w->data);
	w->data = data;
	w->size = size;
	return true;
}

void tg_cbor_put_raw(struct tg_cbor_writer *w, const void *data, size_t len)
{
	if (w->err || !len)
		return;
	if (w->size - w->len < len && !grow(w, len)) {
		w->err = -ENOMEM;
		return;
	}
	memcpy(w->data + w->len, data, len);
	w->len += len;
}

static void put_head(struct tg_cbor_writer *w, enum tg_cbor_type type, uint64_t value)
{
	unsigned log2 = value <= UINT8_MAX ? 0 : value <= UINT16_MAX ? 1 : value <= UINT32_MAX ? 2 : 3;
	unsigned bytes = value < INFO_U8 ? 0 : 1u << log2;
	unsigned info = bytes ? INFO_U8 + log2 : (unsigned)value;
	uint8_t head[9] = { (uint8_t)((unsigned)type << 5 | info) };

	for (unsigned i = 0; i < bytes; i++)
		head[bytes - i] = (uint8_t)(value >> (8 * i));
	tg_cbor_put_raw(w, head, 1 + bytes);
}

void tg_cbor_put_uint(struct tg_cbor_writer *w, uint64_t value)
{
	put_head(w, TG_CBOR_UINT, value);
}

void tg_cbor_put_int(struct tg_cbor_writer *w, int64_t value)
{
	if (value < 0)
		put_head(w, TG_CBOR_NEGATIVE, (uint64_t)(-1 - value));
	else
		put_head(w, TG_CBOR_UINT, (uint64_t)value);
}

void tg_cbor_put_bool(struct tg_cbor_writer *w, bool value)
{
	put_head(w, TG_CBOR_SIMPLE, SIMPLE_FALSE + (unsigned)value);
}

void tg_cbor_put_bytes(struct tg_cbor_writer *w, const void *data, size_t len)
{
	put_head(w, TG_CBOR_BYTES, len);
	tg_cbor_put_raw(w, data, len);
}

void tg_cbor_put_text(struct tg_cbor_writer *w, const char *text)
{
	size_t len = strlen(text);

	put_head(w, TG_CBOR_TEXT, len);
	tg_cbor_put_raw(w, text, len);
}

void tg_cbor_put_array(struct tg_cbor_writer *w, size_t count)
{
	put_head(w, TG_CBOR_ARRAY, count);
}

void tg_cbor_put_map(struct tg_cbor_writer *w, size_t pairs)
{
	put_head(w, TG_CBOR_MAP, pairs);
}

void tg_cbor_put_tag(struct tg_cbor_writer *w, uint64_t tag)
{
	put_head(w, TG_CBOR_TAG, tag);
}

int tg_cbor_take(struct tg_cbor_writer *w, uint8_t **ret_data, size_t *ret_len)
{
	int err = w->err;

	if (err) {
		tg_cbor_writer_clear(w);
		return err;
	}
	*ret_data = w->data;
	*ret_len = w->len;
	*w = (struct tg_cbor_writer){ 0 };
	return 0;
}

void tg_cbor_writer_clear(struct tg_cbor_writer *w)
{
	if (w->data)
		OPENSSL_cleanse(w->data, w->size);
	free(w->data);
	*w = (struct tg_cbor_writer){ 0 };
}
