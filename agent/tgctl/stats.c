/* SPDX-License-Identifier: BSD-3-Clause */
/* status, stats and watch: the running instance as an operator sees it. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "instance/engine.h"
#include "instance/instance.h"
#include "instance/print.h"
#include "stats.h"

static int no_arguments(const struct tg_cli *cli, struct tg_error *e)
{
	return cli->arg_count ? tg_error(e, TG_CLI_USAGE, "unexpected argument '%.60s'", cli->args[0]) : 0;
}

/* The policy in force, with the engine that it runs under. */
static int load_running(struct tg_cli *cli, struct tg_policy **ret_policy, struct tg_error *e)
{
	int ret = state_load(agent_options(cli)->run_dir, ret_policy, e);

	if (!ret)
		engine_recall(*ret_policy, agent_options(cli)->pin_dir);
	return ret;
}

int cmd_status(struct tg_cli *cli, struct tg_error *e)
{
	struct instance in = { .pin_dir = agent_options(cli)->pin_dir,
			       .run_dir = agent_options(cli)->run_dir };
	struct tg_policy *policy = NULL;
	struct report report;
	int ret;

	ret = no_arguments(cli, e);
	if (!ret)
		ret = load_running(cli, &policy, e);
	if (!ret)
		ret = net_open(&in.net, e);
	if (!ret) {
		in.policy = policy;
		ret = instance_inspect(&in, &report, e);
	}
	if (!ret) {
		ret = report_print(cli, policy, &report, e);
		report_free(&report);
	}
	net_close(in.net);
	tg_policy_free(policy);
	return ret;
}

static long long number(const json_t *object, const char *key)
{
	return (long long)json_integer_value(json_object_get(object, key));
}

static const char *text(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static void print_counters(const char *direction, const json_t *c)
{
	printf("    %-4s real %lld packets %lld bytes, pad %lld bytes, dummy %lld packets %lld bytes, "
	       "dropped %lld, late %lld\n",
	       direction, number(c, "real_packets"), number(c, "real_bytes"), number(c, "pad_bytes"),
	       number(c, "dummy_packets"), number(c, "dummy_bytes"), number(c, "drop_packets"),
	       number(c, "late_packets"));
}

/* One line for all, and one for the session with the most cells waiting, where several are told apart. */
static void print_peers(const json_t *session)
{
	const json_t *peers = json_object_get(session, "peers"), *worst = json_array_get(peers, 0);

	if (json_array_size(peers) < 2)
		return;
	for (size_t i = 1; i < json_array_size(peers); i++)
		if (number(json_array_get(peers, i), "backlog") > number(worst, "backlog"))
			worst = json_array_get(peers, i);
	printf("    peers: %zu, %lld with a session; most backlog: %lld, peer %lld (%s)\n",
	       json_array_size(peers), number(session, "running_peers"), number(worst, "backlog"),
	       number(worst, "number"), json_string_value(json_object_get(worst, "dummy_target")));
}

static void print_session(const json_t *session)
{
	printf("    session: %s, %lld of %lld slots left, %lld started, %lld extended, backlog %lld\n",
	       json_is_true(json_object_get(session, "always"))    ? "always on"
	       : json_is_true(json_object_get(session, "running")) ? "running"
								   : "none",
	       number(session, "slots_left"), number(session, "slots"), number(session, "sessions"),
	       number(session, "extensions"), number(session, "backlog"));
	print_peers(session);
}

static void print_lean(const json_t *lean)
{
	printf("    shared cells: %lld sent with %lld packets, %lld received with %lld, %lld lost; %lld "
	       "packets "
	       "refused\n",
	       number(lean, "shared_cells"), number(lean, "shared_packets"), number(lean, "received_cells"),
	       number(lean, "received_packets"), number(lean, "lost_cells"), number(lean, "refused_packets"));
	printf("    tick: found in %lld sessions, not found in %lld\n", number(lean, "locked"),
	       number(lean, "unlocked"));
}

static void print_schedule(const json_t *class)
{
	const json_t *session = json_object_get(class, "session"), *delay = json_object_get(class, "delay");
	const json_t *lean = json_object_get(class, "lean");

	if (session)
		print_session(session);
	if (lean)
		print_lean(lean);
	if (delay)
		printf("    delay in the queue: p50 %lld us, p90 %lld us, p99 %lld us over %lld packets\n",
		       number(delay, "p50_us"), number(delay, "p90_us"), number(delay, "p99_us"),
		       number(delay, "count"));
}

static void print_violations(const json_t *class)
{
	const json_t *violations = json_object_get(class, "violations"), *count;
	const char *name, *comma = "";

	if (!violations)
		return;
	printf("    violations (a wait above %.9g ms is one):",
	       (double)number(class, "delay_limit_ns") / 1e6);
	json_object_foreach((json_t *)(uintptr_t)violations, name, count)
	{
		printf("%s %s %lld", comma, name, (long long)json_integer_value(count));
		comma = ",";
	}
	putchar('\n');
}

static void print_budget(const json_t *budget)
{
	const json_t *limit = json_object_get(budget, "day_limit_bytes");

	if (!json_is_object(budget))
		return;
	printf("  budget%s: %lld", json_is_true(json_object_get(budget, "metered")) ? " (metered link)" : "",
	       number(budget, "day_spent_bytes"));
	if (json_is_integer(limit))
		printf(" of %lld", (long long)json_integer_value(limit));
	printf(" bytes of dummies on the wire, day begun %lld s ago, beyond it: %s\n",
	       number(budget, "day_age_s"), text(budget, "violation"));
}

static void print_metronome(const json_t *class)
{
	const json_t *m = json_object_get(class, "metronome");

	if (!m)
		return;
	printf("    metronome: clock %s, %s, %lld sessions, %lld dummies", text(m, "clock"),
	       json_is_true(json_object_get(m, "running")) ? "running" : "at rest", number(m, "sessions"),
	       number(m, "dummies"));
	if (json_object_get(m, "planned"))
		printf(", %lld of %lld in this session", number(m, "sent"), number(m, "planned"));
	putchar('\n');
}

static void print_class(const json_t *class)
{
	printf("  class %s: %s, cell %lld\n", text(class, "name"), text(class, "defence"),
	       number(class, "cell"));
	print_counters("out", json_object_get(class, "out"));
	print_counters("in", json_object_get(class, "in"));
	print_schedule(class);
	print_violations(class);
	print_metronome(class);
}

static int print_stats(const json_t *stats, struct tg_error *e)
{
	const json_t *tunnel, *class, *count;
	const char *reason;
	size_t i, j;

	json_array_foreach(json_object_get(stats, "tunnels"), i, tunnel)
	{
		printf("tunnel %s: engine %s, generation %lld\n", text(tunnel, "name"),
		       text(tunnel, "engine"), number(tunnel, "generation"));
		print_budget(json_object_get(tunnel, "budget"));
		json_array_foreach(json_object_get(tunnel, "classes"), j, class) print_class(class);
		json_object_foreach(json_object_get(tunnel, "reasons"), reason,
				    count) if (json_integer_value(count))
			printf("  %-20s %lld\n", reason, (long long)json_integer_value(count));
	}
	return fflush(stdout) ? tg_error(e, -EIO, "cannot write to standard output") : 0;
}

static int collect(struct tg_cli *cli, json_t **ret_stats, struct tg_error *e)
{
	struct tg_policy *policy = NULL;
	int ret;

	ret = no_arguments(cli, e);
	if (!ret)
		ret = load_running(cli, &policy, e);
	if (!ret)
		ret = stats_collect(agent_options(cli)->pin_dir, policy, ret_stats, e);
	tg_policy_free(policy);
	return ret;
}

int cmd_metrics(struct tg_cli *cli, struct tg_error *e)
{
	json_t *stats = NULL;
	char *metrics = NULL;
	int ret = collect(cli, &stats, e);

	if (!ret)
		metrics = stats_metrics(stats);
	if (!ret && !metrics)
		ret = tg_error(e, -ENOMEM, "out of memory");
	if (!ret && cli->json)
		ret = tg_cli_print_json(json_pack("{s:s}", "metrics", metrics), e);
	else if (!ret && (fputs(metrics, stdout) < 0 || fflush(stdout)))
		ret = tg_error(e, -EIO, "cannot write to standard output");
	free(metrics);
	json_decref(stats);
	return ret;
}

int cmd_stats(struct tg_cli *cli, struct tg_error *e)
{
	json_t *stats = NULL;
	int ret = collect(cli, &stats, e);

	if (!ret)
		ret = cli->json ? tg_cli_print_json(json_incref(stats), e) : print_stats(stats, e);
	json_decref(stats);
	return ret;
}

/* ---- watch ---- */

static volatile sig_atomic_t interrupted;

static void interrupt(int sig)
{
	(void)sig;
	interrupted = 1;
}

static double kbit_s(const json_t *now, const json_t *before, const char *key, long long ms)
{
	return ms > 0 ? (double)(number(now, key) - number(before, key)) * 8 / (double)ms : 0;
}

/* How many packets a histogram has in the bucket that begins at `from_us`. */
static long long bucket_count(const json_t *delay, long long from_us)
{
	const json_t *bucket;
	size_t i;

	json_array_foreach(json_object_get(delay, "histogram"), i,
			   bucket) if (number(bucket, "from_us") == from_us) return number(bucket, "count");
	return 0;
}

static json_int_t quantile_us(const json_t *histogram, long long total, long long per_mille)
{
	long long rank = (total * per_mille + 999) / 1000, seen = 0;
	const json_t *bucket;
	size_t i;

	json_array_foreach(histogram, i, bucket)
	{
		seen += number(bucket, "count");
		if (seen >= rank)
			return number(bucket, "from_us");
	}
	return 0;
}

/* What came into a delay histogram between two samples, in the form of its totals. */
static json_t *delay_since(const json_t *now, const json_t *before)
{
	json_t *histogram = json_array();
	const json_t *bucket;
	long long total = 0;
	size_t i;

	json_array_foreach(json_object_get(now, "histogram"), i, bucket)
	{
		long long from_us = number(bucket, "from_us");
		long long count = number(bucket, "count") - bucket_count(before, from_us);

		if (count <= 0)
			continue;
		total += count;
		json_array_append_new(histogram, json_pack("{s:I, s:I}", "from_us", (json_int_t)from_us,
							   "count", (json_int_t)count));
	}
	return json_pack("{s:I, s:I, s:I, s:I, s:o}", "count", (json_int_t)total, "p50_us",
			 quantile_us(histogram, total, 500), "p90_us", quantile_us(histogram, total, 900),
			 "p99_us", quantile_us(histogram, total, 990), "histogram", histogram);
}

/* One line per class and direction: what the interval carried, and what it looked like outside. */
static json_t *rate_json(const char *tunnel, const json_t *now, const json_t *before, const char *direction,
			 long long ms)
{
	const json_t *a = json_object_get(now, direction), *b = json_object_get(before, direction);
	json_t *o = json_pack("{s:s, s:s, s:s, s:f, s:f, s:f, s:I, s:I}", "tunnel", tunnel, "class",
			      text(now, "name"), "direction", direction, "real_kbit_s",
			      kbit_s(a, b, "real_bytes", ms), "pad_kbit_s", kbit_s(a, b, "pad_bytes", ms),
			      "dummy_kbit_s", kbit_s(a, b, "dummy_bytes", ms), "dropped",
			      (json_int_t)(number(a, "drop_packets") - number(b, "drop_packets")), "late",
			      (json_int_t)(number(a, "late_packets") - number(b, "late_packets")));
	const json_t *delay = json_object_get(now, "delay");

	if (o && delay && !strcmp(direction, "out"))
		json_object_set_new(o, "delay", delay_since(delay, json_object_get(before, "delay")));
	return o;
}

static void add_rates(json_t *rates, const json_t *now, const json_t *before, long long ms)
{
	const json_t *tunnel, *class;
	size_t i, j;

	json_array_foreach(json_object_get(now, "tunnels"), i, tunnel)
	{
		const json_t *old = json_array_get(json_object_get(before, "tunnels"), i);

		json_array_foreach(json_object_get(tunnel, "classes"), j, class)
		{
			const json_t *was = json_array_get(json_object_get(old, "classes"), j);

			json_array_append_new(rates, rate_json(text(tunnel, "name"), class, was, "out", ms));
			json_array_append_new(rates, rate_json(text(tunnel, "name"), class, was, "in", ms));
		}
	}
}

/* A bar per octave of delay, from the counts of a histogram. */
static void print_histogram(const json_t *delay)
{
	long long octave[24] = { 0 }, most = 1;
	const json_t *bucket;
	size_t i;

	json_array_foreach(json_object_get(delay, "histogram"), i, bucket)
	{
		long long us = number(bucket, "from_us"), n = 0;

		while (us >>= 1)
			n++;
		octave[n < 24 ? n : 23] += number(bucket, "count");
	}
	for (i = 0; i < 24; i++)
		most = octave[i] > most ? octave[i] : most;
	for (i = 0; i < 24; i++)
		if (octave[i])
			printf("    %8llu us  %-40.*s %lld\n", 1ull << i, (int)(octave[i] * 40 / most),
			       "########################################", octave[i]);
}

static void print_rates(const json_t *sample)
{
	const json_t *rate;
	size_t i;

	printf("%-8s %-16s %-4s %12s %12s %12s %8s %6s\n", "tunnel", "class", "dir", "real kbit/s",
	       "pad kbit/s", "dummy kbit/s", "dropped", "late");
	json_array_foreach(json_object_get(sample, "rates"), i, rate)
	{
		const json_t *delay = json_object_get(rate, "delay");

		printf("%-8s %-16s %-4s %12.1f %12.1f %12.1f %8lld %6lld\n", text(rate, "tunnel"),
		       text(rate, "class"), text(rate, "direction"),
		       json_real_value(json_object_get(rate, "real_kbit_s")),
		       json_real_value(json_object_get(rate, "pad_kbit_s")),
		       json_real_value(json_object_get(rate, "dummy_kbit_s")), number(rate, "dropped"),
		       number(rate, "late"));
		if (delay && number(delay, "count")) {
			printf("    delay in the queue: p50 %lld us, p99 %lld us\n", number(delay, "p50_us"),
			       number(delay, "p99_us"));
			print_histogram(delay);
		}
	}
	printf("engine %s, peer shapes: %s\n\n", text(sample, "engine"), text(sample, "peer_shaping"));
}

static int peer_summary(struct instance *in, json_t *sample, struct tg_error *e)
{
	static const char *const names[] = {
		[PEER_UNKNOWN] = "unknown", [PEER_SHAPES] = "yes", [PEER_DOES_NOT_SHAPE] = "no"
	};
	int shaping = PEER_UNKNOWN;
	struct report report;
	int ret = instance_inspect(in, &report, e);

	if (ret)
		return ret;
	/* the worst of all tunnels */
	for (size_t i = 0; i < in->policy->tunnel_count; i++)
		if ((int)report.tunnels[i].peer_shaping > shaping)
			shaping = (int)report.tunnels[i].peer_shaping;
	json_object_set_new(sample, "engine", json_string(report.tunnels[0].engine));
	json_object_set_new(sample, "peer_shaping", json_string(names[shaping]));
	json_object_set_new(sample, "problems", json_integer((json_int_t)report.problem_count));
	report_free(&report);
	return 0;
}

static int print_sample(const struct tg_cli *cli, json_t *sample, struct tg_error *e)
{
	if (cli->json) {
		/* one object per line, for programs that read a stream */
		json_dumpf(sample, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
		putchar('\n');
	} else {
		print_rates(sample);
	}
	return fflush(stdout) || ferror(stdout) ? tg_error(e, -EIO, "cannot write to standard output") : 0;
}

static int watch_once(struct tg_cli *cli, struct instance *in, json_t **before, struct tg_error *e)
{
	json_t *now, *sample;
	long long ms;
	int ret = stats_collect(agent_options(cli)->pin_dir, in->policy, &now, e);

	if (ret)
		return ret;
	ms = number(now, "monotonic_ms") - number(*before, "monotonic_ms");
	sample = json_pack("{s:I, s:[]}", "interval_ms", (json_int_t)ms, "rates");
	add_rates(json_object_get(sample, "rates"), now, *before, ms);
	ret = peer_summary(in, sample, e);
	if (!ret)
		ret = print_sample(cli, sample, e);
	json_decref(sample);
	json_decref(*before);
	*before = now;
	return ret;
}

static int watch(struct tg_cli *cli, struct instance *in, unsigned long interval, unsigned long count,
		 struct tg_error *e)
{
	json_t *before;
	int ret = stats_collect(agent_options(cli)->pin_dir, in->policy, &before, e);

	if (ret)
		return ret;
	for (unsigned long i = 0; !ret && !interrupted && (!count || i < count); i++) {
		struct timespec pause = { .tv_sec = (time_t)interval };

		while (!interrupted && nanosleep(&pause, &pause) && errno == EINTR)
			;
		if (!interrupted)
			ret = watch_once(cli, in, &before, e);
	}
	json_decref(before);
	return ret;
}

int cmd_watch(struct tg_cli *cli, struct tg_error *e)
{
	struct instance in = { .pin_dir = agent_options(cli)->pin_dir,
			       .run_dir = agent_options(cli)->run_dir };
	struct sigaction action = { .sa_handler = interrupt };
	unsigned long interval = 1, count = 0;
	struct tg_policy *policy = NULL;
	int ret;

	ret = no_arguments(cli, e);
	if (!ret && agent_options(cli)->interval)
		ret = tg_cli_parse_number(agent_options(cli)->interval, "--interval", 1, 3600, &interval, e);
	if (!ret && agent_options(cli)->count)
		ret = tg_cli_parse_number(agent_options(cli)->count, "--count", 1, 1000000, &count, e);
	if (!ret)
		ret = load_running(cli, &policy, e);
	if (!ret)
		ret = net_open(&in.net, e);
	if (!ret) {
		sigaction(SIGINT, &action, NULL);
		sigaction(SIGTERM, &action, NULL);
		in.policy = policy;
		ret = watch(cli, &in, interval, count, e);
	}
	net_close(in.net);
	tg_policy_free(policy);
	return ret;
}
