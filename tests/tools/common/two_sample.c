/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "common/two_sample.h"

enum { BLOCK = 16 };

static int by_value(const void *a, const void *b)
{
	const struct labelled *x = a, *y = b;

	return (x->value > y->value) - (x->value < y->value);
}

/* Of the empirical distribution functions, real less dummy: the greatest and the least value, and where. */
struct gap {
	double most, least;
	int64_t most_at, least_at;
};

static struct gap find_gap(const struct labelled *sorted, size_t count, const size_t in[static 2])
{
	struct gap gap = { 0 };
	size_t seen[2] = { 0 };

	for (size_t i = 0; i < count; i++) {
		double d;

		seen[sorted[i].real]++;
		if (i + 1 < count && sorted[i + 1].value == sorted[i].value)
			continue;
		d = (double)seen[1] / (double)in[1] - (double)seen[0] / (double)in[0];
		if (d > gap.most) {
			gap.most = d;
			gap.most_at = sorted[i].value;
		}
		if (d < gap.least) {
			gap.least = d;
			gap.least_at = sorted[i].value;
		}
	}
	return gap;
}

/* Kolmogorov's distribution with the correction for finite samples (Stephens 1970). */
static double kolmogorov_p(double distance, const size_t in[static 2])
{
	double n = (double)in[0] * (double)in[1] / (double)(in[0] + in[1]);
	double lambda = (sqrt(n) + 0.12 + 0.11 / sqrt(n)) * distance, p = 0;

	/* the series does not converge near 0, where the value is 1 */
	if (lambda < 0.2)
		return 1;
	for (int k = 1; k <= 100; k++)
		p += (k % 2 ? 2 : -2) * exp(-2.0 * k * k * lambda * lambda);
	return p < 0 ? 0 : p > 1 ? 1 : p;
}

/* Every second block of values, sorted; counts both kinds. Single values would do no good: kinds may
 * alternate. */
static size_t take_half(const struct labelled *values, size_t count, bool second, struct labelled *half,
			size_t in[static 2])
{
	size_t n = 0;

	in[0] = in[1] = 0;
	for (size_t i = 0; i < count; i++) {
		if ((i / BLOCK & 1) != second)
			continue;
		half[n++] = values[i];
		in[values[i].real]++;
	}
	if (n)
		qsort(half, n, sizeof(*half), by_value);
	return n;
}

/* Of the values of one half: how many of each kind are at or below the threshold that the other half taught.
 */
static void judge(const struct labelled *values, size_t count, struct labelled *room, struct two_sample *r)
{
	size_t in[2], below[2] = { 0 }, n = take_half(values, count, false, room, in);
	bool real_below;
	struct gap gap;
	int64_t threshold;
	double rate, both, deviation;

	if (!in[0] || !in[1])
		return;
	gap = find_gap(room, n, in);
	real_below = gap.most > -gap.least;
	threshold = real_below ? gap.most_at : gap.least_at;
	n = take_half(values, count, true, room, in);
	if (!in[0] || !in[1])
		return;
	for (size_t i = 0; i < n; i++)
		below[room[i].real] += room[i].value <= threshold;
	rate = (double)below[1] / (double)in[1] - (double)below[0] / (double)in[0];
	r->accuracy = 0.5 + (real_below ? rate : -rate) / 2;
	/* if both kinds have the same share of values there, as they have by chance */
	both = (double)(below[0] + below[1]) / (double)n;
	deviation = sqrt(both * (1 - both) * (1 / (double)in[0] + 1 / (double)in[1])) / 2;
	r->sigmas = deviation > 0 ? (r->accuracy - 0.5) / deviation : 0;
}

int two_sample(const struct labelled *values, size_t count, struct two_sample *ret_result)
{
	struct labelled *room = calloc(count + 1, sizeof(*room));
	struct two_sample r = { .p = 1, .accuracy = 0.5 };
	struct gap gap;

	if (!room)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		room[i] = values[i];
		r.count[values[i].real]++;
	}
	if (r.count[0] && r.count[1]) {
		qsort(room, count, sizeof(*room), by_value);
		gap = find_gap(room, count, r.count);
		r.distance = fmax(gap.most, -gap.least);
		r.p = kolmogorov_p(r.distance, r.count);
		judge(values, count, room, &r);
	}
	free(room);
	*ret_result = r;
	return 0;
}
