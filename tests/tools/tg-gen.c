/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Generates sessions with the grammar of robot-arm control traffic, as a
 * capture would show them:
 *
 *	SYN, SYN-ACK, ACK, greeting; requests that set the arm up, answered on
 *	the robot's 25 ms tick; then, over and over, a burst of commands and a
 *	motion. During a motion the controller asks for the state every 175.0 ms
 *	and the robot answers 13 ms later. What the action is decides how many
 *	bursts there are, how long they are, and how long the motions take.
 *
 * The grammar is that of published descriptions of such traffic; the numbers
 * that tell the actions apart are made up here.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/tool.h"
#include "common/trace.h"

#define PROGRAM "tg-gen"

enum {
	HEADERS = 52,		/* IPv4 and TCP with timestamps */
	SYN_BYTES = 60,
	TICK_US = 25000,
	HEARTBEAT_US = 175000,
	HEARTBEAT_BYTES = 29,
	ANSWER_US = 13000,
	ACK_US = 60,		/* the controller acknowledges at once what it does not answer at once */
	MIN_SECONDS = 20,
	MAX_SECONDS = 61,
};

struct action {
	const char *name;
	int motions_lo, motions_hi;	/* how many */
	double motion_lo_s, motion_hi_s; /* how long each */
	int commands_lo, commands_hi;	/* messages in the burst before each */
	uint32_t command_lo, command_hi; /* payload bytes */
	uint32_t report;		/* payload of the robot's report after each motion */
	double pause_s;			/* mean think time between motion and next burst */
};

static const struct action actions[] = {
	{ "pick", 5, 7, 2.5, 6.0, 3, 5, 38, 96, 560, 0.30 },
	{ "pour", 3, 4, 7.0, 12.0, 2, 3, 45, 105, 640, 0.55 },
	{ "press", 6, 9, 2.0, 3.5, 1, 2, 38, 64, 610, 0.20 },
	{ "turn", 4, 5, 5.0, 9.0, 4, 7, 38, 90, 520, 0.40 },
};

struct generator {
	struct trace trace;
	struct tg_error *error;
	uint64_t random;
	int64_t now_us;
	int64_t tick_us;	/* phase of the robot's tick */
	int ret;		/* first failure; nothing is added after it */
};

/* ---- draws ---- */

static double uniform(struct generator *g, double lo, double hi)
{
	return lo + (hi - lo) * (double)(tool_random(&g->random) >> 11) / 9007199254740992.0;
}

static int64_t between(struct generator *g, int64_t lo, int64_t hi)
{
	return lo + (int64_t)(tool_random(&g->random) % (uint64_t)(hi - lo + 1));
}

/* ---- packets ---- */

static void add_packet(struct generator *g, int64_t at_us, int direction, uint32_t ip_bytes, uint32_t payload)
{
	const struct trace_row row = { at_us, direction, ip_bytes, payload };

	if (!g->ret)
		g->ret = trace_append(&g->trace, &row, g->error);
}

static void add_ack(struct generator *g, int64_t at_us, int direction)
{
	add_packet(g, at_us, direction, HEADERS, 0);
}

static void to_robot(struct generator *g, uint32_t payload)
{
	add_packet(g, g->now_us, TRACE_TO_ROBOT, HEADERS + payload, payload);
}

static void to_controller(struct generator *g, uint32_t payload)
{
	add_packet(g, g->now_us, TRACE_TO_CONTROLLER, HEADERS + payload, payload);
}

/* The robot's control loop answers at its next tick, give or take its own jitter. */
static void wait_tick(struct generator *g)
{
	int64_t since = (g->now_us - g->tick_us) % TICK_US;

	g->now_us += TICK_US - since + between(g, 0, 900);
}

/* ---- phases ---- */

static void connect_phase(struct generator *g)
{
	add_packet(g, 0, TRACE_TO_ROBOT, SYN_BYTES, 0);
	g->now_us = between(g, 300, 500);
	add_packet(g, g->now_us, TRACE_TO_CONTROLLER, SYN_BYTES, 0);
	add_ack(g, g->now_us + 20, TRACE_TO_ROBOT);
	g->now_us += between(g, 200, 400);
	to_robot(g, 56);
	add_ack(g, g->now_us + 300, TRACE_TO_CONTROLLER);
	g->now_us += between(g, 300000, 420000);
	g->tick_us = g->now_us % TICK_US;
	to_controller(g, HEARTBEAT_BYTES);
	add_ack(g, g->now_us + ACK_US, TRACE_TO_ROBOT);
}

/* Requests that set the arm up: most answers are short, one carries the arm's whole state. */
static void setup_phase(struct generator *g)
{
	int requests = (int)between(g, 6, 9), whole = (int)between(g, 2, requests - 1);

	for (int i = 0; i < requests; i++) {
		g->now_us += between(g, 200, 900);
		to_robot(g, (uint32_t)between(g, 29, 49));
		wait_tick(g);
		if (i == whole)
			to_controller(g, (uint32_t)between(g, 600, 698));
		else
			to_controller(g, between(g, 0, 2) ? HEARTBEAT_BYTES : 45);
		if (!between(g, 0, 3))
			add_ack(g, g->now_us + ACK_US, TRACE_TO_ROBOT);
	}
}

static void command_burst(struct generator *g, const struct action *a)
{
	int commands = (int)between(g, a->commands_lo, a->commands_hi);

	for (int i = 0; i < commands; i++) {
		g->now_us += between(g, 150, 600);
		to_robot(g, (uint32_t)between(g, a->command_lo, a->command_hi));
		wait_tick(g);
		to_controller(g, i + 1 < commands ? HEARTBEAT_BYTES : 104);
	}
	add_ack(g, g->now_us + ACK_US, TRACE_TO_ROBOT);
}

static void motion(struct generator *g, const struct action *a, int64_t end_us)
{
	int64_t beat_us = g->now_us;

	for (beat_us += HEARTBEAT_US; beat_us < end_us; beat_us += HEARTBEAT_US) {
		g->now_us = beat_us + between(g, -40, 40);
		to_robot(g, HEARTBEAT_BYTES);
		g->now_us += ANSWER_US + between(g, -900, 900);
		to_controller(g, between(g, 0, 4) ? HEARTBEAT_BYTES : 45);
		add_ack(g, g->now_us + ACK_US, TRACE_TO_ROBOT);
	}
	if (g->now_us < end_us)
		g->now_us = end_us;
	wait_tick(g);
	to_controller(g, a->report + (uint32_t)between(g, 0, 10) * 5);
	add_ack(g, g->now_us + ACK_US, TRACE_TO_ROBOT);
}

static void goodbye_phase(struct generator *g)
{
	g->now_us += between(g, 300, 900);
	to_robot(g, 38);
	wait_tick(g);
	to_controller(g, HEARTBEAT_BYTES);
	add_ack(g, g->now_us + ACK_US, TRACE_TO_ROBOT);
}

/*
 * The session: motions share what the requested length leaves, in proportion
 * to the times drawn for them. `seconds` 0 = as the action likes, within
 * MIN_SECONDS and MAX_SECONDS.
 */
static int generate(struct generator *g, const struct action *a, double seconds)
{
	int motions = (int)between(g, a->motions_lo, a->motions_hi);
	double length[16], total = 0, left_s;

	connect_phase(g);
	setup_phase(g);
	for (int i = 0; i < motions; i++) {
		length[i] = uniform(g, a->motion_lo_s, a->motion_hi_s);
		total += length[i] + a->pause_s;
	}
	if (seconds <= 0) {
		double natural = total + (double)g->now_us / 1e6;

		seconds = natural < MIN_SECONDS       ? MIN_SECONDS
			  : natural > MAX_SECONDS - 1 ? MAX_SECONDS - 1
						      : natural;
	}
	left_s = seconds - (double)g->now_us / 1e6;
	for (int i = 0; i < motions && left_s > 0; i++) {
		bool is_last = i + 1 == motions;
		/* the last one takes what the draws have left over, so that the length is as it was asked for
		 */
		int64_t end_us = is_last ? (int64_t)(1e6 * seconds)
					 : g->now_us + (int64_t)(1e6 * left_s * length[i] / total);

		left_s -= (length[i] + a->pause_s) * left_s / total;
		total -= length[i] + a->pause_s;
		command_burst(g, a);
		motion(g, a, end_us);
		if (!is_last)
			g->now_us += (int64_t)(1e6 * uniform(g, 0.5, 1.5) * a->pause_s);
	}
	goodbye_phase(g);
	trace_sort(&g->trace);
	return g->ret;
}

/* ---- the command line ---- */

struct options {
	const struct action *action;
	const char *output;
	double seconds;
	uint64_t seed;
};

static void usage(FILE *f)
{
	fputs("Usage: " PROGRAM " [OPTIONS]\n"
	      "Generates one session of robot-arm control traffic as CSV (" TRACE_HEADER ").\n\n"
	      "  --action NAME   pick (default), pour, press or turn\n"
	      "  --duration S    seconds, 5 to 3600 (default: as the action takes, 20 to 61);\n"
	      "                  a short one runs over by what its bursts take\n"
	      "  --seed N        the same seed gives the same session (default 1)\n"
	      "  --output FILE   default: standard output\n"
	      "  --help\n",
	      f);
}

static int parse_action(struct options *o, const char *name, struct tg_error *e)
{
	for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
		if (!strcmp(actions[i].name, name)) {
			o->action = &actions[i];
			return 0;
		}
	}
	return tg_error(e, -EINVAL, "--action: '%.20s', expected pick, pour, press or turn", name);
}

/* Returns 0, 1 for --help, or -EINVAL. */
static int parse_options(struct options *o, int argc, char **argv, struct tg_error *e)
{
	static const struct option options[] = {
		{ "action", required_argument, NULL, 'a' }, { "duration", required_argument, NULL, 'd' },
		{ "seed", required_argument, NULL, 's' },   { "output", required_argument, NULL, 'o' },
		{ "help", no_argument, NULL, 'h' },         { 0 },
	};
	int c, ret = 0;

	opterr = 0;
	while (!ret && (c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'a':
			ret = parse_action(o, optarg, e);
			break;
		case 'd':
			ret = tool_parse_real(optarg, "--duration", 5, 3600, &o->seconds, e);
			break;
		case 's':
			ret = tool_parse_whole(optarg, "--seed", 0, UINT64_MAX, &o->seed, e);
			break;
		case 'o':
			o->output = optarg;
			break;
		case 'h':
			return 1;
		default:
			return tg_error(e, -EINVAL, "bad option '%s'; see --help", argv[optind - 1]);
		}
	}
	if (!ret && optind != argc)
		ret = tg_error(e, -EINVAL, "unexpected '%.60s'; see --help", argv[optind]);
	return ret;
}

static int write_output(const struct trace *trace, const char *path, struct tg_error *e)
{
	FILE *f = path ? fopen(path, "we") : stdout;
	int ret;

	if (!f)
		return tg_error(e, -errno, "cannot create %s: %s", path, strerror(errno));
	ret = trace_write(trace, f, e);
	if (path)
		fclose(f);
	return ret;
}

int main(int argc, char **argv)
{
	struct options o = { .action = &actions[0], .seed = 1 };
	struct tg_error e = { "" };
	struct generator g = { .error = &e };
	int ret = tool_begin(PROGRAM, parse_options(&o, argc, argv, &e), usage, &e);

	if (ret >= 0)
		return ret;
	g.random = o.seed;
	ret = generate(&g, o.action, o.seconds);
	if (!ret)
		ret = write_output(&g.trace, o.output, &e);
	trace_free(&g.trace);
	return ret ? tool_fail(PROGRAM, TOOL_FAILED, &e) : EXIT_SUCCESS;
}
