#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# What the agent takes at rest: tests/e2e/system/test-idle, whose robot has a policy, an identity and models, and which
# asserts the limits, prints what it measures.
set -u
cd "$(dirname "$0")/.." || exit 1
# shellcheck source=bench/lib/report.sh
. bench/lib/report.sh
bench_begin idle
ROUNDS=${ROUNDS:-3}

for _ in $(seq "$ROUNDS"); do
	TESTS=tests/e2e/system BUILD=$BUILD tests/netns/run idle > "$DIR/log" 2>&1 || die "$(grep -m 1 '^not ok' "$DIR/log")"
	sed -n 's/^# memory: //p' "$DIR/log" > "$DIR/memory"
	for what in together pss rss; do
		jq ".$what / 1024" "$DIR/memory" >> "$DIR/$what"
	done
	sed -n 's/^# processor: \([0-9.]*\) .*/\1/p' "$DIR/log" >> "$DIR/processor"
	sed -n 's/^# installed: \([0-9]*\) .*/\1/p' "$DIR/log" | awk '{ print $1 / 1024 }' >> "$DIR/installed"
done
report agent_resident MiB "$DIR/together" 'value<=23.8'
report agent_pss MiB "$DIR/pss" 'value<=23.8'
report agent_rss_sum MiB "$DIR/rss"
report agent_processor percent "$DIR/processor" 'value<=0.5'
report installed MiB "$DIR/installed" 'value<=47.7'
