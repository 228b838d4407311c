/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/tool.h"
#include "common/two_sample.h"
#include "harness.h"

enum { COUNT = 4000 };

/* Real values are `shift` more than dummies; both uniform over 1000, drawn in turns without a pattern. */
static struct two_sample draw(int64_t shift)
{
	struct labelled values[COUNT];
	struct two_sample r = { 0 };
	uint64_t state = 7;

	for (size_t i = 0; i < COUNT; i++) {
		values[i].real = tool_random(&state) & 1;
		values[i].value = (int64_t)(tool_random(&state) % 1000) + (values[i].real ? shift : 0);
	}
	CU_ASSERT_EQUAL_FATAL(two_sample(values, COUNT, &r), 0);
	return r;
}

TEST(two_sample, same_distribution_is_not_separable)
{
	struct two_sample r = draw(0);

	CU_ASSERT_EQUAL(r.count[0] + r.count[1], COUNT);
	CU_ASSERT_TRUE(r.distance < 0.05);
	CU_ASSERT_TRUE(r.p > 0.01);
	CU_ASSERT_DOUBLE_EQUAL(r.accuracy, 0.5, 0.03);
	CU_ASSERT_TRUE(r.sigmas < 3);
}

/* Of many samples that are the same, by how much chance is exceeded: as a normal variable. */
TEST(two_sample, sigmas_are_standard_deviations)
{
	enum { SAMPLES = 400, EACH = 600 };
	struct labelled values[EACH];
	double sum = 0, square = 0;
	uint64_t state = 11;

	for (unsigned n = 0; n < SAMPLES; n++) {
		struct two_sample r = { 0 };

		for (size_t i = 0; i < EACH; i++) {
			values[i].real = tool_random(&state) % 5 < 2;
			values[i].value = (int64_t)(tool_random(&state) % 100000);
		}
		CU_ASSERT_EQUAL_FATAL(two_sample(values, EACH, &r), 0);
		sum += r.sigmas;
		square += r.sigmas * r.sigmas;
	}
	CU_ASSERT_DOUBLE_EQUAL(sum / SAMPLES, 0, 0.2);
	CU_ASSERT_DOUBLE_EQUAL(square / SAMPLES, 1, 0.25);
}

/* A shift of a tenth of the range: distance 0.1, accuracy 0.55, either way round. */
TEST(two_sample, shifted_distribution_is_separable)
{
	struct two_sample later = draw(100), earlier = draw(-100);

	CU_ASSERT_DOUBLE_EQUAL(later.distance, 0.1, 0.04);
	CU_ASSERT_TRUE(later.p < 1e-4);
	CU_ASSERT_DOUBLE_EQUAL(later.accuracy, 0.55, 0.03);
	CU_ASSERT_TRUE(later.sigmas > 3.5);
	CU_ASSERT_DOUBLE_EQUAL(earlier.distance, 0.1, 0.04);
	CU_ASSERT_TRUE(earlier.p < 1e-4);
	CU_ASSERT_DOUBLE_EQUAL(earlier.accuracy, 0.55, 0.03);
}

TEST(two_sample, disjoint_samples_have_distance_one)
{
	struct two_sample r = draw(5000);

	CU_ASSERT_DOUBLE_EQUAL(r.distance, 1, 1e-9);
	CU_ASSERT_TRUE(r.p < 1e-12);
	CU_ASSERT_DOUBLE_EQUAL(r.accuracy, 1, 1e-9);
}

/* The distance for p = 0.05 with 100 values each, from the printed tables: 1.36 sqrt(2 / 100) = 0.192. */
TEST(two_sample, p_agrees_with_the_tables)
{
	struct labelled values[200];
	struct two_sample r = { 0 };

	/* 19 real values below all dummies, the others in step with them */
	for (int64_t i = 0; i < 100; i++) {
		values[2 * i] = (struct labelled){ i, false };
		values[2 * i + 1] = (struct labelled){ i < 19 ? -1 : i - 19, true };
	}
	CU_ASSERT_EQUAL_FATAL(two_sample(values, 200, &r), 0);
	CU_ASSERT_DOUBLE_EQUAL(r.distance, 0.19, 1e-9);
	CU_ASSERT_DOUBLE_EQUAL(r.p, 0.05, 0.01);
}

TEST(two_sample, one_empty_sample_says_nothing)
{
	struct labelled values[3] = { { 1, true }, { 2, true }, { 3, true } };
	struct two_sample r = { 0 };

	CU_ASSERT_EQUAL_FATAL(two_sample(values, 3, &r), 0);
	CU_ASSERT_EQUAL(r.p, 1);
	CU_ASSERT_EQUAL(r.accuracy, 0.5);
	CU_ASSERT_EQUAL_FATAL(two_sample(values, 0, &r), 0);
	CU_ASSERT_EQUAL(r.count[1], 0);
}
