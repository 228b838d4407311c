/* SPDX-License-Identifier: BSD-3-Clause */
/* Nearest-rank percentiles of whole numbers. */
#ifndef TESTS_TOOLS_QUANTILE_H
#define TESTS_TOOLS_QUANTILE_H

#include <stddef.h>
#include <stdint.h>

void quantile_sort(int64_t *values, size_t count);

/* The smallest value with at least `percent` (0..100) of the values at or below it; 0 when there are none. */
int64_t quantile(const int64_t *sorted, size_t count, double percent);

#endif
