/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the measuring tools share: exit codes, numbers on the command line,
 * clocks, network namespaces. Errors as in tensorguard/error.h.
 */
#ifndef TESTS_TOOLS_TOOL_H
#define TESTS_TOOLS_TOOL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>

#include <jansson.h>

#include "tensorguard/error.h"

enum { TOOL_FAILED = 1, TOOL_USAGE = 2 };

#define TOOL_NS_PER_S 1000000000LL

/* Prints "PROGRAM: message" on stderr; returns `status`, for `return tool_fail(...)` in main. */
int tool_fail(const char *program, int status, const struct tg_error *e);

/* Prints `object` and a newline on stdout; steals the reference. */
int tool_print_json(json_t *object, struct tg_error *e);

/* A decimal number, fraction allowed, no sign, no trailing text, within [min, max]. */
int tool_parse_real(const char *text, const char *what, double min, double max, double *ret_value,
		    struct tg_error *e);
/* The same for whole numbers. */
int tool_parse_whole(const char *text, const char *what, uint64_t min, uint64_t max, uint64_t *ret_value,
		     struct tg_error *e);

/* The two ends of a conversation, both of which the tool plays. */
struct tool_ends {
	struct sockaddr_storage address; /* where the server is */
	socklen_t address_len;		 /* 0 = not given */
	uint16_t port;			 /* 0 = not given */
	const char *client_netns, *server_netns; /* NULL = where the tool was started */
};

enum { TOOL_ADDRESS = 256, TOOL_PORT, TOOL_CLIENT_NETNS, TOOL_SERVER_NETNS };

/* Their options, for a table of getopt_long(). */
#define TOOL_ENDS_OPTIONS                                                       \
	{ "address", required_argument, NULL, TOOL_ADDRESS },                   \
		{ "port", required_argument, NULL, TOOL_PORT },                 \
		{ "client-netns", required_argument, NULL, TOOL_CLIENT_NETNS }, \
	{                                                                       \
		"server-netns", required_argument, NULL, TOOL_SERVER_NETNS      \
	}

/* Takes one of these options; -EINVAL for a value that is wrong, and for any other option. */
int tool_ends_option(struct tool_ends *ends, int option, const char *value, struct tg_error *e);
/* After the last option: whether address and port are there; puts them together. */
bool tool_ends_complete(struct tool_ends *ends);

/* Ends the options: the usage for `parsed` 1, the error for a negative one. -1 = go on, else the exit status.
 */
int tool_begin(const char *program, int parsed, void (*usage)(FILE *f), const struct tg_error *e);

int64_t tool_now_ns(clockid_t clock);
struct timespec tool_timespec(int64_t ns);

/* Moves the calling thread into the network namespace at `path`; NULL stays where it is. */
int tool_enter_netns(const char *path, struct tg_error *e);

/* A generator that gives the same sequence for the same seed everywhere (splitmix64). */
uint64_t tool_random(uint64_t *state);

#endif
