/* SPDX-License-Identifier: BSD-3-Clause */
#include "harness.h"
#include "shared/hist.h"

TEST(hist, floor_is_the_lower_edge_of_its_bucket)
{
	for (__u32 b = 0; b < TG_DELAY_BUCKETS; b++) {
		__u64 floor_ns = tg_hist_floor_us(b) * 1000;

		CU_ASSERT_EQUAL(tg_hist_bucket(floor_ns), b);
		if (b)
			CU_ASSERT_EQUAL(tg_hist_bucket(floor_ns - 1), b - 1);
	}
}

TEST(hist, last_bucket_takes_everything_above)
{
	CU_ASSERT_EQUAL(tg_hist_bucket(~0ull), TG_DELAY_BUCKETS - 1);
	CU_ASSERT_EQUAL(tg_hist_bucket(1ull << 40), TG_DELAY_BUCKETS - 1);
}
