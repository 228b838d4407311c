/* SPDX-License-Identifier: BSD-3-Clause */
/* Third-party test vectors: $TG_VECTORS, or shared/vectors beside the project. */
#ifndef TESTS_TGSP_VECTORS_H
#define TESTS_TGSP_VECTORS_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

/* A file of the vectors as a text, or NULL after a failed assertion. */
char *vectors_text(const char *name, size_t *ret_len);
json_t *vectors_json(const char *name);

/* Whether there are files of this pattern; calls `each` with their names, sorted. */
int vectors_each(const char *pattern, void (*each)(const char *name));

/* Bytes from hexadecimal digits; the caller frees them. Fails an assertion on another text. */
struct hex {
	uint8_t *data;
	size_t len;
};
struct hex hex_bytes(const char *text);
struct hex hex_member(const json_t *object, const char *key);

#endif
