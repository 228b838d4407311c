/* SPDX-License-Identifier: BSD-3-Clause */
/* Random words from a fixed seed, and the tests of what is made of them: p-values below 1e-4 fail. */
#ifndef TESTS_UNIT_DRAWS_H
#define TESTS_UNIT_DRAWS_H

#include <stddef.h>
#include <stdint.h>

/* The next word of the generator (splitmix64). */
uint32_t draw_word(uint64_t *state);

/* Kolmogorov and Smirnov: whether the values, which are sorted, come from the distribution `cdf`. */
int draws_fit(double *values, size_t count, double (*cdf)(double));
/* Pearson's chi-square: whether counts come from the expected ones, all of them above 5. */
int counts_fit(const unsigned *counts, const double *expected, size_t bins);
/* Whether two series of equal length are uncorrelated. */
int draws_uncorrelated(const double *a, const double *b, size_t count);

#endif
