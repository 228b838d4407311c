/* SPDX-License-Identifier: BSD-3-Clause */
/* The Range header of RFC 9110, section 14, as far as it names one range of bytes. */
#ifndef PLATFORM_API_RANGE_H
#define PLATFORM_API_RANGE_H

#include <stdint.h>

enum range_kind {
	RANGE_WHOLE,	/* no header, or one that we may ignore: several ranges, another unit, nonsense */
	RANGE_PART,
	RANGE_NONE,	/* nothing of it is there: 416 */
};

/* `header` may be NULL. *ret_first and *ret_len only with RANGE_PART. */
enum range_kind range_parse(const char *header, uint64_t size, uint64_t *ret_first, uint64_t *ret_len);

#endif
