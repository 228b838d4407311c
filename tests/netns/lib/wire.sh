# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# shellcheck disable=SC2016,SC2034,SC2120 # jq variables; constants and options are for the tests
# Tests of what an eavesdropper sees: testbeds with policies of their own, and
# assertions on recordings of the wan link. To be sourced from the project's
# folder, with the tests' environment (tests/netns/run) around it.
# shellcheck source=tests/cli/lib.sh
. tests/cli/lib.sh
# `set -u` above is all that fits here: a failed check must not end the test.
export ROOT=$PWD TOOLS=$PWD/${BUILD:-build}/tools BUILD=${BUILD:-build}
# shellcheck source=scripts/lib/node.sh
. scripts/lib/node.sh
# shellcheck source=scripts/lib/measure.sh
. scripts/lib/measure.sh

BEDS=() BED='' PROBE=probe CHILDREN=()
TUNNEL_PEER=10.84.0.1 PLANT=10.90.0.10 PLANT6=fd54:4790::10 ROBOT=10.84.0.2 ROBOT6=fd54:4700::2

cleanup()
{
	local bed pid
	for pid in "${CHILDREN[@]}"; do kill -9 "$pid" 2> /dev/null; done
	for bed in "${BEDS[@]}"; do scripts/testbed down --name "$bed"; done
	rm -rf "$WORK"
}
trap cleanup EXIT
trap 'exit 1' INT TERM HUP

# policy FILE CLASSES [RULES [DEFAULT]]: an edge policy laid out like the shipped ones.
policy()
{
	local plant='"10.90.0.0/16", "fd54:4790::/64"' rules
	rules=${3:-"{ tunnel = \"tg0\"; class = \"${4:-main}\"; to = ( $plant ); }"}
	cat > "$1" <<TEXT
version = 1;
name = "wire";
policy_version = 1L;
role = "edge";
profile = "lab";
fail = "closed";
${ENGINE:+engine = \"$ENGINE\";}
tunnels = (
	{
		name = "tg0";
		key_file = "/etc/tensorguard/tg0.key";
		addresses = ( "10.84.0.2/24", "fd54:4700::2/64" );
		peers = ( {
			public_key = "HSo3RFFea3iFkp+sucbT4O36DBkmM0BNWmd0gY6bqLU=";
			allowed_ips = ( $plant, "10.84.0.1/32", "fd54:4700::1/128" );
		} );
		default = "${4:-main}";
		classes = ( $2 );
	}
);
rules = ( $rules );
TEXT
}

# gateway_policy FILE: what the testbed makes of such a policy for the other end
gateway_policy()
{
	sed -e '/^rules =/,$d' -e 's/^role = .*/role = "gateway";/' "$1"
	echo 'rules = ( { tunnel = "tg0"; class = "main"; to = ( "10.84.0.2/32", "fd54:4700::2/128" ); } );'
}

# pad_class [MORE]: a pad class "main"; constant_class CELL PERIOD SESSION [MORE]: with a dither, as in the shipped
# policies, unless DITHER=false
pad_class() { echo "{ name = \"main\"; defence = \"pad\"; $* }"; }
constant_class()
{
	local cell=$1 period=$2 session=$3
	shift 3
	echo "{ name = \"main\"; defence = \"constant\"; cell = $cell;" \
		"period = \"$period\"; session = \"$session\"; dither = ${DITHER:-true}; $* }"
}

# bed NAME [OPTION...]: brings one up and makes it the one of the functions below; a test without it ends.
bed()
{
	BED=$1-$$
	shift
	NODE_STATE=${TG_TESTBED_DIR:-/run/tg-testbed}/$BED
	BEDS+=("$BED")
	if ! scripts/testbed up --name "$BED" "$@" > "$WORK/up.log" 2>&1; then
		not_ok "$BED-up" "$(tail -n 2 "$WORK/up.log" | tr '\n' ' ')"
		finish
	fi
	hurry
}

# run_on NODE COMMAND...: as run does, in a node
run_on()
{
	local node=$1
	shift
	on "$node" timeout 60 "$@" > "$WORK/out" 2> "$WORK/err" < /dev/null
	status=$?
}

# swap_both: the policy in $WORK/policy, at both ends, by reload
swap_both()
{
	local node
	gateway_policy "$WORK/policy" > "$WORK/policy.gateway"
	run_on gateway "$BIN/tg-load" reload --policy "$WORK/policy.gateway" --site "$NODE_STATE/gateway.site"
	check swap-gateway "$(seen)" [ $status -eq 0 ]
	run_on robot "$BIN/tg-load" reload --policy "$WORK/policy" --site "$NODE_STATE/robot.site"
	check swap-robot "$(seen)" [ $status -eq 0 ]
	for node in robot gateway; do
		served $node || not_ok "swap-$node-served" "its agent does not take over"
	done
}

# served NODE: whether all is as it should be, an agent that paces included, in time
served() { wait_for 40 on "$1" "$BIN/tgctl" status --json; }

# wireguard-go of Debian 12 has a small receive buffer: on a busy machine it must not wait for its turn.
# (Not by a real-time priority: its threads spin, and then they starve each other for good.)
hurry()
{
	local node
	for node in robot gateway; do
		# shellcheck disable=SC2016 # expanded in the node
		on "$node" bash -c 'for pid in $(pgrep -x wireguard-go); do
			renice -n -15 -p $(ls /proc/$pid/task)
		done' > /dev/null 2>&1
	done
}

bed_down() { scripts/testbed down --name "$BED"; }
on() { node_exec "$@"; }
netns_of() { echo "/proc/$(node_pid "$1")/ns/net"; }

# record [OPTION...] and recorded: the wan link in between, in $WIRE as JSON and in $WORK/wire.csv.
record()
{
	wire_start "$BED" "$WORK" "$@" || {
		not_ok recording "cannot be started"
		finish
	}
}
recorded()
{
	wire_stop "$WORK" || not_ok recording "packets are missing in it"
	WIRE=$WORK/wire.json
}

# wire FILTER: a value of the last recording.
wire() { jq -c "$1" "$WIRE"; }

# Whether the machine let the queues' timers run on time while that was recorded: within one packet in 200, and without
# a stall of four periods. Slots say nothing about a machine that did not; counts and sizes always do. That it was the
# machine must be seen without us: a sleeper on each processor, which the recorder has run beside, was late as well.
quiet()
{
	local off stalled machine
	off=$(wire '[.up.grid, .down.grid | .late + .breaks] | max')
	stalled=$(wire '[.up, .down | .gaps_ms.max * 1000 >= 4 * .grid.period_us] | any')
	[ "$stalled" = false ] && [ $((off * 200)) -le "$(wire '[.up.packets, .down.packets] | min')" ] && return 0
	machine=$(wire .machine)
	echo "# $1: slots are not looked at, the machine is too busy: $off packets off, stalled: $stalled; $machine"
	[ "$(jq .late <<< "$machine")" -gt 0 ] || not_ok "$1-on-time" "the wire is late, and the machine was not: $(wire '[.up, .down]')"
	return 1
}

# Whether no slot was left out: then slots of different recordings can be compared one by one.
unbroken() { [ "$(wire '[.up.grid, .down.grid | .missed, .doubled] | add')" = 0 ]; }

# none_missed NAME: a slot is missed only where the machine was late. A timer that comes more than half a period after
# its time stretches that period: a gap of less than four periods costs two slots at most.
none_missed()
{
	check "$1-missed" "$(wire '[.up.grid, .down.grid, .machine]')" [ "$(wire '.machine.late as $late |
		[.up.grid, .down.grid | .missed <= 2 * .breaks and .breaks <= $late] | all')" = true ]
}

# grid_is NAME: one run of packets in each direction, no slot taken twice, none left out
grid_is()
{
	is "$1-one-run" "$(wire '[.up.grid.runs, .down.grid.runs]')" "[1,1]"
	if quiet "$1"; then
		is "$1-doubled" "$(wire '[.up.grid.doubled, .down.grid.doubled]')" "[0,0]"
		none_missed "$1"
	fi
}

# rate_is NAME [DIRECTION...]: a cell in each slot of the last recording. A busy machine sends late, but never early; and its
# recorder stops when it gets the processor, and says how long it was. What a busy machine had held back before the
# recording is in it as well.
rate_is()
{
	local slots way packets
	slots=$(wire ".duration_s * 1000000 / $PERIOD_US | floor")
	for way in "${@:2}"; do
		packets=$(wire ".$way.packets")
		holds "$1-rate-$way" "$packets packets in $slots slots" "$packets > 7 * slots / 10"
		! quiet "$1" || holds "$1-no-more-$way" "$packets packets in $slots slots" "$packets <= slots + 10"
	done
}

# inside NODE DEVICE [OPTION...] and inside_stop NODE: that device's packets, headers and all, in $WORK/NODE.csv
inside()
{
	rm -f "$WORK/$1.ready"
	"$TOOLS/tg-wire" --netns "$(netns_of "$1")" --interface "$2" --a $ROBOT --a $ROBOT6 \
		--dump-headers "$WORK/$1.csv" --ready "$WORK/$1.ready" "${@:3}" > "$WORK/$1.json" 2> "$WORK/$1.err" &
	echo $! > "$WORK/$1.pid"
	CHILDREN+=($!)
	wait_for 20 test -e "$WORK/$1.ready" || not_ok "inside-$1" "$(cat "$WORK/$1.err")"
}
inside_stop()
{
	kill -TERM "$(cat "$WORK/$1.pid")"
	wait "$(cat "$WORK/$1.pid")" || not_ok "inside-$1" "$(cat "$WORK/$1.err")"
}

# stats NODE FILTER: a value of `tgctl stats` of the only tunnel (t) and its first class (c).
stats()
{
	on "$1" "$BIN/tgctl" stats --json | jq -c ".tunnels[0] as \$t | \$t.classes[0] as \$c | $2"
}

# sent NODE: [real, dummy] packets of its class so far
sent() { stats "$1" '$c.out | [.real_packets, .dummy_packets]'; }

# counted NAME: what the wire showed since the last call is what the counters say, packet by packet, and arrived
counted()
{
	local up down
	up=$(sent robot) down=$(sent gateway)
	wire_up=$((wire_up + $(wire .up.packets))) wire_down=$((wire_down + $(wire .down.packets)))
	is "$1-up" "$(jq add <<< "$up")" $wire_up
	is "$1-down" "$(jq add <<< "$down")" $wire_down
	is "$1-up-dummies" "$(($(stats gateway '$c.in.dummy_packets') + $(no_room gateway)))" "$(jq '.[1]' <<< "$up")"
	is "$1-down-dummies" "$(($(stats robot '$c.in.dummy_packets') + $(no_room robot)))" "$(jq '.[1]' <<< "$down")"
}
wire_up=0 wire_down=0

# is_true FILTER FILE: whether it holds for the one JSON value in the file
is_true() { jq -es "length == 1 and (.[0] | $1)" "$2" > /dev/null; }

# is NAME GOT WANTED
is() { check "$1" "is $2, expected $3" [ "$2" = "$3" ]; }
# holds NAME TEXT EXPRESSION: an arithmetic comparison
holds() { check "$1" "$2" [ $(($3)) -ne 0 ]; }

# nothing_else NAME: the recording has nothing beside the tunnel
nothing_else()
{
	is "$1-clear" "$(wire '[.clear_packets, .fragments, .oversize, .undirected, .malformed]')" \
		"[0,0,0,0,0]"
}

# sizes_are NAME SIZE: one outer size, the same in both directions, and nothing beside the tunnel.
sizes_are()
{
	is "$1-sizes" "$(wire '[.up.sizes, .down.sizes]')" "[[$2],[$2]]"
	nothing_else "$1"
}

# probe FROM TO ADDRESS [OPTION...]: numbered datagrams; fails if any is lost. The result is in
# $WORK/$PROBE.json: those that run at the same time need a name of their own.
probe()
{
	local from=$1 to=$2 address=$3
	shift 3
	no_room_at_all > "$WORK/$PROBE.room"
	timeout 120 "$TOOLS/tg-probe" --client-netns "$(netns_of "$from")" \
		--server-netns "$(netns_of "$to")" --address "$address" --port 7000 "$@" > "$WORK/$PROBE.json" 2> "$WORK/$PROBE.err"
}
probed() { jq -c . "$WORK/$PROBE.json"; tail -n 1 "$WORK/$PROBE.err"; }
# arrived NAME: every datagram of the last probe did, once and unchanged; lost are at most those that the kernel
# says found no room: in the socket or device of a wireguard-go that had to wait for the processor, or before it.
arrived()
{
	local room
	room=$(($(no_room_at_all) - $(cat "$WORK/$PROBE.room")))
	[ $room -eq 0 ] || echo "# $1: $room packets found no room"
	check "$1" "$(probed | tr '\n' ' ')" is_true \
		".lost <= $room and .duplicated + .corrupt + .refused == 0 and .received > 0" \
		"$WORK/$PROBE.json"
}

# echoed NAME ADDRESS [OPTION...]: the robot's echo request is answered
echoed()
{
	on robot ping -q -c 1 -W 10 "${@:3}" "$2" > "$WORK/ping" 2>&1
	check "$1" "$(tail -n 2 "$WORK/ping" | tr '\n' ' ')" grep -q ' 0% packet loss' "$WORK/ping"
}

# start NODE COMMAND...: in the background; ended with the test.
start()
{
	node_exec "$@" > "$WORK/started.log" 2>&1 < /dev/null &
	CHILDREN+=($!)
	disown
}

# on_listens NODE PORT
on_listens() { on "$1" ss -Htln | grep -q ":$2 "; }

# Packets that reached a node and found no room in a socket. (nstat would remember between calls.)
no_room()
{
	on "$1" awk '/^Udp6RcvbufErrors/ { n += $2 } /^Udp: [0-9]/ { n += $6 } END { print n + 0 }' \
		/proc/net/snmp /proc/net/snmp6
}

# Packets that a tunnel device took from our programs and that its wireguard-go did not fetch in time.
not_fetched() { on "$1" ip -s -j link show dev tg0 | jq '.[0].stats64.tx.dropped'; }

# Packets that found a processor's queue of received ones full, whoever's they were: the kernel counts no finer.
no_backlog()
{
	local sum=0 dropped

	while read -r _ dropped _; do
		sum=$((sum + 16#$dropped))
	done < /proc/net/softnet_stat
	echo $sum
}

no_room_at_all()
{
	echo $(($(no_room robot) + $(no_room gateway) + $(not_fetched robot) + $(not_fetched gateway) + $(no_backlog)))
}

# agents NODE: how many processes of the agent there are
agents() { on "$1" pgrep -c '^(tensorg|tg-(keeper|guard|trust|vault|keys)$)'; }
# kill_agent NODE: kill -9; its children end with it, but not in the same moment
kill_agent()
{
	on "$1" pkill -9 '^tensorg'
	wait_for 40 eval '[ "$(agents '"$1"')" = 0 ]'
}

# transfer NAME FROM TO ADDRESS FILE [SECONDS]: by TCP; the far end must have the same SHA-256.
transfer()
{
	local name=$1 from=$2 to=$3 file=$5 target=TCP4:$4 listen=TCP4-LISTEN listener
	[[ $4 != *:* ]] || target="TCP6:[$4]" listen=TCP6-LISTEN
	rm -f "$WORK/arrived"
	on "$to" timeout "${6:-60}" socat -u "$listen:7001,reuseaddr" "OPEN:$WORK/arrived,creat,trunc" \
		< /dev/null &
	listener=$!
	wait_for 20 on_listens "$to" 7001
	on "$from" timeout "${6:-60}" socat -u "OPEN:$file" "$target:7001" < /dev/null
	wait "$listener"
	is "$name-sha256" "$(sha256sum < "$WORK/arrived")" "$(sha256sum < "$file")"
}

# silent SECONDS: waits until nothing crosses the link any more.
silent() { wire_wait_silent "$BED" "$1"; }
