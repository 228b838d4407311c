/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <stdlib.h>

#include "common/json.h"
#include "instance/print.h"

/* What is written for one class, or for one tunnel. */
struct place {
	FILE *out;
	const char *tunnel, *class;
	const json_t *object;
};

static void sample(const struct place *place, const char *name, const char *labels, const char *value)
{
	fprintf(place->out, "tensorguard_%s{tunnel=\"%s\",class=\"%s\"%s%s} %s\n", name, place->tunnel,
		place->class, *labels ? "," : "", labels, value);
}

/* A counter that is not there is none of this class's. */
static void count(const struct place *place, const char *name, const char *labels, const json_t *object,
		  const char *key)
{
	const json_t *value = json_object_get(object, key);
	char digits[24];

	if (!json_is_integer(value))
		return;
	snprintf(digits, sizeof(digits), "%lld", (long long)json_integer_value(value));
	sample(place, name, labels, digits);
}

static void both_directions(const struct place *place, const char *name, const char *const (*kinds)[2],
			    size_t n)
{
	static const char *const directions[] = { "out", "in" };
	char labels[64];

	for (size_t d = 0; d < 2; d++)
		for (size_t i = 0; i < n; i++) {
			snprintf(labels, sizeof(labels), "direction=\"%s\",kind=\"%s\"", directions[d],
				 kinds[i][0]);
			count(place, name, labels, json_object_get(place->object, directions[d]),
			      kinds[i][1]);
		}
}

static void put_bytes(const struct place *place)
{
	static const char *const kinds[][2] = { { "real", "real_bytes" },
						{ "pad", "pad_bytes" },
						{ "dummy", "dummy_bytes" } };

	both_directions(place, "bytes_total", kinds, 3);
}

static void put_packets(const struct place *place)
{
	static const char *const kinds[][2] = { { "real", "real_packets" },
						{ "dummy", "dummy_packets" },
						{ "dropped", "drop_packets" },
						{ "late", "late_packets" } };

	both_directions(place, "packets_total", kinds, 4);
}

static void put_violations(const struct place *place)
{
	const char *reason;
	json_t *value;
	char labels[96];

	json_object_foreach(json_object_get(place->object, "violations"), reason, value)
	{
		snprintf(labels, sizeof(labels), "reason=\"%s\"", reason);
		count(place, "violations_total", labels, json_object_get(place->object, "violations"),
		      reason);
	}
}

static void put_backlog(const struct place *place)
{
	count(place, "backlog_packets", "", json_object_get(place->object, "session"), "backlog");
}

static void put_delay(const struct place *place)
{
	static const char *const quantiles[][2] = { { "0.5", "p50_us" },
						    { "0.9", "p90_us" },
						    { "0.99", "p99_us" } };
	const json_t *delay = json_object_get(place->object, "delay");
	char labels[32], value[32];

	for (size_t i = 0; delay && i < 3; i++) {
		snprintf(labels, sizeof(labels), "quantile=\"%s\"", quantiles[i][0]);
		snprintf(value, sizeof(value), "%.6f",
			 (double)json_integer_value(json_object_get(delay, quantiles[i][1])) / 1e6);
		sample(place, "delay_seconds", labels, value);
	}
}

static void put_lean(const struct place *place, const char *name, const char *const (*kinds)[3], size_t n)
{
	char labels[32];

	for (size_t i = 0; i < n; i++) {
		snprintf(labels, sizeof(labels), "%s=\"%s\"", kinds[i][0], kinds[i][1]);
		count(place, name, labels, json_object_get(place->object, "lean"), kinds[i][2]);
	}
}

static void put_shared_cells(const struct place *place)
{
	static const char *const kinds[][3] = { { "kind", "sent", "shared_cells" },
						{ "kind", "received", "received_cells" },
						{ "kind", "lost", "lost_cells" } };

	put_lean(place, "shared_cells_total", kinds, 3);
}

static void put_shared_packets(const struct place *place)
{
	static const char *const kinds[][3] = { { "kind", "sent", "shared_packets" },
						{ "kind", "received", "received_packets" },
						{ "kind", "refused", "refused_packets" } };

	put_lean(place, "shared_packets_total", kinds, 3);
}

static void put_ticks(const struct place *place)
{
	static const char *const kinds[][3] = { { "tick", "found", "locked" },
						{ "tick", "not-found", "unlocked" } };

	put_lean(place, "lean_sessions_total", kinds, 2);
}

/* Of all classes, one metric at a time: its samples have to stand together. */
static void each_class(FILE *out, const json_t *stats, const char *head,
		       void (*put)(const struct place *place))
{
	struct place place = { .out = out };
	const json_t *tunnel;
	size_t i, j;

	fputs(head, out);
	json_array_foreach(json_object_get(stats, "tunnels"), i, tunnel)
	{
		place.tunnel = json_text(tunnel, "name");
		json_array_foreach(json_object_get(tunnel, "classes"), j, place.object)
		{
			place.class = json_text(place.object, "name");
			put(&place);
		}
	}
}

static void put_verdicts(FILE *out, const json_t *stats)
{
	const json_t *tunnel;
	const char *verdict;
	json_t *value;
	size_t i;

	fputs("# HELP tensorguard_verdicts_total Packets by what was done with them (docs/verdicts.md).\n"
	      "# TYPE tensorguard_verdicts_total counter\n",
	      out);
	json_array_foreach(json_object_get(stats, "tunnels"), i, tunnel)
		json_object_foreach(json_object_get(tunnel, "reasons"), verdict, value)
			fprintf(out, "tensorguard_verdicts_total{tunnel=\"%s\",verdict=\"%s\"} %lld\n",
				json_text(tunnel, "name"), verdict, (long long)json_integer_value(value));
}

char *stats_metrics(const json_t *stats)
{
	char *result = NULL;
	size_t len;
	FILE *out = open_memstream(&result, &len);

	if (!out)
		return NULL;
	each_class(out, stats,
		   "# HELP tensorguard_bytes_total Bytes by class, direction and kind.\n"
		   "# TYPE tensorguard_bytes_total counter\n",
		   put_bytes);
	each_class(out, stats,
		   "# HELP tensorguard_packets_total Packets, likewise.\n"
		   "# TYPE tensorguard_packets_total counter\n",
		   put_packets);
	each_class(out, stats,
		   "# HELP tensorguard_violations_total Violations of what the policy promises.\n"
		   "# TYPE tensorguard_violations_total counter\n",
		   put_violations);
	each_class(out, stats,
		   "# HELP tensorguard_backlog_packets Real packets that wait for their slot.\n"
		   "# TYPE tensorguard_backlog_packets gauge\n",
		   put_backlog);
	each_class(out, stats,
		   "# HELP tensorguard_delay_seconds What the schedule added to real packets' delay.\n"
		   "# TYPE tensorguard_delay_seconds gauge\n",
		   put_delay);
	each_class(out, stats,
		   "# HELP tensorguard_shared_cells_total Cells of lean classes, which packets share.\n"
		   "# TYPE tensorguard_shared_cells_total counter\n",
		   put_shared_cells);
	each_class(out, stats,
		   "# HELP tensorguard_shared_packets_total Packets in them.\n"
		   "# TYPE tensorguard_shared_packets_total counter\n",
		   put_shared_packets);
	each_class(out, stats,
		   "# HELP tensorguard_lean_sessions_total Sessions of lean classes, by what became of the "
		   "tick.\n"
		   "# TYPE tensorguard_lean_sessions_total counter\n",
		   put_ticks);
	put_verdicts(out, stats);
	if (fclose(out)) {
		free(result);
		return NULL;
	}
	return result;
}
