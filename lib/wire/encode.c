/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tensorguard/attest.h"
#include "tensorguard/base64.h"
#include "tensorguard/hex.h"
#include "wire/object.h"

static json_t *encode_object(const struct wire_field *fields, const char *base);

static json_t *encode_bytes(const void *data, size_t len)
{
	char *text = malloc(TG_BASE64_LEN(len) + 1);
	json_t *json;

	if (!text)
		return NULL;
	tg_base64_encode(data, len, text);
	json = json_stringn_nocheck(text, TG_BASE64_LEN(len));
	explicit_bzero(text, TG_BASE64_LEN(len));
	free(text);
	return json;
}

static json_t *encode_list(const struct tg_bytes *items, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++) {
		if (json_array_append_new(list, encode_bytes(items[i].data, items[i].len))) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

static json_t *encode_pcrs(uint32_t mask)
{
	json_t *list = json_array();

	for (int i = 0; i < TG_PCR_COUNT; i++) {
		if (mask >> i & 1 && json_array_append_new(list, json_integer(i))) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

static json_t *encode_hex(const void *data, size_t len)
{
	char *text = malloc(2 * len + 1);
	json_t *json;

	if (!text)
		return NULL;
	tg_hex(data, len, text);
	json = json_string_nocheck(text);
	free(text);
	return json;
}

static json_t *encode_objects(const struct wire_field *field, const char *items, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++) {
		if (json_array_append_new(list, encode_object(field->fields, items + i * field->max))) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

static json_t *encode_words(const struct wire_field *field, const char *items, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++) {
		if (json_array_append_new(list, json_string(items + i * field->max))) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

static json_t *encode_name(const struct wire_field *field, const void *at)
{
	unsigned number, count = 0;

	memcpy(&number, at, sizeof(number));
	while (field->names[count])
		count++;
	return number < count ? json_string(field->names[number]) : NULL;
}

static json_t *encode_field(const struct wire_field *field, const char *base)
{
	const void *at = base + field->offset;
	const struct tg_bytes *bytes = at;

	switch (field->kind) {
	case WIRE_TEXT:
	case WIRE_PHRASE:
		return json_string(at);
	case WIRE_PEM:
		return json_stringn((const char *)bytes->data, bytes->len);
	case WIRE_BYTES:
		return encode_bytes(bytes->data, bytes->len);
	case WIRE_FIXED:
		return encode_bytes(at, field->max);
	case WIRE_LIST:
		return encode_list(at, *(const size_t *)(const void *)(base + field->count_offset));
	case WIRE_SECONDS:
		return json_integer(*(const int64_t *)at);
	case WIRE_PCRS:
		return encode_pcrs(*(const uint32_t *)at);
	case WIRE_ASSURANCE:
		return json_string(tg_assurance_name(*(const enum tg_assurance *)at));
	case WIRE_OBJECT:
		return encode_object(field->fields, at);
	case WIRE_WORDS:
		return encode_words(field, at, *(const size_t *)(const void *)(base + field->count_offset));
	case WIRE_OBJECTS:
		return encode_objects(field, at, *(const size_t *)(const void *)(base + field->count_offset));
	case WIRE_NUMBER:
		return json_integer((json_int_t) * (const uint64_t *)at);
	case WIRE_HEX:
		return encode_hex(at, field->max);
	case WIRE_NAME:
		return encode_name(field, at);
	}
	return NULL;
}

static bool all_zeros(const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (data[i])
			return false;
	return true;
}

static bool is_empty(const struct wire_field *field, const char *base)
{
	const void *at = base + field->offset;

	switch (field->kind) {
	case WIRE_TEXT:
	case WIRE_PHRASE:
		return !*(const char *)at;
	case WIRE_PEM:
	case WIRE_BYTES:
		return !((const struct tg_bytes *)at)->len;
	case WIRE_LIST:
	case WIRE_WORDS:
	case WIRE_OBJECTS:
		return !*(const size_t *)(const void *)(base + field->count_offset);
	case WIRE_PCRS:
		return !*(const uint32_t *)at;
	case WIRE_OBJECT:
		for (const struct wire_field *inner = field->fields; inner->name; inner++)
			if (!is_empty(inner, at))
				return false;
		return true;
	case WIRE_NUMBER:
		return !*(const uint64_t *)at;
	case WIRE_HEX:
		return all_zeros(at, field->max);
	case WIRE_FIXED:
	case WIRE_SECONDS:
	case WIRE_ASSURANCE:
	case WIRE_NAME:
		break;
	}
	return false;
}

static json_t *encode_object(const struct wire_field *fields, const char *base)
{
	json_t *object = json_object();

	for (const struct wire_field *field = fields; field->name; field++) {
		if (field->flagged && !*(const bool *)(base + field->flag_offset))
			continue;
		if (field->optional && is_empty(field, base))
			continue;
		if (json_object_set_new(object, field->name, encode_field(field, base))) {
			json_decref(object);
			return NULL;
		}
	}
	return object;
}

int wire_encode(const void *structure, const struct wire_field *fields, struct tg_bytes *ret_text,
		struct tg_error *e)
{
	json_t *json = encode_object(fields, structure);
	char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
	int ret = 0;

	json_decref(json);
	if (!text)
		return tg_error(e, -ENOMEM, "no JSON could be made");
	ret = tg_bytes_copy(text, strlen(text) + 1, ret_text);
	if (!ret)
		ret_text->len--;
	explicit_bzero(text, strlen(text));
	free(text);
	return ret;
}
