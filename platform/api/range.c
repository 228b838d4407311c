/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdbool.h>
#include <string.h>

#include "api/range.h"

/* Digits alone; false when there are none, or too many. */
static bool take_number(const char **text, uint64_t *ret_value)
{
	const char *p = *text;
	uint64_t value = 0;

	for (; *p >= '0' && *p <= '9'; p++) {
		if (value > (UINT64_MAX - 9) / 10)
			return false;
		value = value * 10 + (uint64_t)(*p - '0');
	}
	if (p == *text)
		return false;
	*text = p;
	*ret_value = value;
	return true;
}

enum range_kind range_parse(const char *header, uint64_t size, uint64_t *ret_first, uint64_t *ret_len)
{
	uint64_t first, last = UINT64_MAX;
	const char *p = header;
	bool suffix;

	if (!p || strncmp(p, "bytes=", 6))
		return RANGE_WHOLE;
	p += 6;
	suffix = *p == '-';
	if (suffix)
		p++;
	if (!take_number(&p, &first))
		return RANGE_WHOLE;
	if (!suffix && (*p++ != '-' || (*p && !take_number(&p, &last)) || last < first))
		return RANGE_WHOLE;
	if (*p)
		return RANGE_WHOLE;
	if (suffix) {	/* the last `first` bytes */
		if (!first || !size)
			return RANGE_NONE;
		*ret_len = first < size ? first : size;
		*ret_first = size - *ret_len;
		return RANGE_PART;
	}
	if (first >= size)
		return RANGE_NONE;
	*ret_first = first;
	*ret_len = (last < size ? last + 1 : size) - first;
	return RANGE_PART;
}
