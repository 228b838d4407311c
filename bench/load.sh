#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# How long `tg-load up` and `down` take, beside the same tunnel made by hand without TensorGuard. Root; works
# in namespaces of its own.
set -u
cd "$(dirname "$0")/.." || exit 1
# shellcheck source=bench/lib/report.sh
. bench/lib/report.sh
# shellcheck source=bench/lib/node.sh
. bench/lib/node.sh
enter_node "$0" "$@"
bench_begin load
node_setup || die "cannot set up the namespaces"
ROUNDS=${ROUNDS:-7}

# seconds COMMAND...: prints how long it took; the benchmark fails if it does
seconds()
{
	local begin=$EPOCHREALTIME
	"$@" > "$DIR/log" 2>&1 || die "$* failed: $(tail -n 1 "$DIR/log")"
	awk -v begin="$begin" -v end="$EPOCHREALTIME" 'BEGIN { print end - begin }'
}

tunnel_is_gone()
{
	! ip link show tg0 > /dev/null 2>&1
}

for _ in $(seq "$ROUNDS"); do
	plain=$(seconds plain_up) || exit 1
	plain_gone=$(seconds plain_down) || exit 1
	up=$(seconds "$BIN/tg-load" up --policy policies/warehouse.conf --site "$DIR/site") || exit 1
	again=$(seconds "$BIN/tg-load" up) || exit 1
	down=$(seconds "$BIN/tg-load" down) || exit 1
	tunnel_is_gone || die "down left the tunnel"
	echo "$up $plain" >> "$DIR/up"
	echo "$again $plain" >> "$DIR/again"
	echo "$down $plain_gone" >> "$DIR/down"
done
report load_up s "$DIR/up" 'value<=1'
report load_up_again s "$DIR/again"
report load_down s "$DIR/down"
