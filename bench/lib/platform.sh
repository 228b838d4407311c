# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# A Platform that is measured, and a fleet that asks it. AGENTS says how many at most.
# shellcheck source=bench/lib/report.sh
. bench/lib/report.sh
# shellcheck source=bench/lib/node.sh
. bench/lib/node.sh
SERVERS=()

# platform_begin NAME SCRIPT [ARGUMENT...]: in namespaces of its own, with a store and keys
platform_begin()
{
	enter_node "${@:2}"
	bench_begin "$1"
	CLEANUPS+=(servers_down)
	DATA=$DIR/data
	ip link set lo up || die "cannot set up the namespaces"
	platform init
	cut -d' ' -f1 /proc/loadavg > "$DIR/load"
}

# agents_allowed WANTED: as many connections as one process may have here, beside the files that it needs for itself
SPARE_FILES=200
agents_allowed()
{
	local limit
	limit=$(ulimit -Hn)
	if [ "$limit" != unlimited ] && [ "$limit" -lt $(($1 + SPARE_FILES)) ] &&
		! prlimit --nofile=$(($1 + SPARE_FILES)) true 2> /dev/null; then
		echo "$BENCH: $1 connections need more than the $limit open files that this machine allows a process" >&2
		echo $((limit - SPARE_FILES))
	else
		echo "$1"
	fi
}

servers_down()
{
	local pid
	for pid in "${SERVERS[@]}"; do
		kill "$pid" 2> /dev/null
		wait "$pid" 2> /dev/null
	done
	SERVERS=()
}

platform()
{
	"$BIN/tensorguard-platform" "$@" --data "$DATA" > "$DIR/out" 2>&1 || die "$1 failed: $(tail -n 1 "$DIR/out")"
}

# wait_for COMMAND...
wait_for()
{
	local end=$((SECONDS + 20))
	until "$@" > /dev/null 2>&1; do
		[ $SECONDS -lt $end ] || die "a server does not start: $(tail -n 1 "$DIR/log")"
		sleep 0.05
	done
}

# shellcheck disable=SC2034 # the benchmarks use it
# Sets $PORT and $PID.
serve()
{
	: > "$DIR/log"
	"$BIN/tensorguard-platform" serve --data "$DATA" --listen 127.0.0.1:0 --rate 1000000 \
		--connections $(($(agents_allowed "$AGENTS" 2> /dev/null) + 100)) 2> "$DIR/log" &
	PID=$!
	SERVERS+=("$PID")
	wait_for grep -q '"event":"listening"' "$DIR/log"
	PORT=$(jq -r 'select(.event == "listening").port' "$DIR/log")
}

# agents COMMAND...: its "NAME VALUE" lines go to $DIR/NAME
agents()
{
	timeout "${AGENTS_LIMIT:-150}" "$BUILD/bench/agents" "$@" > "$DIR/figures" || die "agents $1 failed"
	awk -v dir="$DIR" '{ print $2 > dir "/" $1 }' "$DIR/figures"
}
