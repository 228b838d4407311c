/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Command line of the programs: a table of subcommands with full names only,
 * options that are the same everywhere, one line per error on stderr (or one
 * JSON object {"error": ...} on stdout with --json).
 */
#ifndef AGENT_COMMON_CLI_H
#define AGENT_COMMON_CLI_H

#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "tensorguard/error.h"

/* Paths and switches that every program shares; see cli_parse(). */
struct cli {
	const char *program;
	const char *command;	/* subcommand that runs */
	const char *pin_dir;	/* --pin-dir, default /sys/fs/bpf/tensorguard */
	const char *run_dir;	/* --run-dir, default /run/tensorguard */
	const char *policy;	/* --policy FILE, NULL = not given */
	const char *site;	/* --site FILE, NULL = not given */
	const char *interval;	/* --interval SECONDS, NULL = not given */
	const char *count;	/* --count N, NULL = not given */
	bool json;		/* --json */
	bool repair;		/* --repair */
	char **args;		/* what is left after the options */
	int arg_count;
};

/* What a command returns that ran and found something wrong: its JSON says so already, the text gets a last
 * line. */
#define CLI_REPORTED (-EUCLEAN)

/* What a command returns that was called wrongly, message in e: exit status 2. No system call returns it. */
#define CLI_USAGE (-EBADRQC)

struct cli_command {
	const char *name;	/* "up", or "policy check" */
	int (*run)(struct cli *cli, struct tg_error *e); /* 0, or a negative errno with a message in e */
	const char *synopsis;	/* arguments and options that it takes, for --help */
	const char *help;	/* one line */
};

/*
 * Finds the command in `commands` (ended by name NULL), parses the options and
 * runs it. Prints the error, if any. Returns the program's exit status: 0; 1
 * when the command failed; 2 when the call was wrong.
 */
int cli_main(const char *program, const char *about, const struct cli_command *commands, int argc,
	     char **argv);

/* Prints `object` as JSON and a newline on stdout; steals the reference. -EIO when stdout is full or closed.
 */
int cli_print_json(json_t *object, struct tg_error *e);

/* A decimal number without sign, blanks or trailing text, within [min, max]; else CLI_USAGE and a message. */
int cli_parse_number(const char *text, const char *what, unsigned long min, unsigned long max,
		     unsigned long *ret_value, struct tg_error *e);

#endif
