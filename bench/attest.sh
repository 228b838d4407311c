#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Enrolments that one core verifies per second, from message to message, by an RSA and by a P-256 endorsement key.
set -u
cd "$(dirname "$0")/.." || exit 1

# shellcheck source=bench/lib/report.sh
. bench/lib/report.sh

bench_begin attest
ROUNDS=${ROUNDS:-5}
MILLISECONDS=${MILLISECONDS:-1000}

for ((i = 0; i < ROUNDS; i++)); do
	for kind in rsa p256; do
		"$BUILD/bench/attest" $kind "$MILLISECONDS" >> "$DIR/$kind" || die "$kind: no figure"
	done
done
for kind in rsa p256; do
	report attest_$kind enrolments/s "$DIR/$kind" 'value>=250'
done
