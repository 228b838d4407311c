/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "harness.h"
#include "http/limit.h"

static int take_many(struct limiter *limiter, const char *key, int count, int64_t now)
{
	int taken = 0;

	for (int i = 0; i < count; i++)
		taken += limiter_take(limiter, key, strlen(key), now);
	return taken;
}

TEST(limit, burst_then_rate)
{
	struct limiter *limiter = limiter_new(60, 5);

	CU_ASSERT_PTR_NOT_NULL_FATAL(limiter);
	CU_ASSERT_EQUAL(take_many(limiter, "a", 10, 1000), 5);
	CU_ASSERT_EQUAL(take_many(limiter, "a", 10, 1999), 0);
	CU_ASSERT_EQUAL(take_many(limiter, "a", 10, 2000), 1);
	CU_ASSERT_EQUAL(take_many(limiter, "a", 10, 4000), 2);
	CU_ASSERT_EQUAL(take_many(limiter, "a", 10, 1000000), 5);
	limiter_free(limiter);
}

TEST(limit, keys_are_apart)
{
	struct limiter *limiter = limiter_new(1, 1);

	CU_ASSERT_PTR_NOT_NULL_FATAL(limiter);
	CU_ASSERT_EQUAL(take_many(limiter, "a", 2, 0), 1);
	CU_ASSERT_EQUAL(take_many(limiter, "b", 2, 0), 1);
	CU_ASSERT_EQUAL(take_many(limiter, "a", 2, 59999), 0);
	CU_ASSERT_EQUAL(take_many(limiter, "a", 2, 60000), 1);
	limiter_free(limiter);
}

TEST(limit, many_at_once)
{
	struct limiter *limiter = limiter_new(60, 10);

	CU_ASSERT_PTR_NOT_NULL_FATAL(limiter);
	CU_ASSERT_FALSE(limiter_take_many(limiter, "a", 1, 11, 0));
	CU_ASSERT_TRUE(limiter_take_many(limiter, "a", 1, 7, 0));
	CU_ASSERT_FALSE(limiter_take_many(limiter, "a", 1, 4, 0));
	CU_ASSERT_TRUE(limiter_take_many(limiter, "a", 1, 3, 0));
	CU_ASSERT_FALSE(limiter_take_many(limiter, "a", 1, 2, 1999));
	CU_ASSERT_TRUE(limiter_take_many(limiter, "a", 1, 2, 2000));
	limiter_free(limiter);
}

/* A clock that stands still or goes back gives nothing away. */
TEST(limit, clock_goes_back)
{
	struct limiter *limiter = limiter_new(60, 2);

	CU_ASSERT_PTR_NOT_NULL_FATAL(limiter);
	CU_ASSERT_EQUAL(take_many(limiter, "a", 3, 5000), 2);
	CU_ASSERT_EQUAL(take_many(limiter, "a", 3, 1000), 0);
	limiter_free(limiter);
}
