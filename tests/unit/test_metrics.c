/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>

#include "harness.h"
#include "instance/print.h"

TEST(metrics, counters_as_prometheus_reads_them)
{
	static const char expected[] =
		"# HELP tensorguard_bytes_total Bytes by class, direction and kind.\n"
		"# TYPE tensorguard_bytes_total counter\n"
		"tensorguard_bytes_total{tunnel=\"tg0\",class=\"arm\",direction=\"out\",kind=\"real\"} 10\n"
		"tensorguard_bytes_total{tunnel=\"tg0\",class=\"arm\",direction=\"out\",kind=\"pad\"} 20\n"
		"tensorguard_bytes_total{tunnel=\"tg0\",class=\"bulk\",direction=\"in\",kind=\"dummy\"} "
		"9007199254740993\n"
		"# HELP tensorguard_packets_total Packets, likewise.\n"
		"# TYPE tensorguard_packets_total counter\n"
		"tensorguard_packets_total{tunnel=\"tg0\",class=\"arm\",direction=\"out\",kind=\"late\"} 3\n"
		"# HELP tensorguard_violations_total Violations of what the policy promises.\n"
		"# TYPE tensorguard_violations_total counter\n"
		"tensorguard_violations_total{tunnel=\"tg0\",class=\"arm\",reason=\"delay\"} 4\n"
		"# HELP tensorguard_backlog_packets Real packets that wait for their slot.\n"
		"# TYPE tensorguard_backlog_packets gauge\n"
		"tensorguard_backlog_packets{tunnel=\"tg0\",class=\"arm\"} 5\n"
		"# HELP tensorguard_delay_seconds What the schedule added to real packets' delay.\n"
		"# TYPE tensorguard_delay_seconds gauge\n"
		"tensorguard_delay_seconds{tunnel=\"tg0\",class=\"arm\",quantile=\"0.5\"} 0.002500\n"
		"tensorguard_delay_seconds{tunnel=\"tg0\",class=\"arm\",quantile=\"0.9\"} 0.004000\n"
		"tensorguard_delay_seconds{tunnel=\"tg0\",class=\"arm\",quantile=\"0.99\"} 1.000001\n"
		"# HELP tensorguard_shared_cells_total Cells of lean classes, which packets share.\n"
		"# TYPE tensorguard_shared_cells_total counter\n"
		"tensorguard_shared_cells_total{tunnel=\"tg0\",class=\"lean\",kind=\"sent\"} 11\n"
		"tensorguard_shared_cells_total{tunnel=\"tg0\",class=\"lean\",kind=\"received\"} 12\n"
		"tensorguard_shared_cells_total{tunnel=\"tg0\",class=\"lean\",kind=\"lost\"} 13\n"
		"# HELP tensorguard_shared_packets_total Packets in them.\n"
		"# TYPE tensorguard_shared_packets_total counter\n"
		"tensorguard_shared_packets_total{tunnel=\"tg0\",class=\"lean\",kind=\"sent\"} 14\n"
		"tensorguard_shared_packets_total{tunnel=\"tg0\",class=\"lean\",kind=\"received\"} 15\n"
		"tensorguard_shared_packets_total{tunnel=\"tg0\",class=\"lean\",kind=\"refused\"} 16\n"
		"# HELP tensorguard_lean_sessions_total Sessions of lean classes, by what became of the "
		"tick.\n"
		"# TYPE tensorguard_lean_sessions_total counter\n"
		"tensorguard_lean_sessions_total{tunnel=\"tg0\",class=\"lean\",tick=\"found\"} 17\n"
		"tensorguard_lean_sessions_total{tunnel=\"tg0\",class=\"lean\",tick=\"not-found\"} 18\n"
		"# HELP tensorguard_verdicts_total Packets by what was done with them (docs/verdicts.md).\n"
		"# TYPE tensorguard_verdicts_total counter\n"
		"tensorguard_verdicts_total{tunnel=\"tg0\",verdict=\"pass_padded\"} 7\n";
	json_t *stats = json_loads("{\"tunnels\": [{\"name\": \"tg0\", \"reasons\": {\"pass_padded\": 7}, "
				   "\"classes\": [{\"name\": \"arm\","
				   "\"out\": {\"real_bytes\": 10, \"pad_bytes\": 20, \"late_packets\": 3}, "
				   "\"violations\": {\"delay\": 4},"
				   "\"session\": {\"backlog\": 5}, \"delay\": {\"p50_us\": 2500, \"p90_us\": "
				   "4000, \"p99_us\": 1000001}},"
				   "{\"name\": \"bulk\", \"in\": {\"dummy_bytes\": 9007199254740993}},"
				   "{\"name\": \"lean\", \"lean\": {\"shared_cells\": 11, "
				   "\"received_cells\": 12, \"lost_cells\": 13, "
				   "\"shared_packets\": 14, \"received_packets\": 15, "
				   "\"refused_packets\": 16, \"locked\": 17, \"unlocked\": 18}}]}]}",
				   0, NULL);
	char *text = stats_metrics(stats);

	CU_ASSERT_PTR_NOT_NULL_FATAL(text);
	CU_ASSERT_STRING_EQUAL(text, expected);
	free(text);
	json_decref(stats);
}
