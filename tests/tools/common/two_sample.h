/* SPDX-License-Identifier: BSD-3-Clause */
/* Whether two samples come from the same distribution, and how well one threshold tells them apart. Pure. */
#ifndef TESTS_TOOLS_TWO_SAMPLE_H
#define TESTS_TOOLS_TWO_SAMPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct labelled {
	int64_t value;
	bool real;
};

struct two_sample {
	size_t count[2];	/* dummies, real */
	double distance;	/* Kolmogorov-Smirnov */
	double p;		/* asymptotic; 1 when a sample is empty */
	double accuracy; /* balanced, of the threshold that one half of the values taught, on the other half
			  */
	double sigmas;	/* by how many of its standard deviations that is above chance */
};

/* `values` in the order of time; they are left alone. Returns 0 or -ENOMEM. */
int two_sample(const struct labelled *values, size_t count, struct two_sample *ret_result);

#endif
