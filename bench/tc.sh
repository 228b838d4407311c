#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Nanoseconds per packet of the TC programs, each beside an empty program. Root.
set -u
cd "$(dirname "$0")/.." || exit 1
# shellcheck source=bench/lib/report.sh
. bench/lib/report.sh
bench_begin tc

"$BUILD/bench/tc" "${ROUNDS:-101}" "${REPEAT:-20000}" policies/bulk.conf policies/warehouse.conf > "$DIR/rounds" ||
	die "the programs could not be run"
awk '{ print $1 }' "$DIR/rounds" > "$DIR/empty"
awk '{ print $2, $1 }' "$DIR/rounds" > "$DIR/pass"
awk '{ print $3, $1 }' "$DIR/rounds" > "$DIR/pad"
# the same packet padded to the same size, with and without a queue
sed 's/^\([[:blank:]]*cell = \)1420;/\1160;/' policies/bulk.conf > "$DIR/pad160.conf"
grep -q 'cell = 160;' "$DIR/pad160.conf" || die "policies/bulk.conf has no cell of 1420 to replace"
"$BUILD/bench/tc" "${ROUNDS:-101}" "${REPEAT:-20000}" "$DIR/pad160.conf" policies/warehouse.conf > "$DIR/rounds160" ||
	die "the programs could not be run"
awk '{ print $3, $1 }' "$DIR/rounds160" > "$DIR/pad160"
awk '{ print $4, $3 }' "$DIR/rounds160" > "$DIR/paced"
report tc_empty ns/packet "$DIR/empty"
report tc_pass ns/packet "$DIR/pass" 'ratio<=3.5'
report tc_pad ns/packet "$DIR/pad" 'ratio<=7' 'value<=300'
report tc_pad160 ns/packet "$DIR/pad160"
report tc_paced ns/packet "$DIR/paced" 'ratio<=1.5'
