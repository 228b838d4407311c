/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>

#include "common/quantile.h"
#include "common/wire_stats.h"

/*
 * A late timer moves all later slots of a rate-limited queue, so the grid that
 * packets are assigned to follows them slowly, by 1/FOLLOW of what each is off.
 * The error that is reported is that from the ideal grid, which does not.
 */
enum { FOLLOW = 32, FIRST = 32 };

/*
 * Packets that a stalled machine held back come late and close together, and
 * then the grid goes on as if nothing had happened. A slot counts as missed only
 * if the packets do not catch up within this time, or this many packets.
 */
enum { CATCH_UP_NS = 500000000, CATCH_UP_PACKETS = 64 };

static int64_t divide_rounded(int64_t value, int64_t by)
{
	return (value >= 0 ? value + by / 2 : value - by / 2) / by;
}

/* `value` modulo the period, in [-period/2, period/2]. */
static int64_t wrap(int64_t value, int64_t period_ns)
{
	return value - divide_rounded(value, period_ns) * period_ns;
}

/* Where the grid of a run lies relative to its first packet: that packet itself may be off. */
static int64_t first_phase(const struct wire_slot *run, size_t count, int64_t period_ns)
{
	int64_t off[FIRST];
	size_t n = count < FIRST ? count : FIRST;

	for (size_t i = 0; i < n; i++)
		off[i] = wrap(run[i].time_ns - run[0].time_ns, period_ns);
	quantile_sort(off, n);
	return run[0].time_ns + quantile(off, n, 50);
}

/* How far packet `at` and those after it, up to `end`, are behind the grid at `phase` with `at` in slot
 * `slot`, at the best. */
static int64_t lasting_lateness(const struct wire_slot *run, size_t end, size_t at, int64_t slot,
				int64_t phase, int64_t period_ns)
{
	int64_t least = INT64_MAX;

	for (size_t i = at; i < end; i++) {
		int64_t late = run[i].time_ns - phase - (slot + (int64_t)(i - at)) * period_ns;

		if (late < least)
			least = late;
	}
	return least;
}

/* Where packet `at`, if it is late, must have been caught up with. */
static size_t catch_up_end(size_t count, size_t at, int64_t period_ns)
{
	size_t window = CATCH_UP_NS / (size_t)period_ns + CATCH_UP_PACKETS;

	return count - at > window ? at + window : count;
}

/* How many packets at the beginning come together. */
static size_t first_burst(const struct wire_slot *run, size_t count, int64_t period_ns)
{
	size_t n = 1;

	while (n < count && run[n].time_ns - run[n - 1].time_ns < period_ns * 3 / 4)
		n++;
	return n;
}

/*
 * The slot of a run's first packet, relative to that nearest to it. It may itself be
 * late, by periods: a recording begins while a stalled machine catches up. Those that
 * come together with it, up to the first on its own time, tell whose slot is whose.
 * What such a run shows is therefore no proof of how it began.
 */
static int64_t first_slot(const struct wire_slot *run, size_t count, int64_t phase, int64_t period_ns)
{
	size_t burst = first_burst(run, count, period_ns);

	return divide_rounded(lasting_lateness(run, burst, 0, 0, phase, period_ns), period_ns);
}

static void assign_slots(struct wire_grid *grid, struct wire_slot *run, size_t count, int64_t period_ns)
{
	int64_t phase = first_phase(run, count, period_ns), last = 0;
	int64_t next = first_slot(run, count, phase, period_ns);

	for (size_t i = 0; i < count; i++) {
		int64_t off = run[i].time_ns - phase - next * period_ns;
		int64_t shift = divide_rounded(off, period_ns);

		/* nothing sends early: then there was one packet too many */
		if (shift > 0)
			shift = divide_rounded(lasting_lateness(run, catch_up_end(count, i, period_ns), i,
								next, phase, period_ns),
					       period_ns);
		run[i].slot = next + shift;
		off -= shift * period_ns;
		run[i].phase_ns = off;
		if (llabs(off) <= period_ns / 2)
			phase += off / FOLLOW;
		else
			grid->late++;
		if (i && run[i].slot <= last) {
			grid->doubled++;
		} else if (i && run[i].slot - last > 1) {
			grid->breaks++;
			grid->missed += (uint64_t)(run[i].slot - last - 1);
		}
		if (!i || run[i].slot > last)
			last = run[i].slot;
		next = run[i].slot + 1;
	}
	for (size_t i = count; i-- > 0;)
		run[i].slot -= run[0].slot;
}

static int fit_errors(struct wire_slot *run, size_t count, int64_t period_ns, struct tg_error *e)
{
	int64_t *phases = calloc(count, sizeof(*phases)), phase;

	if (!phases)
		return tg_error(e, -ENOMEM, "out of memory");
	for (size_t i = 0; i < count; i++)
		phases[i] = run[i].time_ns - run[i].slot * period_ns;
	quantile_sort(phases, count);
	phase = quantile(phases, count, 50);
	for (size_t i = 0; i < count; i++)
		run[i].error_ns = run[i].time_ns - run[i].slot * period_ns - phase;
	free(phases);
	return 0;
}

static int fit_run(struct wire_grid *grid, size_t first, size_t count, int64_t period_ns, size_t *longest,
		   struct tg_error *e)
{
	struct wire_slot *run = &grid->slots[first];

	for (size_t i = 0; i < count; i++)
		run[i].run = grid->runs;
	grid->runs++;
	assign_slots(grid, run, count, period_ns);
	if (count > *longest && run[count - 1].slot > run[0].slot) {
		*longest = count;
		grid->period_ns = (double)(run[count - 1].time_ns - run[0].time_ns) /
				  (double)(run[count - 1].slot - run[0].slot);
	}
	return fit_errors(run, count, period_ns, e);
}

static size_t collect(const struct wire_log *log, int direction, struct wire_slot *slots)
{
	size_t count = 0;

	for (size_t i = 0; i < log->count; i++) {
		const struct wire_record *r = &log->records[i];

		if (r->kind == WIRE_DATA && r->direction == direction)
			slots[count++] = (struct wire_slot){ .time_ns = r->time_ns, .bytes = r->bytes };
	}
	return count;
}

int wire_grid_fit(const struct wire_log *log, int direction, int64_t period_ns, struct wire_grid *ret_grid,
		  struct tg_error *e)
{
	int64_t silence_ns = 3 * period_ns > WIRE_SILENCE_NS ? 3 * period_ns : WIRE_SILENCE_NS;
	struct wire_grid grid = { .slots = calloc(log->count + 1, sizeof(*grid.slots)) };
	size_t first = 0, longest = 0;
	int ret = 0;

	if (!grid.slots)
		return tg_error(e, -ENOMEM, "out of memory");
	grid.count = collect(log, direction, grid.slots);
	for (size_t i = 1; i <= grid.count && !ret; i++) {
		if (i < grid.count && grid.slots[i].time_ns - grid.slots[i - 1].time_ns <= silence_ns)
			continue;
		ret = fit_run(&grid, first, i - first, period_ns, &longest, e);
		first = i;
	}
	if (ret)
		wire_grid_free(&grid);
	else
		*ret_grid = grid;
	return ret;
}

void wire_grid_free(struct wire_grid *grid)
{
	free(grid->slots);
	*grid = (struct wire_grid){ 0 };
}
