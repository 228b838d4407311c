/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>

#include "tensorguard/tick.h"

enum {
	SMOOTH = 3,      /* bins on either side over which an arrival may spread: timers and schedulers */
	SURE_PHASE = 3,  /* standard errors by which it must beat chance */
	SURE_PERIOD = 2, /* ... and another period the nominal one */
};

/* How long a packet waits by where it comes in the tick, in the middle of each bin. */
struct waits {
	double of[TG_TICK_BINS], mean, deviation;
};

struct fit {
	unsigned bin;		/* the phase */
	double wait;		/* mean */
};

static double wait_at(const struct tg_lean *pattern, double at)
{
	for (unsigned i = 0; i < pattern->slot_count; i++)
		if (pattern->slot_ns[i] >= at)
			return pattern->slot_ns[i] - at;
	return (double)pattern->tick_ns + pattern->slot_ns[0] - at;
}

/* A packet just before a slot may as well come just after it: every wait is that of its surroundings. */
static void compute_waits(const struct tg_lean *pattern, struct waits *w)
{
	double sharp[TG_TICK_BINS], squares = 0;

	for (int b = 0; b < TG_TICK_BINS; b++)
		sharp[b] = wait_at(pattern, (b + 0.5) * (double)pattern->tick_ns / TG_TICK_BINS);
	*w = (struct waits){ .mean = 0 };
	for (int b = 0; b < TG_TICK_BINS; b++) {
		for (int d = -SMOOTH; d <= SMOOTH; d++)
			w->of[b] += sharp[(b + d + TG_TICK_BINS) % TG_TICK_BINS] / (2 * SMOOTH + 1);
		w->mean += w->of[b] / TG_TICK_BINS;
		squares += w->of[b] * w->of[b] / TG_TICK_BINS;
	}
	w->deviation = sqrt(fmax(squares - w->mean * w->mean, 0));
}

/* The best phase for that period. */
static struct fit fit_phase(const struct waits *w, uint64_t started, uint64_t period,
			    const uint64_t *arrivals, size_t count)
{
	unsigned histogram[TG_TICK_BINS] = { 0 };
	struct fit best = { 0, INFINITY };

	for (size_t i = 0; i < count; i++)
		histogram[(arrivals[i] - started) % period * TG_TICK_BINS / period]++;
	for (unsigned p = 0; p < TG_TICK_BINS; p++) {
		double sum = 0;

		for (unsigned b = 0; b < TG_TICK_BINS; b++)
			sum += histogram[b] * w->of[(b + TG_TICK_BINS - p) % TG_TICK_BINS];
		if (sum < best.wait)
			best = (struct fit){ p, sum };
	}
	best.wait /= (double)count;
	return best;
}

struct tg_tick tg_tick_learn(const struct tg_lean *pattern, uint64_t started, const uint64_t *arrivals,
			     size_t count)
{
	struct tg_tick tick = { .origin_ns = started, .period_ns = pattern->tick_ns };
	struct fit nominal, best;
	struct waits w;
	double error;

	if (!count)
		return tick;
	if (count > TG_TICK_MOST)
		count = TG_TICK_MOST;
	compute_waits(pattern, &w);
	error = w.deviation / sqrt((double)count);
	nominal = best = fit_phase(&w, started, pattern->tick_ns, arrivals, count);
	for (int step = -TG_TICK_STEPS; step <= TG_TICK_STEPS && count >= TG_TICK_LEAST; step++) {
		int64_t away = (int64_t)pattern->tick_ns / TG_TICK_STEP * step;
		uint64_t period = pattern->tick_ns + (uint64_t)away;
		struct fit fit = fit_phase(&w, started, period, arrivals, count);

		if (fit.wait < best.wait && fit.wait < nominal.wait - SURE_PERIOD * error) {
			best = fit;
			tick.period_ns = period;
		}
	}
	tick.found = count >= TG_TICK_LEAST && best.wait < w.mean - SURE_PHASE * error;
	if (!tick.found) {
		/* a guess is better than none: a wrong one costs no more than what it would be without */
		tick.period_ns = pattern->tick_ns;
		best = nominal;
	}
	tick.origin_ns = started + best.bin * tick.period_ns / TG_TICK_BINS;
	return tick;
}
