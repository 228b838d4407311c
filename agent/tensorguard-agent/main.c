/* SPDX-License-Identifier: BSD-3-Clause */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/libbpf.h>
#include <event2/event.h>

#include "control.h"
#include "guard/guard.h"
#include "instance/instance.h"
#include "process.h"

enum { EXIT_USAGE = 2 };
enum { OPT_POLICY = 256, OPT_SITE, OPT_PIN_DIR, OPT_RUN_DIR, OPT_VERBOSE };
enum { SIGNAL_COUNT = 3 };

struct agent {
	struct event_base *base;
	struct guard *guard;
	struct control *control;
	struct event *signals[SIGNAL_COUNT];
};

static const struct option options[] = {
	{ "policy", required_argument, NULL, OPT_POLICY },
	{ "site", required_argument, NULL, OPT_SITE },
	{ "pin-dir", required_argument, NULL, OPT_PIN_DIR },
	{ "run-dir", required_argument, NULL, OPT_RUN_DIR },
	{ "verbose", no_argument, NULL, OPT_VERBOSE },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 },
};

static void usage(FILE *f)
{
	fprintf(f,
		"Usage: tensorguard-agent [OPTIONS]\n"
		"Decides the class of each new flow that the policy leaves to it. Runs in the foreground.\n\n"
		"  --policy FILE   this policy (default RUNDIR/policy.conf, the one that tg-load runs)\n"
		"  --site FILE     device settings that replace the policy's (default RUNDIR/site.conf if it "
		"exists)\n"
		"  --pin-dir DIR   BPF pins (default /sys/fs/bpf/tensorguard)\n"
		"  --run-dir DIR   state of the running instance (default /run/tensorguard)\n"
		"  --verbose       a line on standard error per decision, with server names\n"
		"  --help          this text\n"
		"  --version       print the version\n\n"
		"Signals: TERM and INT end it, HUP loads the policy again.\n"
		"Exit status: 0 ended by a signal, 1 failure, 2 the call was wrong.\n");
}

static void log_line(void *ctx, const char *line)
{
	(void)ctx;
	fprintf(stderr, "tensorguard-agent: %s\n", line);
}

/* getopt_long() takes any beginning of a name that is unambiguous; here names are written in full. */
static const char *abbreviated_option(int argc, char **argv)
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
			return argv[i];
	}
	return NULL;
}

static int wrong_call(const char *what, const char *argument)
{
	fprintf(stderr, "tensorguard-agent: %s '%.60s'; see --help\n", what, argument);
	return EXIT_USAGE;
}

/* -1 = go on; else the exit status. */
static int parse_options(struct guard_conf *conf, int argc, char **argv)
{
	const char *unknown = abbreviated_option(argc, argv);
	int c;

	if (unknown)
		return wrong_call("unknown option", unknown);
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":hV", options, NULL)) != -1) {
		switch (c) {
		case OPT_POLICY:
			conf->policy = optarg;
			break;
		case OPT_SITE:
			conf->site = optarg;
			break;
		case OPT_PIN_DIR:
			conf->pin_dir = optarg;
			break;
		case OPT_RUN_DIR:
			conf->run_dir = optarg;
			break;
		case OPT_VERBOSE:
			conf->verbose = true;
			break;
		case 'h':
			usage(stdout);
			return fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
		case 'V':
			printf("tensorguard-agent %s\n", TG_VERSION);
			return fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
		case ':':
			return wrong_call("a value is missing behind", argv[optind - 1]);
		default:
			return wrong_call("unknown option", argv[optind - 1]);
		}
	}
	if (optind < argc)
		return wrong_call("unexpected argument", argv[optind]);
	return -1;
}

static void on_signal(evutil_socket_t number, short what, void *ctx)
{
	struct agent *a = ctx;
	struct tg_error e = { "" };

	(void)what;
	if (number != SIGHUP) {
		event_base_loopbreak(a->base);
		return;
	}
	process_notify("RELOADING=1");
	if (guard_reload(a->guard, &e))
		fprintf(stderr, "tensorguard-agent: the old policy stays in force: %s\n", e.message);
	process_notify("READY=1");
}

static int watch_signals(struct agent *a, struct tg_error *e)
{
	static const int numbers[SIGNAL_COUNT] = { SIGTERM, SIGINT, SIGHUP };

	for (int i = 0; i < SIGNAL_COUNT; i++) {
		a->signals[i] = evsignal_new(a->base, numbers[i], on_signal, a);
		if (!a->signals[i] || event_add(a->signals[i], NULL))
			return tg_error(e, -1, "cannot watch signals");
	}
	return 0;
}

static int start(struct agent *a, const struct guard_conf *conf, struct tg_error *e)
{
	int ret;

	a->base = event_base_new();
	if (!a->base)
		return tg_error(e, -1, "cannot start the event loop");
	ret = watch_signals(a, e);
	/* says how to start one, where the missing file would only be named */
	if (!ret && !conf->policy)
		ret = state_check_up(conf->run_dir, e);
	if (!ret)
		ret = guard_new(conf, a->base, &a->guard, e);
	if (!ret)
		ret = control_new(conf->run_dir, a->guard, a->base, &a->control, e);
	if (!ret)
		ret = process_drop_rights(e);
	return ret;
}

static void stop(struct agent *a)
{
	control_free(a->control);
	guard_free(a->guard);
	for (int i = 0; i < SIGNAL_COUNT; i++)
		if (a->signals[i])
			event_free(a->signals[i]);
	if (a->base)
		event_base_free(a->base);
}

static int quiet(enum libbpf_print_level level, const char *format, va_list args)
{
	(void)level;
	(void)format;
	(void)args;
	return 0;
}

int main(int argc, char **argv)
{
	struct guard_conf conf = { .pin_dir = "/sys/fs/bpf/tensorguard",
				   .run_dir = "/run/tensorguard",
				   .ops = { .log = log_line } };
	struct agent agent = { .base = NULL };
	struct tg_error e = { "" };
	int status = parse_options(&conf, argc, argv);

	if (status >= 0)
		return status;
	status = EXIT_FAILURE;
	libbpf_set_print(quiet);
	if (start(&agent, &conf, &e)) {
		fprintf(stderr, "tensorguard-agent: %s\n", e.message);
	} else {
		process_notify("READY=1");
		if (event_base_dispatch(agent.base) >= 0 && !guard_failure(agent.guard))
			status = EXIT_SUCCESS;
		process_notify("STOPPING=1");
	}
	stop(&agent);
	return status;
}
