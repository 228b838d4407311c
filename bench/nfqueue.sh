#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Packets per second through the agent's queue, beside the plainest queue program
# that accepts everything, the two in turn. Root; works in namespaces of its own.
set -u
cd "$(dirname "$0")/.." || exit 1

# shellcheck source=bench/lib/report.sh
. bench/lib/report.sh

if [ "${1:-}" != --inside ]; then
	exec unshare --net --mount --pid --fork --kill-child --mount-proc "$0" --inside
fi
bench_begin nfqueue

ROUNDS=${ROUNDS:-5}
MILLISECONDS=${MILLISECONDS:-1000}
NFQUEUE=$BUILD/bench/nfqueue
AGENT=$BIN/tensorguard-agent
QUEUE=85
HERE=10.77.0.1 FAR=10.77.0.2 SOURCES=10.78.0.0

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
	"$NFQUEUE" load /run/netns/far $FAR "$([ "$2" = 1 ] && echo $HERE || echo $SOURCES)" "$2" "$MILLISECONDS" \
		>> "/run/$1.$2" || die "the load failed"
	kill $SERVER
	wait $SERVER 2> /dev/null
}

# rates FLOWS FILE: "agent reference" per round
rates()
{
	paste -d' ' <(cut -d' ' -f1 "/run/agent.$1") <(cut -d' ' -f1 "/run/accept.$1") > "$2"
}

# lost FLOWS FILE: of all rounds together
lost()
{
	awk '{ n += $3 } END { print n + 0 }' "/run/agent.$1" > "$2"
}

setup || die "cannot set up the namespaces"
for _ in $(seq "$ROUNDS"); do
	for flows in 1 65536; do
		measure accept $flows
		measure agent $flows
	done
done
rates 1 "$DIR/packets"
rates 65536 "$DIR/new"
lost 1 "$DIR/packets_lost"
lost 65536 "$DIR/new_lost"
report nfqueue_packets packets/s "$DIR/packets" 'value>=90000'
report nfqueue_packets_lost packets "$DIR/packets_lost" 'value<=0'
report nfqueue_new_flows packets/s "$DIR/new"
report nfqueue_new_flows_lost packets "$DIR/new_lost" 'value<=0'
