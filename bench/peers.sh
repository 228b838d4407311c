#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# What a gateway with many peers costs, each with a session that always runs: processor, times, memory, and how exactly
# their clocks keep time. The cells go to a device whose packets a process throws away, so that nothing is encrypted:
# that process is counted by itself. `load` is that of the machine when it began. Root; in namespaces of its own.
set -u
cd "$(dirname "$0")/.." || exit 1
# shellcheck source=bench/lib/report.sh
. bench/lib/report.sh
# shellcheck source=bench/lib/node.sh
. bench/lib/node.sh
# shellcheck source=scripts/lib/peers.sh
. scripts/lib/peers.sh
enter_node "$0" "$@"
bench_begin peers
node_setup || die "cannot set up the namespaces"

COUNTS=${COUNTS:-100 300 1000}
PERIOD_US=${PERIOD_US:-10000}
SECONDS_EACH=${SECONDS_EACH:-5}
SAMPLE=${SAMPLE:-8}	# sessions whose cells are looked at
PINS=/sys/fs/bpf/tensorguard/tg0

# seconds COMMAND...: prints how long it took; it may fail for what it finds (status), but not for nothing
seconds()
{
	local begin=$EPOCHREALTIME
	timeout 60 "$@" > "$DIR/log" 2>&1
	[ $? -le 1 ] || die "$* failed: $(tail -n 1 "$DIR/log")"
	awk -v begin="$begin" -v end="$EPOCHREALTIME" 'BEGIN { print end - begin }'
}

# busy: ticks that the processors spent on anything so far; worked PID: what a process did of it
busy() { awk '/^cpu / { print $2 + $3 + $4 + $7 + $8; exit }' /proc/stat; }
worked() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }

# percent TICKS SECONDS: of one processor
percent() { awk -v ticks="$1" -v seconds="$2" -v hz="$(getconf CLK_TCK)" 'BEGIN { print 100 * ticks / hz / seconds }'; }

# kernel_bytes: what the kernel itself has allocated, in small pieces and per processor
kernel_bytes() { awk '/^(Slab|Percpu|VmallocUsed):/ { sum += $2 } END { print sum * 1024 }' /proc/meminfo; }

# sent: cells that left all clocks so far
sent()
{
	bpftool -j map dump pinned "$PINS/sessions" | jq '[.[].formatted.value.state.ticks] | add'
}

# sample COUNT: the cells of some sessions, each into $DIR/cells.N as tg-wire reads them; one after the other numbers
# would be clocks that began together
sample()
{
	local filter='' n
	for ((n = 0; n < SAMPLE; n++)); do
		filter="$filter${filter:+ or }ip6 dst fd54:4700::$(printf %x $((n * $1 / SAMPLE + 1)))"
	done
	timeout -s INT "$SECONDS_EACH" tcpdump -p -n -tt --immediate-mode -B 16384 -i ext0 -q "$filter" > "$DIR/sample" 2> "$DIR/log"
	rm -f "$DIR"/cells.*
	awk -v dir="$DIR" '{ to = $5; sub(/:$/, "", to); file = dir "/cells." to
		if (!(to in seen)) { seen[to] = 1; print "time_us,direction,bytes" > file }
		printf "%.0f,1,160\n", $1 * 1000000, to > file }' "$DIR/sample"
}

# grid COUNT: the sampled sessions' error, median of their medians and of their 99th percentiles
grid()
{
	local file
	sample "$1"
	for file in "$DIR"/cells.*; do
		[ -e "$file" ] || die "no cell of the sampled sessions was seen: $(tail -n 1 "$DIR/log")"
		"$TOOLS/tg-wire" --read "$file" --period "$PERIOD_US" > "$DIR/grid" 2> "$DIR/log" || die "tg-wire: $(cat "$DIR/log")"
		jq '.up.grid.error_us.p50' "$DIR/grid" >> "$DIR/p50.$1"
		jq '.up.grid.error_us.p99' "$DIR/grid" >> "$DIR/p99.$1"
	done
}

# cost COUNT: processor and cells, above what the machine does anyway ($1 of `idle`)
cost()
{
	local begin=$EPOCHREALTIME busy_before reader_before sent_before elapsed all reader
	sent_before=$(sent) busy_before=$(busy) reader_before=$(worked "$PEERS_READER") begin=$EPOCHREALTIME
	sleep "$SECONDS_EACH"
	all=$(($(busy) - busy_before)) reader=$(($(worked "$PEERS_READER") - reader_before))
	elapsed=$(awk -v a="$begin" -v b="$EPOCHREALTIME" 'BEGIN { print b - a }')
	percent "$reader" "$elapsed" > "$DIR/reader.$1"
	percent $((all - reader)) "$elapsed" | awk -v idle="$2" '{ print $1 - idle }' > "$DIR/cpu.$1"
	echo "$(sent) $sent_before $begin $EPOCHREALTIME" | awk -v wanted="$(($1 * 1000000 / PERIOD_US))" '
		{ rate = ($1 - $2) / ($4 - $3); print rate, wanted }' > "$DIR/rate.$1"
}

idle_share()
{
	local before
	before=$(busy)
	sleep "$SECONDS_EACH"
	percent $(($(busy) - before)) "$SECONDS_EACH"
}

# lost: clocks that stand, as status says
lost()
{
	"$BIN/tg-load" status 2>&1 | sed -n 's/.*clock cell is lost (\([0-9]*\) of.*/\1/p' | grep . || echo 0
}

# measure COUNT
measure()
{
	local count=$1 idle before sessions all
	peers_policy "$count" "${PERIOD_US}us" ext0 > "$DIR/policy"
	peers_device ext0
	timeout 5 sh -c 'until ip link show ext0 > /dev/null 2>&1; do sleep 0.1; done' || die "no device"
	idle=$(idle_share)
	before=$(kernel_bytes)
	seconds "$BIN/tg-load" up --policy "$DIR/policy" > "$DIR/up.$count" || exit 1
	[ -e "$PINS/sessions" ] || die "up failed: $(tail -n 1 "$DIR/log")"
	echo $((($(kernel_bytes) - before) / count)) > "$DIR/kernel.$count"
	cost "$count" "$idle"
	grid "$count"
	lost > "$DIR/lost.$count"
	seconds "$BIN/tg-load" status > "$DIR/status.$count" || exit 1
	read -r sessions all < <(peers_memory "$PINS")
	echo $((sessions / count)) > "$DIR/state.$count"
	seconds "$BIN/tg-load" down > "$DIR/down.$count" || exit 1
	kill "$PEERS_READER"
	wait "$PEERS_READER" 2> /dev/null
	report "peers_${count}_cpu" % "$DIR/cpu.$count"
	report "peers_${count}_cpu_reader" % "$DIR/reader.$count"
	report "peers_${count}_cells" cells/s "$DIR/rate.$count"
	report "peers_${count}_grid_p50" us "$DIR/p50.$count"
	report "peers_${count}_grid_p99" us "$DIR/p99.$count"
	report "peers_${count}_clocks_lost" clocks "$DIR/lost.$count"
	report "peers_${count}_state" bytes "$DIR/state.$count" 'value<=256'
	report "peers_${count}_kernel" bytes "$DIR/kernel.$count"
	report "peers_${count}_up" s "$DIR/up.$count"
	report "peers_${count}_status" s "$DIR/status.$count"
	report "peers_${count}_down" s "$DIR/down.$count"
}

# managed COUNT: up and again with a tunnel of our own, whose peers and routes have to be made as well
managed()
{
	PEERS_KEY=$DIR/key peers_policy "$1" 1s > "$DIR/policy"
	seconds "$BIN/tg-load" up --policy "$DIR/policy" > "$DIR/managed" || exit 1
	[ -e "$PINS/sessions" ] || die "up failed: $(tail -n 1 "$DIR/log")"
	seconds "$BIN/tg-load" up > "$DIR/managed_again" || exit 1
	seconds "$BIN/tg-load" down > "$DIR/log" || exit 1
	report "peers_$1_managed_up" s "$DIR/managed"
	report "peers_$1_managed_up_again" s "$DIR/managed_again"
}

cut -d' ' -f1 /proc/loadavg > "$DIR/load"
report peers_load tasks "$DIR/load"
for count in $COUNTS; do
	measure "$count"
done
managed "${count:-1000}"
