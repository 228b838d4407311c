#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# How exactly cells leave on their grid, dummies and real ones, beside how exactly this machine can wake up; the same
# on a machine that computes, beside a tunnel without its raised priority; and what an idle session that never ends
# costs. Root.
set -u
cd "$(dirname "$0")/.." || exit 1
# shellcheck source=bench/lib/report.sh
. bench/lib/report.sh
# shellcheck source=bench/lib/bed.sh
. bench/lib/bed.sh
bench_begin grid

PLANT=10.90.0.10
ROUNDS=${ROUNDS:-3}
CPU_ROUNDS=${CPU_ROUNDS:-4}
SECONDS_EACH=${SECONDS_EACH:-3}
CPU_SECONDS=2
ENDS="gateway robot"	# who calls comes last: a call that nobody hears is repeated only after 5 s

# policy PERIOD-US: a session that never ends, its first cell goes out at once; how exact the clock is shows without a
# dither
policy()
{
	sed -E -e "s/period = .*/period = \"$1us\";/" -e 's/session = .*/session = "always";/' -e '/idle = /d' -e '/dither = /d' \
		-e 's/profile = .*/profile = "lab";/' policies/warehouse.conf
}

# record BED PERIOD-US NAME: a round, appended to $DIR/NAME.p50 and .p99 as "cells timer"
record()
{
	local timer
	"$TOOLS/tg-wire" --netns "$(scripts/testbed netns wan --name "bench-$$-$1")" --interface robot \
		--a 192.0.2.2 --port 51820 --duration "$SECONDS_EACH" --period "$2" > "$DIR/wire" 2> "$DIR/log" &
	timer=$("$BUILD/bench/timer" "$2" "$SECONDS_EACH") || die "no reference"
	wait $! || die "tg-wire: $(tail -n 1 "$DIR/log")"
	jq -e '.up.packets > 0 and .down.packets > 0' "$DIR/wire" > /dev/null || die "no cells on the link"
	echo "$(jq '.up.grid.error_us.p50' "$DIR/wire") ${timer% *}" >> "$DIR/$3.p50"
	echo "$(jq '.up.grid.error_us.p99' "$DIR/wire") ${timer#* }" >> "$DIR/$3.p99"
}

# cells BED: what its robot has sent, "real dummy"
cells()
{
	bed "$1" robot "$BIN/tgctl" stats --json |
		jq -r '.tunnels[0].classes[0].out | "\(.real_packets) \(.dummy_packets)"'
}

# real_share BED BEFORE: share of the cells since then that were real ones
real_share()
{
	echo "$2 $(cells "$1")" | awk '{ print ($3 - $1) / ($3 - $1 + $4 - $2) }'
}

# check_share BED BEFORE CONDITION: that the cells were of the kind that the line is about
check_share()
{
	local share
	share=$(real_share "$1" "$2")
	awk -v share="$share" "BEGIN { exit !(share $3) }" || die "the share of real cells is $share, expected $3"
}

# busy_grid BED PERIOD-US: while every processor computes, the tunnel before others and as one of them
busy_grid()
{
	local hogs=() hog raised normal kind
	for _ in $(seq "$(nproc)"); do
		setsid sh -c 'while :; do :; done' &
		hogs+=($!)
	done
	for kind in normal raised; do
		priority "$1" "$([ $kind = normal ] && echo 0 || echo -10)"
		record "$1" "$2" busy.$kind
	done
	for hog in "${hogs[@]}"; do
		kill "$hog"
	done
	for kind in p50 p99; do
		raised=$(tail -n 1 "$DIR/busy.raised.$kind") normal=$(tail -n 1 "$DIR/busy.normal.$kind")
		echo "${raised% *} ${normal% *}" >> "$DIR/busy.$kind"
	done
}

# measure_grid BED PERIOD-US: idle, then with pings always under way, so that a real cell waits for each slot
measure_grid()
{
	local ping before
	before=$(cells "$1")
	record "$1" "$2" "$1.dummy"
	check_share "$1" "$before" '== 0'
	bed "$1" robot ping -q -n -f -l 8 -s 64 -w $((SECONDS_EACH + 1)) $PLANT > /dev/null &
	ping=$!
	sleep 0.3
	before=$(cells "$1")
	record "$1" "$2" "$1.real"
	check_share "$1" "$before" '>= 0.9'
	wait $ping
	sleep 0.3	# the last cells
}

# busy: seconds that the processors worked since they started
busy()
{
	awk -v hz="$(getconf CLK_TCK)" '$1 == "cpu" { print ($2 + $3 + $4 + $7 + $8) / hz }' /proc/stat
}

# tunnel_cpu BED: seconds that both WireGuard processes worked, to the nanosecond; 0 with the kernel's WireGuard
tunnel_cpu()
{
	local end
	for end in $ENDS; do
		# shellcheck disable=SC2016 # expanded in the node
		bed "$1" "$end" bash -c 'for pid in $(pgrep -x wireguard-go); do
			cat /proc/$pid/task/*/schedstat; done'
	done | awk '{ n += $1 } END { print n / 1e9 }'
}

# window BED: prints per cent of one processor during a window: all work, WireGuard's
window()
{
	local all tunnel begin=$EPOCHREALTIME
	all=$(busy) tunnel=$(tunnel_cpu "$1")
	sleep $CPU_SECONDS
	awk -v all="$all" -v all_end="$(busy)" -v tunnel="$tunnel" -v tunnel_end="$(tunnel_cpu "$1")" \
		-v begin="$begin" -v end="$EPOCHREALTIME" 'BEGIN {
		print (all_end - all) / (end - begin) * 100, (tunnel_end - tunnel) / (end - begin) * 100 }'
}

# load BED COMMAND...: tg-load at both ends
load()
{
	local end
	for end in $ENDS; do
		bed "$1" "$end" "$BIN/tg-load" "${@:2}" > "$DIR/log" 2>&1 || die "tg-load $2: $(tail -n 1 "$DIR/log")"
	done
}

# await_dummies BED: until the dummies of both ends arrive at the other one
await_dummies()
{
	local end limit=$((SECONDS + 15))
	for end in $ENDS; do
		until bed "$1" "$end" "$BIN/tgctl" stats --json |
			jq -e '.tunnels[0].classes[0].in.dummy_packets > 0' > /dev/null; do
			[ $SECONDS -lt $limit ] || die "no dummies arrive at the $end"
			sleep 0.1
		done
	done
}

# Sessions at both ends against the same machine with the guardian taken down.
measure_cpu()
{
	local end session control state=${TG_TESTBED_DIR:-/run/tg-testbed}/bench-$$-$1
	session=$(window "$1")
	load "$1" down
	control=$(window "$1")
	for end in $ENDS; do
		bed "$1" "$end" "$BIN/tg-load" up --policy "$state/$end.policy" --site "$state/$end.site" \
			> "$DIR/log" 2>&1 || die "tg-load up: $(tail -n 1 "$DIR/log")"
	done
	await_dummies "$1"
	echo "$session $control" | awk '{ print $1 - $3, $3 }' >> "$DIR/cpu"
	echo "$session" | awk '{ print $2 }' >> "$DIR/cpu.tunnel"
}

for period in 5000 1000; do
	policy $period > "$DIR/$period.conf"
	bed_up $period --policy "$DIR/$period.conf"
	for _ in $(seq "$ROUNDS"); do
		measure_grid $period $period
	done
	if [ $period = 5000 ]; then
		for _ in $(seq "$ROUNDS"); do
			busy_grid $period $period
		done
		for _ in $(seq "$CPU_ROUNDS"); do
			measure_cpu $period
		done
	fi
	load $period down	# one schedule at a time
done
for period in 5000 1000; do
	for kind in dummy real; do
		for part in p50 p99; do
			report "grid_$((period / 1000))ms_${kind}_$part" us "$DIR/$period.$kind.$part"
		done
	done
done
report grid_5ms_busy_p50 us "$DIR/busy.p50"
report grid_5ms_busy_p99 us "$DIR/busy.p99"
report idle_session_cpu %cpu "$DIR/cpu"
report idle_session_cpu_wireguard %cpu "$DIR/cpu.tunnel"
