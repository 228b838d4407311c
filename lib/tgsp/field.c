/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "tensorguard/tgsp_manifest.h"
#include "tgsp/field.h"

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool tgsp_name_valid(const char *text, size_t len)
{
	if (!len || len > TG_TGSP_MAX_NAME || !is_alnum(text[0]))
		return false;
	for (size_t i = 1; i < len; i++)
		if (!is_alnum(text[i]) && !memchr("._-", text[i], 3))
			return false;
	return true;
}

bool tgsp_text_valid(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			return false;
	return len <= TG_TGSP_MAX_TEXT;
}

/* One number without leading zeros. Returns its digits, 0 when there is none. */
static size_t take_number(const char *text, size_t len, uint32_t *ret_value)
{
	uint64_t value = 0;
	size_t n = 0;

	for (; n < len && n < 10 && is_digit(text[n]); n++)
		value = value * 10 + (uint64_t)(text[n] - '0');
	if (!n || (n > 1 && text[0] == '0') || value > UINT32_MAX || (n < len && is_digit(text[n])))
		return 0;
	*ret_value = (uint32_t)value;
	return n;
}

/* Length of the three numbers that a version begins with, 0 when it does not. */
static size_t take_core(const char *text, size_t len, uint32_t ret_numbers[static 3])
{
	size_t used = 0;

	for (int i = 0; i < 3; i++) {
		size_t n;

		if (i && (used == len || text[used++] != '.'))
			return 0;
		n = take_number(text + used, len - used, &ret_numbers[i]);
		if (!n)
			return 0;
		used += n;
	}
	return used;
}

bool tgsp_plain_version(const char *text, size_t len, uint32_t ret_numbers[static 3])
{
	uint32_t numbers[3];

	if (len > TG_TGSP_MAX_NAME || !len || take_core(text, len, numbers) != len)
		return false;
	memcpy(ret_numbers, numbers, sizeof(numbers));
	return true;
}

/* Identifiers with dots between them; numbers have no leading zeros where `ordered`. */
static size_t take_identifiers(const char *text, size_t len, bool ordered)
{
	size_t start = 0, i;
	bool digits = true;

	for (i = 0;; i++) {
		bool end = i == len || text[i] == '.' || (ordered && text[i] == '+');

		if (!end && !is_alnum(text[i]) && text[i] != '-')
			return 0;
		if (!end) {
			digits = digits && is_digit(text[i]);
			continue;
		}
		if (i == start || (ordered && digits && i - start > 1 && text[start] == '0'))
			return 0;
		if (i == len || text[i] == '+')
			return i;
		start = i + 1;
		digits = true;
	}
}

bool tgsp_semver_valid(const char *text, size_t len)
{
	uint32_t numbers[3];
	size_t used, n;

	if (len > TG_TGSP_MAX_NAME)
		return false;
	used = take_core(text, len, numbers);
	if (!used)
		return false;
	if (used < len && text[used] == '-') {
		n = take_identifiers(text + used + 1, len - used - 1, true);
		if (!n)
			return false;
		used += n + 1;
	}
	if (used < len && text[used] == '+') {
		n = take_identifiers(text + used + 1, len - used - 1, false);
		if (!n)
			return false;
		used += n + 1;
	}
	return used == len;
}

static bool component_valid(const char *text, size_t len)
{
	return len && !(len == 1 && text[0] == '.') && !(len == 2 && text[0] == '.' && text[1] == '.');
}

int tg_tgsp_path_check(const char *path, size_t len, struct tg_error *e)
{
	size_t start = 0;

	if (!len || len > TG_TGSP_MAX_PATH)
		return tg_error(e, -EINVAL, "a path of %zu bytes, expected 1 to %d", len, TG_TGSP_MAX_PATH);
	if (!tgsp_text_valid(path, len) || memchr(path, '\\', len))
		return tg_error(e, -EINVAL, "a path with a control character or a backslash");
	for (size_t i = 0; i <= len; i++) {
		if (i < len && path[i] != '/')
			continue;
		if (!component_valid(path + start, i - start))
			return tg_error(e, -EINVAL, "path '%.*s' has a component that is empty, '.' or '..'",
					(int)len, path);
		start = i + 1;
	}
	return 0;
}
