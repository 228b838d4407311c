#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Packets per second through the agent's queue, beside the plainest queue program
# that accepts everything. Medians of ROUNDS rounds, the two in turn. Prints JSON
# lines; fails when a packet was lost. Root; works in namespaces of its own.
set -u
cd "$(dirname "$0")/.." || exit 1

BUILD=${BUILD:-build}
ROUNDS=${ROUNDS:-5}
MILLISECONDS=${MILLISECONDS:-1500}
NFQUEUE=$BUILD/bench/nfqueue
AGENT=$BUILD/bin/tensorguard-agent
QUEUE=85
HERE=10.77.0.1 FAR=10.77.0.2 SOURCES=10.78.0.0

if [ "${1:-}" != --inside ]; then
	exec unshare --net --mount --pid --fork --kill-child --mount-proc "$0" --inside
fi

die() { echo "nfqueue: $*" >&2; exit 1; }

setup()
{
	mount --make-rprivate / && mount -t tmpfs tmpfs /run && mkdir -p /run/netns /run/guard &&
		mount -t bpf bpf /sys/fs/bpf && mkdir -p /sys/fs/bpf/bench/tg0 && ip link set lo up &&
		ip netns add far && ip link add cv0 type veth peer name cv1 netns far &&
		ip addr add $HERE/24 dev cv0 && ip link set cv0 up && ip route add local 10.78.0.0/16 dev lo &&
		nsenter --net=/run/netns/far sh -c "ip addr add $FAR/24 dev cv1 && ip link set cv1 up &&
			ip route add 10.78.0.0/16 via $HERE" &&
		bpftool map create /sys/fs/bpf/bench/tg0/flows type lru_hash key 40 value 16 entries 65536 name flows &&
		iptables -t mangle -A OUTPUT -d $FAR -p udp -j NFQUEUE --queue-num $QUEUE --queue-bypass
	cat > /run/policy.conf <<-TEXT
		version = 1; name = "bench"; policy_version = 1L; role = "edge"; profile = "lab"; fail = "open";
		classifier = { undecided = "bypass"; queue = $QUEUE; queue_length = 4096; };
		tunnels = ( { name = "tg0"; external = "cv0"; default = "rest"; classes = (
			{ name = "rest"; defence = "pad"; pad = "cell"; cell = 1408; },
			{ name = "udp"; defence = "pad"; pad = "cell"; cell = 1408; } ); } );
		rules = ( { tunnel = "tg0"; class = "rest"; to = ( "10.77.0.0/24" ); uid = 65533; },
			{ tunnel = "tg0"; class = "udp"; to = ( "10.77.0.0/24" ); proto = "udp"; } );
	TEXT
}

start()
{
	local end=$((SECONDS + 5))
	if [ "$1" = agent ]; then
		"$AGENT" --policy /run/policy.conf --run-dir /run/guard --pin-dir /sys/fs/bpf/bench 2> /run/log &
	else
		"$NFQUEUE" accept $QUEUE > /run/log &
	fi
	SERVER=$!
	until grep -qE 'ready|in force' /run/log 2> /dev/null; do
		[ $SECONDS -lt $end ] || die "the $1 program did not start: $(tail -n 1 /run/log)"
		sleep 0.05
	done
	sleep 0.1	# the agent takes packets once it has given up its rights
}

# measure PROGRAM FLOWS: appends "RATE SENT LOST" to /run/PROGRAM.FLOWS
measure()
{
	: > /run/log
	start "$1"
	[ "$1" = agent ] || grep -q "ready" /run/log || die "no reference"
	"$NFQUEUE" load /run/netns/far $FAR $([ "$2" = 1 ] && echo $HERE || echo $SOURCES) "$2" "$MILLISECONDS" \
		>> "/run/$1.$2" || die "the load failed"
	kill $SERVER
	wait $SERVER 2> /dev/null
}

median() { awk '{ print $1 }' "$1" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
lost() { awk '{ n += $3 } END { print n + 0 }' "$1"; }

# report NAME FLOWS
report()
{
	awk -v name="$1" -v value="$(median "/run/agent.$2")" -v reference="$(median "/run/accept.$2")" \
		-v lost="$(lost "/run/agent.$2")" -v reference_lost="$(lost "/run/accept.$2")" 'BEGIN {
		printf "{\"name\": \"%s\", \"value\": %d, \"unit\": \"packets/s\", \"reference\": %d, \"ratio\": %.3f}\n",
			name, value, reference, value / reference
		printf "{\"name\": \"%s_lost\", \"value\": %d, \"unit\": \"packets\", \"reference\": %d, \"ratio\": null}\n",
			name, lost, reference_lost
	}'
	[ "$(lost "/run/agent.$2")" -eq 0 ]
}

setup || die "cannot set up the namespaces"
for _ in $(seq "$ROUNDS"); do
	for flows in 1 65536; do
		measure accept $flows
		measure agent $flows
	done
done
report nfqueue_packets 1
status=$?
report nfqueue_new_flows 65536 || status=1
exit $status
