/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The wall clock of one process, moved while it runs: preloaded (LD_PRELOAD), it adds the seconds that the
 * file TG_TEST_CLOCK holds (eight bytes, the machine's order) to whatever the time is. The file is mapped
 * when the program starts, before it gives up the right to open files. Monotonic clocks are left alone, as
 * the kernel leaves them when somebody sets the time.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *shift;

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("TG_TEST_CLOCK");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void *place = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(*shift), PROT_READ, MAP_SHARED, fd, 0);

	if (fd >= 0)
		close(fd);
	if (place == MAP_FAILED)
		abort();
	shift = place;
}

static bool moves(clockid_t clock)
{
	return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE;
}

int clock_gettime(clockid_t clock, struct timespec *t)
{
	int ret = (int)syscall(SYS_clock_gettime, clock, t);

	if (!ret && shift && moves(clock))
		t->tv_sec += *shift;
	return ret;
}

time_t time(time_t *ret_time)
{
	struct timespec t = { 0 };

	clock_gettime(CLOCK_REALTIME, &t);
	if (ret_time)
		*ret_time = t.tv_sec;
	return t.tv_sec;
}

int gettimeofday(struct timeval *restrict ret_time, void *restrict zone)
{
	struct timespec t = { 0 };

	(void)zone;
	clock_gettime(CLOCK_REALTIME, &t);
	*ret_time = (struct timeval){ t.tv_sec, t.tv_nsec / 1000 };
	return 0;
}
