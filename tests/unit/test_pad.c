/* SPDX-License-Identifier: BSD-3-Clause */
#include "harness.h"
#include "shared/pad.h"

static const __u32 cells[] = { 48, 64, 160, 256, 1024, 1280, 1420, 1500, 8992, 9000 };

#define CELLS (sizeof(cells) / sizeof(cells[0]))

/* Each length that fits, with the draws most likely to break the arithmetic. */
static void check_bounds(__u16 mode)
{
	static const __u32 draws[] = { 0, 1, 0x7fffffff, 0x80000000, 0xffffffff };
	unsigned below = 0, above = 0, refused = 0;

	for (unsigned c = 0; c < CELLS; c++) {
		struct tg_class class = { .pad_mode = mode,
					  .cell = (__u16)cells[c],
					  .bucket_count = 3,
					  .buckets = { 48, (__u16)(cells[c] / 2), (__u16)cells[c] } };

		for (__u32 len = 1; len <= cells[c]; len++) {
			for (unsigned d = 0; d < 5; d++) {
				__u32 size = tg_pad_target(&class, len, draws[d]);

				below += size < len;
				above += size > cells[c];
			}
		}
		for (__u32 len = cells[c] + 1; len < cells[c] + 100; len++)
			refused += tg_pad_target(&class, len, draws[len % 5]) == 0;
		refused += tg_pad_target(&class, 0xffffffff, 0) == 0;
	}
	CU_ASSERT_EQUAL(below, 0);
	CU_ASSERT_EQUAL(above, 0);
	CU_ASSERT_EQUAL(refused, 100 * CELLS);
}

TEST(pad, every_mode_stays_between_length_and_cell)
{
	check_bounds(TG_PAD_CELL);
	check_bounds(TG_PAD_BUCKETS);
	check_bounds(TG_PAD_POW2);
	check_bounds(TG_PAD_UNIFORM);
}

TEST(pad, an_unknown_mode_has_no_size)
{
	struct tg_class class = { .pad_mode = 0, .cell = 1420 };

	CU_ASSERT_EQUAL(tg_pad_target(&class, 100, 0), 0);
	class.pad_mode = 5;
	CU_ASSERT_EQUAL(tg_pad_target(&class, 100, 0), 0);
}

TEST(pad, cell_has_one_size)
{
	struct tg_class class = { .pad_mode = TG_PAD_CELL, .cell = 1420 };

	for (__u32 len = 1; len <= 1420; len++)
		CU_ASSERT_EQUAL(tg_pad_target(&class, len, len * 2654435761u), 1420);
}

TEST(pad, buckets_give_the_smallest_that_holds)
{
	struct tg_class class = { .pad_mode = TG_PAD_BUCKETS,
				  .cell = 1420,
				  .bucket_count = 8,
				  .buckets = { 64, 128, 256, 512, 768, 1024, 1280, 1420 } };
	static const struct {
		__u32 len, size;
	} cases[] = {
		{ 1, 64 },      { 64, 64 },     { 65, 128 },    { 128, 128 },   { 512, 512 }, { 513, 768 },
		{ 1024, 1024 }, { 1280, 1280 }, { 1281, 1420 }, { 1420, 1420 }, { 1421, 0 },
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		CU_ASSERT_EQUAL(tg_pad_target(&class, cases[i].len, 0), cases[i].size);
	/* entries behind bucket_count are not looked at */
	class.bucket_count = 1;
	CU_ASSERT_EQUAL(tg_pad_target(&class, 65, 0), 1420);
}

TEST(pad, pow2_gives_the_next_power_or_the_cell)
{
	struct tg_class class = { .pad_mode = TG_PAD_POW2, .cell = 9000 };
	static const struct {
		__u32 len, size;
	} cases[] = {
		{ 1, 64 },      { 64, 64 },     { 65, 128 },    { 1024, 1024 },
		{ 1025, 2048 }, { 8192, 8192 }, { 8193, 9000 }, { 9000, 9000 },
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		CU_ASSERT_EQUAL(tg_pad_target(&class, cases[i].len, 0), cases[i].size);
	class.cell = 48;
	CU_ASSERT_EQUAL(tg_pad_target(&class, 20, 0), 48);
	class.cell = 1420;
	CU_ASSERT_EQUAL(tg_pad_target(&class, 1025, 0), 1420);
}

/* A generator without the short cycles of rand(): splitmix64. */
static __u64 splitmix(__u64 *state)
{
	__u64 z = *state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

/*
 * Chi-square of `draws` draws against the uniform distribution over the sizes
 * that the specification names. Also counts sizes that it does not name.
 */
static double chi_square(__u32 len, __u32 cell, unsigned draws, unsigned *ret_sizes, unsigned *ret_strange)
{
	struct tg_class class = { .pad_mode = TG_PAD_UNIFORM, .cell = (__u16)cell };
	__u32 first = (len + 15) / 16 * 16;
	unsigned sizes = (cell - first) / 16 + 1 + ((cell - first) % 16 != 0), strange = 0;
	unsigned count[600] = { 0 };
	__u64 state = cell * 10007ull + len;
	double sum = 0;

	for (unsigned i = 0; i < draws; i++) {
		__u32 size = tg_pad_target(&class, len, (__u32)splitmix(&state));

		if (size == cell)
			count[sizes - 1]++;
		else if (size >= first && size < cell && (size - first) % 16 == 0)
			count[(size - first) / 16]++;
		else
			strange++;
	}
	for (unsigned i = 0; i < sizes; i++) {
		double expected = (double)draws / sizes, off = count[i] - expected;

		sum += off * off / expected;
	}
	*ret_sizes = sizes;
	*ret_strange = strange;
	return sum;
}

TEST(pad, uniform_is_uniform)
{
	static const struct {
		__u32 len, cell;
	} cases[] = {
		{ 40, 1420 }, { 41, 1420 },   { 1400, 1420 }, { 52, 160 },
		{ 1, 1280 },  { 1000, 1280 }, { 60, 9000 },
	};
	unsigned sizes, strange;

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		double chi = chi_square(cases[i].len, cases[i].cell, 100000, &sizes, &strange);
		double freedom = sizes - 1;

		CU_ASSERT_EQUAL(strange, 0);
		CU_ASSERT(sizes > 1);
		/* mean + 5 standard deviations: p below 10^-4 for the few degrees of freedom here, far below
		 * for many */
		CU_ASSERT(chi < freedom + 5 * __builtin_sqrt(2 * freedom) + 5);
		/* and not too good to be random either */
		CU_ASSERT(freedom < 10 || chi > freedom - 5 * __builtin_sqrt(2 * freedom));
	}
}

TEST(pad, uniform_reaches_both_ends)
{
	struct tg_class class = { .pad_mode = TG_PAD_UNIFORM, .cell = 1420 };

	CU_ASSERT_EQUAL(tg_pad_target(&class, 40, 0), 48);
	CU_ASSERT_EQUAL(tg_pad_target(&class, 40, 0xffffffff), 1420);
	CU_ASSERT_EQUAL(tg_pad_target(&class, 1409, 0), 1420);
	class.cell = 160;
	CU_ASSERT_EQUAL(tg_pad_target(&class, 144, 0), 144);
	CU_ASSERT_EQUAL(tg_pad_target(&class, 145, 0), 160);
	CU_ASSERT_EQUAL(tg_pad_target(&class, 40, 0xffffffff), 160);
}
