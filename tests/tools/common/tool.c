/* SPDX-License-Identifier: BSD-3-Clause */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
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

static int parse_address(struct tool_ends *ends, const char *text, struct tg_error *e)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)&ends->address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&ends->address;

	memset(&ends->address, 0, sizeof(ends->address));
	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		ends->address_len = sizeof(*v4);
	} else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		ends->address_len = sizeof(*v6);
	} else {
		return tg_error(e, -EINVAL, "--address: '%.60s' is no IPv4 or IPv6 address", text);
	}
	return 0;
}

int tool_ends_option(struct tool_ends *ends, int option, const char *value, struct tg_error *e)
{
	uint64_t port;
	int ret;

	switch (option) {
	case TOOL_ADDRESS:
		return parse_address(ends, value, e);
	case TOOL_PORT:
		ret = tool_parse_whole(value, "--port", 1, 65535, &port, e);
		if (!ret)
			ends->port = (uint16_t)port;
		return ret;
	case TOOL_CLIENT_NETNS:
		ends->client_netns = value;
		return 0;
	case TOOL_SERVER_NETNS:
		ends->server_netns = value;
		return 0;
	default:
		return tg_error(e, -EINVAL, "unknown option or missing value; see --help");
	}
}

bool tool_ends_complete(struct tool_ends *ends)
{
	/* both families have the port at the same place */
	((struct sockaddr_in *)&ends->address)->sin_port = htons(ends->port);
	return ends->address_len && ends->port;
}

int tool_begin(const char *program, int parsed, void (*usage)(FILE *f), const struct tg_error *e)
{
	if (parsed == 1) {
		usage(stdout);
		return EXIT_SUCCESS;
	}
	return parsed ? tool_fail(program, TOOL_USAGE, e) : -1;
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
