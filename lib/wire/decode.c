/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorguard/attest.h"
#include "tensorguard/base64.h"
#include "tensorguard/hex.h"
#include "wire/object.h"

/* Where we are, for messages: "tpm.quote." */
struct place {
	char path[96];
	struct tg_error *e;
};

static int decode_object(const json_t *json, const struct wire_field *fields, void *base,
			 struct place *place);

static int bad(const struct place *place, const struct wire_field *field, const char *what)
{
	return tg_error(place->e, -EINVAL, "%s%s: %s", place->path, field->name, what);
}

static int decode_text(const json_t *json, const struct wire_field *field, char *text, struct place *place)
{
	const char lowest = field->kind == WIRE_PHRASE ? ' ' : '!';
	const char *value = json_string_value(json);
	size_t len = json_string_length(json);

	if (!value || !len || len >= field->max)
		return bad(place, field, "not a text of the right length");
	for (size_t i = 0; i < len; i++)
		if (value[i] < lowest || value[i] > '~')
			return bad(place, field, "a character that has no place in it");
	memcpy(text, value, len + 1);
	return 0;
}

static int decode_pem(const json_t *json, const struct wire_field *field, struct tg_bytes *bytes,
		      struct place *place)
{
	const char *value = json_string_value(json);
	size_t len = json_string_length(json);

	if (!value || !len || len > field->max)
		return bad(place, field, "not a text of the right length");
	if (tg_bytes_copy(value, len + 1, bytes))
		return -ENOMEM;
	bytes->len = len;
	return 0;
}

static int decode_bytes(const json_t *json, const struct wire_field *field, struct tg_bytes *bytes,
			struct place *place)
{
	const char *value = json_string_value(json);
	size_t len = json_string_length(json), used;
	uint8_t *data;

	if (!value || !len || len > TG_BASE64_LEN(field->max))
		return bad(place, field, "not base64 of the right length");
	data = malloc(len / 4 * 3 + 1);
	if (!data)
		return -ENOMEM;
	if (tg_base64_decode(value, len, data, len / 4 * 3, &used) || used > field->max) {
		free(data);
		return bad(place, field, "not base64 of the right length");
	}
	*bytes = (struct tg_bytes){ data, used };
	return 0;
}

static int decode_fixed(const json_t *json, const struct wire_field *field, void *data, struct place *place)
{
	const char *value = json_string_value(json);
	size_t used;

	if (!value || tg_base64_decode(value, json_string_length(json), data, field->max, &used) ||
	    used != field->max)
		return bad(place, field, "not base64 of the right length");
	return 0;
}

static int decode_hex(const json_t *json, const struct wire_field *field, void *data, struct place *place)
{
	const char *value = json_string_value(json);
	size_t len = json_string_length(json);

	if (!value || len != 2 * field->max || strspn(value, "0123456789abcdef") != len ||
	    tg_unhex(value, data, field->max))
		return bad(place, field, "not lower-case hexadecimal digits of the right number");
	return 0;
}

static int decode_number(const json_t *json, const struct wire_field *field, uint64_t *number,
			 struct place *place)
{
	if (!json_is_integer(json) || json_integer_value(json) < 0)
		return bad(place, field, "not a number from 0");
	*number = (uint64_t)json_integer_value(json);
	return 0;
}

static int decode_name(const json_t *json, const struct wire_field *field, void *at, struct place *place)
{
	const char *value = json_string_value(json);

	for (unsigned i = 0; value && field->names[i]; i++)
		if (!strcmp(value, field->names[i])) {
			memcpy(at, &i, sizeof(i));	/* an enum without negative numbers is an unsigned */
			return 0;
		}
	return bad(place, field, "not one of the names for it");
}

static int decode_list(const json_t *json, const struct wire_field *field, char *base, struct place *place)
{
	struct tg_bytes *items = (struct tg_bytes *)(void *)(base + field->offset);
	size_t *count = (size_t *)(void *)(base + field->count_offset);
	int ret = 0;

	if (!json_is_array(json) || !json_array_size(json) || json_array_size(json) > field->list_max)
		return bad(place, field, "not a list of the right length");
	for (size_t i = 0; !ret && i < json_array_size(json); i++) {
		ret = decode_bytes(json_array_get(json, i), field, &items[i], place);
		*count = i + 1;
	}
	return ret;
}

static int decode_seconds(const json_t *json, const struct wire_field *field, int64_t *seconds,
			  struct place *place)
{
	if (!json_is_integer(json) || json_integer_value(json) < 0)
		return bad(place, field, "not a number of seconds");
	*seconds = json_integer_value(json);
	return 0;
}

static int decode_words(const json_t *json, const struct wire_field *field, char *base, struct place *place)
{
	size_t *count = (size_t *)(void *)(base + field->count_offset);
	int ret = 0;

	if (!json_is_array(json) || !json_array_size(json) || json_array_size(json) > field->list_max)
		return bad(place, field, "not a list of the right length");
	for (size_t i = 0; !ret && i < json_array_size(json); i++) {
		ret = decode_text(json_array_get(json, i), field, base + field->offset + i * field->max,
				  place);
		*count = i + 1;
	}
	return ret;
}

static int decode_pcrs(const json_t *json, const struct wire_field *field, uint32_t *mask,
		       struct place *place)
{
	json_int_t next = 0;
	uint32_t found = 0;

	for (size_t i = 0; i < json_array_size(json); i++) {
		const json_t *item = json_array_get(json, i);
		json_int_t pcr = json_integer_value(item);

		if (!json_is_integer(item) || pcr < next || pcr >= TG_PCR_COUNT)
			return bad(place, field, "not rising numbers of PCRs");
		found |= 1u << pcr;
		next = pcr + 1;
	}
	if (!found)
		return bad(place, field, "not a list of PCRs");
	*mask = found;
	return 0;
}

static int decode_assurance(const json_t *json, const struct wire_field *field, enum tg_assurance *assurance,
			    struct place *place)
{
	const char *value = json_string_value(json);

	if (!value || tg_assurance_from_name(value, assurance) || *assurance == TG_ASSURANCE_NONE)
		return bad(place, field, "not an assurance");
	return 0;
}

static int decode_inner(const json_t *json, const struct wire_field *field, void *base, struct place *place)
{
	size_t len = strlen(place->path);
	int ret;

	snprintf(place->path + len, sizeof(place->path) - len, "%s.", field->name);
	ret = decode_object(json, field->fields, base, place);
	place->path[len] = '\0';
	return ret;
}

static int decode_objects(const json_t *json, const struct wire_field *field, char *base, struct place *place)
{
	size_t *count = (size_t *)(void *)(base + field->count_offset);
	int ret = 0;

	if (!json_is_array(json) || !json_array_size(json) || json_array_size(json) > field->list_max)
		return bad(place, field, "not a list of the right length");
	for (size_t i = 0; !ret && i < json_array_size(json); i++) {
		*count = i + 1;
		ret = decode_inner(json_array_get(json, i), field, base + field->offset + i * field->max,
				   place);
	}
	return ret;
}

static int decode_field(const json_t *json, const struct wire_field *field, char *base, struct place *place)
{
	void *at = base + field->offset;

	switch (field->kind) {
	case WIRE_TEXT:
	case WIRE_PHRASE:
		return decode_text(json, field, at, place);
	case WIRE_PEM:
		return decode_pem(json, field, at, place);
	case WIRE_BYTES:
		return decode_bytes(json, field, at, place);
	case WIRE_FIXED:
		return decode_fixed(json, field, at, place);
	case WIRE_LIST:
		return decode_list(json, field, base, place);
	case WIRE_SECONDS:
		return decode_seconds(json, field, at, place);
	case WIRE_PCRS:
		return decode_pcrs(json, field, at, place);
	case WIRE_ASSURANCE:
		return decode_assurance(json, field, at, place);
	case WIRE_OBJECT:
		return decode_inner(json, field, at, place);
	case WIRE_WORDS:
		return decode_words(json, field, base, place);
	case WIRE_OBJECTS:
		return decode_objects(json, field, base, place);
	case WIRE_NUMBER:
		return decode_number(json, field, at, place);
	case WIRE_HEX:
		return decode_hex(json, field, at, place);
	case WIRE_NAME:
		return decode_name(json, field, at, place);
	}
	return -EINVAL;
}

static int decode_object(const json_t *json, const struct wire_field *fields, void *base, struct place *place)
{
	size_t used = 0;

	if (!json_is_object(json))
		return tg_error(place->e, -EINVAL, "%snot an object", place->path);
	for (const struct wire_field *field = fields; field->name; field++) {
		const json_t *value = json_object_get(json, field->name);
		int ret;

		if (!value && (field->optional || field->flagged))
			continue;
		if (!value)
			return bad(place, field, "missing");
		if (field->flagged)
			*(bool *)((char *)base + field->flag_offset) = true;
		ret = decode_field(value, field, base, place);
		if (ret)
			return ret;
		used++;
	}
	if (used != json_object_size(json))
		return tg_error(place->e, -EINVAL, "%san unknown key", place->path);
	return 0;
}

int wire_decode(const void *text, size_t len, size_t max, const struct wire_field *fields, void *structure,
		struct tg_error *e)
{
	struct place place = { .path = "", .e = e };
	json_error_t error;
	json_t *json;
	int ret;

	if (len > max)
		return tg_error(e, -EINVAL, "a message of more than %zu bytes", max);
	json = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
	if (!json) {
		if (json_error_code(&error) == json_error_out_of_memory)
			return tg_error(e, -ENOMEM, "out of memory");
		/* the text of the error may quote what it found */
		return tg_error(e, -EINVAL, "not JSON: line %d, column %d", error.line, error.column);
	}
	ret = decode_object(json, fields, structure, &place);
	if (ret == -ENOMEM)
		tg_error(e, ret, "out of memory");
	json_decref(json);
	return ret;
}
