/* SPDX-License-Identifier: BSD-3-Clause */
/* The robot's tick, found in times of arrival: made ones, random ones, and those of captures where there are
 * any. */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "tensorguard/tick.h"

#define MS 1000000ull
#define TICK 25002000ull
#define START (123456 * MS + 789)

static const struct tg_lean pattern = {
	.tick_ns = TICK,
	.slot_count = 3,
	.slot_ns = { 6500000, 13500000, 20500000 },
};

static uint32_t state = 88675123u;

static uint32_t draw(void)
{
	state ^= state << 13;
	state ^= state >> 17;
	return state ^= state << 5;
}

/* The mean wait of arrivals for the slots of a pattern. */
static double mean_wait(const struct tg_lean *by, const struct tg_tick *tick, const uint64_t *arrivals,
			size_t count)
{
	double sum = 0;

	for (size_t i = 0; i < count; i++)
		sum += (double)(tg_lean_slot(by, tick->origin_ns, tick->period_ns, arrivals[i]) -
				arrivals[i]);
	return count ? sum / (double)count : 0;
}

/* `count` arrivals, one in each of so many ticks of `period`, at a place of it that varies by `jitter`. */
static void make(uint64_t *arrivals, size_t count, uint64_t period, uint64_t phase, uint64_t jitter)
{
	for (size_t i = 0; i < count; i++)
		arrivals[i] = START + phase + i * 3 * period + (jitter ? draw() % jitter : 0);
}

TEST(tick, finds_the_phase)
{
	uint64_t arrivals[40];

	for (uint64_t phase = 0; phase < TICK; phase += TICK / 11) {
		struct tg_tick tick;

		make(arrivals, 40, TICK, phase, MS);
		tick = tg_tick_learn(&pattern, START, arrivals, 40);
		CU_ASSERT(tick.found);
		CU_ASSERT_EQUAL(tick.period_ns, TICK);
		CU_ASSERT(mean_wait(&pattern, &tick, arrivals, 40) < 2.0 * MS);
	}
}

/* One in four comes at any time. */
TEST(tick, outliers_do_not_move_it)
{
	uint64_t arrivals[60];
	struct tg_tick tick;
	double wait;

	make(arrivals, 60, TICK, 5 * MS, MS);
	for (size_t i = 0; i < 60; i += 4)
		arrivals[i] = START + (uint64_t)draw() % (3000 * MS);
	tick = tg_tick_learn(&pattern, START, arrivals, 60);
	make(arrivals, 60, TICK, 5 * MS, MS);
	wait = mean_wait(&pattern, &tick, arrivals, 60);
	CU_ASSERT(tick.found && wait < 2.5 * MS);
}

/* Two in a thousand off the nominal period: in three seconds that is a quarter of a tick. */
TEST(tick, finds_another_period)
{
	uint64_t arrivals[40], period = TICK + TICK / 500;
	struct tg_tick tick;

	make(arrivals, 40, period, 9 * MS, MS / 2);
	tick = tg_tick_learn(&pattern, START, arrivals, 40);
	CU_ASSERT(tick.found);
	CU_ASSERT(llabs((long long)tick.period_ns - (long long)period) < (long long)TICK / 2000);
}

TEST(tick, nothing_coherent_leaves_the_nominal_one)
{
	unsigned found = 0;

	for (int round = 0; round < 200; round++) {
		uint64_t arrivals[64];
		struct tg_tick tick;

		for (size_t i = 0; i < 64; i++)
			arrivals[i] = START + ((uint64_t)draw() << 10) % (3000 * MS);
		tick = tg_tick_learn(&pattern, START, arrivals, 64);
		found += tick.found;
		if (!tick.found)
			CU_ASSERT(tick.origin_ns >= START && tick.origin_ns < START + TICK &&
				  tick.period_ns == TICK);
	}
	CU_ASSERT(found < 20);
}

/* They are a reason to begin where they fit, and none to take another period. */
TEST(tick, few_arrivals_tell_a_phase_at_most)
{
	uint64_t arrivals[TG_TICK_LEAST - 1];
	struct tg_tick tick;

	make(arrivals, TG_TICK_LEAST - 1, TICK, 5 * MS, 0);
	for (size_t count = 0; count < TG_TICK_LEAST; count++) {
		tick = tg_tick_learn(&pattern, START, arrivals, count);
		CU_ASSERT(!tick.found && tick.period_ns == TICK);
		CU_ASSERT(count ? mean_wait(&pattern, &tick, arrivals, count) < 2.0 * MS
				: tick.origin_ns == START);
	}
}

TEST(tick, is_deterministic)
{
	uint64_t arrivals[TG_TICK_MOST + 10];
	struct tg_tick a, b;

	make(arrivals, TG_TICK_MOST + 10, TICK / 5, 5 * MS, 9 * MS);
	a = tg_tick_learn(&pattern, START, arrivals, TG_TICK_MOST + 10);
	b = tg_tick_learn(&pattern, START, arrivals, TG_TICK_MOST + 10);
	CU_ASSERT(a.found == b.found && a.origin_ns == b.origin_ns && a.period_ns == b.period_ns);
}

/* ---- the slots of a frozen pattern ---- */

TEST(tick, slots_follow_one_another)
{
	uint64_t origin = START + 7 * MS, now = START - 100 * TICK;

	for (int i = 0; i < 900; i++) {
		uint64_t slot = tg_lean_slot(&pattern, origin, TICK, now);
		uint64_t place = (slot + 1000 * TICK - origin) % TICK;

		CU_ASSERT(slot >= now && slot - now <= 11 * MS + 2000);
		CU_ASSERT(place == pattern.slot_ns[0] || place == pattern.slot_ns[1] ||
			  place == pattern.slot_ns[2]);
		CU_ASSERT_EQUAL(tg_lean_slot(&pattern, origin, TICK, slot), slot);
		now = slot + 1;
	}
	CU_ASSERT_EQUAL(tg_lean_least_gap(&pattern), 7 * MS);
}

/* ---- real captures: TG_TRACES=DIR/<action>/NN.csv ---- */

/* Times of one direction: those of the first three seconds, and how many there are in all. */
static size_t read_capture(const char *path, int direction, uint64_t *times, size_t room, size_t *ret_learn)
{
	FILE *file = fopen(path, "r");
	unsigned long long us;
	size_t count = 0;
	char text[256];
	int way;

	*ret_learn = 0;
	while (file && fgets(text, sizeof(text), file))
		if (sscanf(text, "%llu,%d", &us, &way) == 2 && way == direction && count < room) {
			times[count++] = START + us * 1000;
			*ret_learn += us < 3000000;
		}
	if (file)
		fclose(file);
	return count;
}

struct found {
	unsigned captures, locked;
	double wait, unlocked_wait; /* sums, of what comes after the learning */
};

static void learn_capture(const char *path, int direction, struct found *f)
{
	static uint64_t times[20000];
	const struct tg_tick none = { .origin_ns = START, .period_ns = TICK };
	size_t learn, count = read_capture(path, direction, times, 20000, &learn);
	struct tg_tick tick;

	if (!count)
		return;
	tick = tg_tick_learn(&pattern, START, times, learn);
	f->captures++;
	f->locked += tick.found;
	f->wait += mean_wait(&pattern, &tick, times + learn, count - learn);
	f->unlocked_wait += mean_wait(&pattern, &none, times + learn, count - learn);
}

static void learn_folder(const char *folder, struct found *f)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;
	char path[1024];

	while (dir && (entry = readdir(dir)))
		if (strstr(entry->d_name, ".csv") &&
		    snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name) < (int)sizeof(path)) {
			learn_capture(path, 1, f);
			learn_capture(path, -1, f);
		}
	if (dir)
		closedir(dir);
}

/* What is learnt in three seconds serves the rest of a session, up to a minute. */
static void serve_real_sessions(void)
{
	const char *root = getenv("TG_TRACES");
	DIR *dir = opendir(root);
	struct found f = { .captures = 0 };
	struct dirent *entry;
	char folder[512];

	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.' &&
		    snprintf(folder, sizeof(folder), "%s/%s", root, entry->d_name) < (int)sizeof(folder))
			learn_folder(folder, &f);
	if (dir)
		closedir(dir);
	CU_ASSERT_FATAL(f.captures > 0);
	printf("# tick: %u of %u directions locked, mean wait %.2f ms, %.2f ms unlocked\n", f.locked,
	       f.captures, f.wait / f.captures / 1e6, f.unlocked_wait / f.captures / 1e6);
	CU_ASSERT(f.locked * 10 >= f.captures * 8);
	CU_ASSERT(f.wait < 0.8 * f.unlocked_wait);
}

/* Captures are not part of the project. */
__attribute__((constructor)) static void add_captures(void)
{
	if (getenv("TG_TRACES"))
		harness_add("tick", "serves_the_rest_of_real_sessions", serve_real_sessions);
}
