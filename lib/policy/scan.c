/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libconfig 1.5 cuts numbers to 32 or 64 bits without a word: 4294967456 would
 * become 160. Its settings do not tell any more, so the text is looked at first.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "policy/conf.h"

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_word(char c)
{
	return is_digit(c) || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' || c == '*';
}

/* Behind the quotation mark that ends the text that begins at `p`. */
static const char *skip_string(const char *p)
{
	for (p++; *p && *p != '"'; p++)
		if (*p == '\\' && p[1])
			p++;
	return *p ? p + 1 : p;
}

/* Behind the comment that begins at `p`; `p` itself if none does. */
static const char *skip_comment(const char *p)
{
	const char *end;

	if (*p == '#' || (p[0] == '/' && p[1] == '/'))
		return p + strcspn(p, "\n");
	if (p[0] != '/' || p[1] != '*')
		return p;
	end = strstr(p + 2, "*/");
	return end ? end + 2 : p + strlen(p);
}

/* What is wrong with the number of `len` characters; NULL if nothing is, or if it is no whole number. */
static const char *judge(const char *number, size_t len)
{
	char *end;
	long long value;

	if (len > 1 && number[0] == '0' && (number[1] | 0x20) == 'x')
		return "a decimal number";
	errno = 0;
	value = strtoll(number, &end, 10);
	if (end + 2 >= number + len && *end == 'L')
		return errno ? "a number of at most 64 bits" : NULL;
	if (end != number + len || (!errno && value >= INT_MIN && value <= INT_MAX))
		return NULL;
	return "an L behind a number of more than 32 bits, and at most 64";
}

/* Behind the word or number that begins at `p`. A sign makes no difference to what is looked for here. */
static const char *skip_word(const char *p)
{
	while (is_word(*p) || *p == '.' || *p == '-')
		p++;
	return p;
}

static const char *skip_token(const char *p)
{
	const char *next = skip_comment(p);

	if (next != p)
		return next;
	if (*p == '"')
		return skip_string(p);
	return is_word(*p) ? skip_word(p) : p + 1;
}

int conf_scan(const char *text, struct conf_number *ret_number)
{
	const char *p = text, *next, *expected;
	unsigned line = 1;

	for (; *p; p = next) {
		next = skip_token(p);
		expected = is_digit(*p) ? judge(p, (size_t)(next - p)) : NULL;
		if (expected) {
			*ret_number = (struct conf_number){ p, (int)(next - p), line, expected };
			return -ERANGE;
		}
		for (const char *c = p; c < next; c++)
			line += *c == '\n';
	}
	return 0;
}
