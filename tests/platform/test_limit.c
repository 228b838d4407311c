/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "http/limit.h"
#include "http/parts.h"

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

/* How many of `count` come in from addresses that begin so and end with a number from 0, or are all this. */
static int allowed(const struct server_config *config, const char *begin, int count, const char *end)
{
	char address[SERVER_ADDRESS_SIZE];
	int sum = 0;

	for (int i = 0; i < count; i++) {
		if (end)
			snprintf(address, sizeof(address), "%s%x%s", begin, (unsigned)i, end);
		else
			snprintf(address, sizeof(address), "%s", begin);
		sum += address_allowed(config, address, 0);
	}
	return sum;
}

/* Who has many networks has a limit as well, and another network's clients keep theirs. */
TEST(limit, addresses)
{
	struct server_config config = { .by_address = limiter_new(1, 2), .by_site = limiter_new(1, 5) };

	CU_ASSERT_EQUAL(allowed(&config, "192.0.2.1", 9, NULL), 2);
	CU_ASSERT_EQUAL(allowed(&config, "::ffff:192.0.2.1", 9, NULL), 0);
	CU_ASSERT_EQUAL(allowed(&config, "192.0.2.", 10, ""), 9);
	CU_ASSERT_EQUAL(allowed(&config, "2001:db8:1:1::", 9, ""), 2);
	CU_ASSERT_EQUAL(allowed(&config, "2001:db8:1:", 100, "::1"), 3);
	CU_ASSERT_EQUAL(allowed(&config, "2001:db8:2::", 9, ""), 2);
	/* of two links, and not among those that are no addresses */
	CU_ASSERT_EQUAL(allowed(&config, "fe80::", 9, "%eth0"), 2);
	CU_ASSERT_EQUAL(allowed(&config, "fe80:0:0:1::", 9, "%eth1"), 2);
	limiter_free(config.by_address);
	limiter_free(config.by_site);
}
