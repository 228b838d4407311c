#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# TCP throughput and round-trip time through a guarded tunnel (sizes only, no delay) and through the same
# tunnel without TensorGuard, in turn. tg-load raises the priority of wireguard-go, wg(8) does not: what that brings is
# in the main figures, and the cost of the data path alone in those of the same priority. Root.
set -u
cd "$(dirname "$0")/.." || exit 1
# shellcheck source=bench/lib/report.sh
. bench/lib/report.sh
# shellcheck source=bench/lib/bed.sh
. bench/lib/bed.sh
bench_begin tunnel

PLANT=10.90.0.10
ROUNDS=${ROUNDS:-7}
RTT_ROUNDS=${RTT_ROUNDS:-11}
SECONDS_EACH=${SECONDS_EACH:-1}
OMIT=1		# TCP's slow start, not counted

# throughput BED [OPTION...]: prints Mbit/s received
throughput()
{
	bed "$1" robot iperf3 -c $PLANT -t "$SECONDS_EACH" -O $OMIT --json "${@:2}" > "$DIR/iperf" ||
		die "iperf3: $(jq -r '.error // "failed"' "$DIR/iperf" 2> /dev/null)"
	jq -e '.end.sum_received.bits_per_second / 1e6' "$DIR/iperf" || die "iperf3 gave no result"
}

# rtt BED: prints the median of a hundred pings, microseconds
rtt()
{
	bed "$1" robot ping -n -i 0.004 -c 100 -W 2 $PLANT | sed -nE 's/.*time=([0-9.]+) ms$/\1/p' > "$DIR/ping"
	[ "$(wc -l < "$DIR/ping")" -ge 90 ] || die "pings were lost"
	awk '{ print $1 * 1000 }' "$DIR/ping" > "$DIR/ping.us"
	median "$DIR/ping.us"
}

# A wireguard-go takes the machine's default receive buffer, 208 KiB on most, which a fast sender on the same
# machine overruns with and without TensorGuard: then both tunnels measure their losses, and the padded
# acknowledgements, whose buffers are larger, lose more. So the main figures are taken with buffers that lose
# nothing, and those of the default beside them.
BUFFER=8388608
RMEM=$(sysctl -n net.core.rmem_default) || die "cannot read net.core.rmem_default"
buffers_back()
{
	sysctl -qw net.core.rmem_default="$RMEM"
}

# pair_up SUFFIX: a plain and a guarded tunnel, ready
pair_up()
{
	bed_up "plain$1" --undefended
	bed_up "guarded$1" --policy policies/bulk.conf
	for kind in plain guarded; do
		bed $kind"$1" plant iperf3 -s -D
		rtt $kind"$1" > /dev/null
	done
}

CLEANUPS+=(buffers_back)
sysctl -qw net.core.rmem_default=$BUFFER || die "cannot set net.core.rmem_default"
pair_up ""
buffers_back
pair_up -small
for _ in $(seq "$ROUNDS"); do
	plain=$(throughput plain) && guarded=$(throughput guarded) || exit 1
	echo "$guarded $plain" >> "$DIR/up"
	guarded=$(throughput guarded -R) && plain=$(throughput plain -R) || exit 1
	echo "$guarded $plain" >> "$DIR/down"
	priority guarded 0
	plain=$(throughput plain) && guarded=$(throughput guarded) || exit 1
	echo "$guarded $plain" >> "$DIR/up-same"
	guarded=$(throughput guarded -R) && plain=$(throughput plain -R) || exit 1
	echo "$guarded $plain" >> "$DIR/down-same"
	priority guarded -10	# as tg-load starts it
	plain=$(throughput plain-small) && guarded=$(throughput guarded-small) || exit 1
	echo "$guarded $plain" >> "$DIR/small"
done
for _ in $(seq "$RTT_ROUNDS"); do
	plain=$(rtt plain) && guarded=$(rtt guarded) || exit 1
	awk -v plain="$plain" -v guarded="$guarded" 'BEGIN { print guarded - plain, plain }' >> "$DIR/rtt"
done
report tunnel_tcp_up Mbit/s "$DIR/up" 'ratio>=0.9'
report tunnel_tcp_down Mbit/s "$DIR/down" 'ratio>=0.9'
report tunnel_tcp_up_same_priority Mbit/s "$DIR/up-same"
report tunnel_tcp_down_same_priority Mbit/s "$DIR/down-same"
report tunnel_tcp_up_small_buffers Mbit/s "$DIR/small"
report tunnel_rtt_added us "$DIR/rtt" 'value<=50'
