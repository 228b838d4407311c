/* SPDX-License-Identifier: BSD-3-Clause */
#include <sys/random.h>

#include "common/draw.h"

uint64_t draw_number(void)
{
	uint64_t draw = 0;

	return getrandom(&draw, sizeof(draw), 0) == sizeof(draw) ? draw : 0;
}
