# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# Verdicts, traffic and the eavesdropper for tests that run inside a virtual
# machine, on scripts/testbed: robot -- wan -- gateway -- plant.

# An emulated machine is slow, and more so when the real one is busy.
export TG_PATIENCE=10
# shellcheck source=tests/lib.sh
. tests/lib.sh
TOOLS=$PWD/$BUILD/tools
PLANT4=10.90.0.10
PLANT6=fd54:4790::10

# ---- the testbed ----

# bed_up [OPTION...]
bed_up()
{
	scripts/testbed up --name vm "$@" || return 1
	robot_net=$(scripts/testbed netns robot --name vm) &&
		wan_net=$(scripts/testbed netns wan --name vm) &&
		plant_net=$(scripts/testbed netns plant --name vm)
}

bed_down()
{
	scripts/testbed down --name vm
}

# on NODE COMMAND...: with the node's file systems and processes; robot and plant: in its network only.
on()
{
	local node=$1

	shift
	scripts/testbed exec "$node" --name vm -- "$@"
}

robot() { nsenter --net="$robot_net" "$@"; }
plant() { nsenter --net="$plant_net" "$@"; }

# ---- what the eavesdropper sees ----

# wire_watch NAME [OPTION...]: begins to record.
wire_watch()
{
	local name=$1

	shift
	rm -f "$WORK/ready"
	"$TOOLS/tg-wire" --netns "$wan_net" --interface robot --a 192.0.2.2 --ready "$WORK/ready" "$@" \
		> "$WORK/$name.json" 2> "$WORK/$name.err" &
	watcher=$!
	wait_until 60 test -e "$WORK/ready" || cat "$WORK/$name.err"
}

# wire_stop: succeeds when the recording is complete.
wire_stop()
{
	kill -TERM "$watcher"
	wait "$watcher"
}

# wire_is NAME FILTER: the recording has this property.
wire_is()
{
	jq -e "$2" "$WORK/$1.json" > /dev/null && return 0
	jq -c 'del(.up.gaps_ms, .down.gaps_ms)' "$WORK/$1.json"
	return 1
}

# one_size NAME DIRECTION SIZE: every data packet of the direction has this outer size.
one_size()
{
	wire_is "$1" ".$2 | .packets > 0 and .sizes == [$3] and .bytes == .packets * $3"
}

# Nothing but the tunnel's own messages; kinds that WireGuard does not know are `other`.
no_cleartext()
{
	wire_is "$1" '[.clear_packets, .malformed, .oversize, .drops, .fragments, .undirected,
		.up.other, .down.other] | all(. == 0)'
}

# ---- traffic ----

# listens PROTOCOL PORT: something in the plant does.
listens()
{
	[ -n "$(plant ss -Hln"$1" "sport = :$2")" ]
}

address_of()
{
	case $1 in
	4) echo $PLANT4 ;;
	6) echo "[$PLANT6]" ;;
	esac
}

# tcp_copy FAMILY DIRECTION BYTES: a file arrives unchanged; the plant listens, `up` is from the robot.
tcp_copy()
{
	local listen=TCP$1-LISTEN:5001,reuseaddr connect server status
	connect=TCP$1:$(address_of "$1"):5001

	head -c "$3" /dev/urandom > "$WORK/sent"
	rm -f "$WORK/received"
	if [ "$2" = up ]; then
		plant timeout 60 socat -u "$listen" "CREATE:$WORK/received" &
	else
		plant timeout 60 socat -u "OPEN:$WORK/sent" "$listen" &
	fi
	server=$!
	wait_until 60 listens t 5001 || return 1
	if [ "$2" = up ]; then
		robot timeout 60 socat -u "OPEN:$WORK/sent" "$connect"
	else
		robot timeout 60 socat -u "$connect" "CREATE:$WORK/received"
	fi
	status=$?
	wait $server && [ $status -eq 0 ] && cmp "$WORK/sent" "$WORK/received"
}

# udp_echo FAMILY BYTES...: datagrams of these sizes come back unchanged.
udp_echo()
{
	# A port for each family: the other's last answer may still be on its way.
	local family=$1 port=500$1 address size server status=0
	address=$(address_of "$1")

	shift
	plant socat -b 65536 -T 2 "UDP$family-RECVFROM:$port,bind=$address,reuseaddr,fork" PIPE &
	server=$!
	wait_until 60 listens u "$port" || status=1
	for size in "$@"; do
		head -c "$size" /dev/urandom > "$WORK/sent"
		robot timeout 10 socat -b 65536 -t 2 - "UDP$family:$address:$port" \
			< "$WORK/sent" > "$WORK/received" && cmp "$WORK/sent" "$WORK/received" || status=1
	done
	kill $server
	wait $server
	return $status
}

# pings FAMILY BYTES...
pings()
{
	local address size

	address=$(address_of "$1" | tr -d '[]')
	shift
	for size in "$@"; do
		robot ping -n -q -c 3 -i 0.2 -w 8 -s "$size" "$address" || return 1
	done
}

# traffic NAME BYTES [DATAGRAM]: every kind in both directions and families; BYTES per file.
traffic()
{
	local family

	for family in 4 6; do
		check "$1/ping$family" "no answer" pings "$family" 0 56 "${3:-1300}"
		check "$1/udp$family" "datagrams did not come back as sent" udp_echo "$family" 1 "${3:-1300}"
		check "$1/tcp$family-up" "the file did not arrive as sent" tcp_copy "$family" up "$2"
		check "$1/tcp$family-down" "the file did not arrive as sent" tcp_copy "$family" down "$2"
	done
}
