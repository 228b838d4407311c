/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>
#include <stdlib.h>

#include "common/quantile.h"

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

void quantile_sort(int64_t *values, size_t count)
{
	if (count)
		qsort(values, count, sizeof(*values), compare);
}

int64_t quantile(const int64_t *sorted, size_t count, double percent)
{
	double rank = ceil(percent / 100 * (double)count);

	if (!count)
		return 0;
	if (rank < 1)
		return sorted[0];
	return sorted[rank >= (double)count ? count - 1 : (size_t)rank - 1];
}
