/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>
#include <stdlib.h>

#include "draws.h"

#define KS_LIMIT 2.2253		/* P(sqrt(n) D > it) = 1e-4 */
#define NORMAL_LIMIT 3.7190	/* P(z > it) = 1e-4, one side */
#define NORMAL_LIMIT_2 3.8906	/* both sides */

uint32_t draw_word(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return (uint32_t)((z ^ z >> 31) >> 32);
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int draws_fit(double *values, size_t count, double (*cdf)(double))
{
	double n = (double)count, most = 0;

	qsort(values, count, sizeof(*values), ascending);
	for (size_t i = 0; i < count; i++) {
		double p = cdf(values[i]);

		most = fmax(most, fmax(p - (double)i / n, (double)(i + 1) / n - p));
	}
	return (sqrt(n) + 0.12 + 0.11 / sqrt(n)) * most < KS_LIMIT;
}

int counts_fit(const unsigned *counts, const double *expected, size_t bins)
{
	double sum = 0, k = (double)bins - 1, z;

	for (size_t i = 0; i < bins; i++)
		sum += (counts[i] - expected[i]) * (counts[i] - expected[i]) / expected[i];
	/* Wilson and Hilferty's approximation */
	z = (cbrt(sum / k) - (1 - 2 / (9 * k))) / sqrt(2 / (9 * k));
	return z < NORMAL_LIMIT;
}

int draws_uncorrelated(const double *a, const double *b, size_t count)
{
	double n = (double)count, sa = 0, sb = 0, saa = 0, sbb = 0, sab = 0;

	for (size_t i = 0; i < count; i++) {
		sa += a[i];
		sb += b[i];
		saa += a[i] * a[i];
		sbb += b[i] * b[i];
		sab += a[i] * b[i];
	}
	return fabs((sab - sa * sb / n) / sqrt((saa - sa * sa / n) * (sbb - sb * sb / n))) * sqrt(n) <
	       NORMAL_LIMIT_2;
}
