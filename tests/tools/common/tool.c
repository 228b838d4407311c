/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/tool.h"

int tool_fail(const char *program, int status, const struct tg_error *e)
{
	fprintf(stderr, "%s: %s\n", program, e->message[0] ? e->message : "failed");
	return status;
}

int tool_print_json(json_t *object, struct tg_error *e)
{
	int ret = 0;

	if (!object)
		return tg_error(e, -ENOMEM, "out of memory");
	if (json_dumpf(object, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9)) ||
	    putchar('\n') == EOF || fflush(stdout))
		ret = tg_error(e, -EIO, "cannot write to standard output");
	json_decref(object);
	return ret;
}

int tool_parse_real(const char *text, const char *what, double min, double max, double *ret_value,
		    struct tg_error *e)
{
	double value;
	char *end;

	errno = 0;
	value = strtod(text, &end);
	/* strtod also takes signs, blanks, hexadecimals, "nan" and "inf": only digits and a point are meant
	 * here */
	if (text[strspn(text, "0123456789.")] || end == text || *end || errno ||
	    !(value >= min && value <= max))
		return tg_error(e, -EINVAL, "%s: '%.40s', expected a number from %g to %g", what, text, min,
				max);
	*ret_value = value;
	return 0;
}

int tool_parse_whole(const char *text, const char *what, uint64_t min, uint64_t max, uint64_t *ret_value,
		     struct tg_error *e)
{
	unsigned long long value;
	char *end;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end || errno || value < min || value > max)
		return tg_error(e, -EINVAL, "%s: '%.40s', expected a whole number from %llu to %llu", what,
				text, (unsigned long long)min, (unsigned long long)max);
	*ret_value = value;
	return 0;
}

int64_t tool_now_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec * TOOL_NS_PER_S + now.tv_nsec;
}

struct timespec tool_timespec(int64_t ns)
{
	return (struct timespec){ .tv_sec = ns / TOOL_NS_PER_S, .tv_nsec = ns % TOOL_NS_PER_S };
}

int tool_enter_netns(const char *path, struct tg_error *e)
{
	int fd, ret = 0;

	if (!path)
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return tg_error(e, -errno, "cannot open network namespace %s: %s", path, strerror(errno));
	if (setns(fd, CLONE_NEWNET))
		ret = tg_error(e, -errno, "cannot enter network namespace %s: %s", path, strerror(errno));
	close(fd);
	return ret;
}

uint64_t tool_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}
