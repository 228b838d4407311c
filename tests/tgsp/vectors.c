/* SPDX-License-Identifier: BSD-3-Clause */
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "vectors.h"

static const char *folder(void)
{
	const char *given = getenv("TG_VECTORS");

	return given ? given : "../shared/vectors";
}

char *vectors_text(const char *name, size_t *ret_len)
{
	char path[4096], *text = NULL;
	size_t len = 0;
	FILE *f;

	if (name[0] == '/')
		snprintf(path, sizeof(path), "%s", name);
	else
		snprintf(path, sizeof(path), "%s/%s", folder(), name);
	f = fopen(path, "rb");
	CU_ASSERT_PTR_NOT_NULL(f);
	if (!f) {
		printf("cannot open %s\n", path);
		return NULL;
	}
	for (size_t n = 1; n && !feof(f); len += n) {
		text = realloc(text, len + 65537);
		n = text ? fread(text + len, 1, 65536, f) : 0;
	}
	fclose(f);
	if (text)
		text[len] = '\0';
	if (ret_len)
		*ret_len = len;
	return text;
}

json_t *vectors_json(const char *name)
{
	json_error_t error;
	size_t len;
	char *text = vectors_text(name, &len);
	json_t *json = text ? json_loadb(text, len, JSON_ALLOW_NUL, &error) : NULL;

	if (text && !json)	/* numbers beyond 64 bits, which nobody looks at */
		json = json_loadb(text, len, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &error);
	CU_ASSERT_PTR_NOT_NULL(json);
	if (text && !json)
		printf("%s:%d: %s\n", name, error.line, error.text);
	free(text);
	return json;
}

int vectors_each(const char *pattern, void (*each)(const char *name))
{
	char path[4096];
	glob_t found;
	int count = 0;

	snprintf(path, sizeof(path), "%s/%s", folder(), pattern);
	if (!glob(path, 0, NULL, &found)) {
		for (size_t i = 0; i < found.gl_pathc; i++, count++) {
			char full[4096];

			if (realpath(found.gl_pathv[i], full))
				each(full);
		}
		globfree(&found);
	}
	return count;
}

static int digit(char c)
{
	const char digits[] = "0123456789abcdef", *at;

	at = strchr(digits, c >= 'A' && c <= 'F' ? c - 'A' + 'a' : c);
	return at && *at ? (int)(at - digits) : -1;
}

struct hex hex_bytes(const char *text)
{
	size_t len = text ? strspn(text, "0123456789abcdefABCDEF") / 2 : 0;
	struct hex hex = { malloc(len + 1), len };

	CU_ASSERT_PTR_NOT_NULL_FATAL(text);
	CU_ASSERT_PTR_NOT_NULL_FATAL(hex.data);
	/* nothing but digits, an even number of them, and perhaps the end of a line */
	CU_ASSERT_FATAL(strspn(text + 2 * len, "\r\n") == strlen(text + 2 * len));
	for (size_t i = 0; i < len; i++)
		hex.data[i] = (uint8_t)(digit(text[2 * i]) << 4 | digit(text[2 * i + 1]));
	return hex;
}

struct hex hex_member(const json_t *object, const char *key)
{
	return hex_bytes(json_string_value(json_object_get(object, key)));
}
