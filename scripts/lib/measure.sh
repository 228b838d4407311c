# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# Playing a session through a testbed while its wan link is recorded. Needs
# ROOT, TOOLS (folder of the test tools) and wait_for (scripts/lib/node.sh).
# Every function takes the testbed's name and a folder for its files.

measure_netns()
{
	"$ROOT/scripts/testbed" netns "$2" --name "$1"
}

# wire_start NAME DIR [OPTION...]: records until wire_stop; options are tg-wire's. WIRE_LINK and WIRE_EDGE: another robot's
# link than that of the first, and the options that say its addresses.
wire_start()
{
	local name=$1 dir=$2

	shift 2
	rm -f "$dir/wire.ready"
	# shellcheck disable=SC2086 # options are words
	"$TOOLS/tg-wire" --netns "$(measure_netns "$name" wan)" --interface "${WIRE_LINK:-robot}" \
		${WIRE_EDGE:---a 192.0.2.2 --a 2001:db8:54::2} --port 51820 \
		--csv "$dir/wire.csv" --ready "$dir/wire.ready" "$@" \
		> "$dir/wire.json" 2> "$dir/wire.err" &
	echo $! > "$dir/wire.pid"
	wait_for 30 test -e "$dir/wire.ready" || wire_failed "$dir"
}

wire_failed()
{
	cat "$1/wire.err" >&2
	return 1
}

# wire_stop DIR: ends the recording; fails if it is not complete. From the shell that started it.
wire_stop()
{
	local pid
	pid=$(cat "$1/wire.pid")
	rm -f "$1/wire.pid"
	kill -INT "$pid" 2> /dev/null || true
	wait "$pid" || wire_failed "$1"
}

wire_packets()
{
	"$ROOT/scripts/testbed" exec wan --name "$1" -- ip -s -j link show dev "${WIRE_LINK:-robot}" |
		jq '.[0].stats64 | .rx.packets + .tx.packets'
}

# wire_wait_silent NAME SECONDS: until nothing has crossed the link for 1.5 s; fails if that does not
# come in time.
wire_wait_silent()
{
	local name=$1 deadline=$((SECONDS + $2)) before now quiet=0

	before=$(wire_packets "$name") || return 1
	while [ $quiet -lt 6 ]; do
		[ "$SECONDS" -lt "$deadline" ] || return 1
		sleep 0.25
		now=$(wire_packets "$name") || return 1
		if [ "$now" = "$before" ]; then
			quiet=$((quiet + 1))
		else
			quiet=0
		fi
		before=$now
	done
}

# replay NAME DIR TRACE [OPTION...]: the robot, or REPLAY_FROM, connects to the controller in the plant, at REPLAY_PORT;
# options are tg-replay's.
replay()
{
	local name=$1 dir=$2 trace=$3

	shift 3
	"$TOOLS/tg-replay" --address 10.90.0.10 --port "${REPLAY_PORT:-10000}" --listen controller \
		--client-netns "$(measure_netns "$name" "${REPLAY_FROM:-robot}")" \
		--server-netns "$(measure_netns "$name" plant)" \
		--rt --delays "$dir/delays.csv" "$@" "$trace" > "$dir/app.json" 2> "$dir/app.err"
}
