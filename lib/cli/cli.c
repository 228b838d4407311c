/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorguard/cli.h"

enum { EXIT_USAGE = 2 };
enum { MAX_OPTIONS = 64, OPT_FIRST = 256 };
enum { ASKED_HELP = 1, ASKED_VERSION = 2 };

static const struct option common_options[] = {
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ "json", no_argument, NULL, 'j' },
};
enum { COMMON_OPTIONS = sizeof(common_options) / sizeof(common_options[0]) };

static void usage_option(const struct tg_cli_option *o)
{
	char name[64];

	snprintf(name, sizeof(name), "--%s%s%s", o->name, o->value ? " " : "", o->value ? o->value : "");
	printf("  %-15s %s\n", name, o->help);
}

static void usage(const struct tg_cli_program *p)
{
	const struct tg_cli_command *c;
	const struct tg_cli_option *o;

	printf("Usage: %s %s[OPTIONS]\n%s\n", p->name, p->commands ? "COMMAND " : "", p->about);
	if (p->commands)
		printf("\nCommands:\n");
	for (c = p->commands; c && c->name; c++)
		printf("  %-17s %-32s %s\n", c->name, c->synopsis, c->help);
	printf(p->commands ? "\nOptions of every command:\n" : "\nOptions:\n");
	printf("  --json          %s\n", p->commands ? "print one JSON object on stdout, errors included"
						     : "print an error as a JSON object on stdout");
	for (o = p->options; o->name; o++)
		if (o->help)
			usage_option(o);
	if (p->commands)
		printf("  --help          this text; %s COMMAND --help for one command\n", p->name);
	else
		printf("  --help          this text\n");
	printf("  --version       print the version\n\n%s", p->notes ? p->notes : "");
	if (p->commands)
		printf("Exit status: 0 success, 1 the command failed, 2 the call was wrong.\n");
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

static const struct tg_cli_command *find_command(const struct tg_cli_command *commands, int argc, char **argv,
						 int *ret_words)
{
	for (; commands && commands->name; commands++) {
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
	tg_cli_print_json(o, NULL);
}

int tg_cli_print_json(json_t *object, struct tg_error *e)
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

int tg_cli_parse_number(const char *text, const char *what, unsigned long min, unsigned long max,
			unsigned long *ret_value, struct tg_error *e)
{
	unsigned long value;
	char *end;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end || errno || value < min || value > max)
		return tg_error(e, TG_CLI_USAGE, "%s: '%.40s', expected a whole number from %lu to %lu", what,
				text, min, max);
	*ret_value = value;
	return 0;
}

/* getopt_long() takes any beginning of a name that is unambiguous; here names are written in full. */
static int check_full_names(const struct option *all, int argc, char **argv, struct tg_error *e)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--"); i++) {
		const struct option *o = all;
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

/* Whether the synopsis names the option as a word. */
static bool takes_option(const struct tg_cli_command *command, const struct tg_cli_option *o)
{
	char name[64];
	const char *at = command->synopsis;
	size_t len = (size_t)snprintf(name, sizeof(name), "--%s", o->name);

	while ((at = strstr(at, name))) {
		at += len;
		if (!*at || strchr(" ]|", *at))
			return true;
	}
	return false;
}

/* An ignored option is an error. */
static int set_option(const struct tg_cli_option *o, const struct tg_cli_command *command, void *options,
		      struct tg_error *e)
{
	char *place = (char *)options + o->offset;

	if (command && !o->help && !takes_option(command, o))
		return tg_error(e, -EINVAL, "'%s' takes no --%s; see --help", command->name, o->name);
	if (o->value)
		*(const char **)(void *)place = optarg;
	else
		*(bool *)(void *)place = true;
	return 0;
}

static void option_table(const struct tg_cli_program *p, struct option *all)
{
	const struct tg_cli_option *o;
	int n = COMMON_OPTIONS;

	memcpy(all, common_options, sizeof(common_options));
	for (o = p->options; o->name && n < MAX_OPTIONS - 1; o++, n++)
		all[n] = (struct option){ .name = o->name,
					  .has_arg = o->value ? required_argument : no_argument,
					  .val = OPT_FIRST + (int)(o - p->options) };
	all[n] = (struct option){ 0 };
}

/* Returns 0, ASKED_HELP, ASKED_VERSION, or -EINVAL with a message. */
static int parse_options(struct tg_cli *cli, const struct tg_cli_program *p,
			 const struct tg_cli_command *command, void *options, int argc, char **argv,
			 struct tg_error *e)
{
	struct option all[MAX_OPTIONS];
	int c;

	option_table(p, all);
	if (check_full_names(all, argc, argv, e))
		return -EINVAL;
	optind = 1;
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":hV", all, NULL)) != -1) {
		if (c == 'h')
			return ASKED_HELP;
		if (c == 'V')
			return ASKED_VERSION;
		if (c == ':')
			return tg_error(e, -EINVAL, "option '%s' needs a value; see --help",
					argv[optind - 1]);
		if (c == '?')
			return tg_error(e, -EINVAL, "unknown option '%s'; see --help", argv[optind - 1]);
		if (c == 'j')
			cli->json = true;
		else if (set_option(&p->options[c - OPT_FIRST], command, options, e))
			return -EINVAL;
	}
	cli->args = argv + optind;
	cli->arg_count = argc - optind;
	return 0;
}

static bool wants_json(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--json"))
			return true;
	return false;
}

static int answer(int asked, const struct tg_cli_program *p, const struct tg_cli_command *command)
{
	if (asked == ASKED_VERSION)
		printf("%s %s\n", p->name, TG_VERSION);
	else if (command)
		printf("Usage: %s %s %s\n%s\n", p->name, command->name, command->synopsis, command->help);
	else
		usage(p);
	return fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int no_command(const struct tg_cli_program *p, int argc, char **argv, struct tg_error *e)
{
	if (argc > 1)
		return tg_error(e, -EINVAL, "unknown command '%.60s'; see %s --help", argv[1], p->name);
	return tg_error(e, -EINVAL, "no command given; see %s --help", p->name);
}

static int run(const struct tg_cli_program *p, const struct tg_cli_command *command, struct tg_cli *cli)
{
	struct tg_error e = { "" };
	int ret;

	ret = command ? command->run(cli, &e) : p->run(cli, &e);
	if (ret == TG_CLI_USAGE) {
		print_error(p->name, cli->json, -EINVAL, &e);
		return EXIT_USAGE;
	}
	if (ret && !(ret == TG_CLI_REPORTED && cli->json))
		print_error(p->name, cli->json, ret, &e);
	return ret ? EXIT_FAILURE : EXIT_SUCCESS;
}

int tg_cli_main(const struct tg_cli_program *p, void *options, int argc, char **argv)
{
	struct tg_cli cli = { .program = p->name, .options = options };
	const struct tg_cli_command *command;
	struct tg_error e = { "" };
	int words = 0, ret;

	command = find_command(p->commands, argc, argv, &words);
	if (command)
		cli.command = command->name;
	ret = parse_options(&cli, p, command, options, argc - words, argv + words, &e);
	if (ret > 0)
		return answer(ret, p, command);
	if (!ret && p->commands && !command)
		ret = no_command(p, argc, argv, &e);
	if (ret) {
		print_error(p->name, wants_json(argc, argv), ret, &e);
		return EXIT_USAGE;
	}
	return run(p, command, &cli);
}
