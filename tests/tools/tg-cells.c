/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whether real cells and dummies look different on the wire: header fields,
 * order, times. Takes two recordings of one session by `tg-wire --dump-headers`,
 * of the link and of the sender's tunnel device; see common/wire_cells.h.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/tool.h"
#include "common/wire_cells.h"

#define PROGRAM "tg-cells"

struct options {
	const char *link, *inside;
	int direction;
	double period_us;
};

static int run(const struct options *o, struct tg_error *e)
{
	struct wire_cells link = { 0 }, inside = { 0 };
	json_t *result;
	int ret = wire_cells_load(&link, o->link, o->direction, false, e);

	if (!ret)
		ret = wire_cells_load(&inside, o->inside, o->direction, true, e);
	if (!ret)
		ret = wire_cells_label(&link, &inside, e);
	if (!ret)
		ret = wire_cells_compare(&link, (int64_t)(o->period_us * 1000), &result, e);
	if (!ret)
		ret = tool_print_json(result, e);
	wire_cells_free(&link);
	wire_cells_free(&inside);
	return ret;
}

static void usage(FILE *f)
{
	fputs("Usage: " PROGRAM " --link LINK.csv --inside TUNNEL.csv --direction up|down --period US\n"
	      "Compares real cells with dummies in two recordings of the same session by tg-wire "
	      "--dump-headers:\n"
	      "of the link, and of the sender's tunnel device, where dummies are in clear. Prints JSON.\n\n"
	      "Exit status: 0 success whatever the comparison says, 1 failed or the recordings do not match, "
	      "2 the\ncall was wrong.\n",
	      f);
}

static int parse_direction(const char *text, int *ret_direction, struct tg_error *e)
{
	if (!strcmp(text, "up"))
		*ret_direction = 1;
	else if (!strcmp(text, "down"))
		*ret_direction = -1;
	else
		return tg_error(e, -EINVAL, "--direction: '%.20s', expected up or down", text);
	return 0;
}

/* Returns 0, 1 for --help, or -EINVAL. */
static int parse_options(struct options *o, int argc, char **argv, struct tg_error *e)
{
	static const struct option options[] = {
		{ "link", required_argument, NULL, 'l' },
		{ "inside", required_argument, NULL, 'i' },
		{ "direction", required_argument, NULL, 'd' },
		{ "period", required_argument, NULL, 'P' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int c, ret = 0;

	opterr = 0;
	while (!ret && (c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'l':
			o->link = optarg;
			break;
		case 'i':
			o->inside = optarg;
			break;
		case 'd':
			ret = parse_direction(optarg, &o->direction, e);
			break;
		case 'P':
			ret = tool_parse_real(optarg, "--period", 1, 1e6, &o->period_us, e);
			break;
		case 'h':
			return 1;
		default:
			return tg_error(e, -EINVAL, "bad option '%s'; see --help", argv[optind - 1]);
		}
	}
	if (!ret && (!o->link || !o->inside || !o->direction || o->period_us <= 0 || optind != argc))
		ret = tg_error(e, -EINVAL, "all four options are needed, and nothing else; see --help");
	return ret;
}

int main(int argc, char **argv)
{
	struct options o = { 0 };
	struct tg_error e = { "" };
	int ret = tool_begin(PROGRAM, parse_options(&o, argc, argv, &e), usage, &e);

	if (ret >= 0)
		return ret;
	ret = run(&o, &e);
	return ret ? tool_fail(PROGRAM, TOOL_FAILED, &e) : EXIT_SUCCESS;
}
