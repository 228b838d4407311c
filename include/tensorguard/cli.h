/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Command line of the programs: a table of subcommands and a table of options, full names only, one line per
 * error on stderr (or one JSON object {"error": ...} on stdout with --json). --help, --version and --json are
 * everybody's; so is the exit status: 0; 1 when the command failed; 2 when the call was wrong.
 *
 *	struct my_options { const char *store; bool force; };
 *	static const struct tg_cli_option options[] = {
 *		{ "store", "DIR", "where the data is", offsetof(struct my_options, store) },
 *		{ "force", NULL, NULL, offsetof(struct my_options, force) },
 *		{ 0 },
 *	};
 */
#ifndef TENSORGUARD_CLI_H
#define TENSORGUARD_CLI_H

#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "tensorguard/error.h"

struct tg_cli {
	const char *program;
	const char *command; /* the subcommand that runs, NULL in a program without subcommands */
	const void *options; /* what tg_cli_main() was given, filled in */
	bool json;	     /* --json */
	char **args;	     /* what is left after the options */
	int arg_count;
};

struct tg_cli_option {
	const char *name;  /* without the dashes */
	const char *value; /* what --help calls its value; NULL: a switch */
	/* One line for --help, for an option that every command takes. NULL: only those commands take it
	 * whose synopsis names it; an option that would be ignored is an error. */
	const char *help;
	size_t offset; /* in the options: of a `const char *`, or of a switch's `bool` */
};

/* What a command returns that ran and found something wrong: its JSON says so already, the text gets a last
 * line. */
#define TG_CLI_REPORTED (-EUCLEAN)

/* What a command returns that was called wrongly, message in e: exit status 2. No system call returns it. */
#define TG_CLI_USAGE (-EBADRQC)

/* 0, or a negative errno with a message in e. */
typedef int tg_cli_run(struct tg_cli *cli, struct tg_error *e);

struct tg_cli_command {
	const char *name; /* "up", or "policy check" */
	tg_cli_run *run;
	const char *synopsis; /* arguments and options that it takes, for --help */
	const char *help;     /* one line */
};

struct tg_cli_program {
	const char *name;
	const char *about;		       /* one line, for --help */
	const struct tg_cli_command *commands; /* ended by name NULL; NULL: `run` does it all */
	const struct tg_cli_option *options;   /* ended by name NULL */
	tg_cli_run *run;
	const char *notes; /* further lines for --help, or NULL */
};

/* Finds the command, fills `options` from the table, runs it, prints its error. Returns the exit status. */
int tg_cli_main(const struct tg_cli_program *program, void *options, int argc, char **argv);

/* Prints `object` as JSON and a newline on stdout; steals the reference. -EIO when stdout is full or closed.
 */
int tg_cli_print_json(json_t *object, struct tg_error *e);

/* A decimal number without sign, blanks or trailing text, within [min, max]; else TG_CLI_USAGE and a message.
 */
int tg_cli_parse_number(const char *text, const char *what, unsigned long min, unsigned long max,
			unsigned long *ret_value, struct tg_error *e);

#endif
