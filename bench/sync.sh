#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The system-time loop at the Platform: AGENTS that keep their connections, each with a request a PERIOD, at that rate for
# SECONDS_SYNCED. Those that a process cannot keep open here connect for each request. Root; in namespaces of its own.
set -u
cd "$(dirname "$0")/.." || exit 1
# shellcheck source=bench/lib/platform.sh
. bench/lib/platform.sh
platform_begin sync "$0" "$@"

AGENTS=${AGENTS:-20000}
KEPT=$(agents_allowed "$AGENTS")
PERIOD=${PERIOD:-60}
SECONDS_SYNCED=${SECONDS_SYNCED:-120}

# records PER-BATCH RECORDS: to the ledger, in batches of 100 agents; each round durable before the next
records()
{
	local n
	for ((n = 0; n < ${ROUNDS:-5}; n++)); do
		"$TOOLS/tg-audit" "sqlite:$DIR/audit.db" 100 "$2" "$1" > "$DIR/audit.json" || die "records: no figure"
		jq .per_second "$DIR/audit.json" >> "$DIR/audit_$1"
		jq .cpu_us "$DIR/audit.json" >> "$DIR/audit_cpu_$1"
	done
}

platform fleet create bench --levels software
agents make "sqlite:$DATA/platform.db" "$DATA/ca.crt" "$DATA/ca.key" bench "$AGENTS" "$DIR/agents"
cp policies/lab.conf "$DIR/lab.conf"
platform policy publish "$DIR/lab.conf" --target fleet:bench
serve
AGENTS_LIMIT=300 agents sync "$PORT" "$DATA/ca.crt" "$DIR/agents" "$PID" "$SECONDS_SYNCED" "$PERIOD" "$KEPT"
stored=$(sqlite3 "$DATA/platform.db" 'SELECT COUNT(*) FROM heartbeat')
echo "$stored" > "$DIR/sync_stored"
servers_down
cp "$DATA/platform.db" "$DIR/audit.db"
records 1 50
records 10 200
report sync_load tasks "$DIR/load"
report sync_open connections "$DIR/sync_open" "value>=$KEPT"
report sync_visits requests "$DIR/sync_visits"
report sync_failed agents "$DIR/sync_failed" 'value<=0'
report sync_late requests "$DIR/sync_late" 'value<=0'
report sync_stored agents "$DIR/sync_stored" "value>=$AGENTS"
report sync_rate requests/s "$DIR/sync_rate"
report sync_p50 ms "$DIR/sync_p50"
report sync_p99 ms "$DIR/sync_p99"
report sync_cpu %cpu "$DIR/sync_cpu"
report sync_cost us/request "$DIR/sync_cost"
report sync_rss MiB "$DIR/sync_rss"
report sync_audit_1 records/s "$DIR/audit_1" 'value>=3000'
report sync_audit_1_cpu us/record "$DIR/audit_cpu_1"
report sync_audit_10 records/s "$DIR/audit_10" 'value>=3000'
report sync_audit_10_cpu us/record "$DIR/audit_cpu_10"
