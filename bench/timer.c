/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How well this machine keeps time at all: a real-time process that sleeps to
 * each point of a grid, as the reference of the grid benchmark.
 *
 *	timer PERIOD-US SECONDS
 *
 * Prints the median and the 99th percentile of the distance from the grid, whose
 * phase is fitted by the median, in microseconds.
 */
#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { EXIT_USAGE = 2, NS_PER_S = 1000000000 };

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * (int64_t)NS_PER_S + ts.tv_nsec;
}

static int sleep_until(int64_t ns)
{
	struct timespec ts = { .tv_sec = ns / NS_PER_S, .tv_nsec = ns % NS_PER_S };
	int ret;

	while ((ret = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL)) == EINTR)
		;
	return -ret;
}

static void print_errors(int64_t *late, size_t count)
{
	int64_t middle;

	qsort(late, count, sizeof(*late), compare);
	middle = late[count / 2];
	for (size_t i = 0; i < count; i++)
		late[i] = llabs(late[i] - middle);
	qsort(late, count, sizeof(*late), compare);
	printf("%.1f %.1f\n", (double)late[count / 2] / 1000, (double)late[count * 99 / 100] / 1000);
}

static int64_t number(const char *text, long limit)
{
	char *end;
	long value = strtol(text, &end, 10);

	return *text && !*end && value > 0 && value <= limit ? value : 0;
}

int main(int argc, char **argv)
{
	const struct sched_param priority = { .sched_priority = 50 };
	int64_t period, seconds, start, *late;
	size_t count;

	period = argc == 3 ? number(argv[1], 1000000) * 1000 : 0;
	seconds = argc == 3 ? number(argv[2], 3600) : 0;
	if (!period || !seconds) {
		fprintf(stderr, "usage: timer PERIOD-US SECONDS\n");
		return EXIT_USAGE;
	}
	count = (size_t)(seconds * NS_PER_S / period);
	late = calloc(count, sizeof(*late));
	if (!late || sched_setscheduler(0, SCHED_FIFO, &priority)) {
		fprintf(stderr, "timer: %s\n", strerror(errno));
		free(late);
		return EXIT_FAILURE;
	}
	start = now_ns() + period;
	for (size_t i = 0; i < count; i++) {
		int64_t due = start + (int64_t)i * period;

		if (sleep_until(due)) {
			fprintf(stderr, "timer: cannot sleep\n");
			free(late);
			return EXIT_FAILURE;
		}
		late[i] = now_ns() - due;
	}
	print_errors(late, count);
	free(late);
	return EXIT_SUCCESS;
}
