/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * JSON objects by tables: one table of fields decodes and encodes a structure.
 * Everything that the table does not describe is refused.
 */
#ifndef LIB_WIRE_OBJECT_H
#define LIB_WIRE_OBJECT_H

#include <stdbool.h>
#include <stddef.h>

#include "tensorguard/bytes.h"
#include "tensorguard/error.h"

enum wire_kind {
	WIRE_TEXT,	/* char[max]: printable ASCII with a final NUL */
	WIRE_PEM,	/* struct tg_bytes: text of at most `max` bytes */
	WIRE_BYTES,	/* struct tg_bytes: base64 of at most `max` bytes */
	WIRE_FIXED,	/* uint8_t[max]: base64 of as many */
	WIRE_LIST,	/* struct tg_bytes[list_max] with its count at `count_offset`: array of WIRE_BYTES */
	WIRE_SECONDS,	/* int64_t: from 0 */
	WIRE_PCRS,	/* uint32_t mask: array of rising numbers below 24 */
	WIRE_ASSURANCE,	/* enum tg_assurance: its name */
	WIRE_OBJECT,	/* `fields` in a structure at `offset` */
	WIRE_OBJECTS,	/* structures of `max` bytes each, at most list_max of them, their number at
			   `count_offset`: array of such objects */
	WIRE_NUMBER,	/* uint64_t: from 0, below 2^63 */
	WIRE_PHRASE,	/* as WIRE_TEXT, and blanks may stand in it */
	WIRE_HEX,	/* uint8_t[max]: twice as many hexadecimal digits, lower case */
	WIRE_NAME,	/* an enum: one of `names` */
	WIRE_WORDS,	/* char[max] each, at most list_max of them, their number at `count_offset`: array of
			   WIRE_TEXT */
};

struct wire_field {
	const char *name;
	enum wire_kind kind;
	size_t offset;
	size_t max;
	bool optional;		/* what is empty is left out */
	bool flagged;		/* optional, and a bool at `flag_offset` says whether it is there */
	size_t flag_offset;
	size_t list_max, count_offset;
	const struct wire_field *fields; /* ends with a name of NULL */
	const char *const *names; /* by the number that each stands for; ends with NULL */
};

/*
 * Fills `structure`, which the caller zeroed, and which the caller clears after
 * an error too. -EINVAL, -ENOMEM.
 */
int wire_decode(const void *text, size_t len, size_t max, const struct wire_field *fields, void *structure,
		struct tg_error *e);

int wire_encode(const void *structure, const struct wire_field *fields, struct tg_bytes *ret_text,
		struct tg_error *e);

#endif
