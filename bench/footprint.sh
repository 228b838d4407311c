#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Memory and disk: the guard process, the programs, the maps of a tunnel. Root; works in
# namespaces of its own.
set -u
cd "$(dirname "$0")/.." || exit 1
# shellcheck source=bench/lib/report.sh
. bench/lib/report.sh
# shellcheck source=bench/lib/node.sh
. bench/lib/node.sh
enter_node "$0" "$@"
bench_begin footprint
node_setup || die "cannot set up the namespaces"
ROUNDS=${ROUNDS:-3}
CELL=160
PINS=/sys/fs/bpf/tensorguard/tg0

# policy CLASSIFIER: an external tunnel with a paced class, and a rule that the agent decides
policy()
{
	cat <<-TEXT
		version = 1; name = "bench"; policy_version = 1L; role = "edge"; profile = "lab"; fail = "open";
		$1
		tunnels = ( { name = "tg0"; external = "eth0"; default = "c0";
			dummy = { source = "fd54:4700::2"; target = "fd54:4700::1"; }; classes = (
			{ name = "c0"; defence = "constant"; cell = $CELL; period = "10ms"; session = "60s";
				idle = "3s"; delay_budget = "100ms"; overflow = "drop"; } ); } );
		rules = ( { tunnel = "tg0"; class = "c0"; to = ( "10.90.0.0/16" ); proto = "tcp"; sni = "example.com"; },
			{ tunnel = "tg0"; class = "c0"; to = ( "10.90.0.0/16" ); } );
	TEXT
}

# rss PID: MiB that the agent and its children have in memory; pages that they share count for each
rss()
{
	local pid
	for pid in "$1" $(pgrep -P "$1"); do
		awk '$1 == "VmRSS:" { print $2 }' "/proc/$pid/status"
	done | awk '{ n += $1 } END { if (!n) exit 1; print n / 1024 }'
}

measure_rss()
{
	local pid end=$((SECONDS + 10))
	"$BIN/tensorguard-agent" > "$DIR/agent" 2>&1 &
	pid=$!
	until grep -q 'in force' "$DIR/agent"; do
		[ $SECONDS -lt $end ] || die "the agent does not start: $(tail -n 1 "$DIR/agent")"
		sleep 0.05
	done
	sleep 0.3	# until it has given up its rights and read its first packets
	rss $pid >> "$DIR/rss" || die "the agent ended: $(tail -n 1 "$DIR/agent")"
	kill "$pid"
	wait "$pid"
}

load()
{
	"$BIN/tg-load" "$@" > "$DIR/log" 2>&1 || die "tg-load $1: $(tail -n 1 "$DIR/log")"
}

# Bytes that the kernel says it holds for the pinned maps.
map_bytes()
{
	local map
	for map in "$PINS"/*; do
		bpftool -j map show pinned "$map" 2> /dev/null || true
	done | jq -s '[.[] | .bytes_memlock // 0] | add'
}

# session_bytes: what one session and its queue's description take in the maps
session_bytes()
{
	local map
	for map in sessions queues; do
		bpftool -j map show pinned "$PINS/$map"
	done | jq -s '[.[].bytes_value] | add'
}

report_binary()
{
	local name
	for name in tg-load tensorguard-agent tgctl; do
		strip -o "$DIR/stripped" "$BIN/$name" || die "cannot strip $name"
		awk -v bytes="$(stat -c %s "$DIR/stripped")" 'BEGIN { print bytes / 1048576 }' > "$DIR/$name"
		report "binary_${name//-/_}" MiB "$DIR/$name" 'value<=2'
	done
}

policy 'classifier = { undecided = "bypass"; };' > "$DIR/classified"
for _ in $(seq "$ROUNDS"); do
	load up --policy "$DIR/classified"
	measure_rss
	map_bytes | awk '{ print $1 / 1024 }' >> "$DIR/maps"
	session_bytes >> "$DIR/session"
	load down
done
report agent_rss MiB "$DIR/rss" 'value<=10'
report_binary
report maps_per_tunnel KiB "$DIR/maps"
report maps_per_session bytes "$DIR/session"
