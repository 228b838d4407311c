/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cli.h"

enum { EXIT_USAGE = 2 };

enum { OPT_PIN_DIR = 256, OPT_RUN_DIR, OPT_POLICY, OPT_SITE, OPT_INTERVAL, OPT_COUNT, OPT_REPAIR };

static const struct option options[] = {
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ "json", no_argument, NULL, 'j' },
	{ "pin-dir", required_argument, NULL, OPT_PIN_DIR },
	{ "run-dir", required_argument, NULL, OPT_RUN_DIR },
	{ "policy", required_argument, NULL, OPT_POLICY },
	{ "site", required_argument, NULL, OPT_SITE },
	{ "interval", required_argument, NULL, OPT_INTERVAL },
	{ "count", required_argument, NULL, OPT_COUNT },
	{ "repair", no_argument, NULL, OPT_REPAIR },
	{ NULL, 0, NULL, 0 },
};

static void usage(FILE *f, const char *program, const char *about, const struct cli_command *commands)
{
	fprintf(f, "Usage: %s COMMAND [OPTIONS]\n%s\n\nCommands:\n", program, about);
	for (; commands->name; commands++)
		fprintf(f, "  %-14s %-32s %s\n", commands->name, commands->synopsis, commands->help);
	fprintf(f,
		"\nOptions of every command:\n"
		"  --json          print one JSON object on stdout, errors included\n"
		"  --pin-dir DIR   BPF pins (default /sys/fs/bpf/tensorguard)\n"
		"  --run-dir DIR   state of the running instance (default /run/tensorguard)\n"
		"  --help          this text; %s COMMAND --help for one command\n"
		"  --version       print the version\n"
		"\nExit status: 0 success, 1 the command failed, 2 the call was wrong.\n",
		program);
}

/* Words that `name` has in common with argv from `at` on: its length in words if all are there, else 0. */
static int match_words(const char *name, char **argv, int at, int argc)
{
	const char *p = name;
	int words = 0;

	while (*p) {
		size_t len = strcspn(p, " ");

		if (at + words >= argc || strlen(argv[at + words]) != len || memcmp(argv[at + words], p, len))
			return 0;
		words++;
		p += len;
		while (*p == ' ')
			p++;
	}
	return words;
}

static const struct cli_command *find_command(const struct cli_command *commands, int argc, char **argv,
					      int *ret_words)
{
	for (; commands->name; commands++) {
		int words = match_words(commands->name, argv, 1, argc);

		if (words) {
			*ret_words = words;
			return commands;
		}
	}
	return NULL;
}

static void print_error(const char *program, bool json, int err, const struct tg_error *e)
{
	const char *text = e->message[0] ? e->message : strerror(-err);

	if (!json) {
		fprintf(stderr, "%s: %s\n", program, text);
		return;
	}
	json_t *o = json_pack("{s:s, s:i}", "error", text, "errno", -err);

	if (!o)
		o = json_pack("{s:s, s:i}", "error", "an error message that is not UTF-8", "errno", -err);
	cli_print_json(o, NULL);
}

int cli_print_json(json_t *object, struct tg_error *e)
{
	int ret = 0;

	if (!object)
		return tg_error(e, -ENOMEM, "out of memory");
	if (json_dumpf(object, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER) || putchar('\n') == EOF ||
	    fflush(stdout))
		ret = tg_error(e, -EIO, "cannot write to standard output");
	json_decref(object);
	return ret;
}

int cli_parse_number(const char *text, const char *what, unsigned long min, unsigned long max,
		     unsigned long *ret_value, struct tg_error *e)
{
	unsigned long value;
	char *end;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end || errno || value < min || value > max)
		return tg_error(e, CLI_USAGE, "%s: '%.40s', expected a whole number from %lu to %lu", what,
				text, min, max);
	*ret_value = value;
	return 0;
}

/* getopt_long() takes any beginning of a name that is unambiguous; here names are written in full. */
static int check_full_names(int argc, char **argv, struct tg_error *e)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--"); i++) {
		const struct option *o = options;
		size_t len;

		if (strncmp(argv[i], "--", 2))
			continue;
		len = strcspn(argv[i] + 2, "=");
		while (o->name && (strlen(o->name) != len || memcmp(o->name, argv[i] + 2, len)))
			o++;
		if (!o->name)
			return tg_error(e, -EINVAL, "unknown option '%.60s'; see --help", argv[i]);
	}
	return 0;
}

/* Returns 0, 1 for --help, or -EINVAL with a message. */
static int parse_options(struct cli *cli, int argc, char **argv, struct tg_error *e)
{
	int c;

	if (check_full_names(argc, argv, e))
		return -EINVAL;
	optind = 1;
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":hV", options, NULL)) != -1) {
		switch (c) {
		case 'h':
			return 1;
		case 'V':
			return 2;
		case 'j':
			cli->json = true;
			break;
		case OPT_PIN_DIR:
			cli->pin_dir = optarg;
			break;
		case OPT_RUN_DIR:
			cli->run_dir = optarg;
			break;
		case OPT_POLICY:
			cli->policy = optarg;
			break;
		case OPT_SITE:
			cli->site = optarg;
			break;
		case OPT_INTERVAL:
			cli->interval = optarg;
			break;
		case OPT_COUNT:
			cli->count = optarg;
			break;
		case OPT_REPAIR:
			cli->repair = true;
			break;
		case ':':
			return tg_error(e, -EINVAL, "option '%s' needs a value; see --help",
					argv[optind - 1]);
		default:
			return tg_error(e, -EINVAL, "unknown option '%s'; see --help", argv[optind - 1]);
		}
	}
	cli->args = argv + optind;
	cli->arg_count = argc - optind;
	return 0;
}

/* Every option that is given must stand in the synopsis: an ignored option is an error. */
static int check_options(const struct cli *cli, const struct cli_command *command, struct tg_error *e)
{
	const struct {
		const char *name;
		bool given;
	} used[] = {
		{ "--policy", cli->policy }, { "--site", cli->site },     { "--interval", cli->interval },
		{ "--count", cli->count },   { "--repair", cli->repair },
	};

	for (size_t i = 0; i < sizeof(used) / sizeof(used[0]); i++)
		if (used[i].given && !strstr(command->synopsis, used[i].name))
			return tg_error(e, -EINVAL, "'%s' takes no %s; see --help", command->name,
					used[i].name);
	return 0;
}

static bool wants_json(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--json"))
			return true;
	return false;
}

int cli_main(const char *program, const char *about, const struct cli_command *commands, int argc,
	     char **argv)
{
	struct cli cli = { .program = program,
			   .pin_dir = "/sys/fs/bpf/tensorguard",
			   .run_dir = "/run/tensorguard" };
	const struct cli_command *command;
	struct tg_error e = { "" };
	int words = 0, ret;

	command = find_command(commands, argc, argv, &words);
	if (command) {
		cli.command = command->name;
		ret = parse_options(&cli, argc - words, argv + words, &e);
	} else {
		ret = parse_options(&cli, argc, argv, &e);
	}
	if (ret == 1 && command) {
		printf("Usage: %s %s %s\n%s\n", program, command->name, command->synopsis, command->help);
		return fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
	}
	if (ret == 1) {
		usage(stdout, program, about, commands);
		return fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
	}
	if (ret == 2) {
		printf("%s %s\n", program, TG_VERSION);
		return fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
	}
	if (!ret && !command)
		ret = argc > 1 ? tg_error(&e, -EINVAL, "unknown command '%.60s'; see %s --help", argv[1],
					  program)
			       : tg_error(&e, -EINVAL, "no command given; see %s --help", program);
	if (!ret)
		ret = check_options(&cli, command, &e);
	if (ret) {
		print_error(program, wants_json(argc, argv), ret, &e);
		return EXIT_USAGE;
	}
	ret = command->run(&cli, &e);
	if (ret == CLI_USAGE) {
		print_error(program, cli.json, -EINVAL, &e);
		return EXIT_USAGE;
	}
	if (ret && !(ret == CLI_REPORTED && cli.json))
		print_error(program, cli.json, ret, &e);
	return ret ? EXIT_FAILURE : EXIT_SUCCESS;
}
