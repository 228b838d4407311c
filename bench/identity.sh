#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The Platform: mutual TLS handshakes beside openssl s_server, enrolments, and a fleet that keeps its connections:
# memory, latency. `load` is that of the machine when it began. Root; in namespaces of its own.
set -u
cd "$(dirname "$0")/.." || exit 1
# shellcheck source=bench/lib/platform.sh
. bench/lib/platform.sh
platform_begin identity "$0" "$@"

ROUNDS=${ROUNDS:-5}
MILLISECONDS=${MILLISECONDS:-1000}
AGENTS=${AGENTS:-5000}
SECONDS_KEPT=${SECONDS_KEPT:-30}
CLIENTS=4	# that shake hands; each has a s_server of its own, which does one thing at a time

# Sets $PLACES, one PORT:PID for each client.
reference()
{
	local i port
	PLACES=()
	for ((i = 0; i < CLIENTS; i++)); do
		port=$((20000 + i))
		openssl s_server -accept 127.0.0.1:$port -cert "$DATA/server.crt" -key "$DATA/server.key" -CAfile "$DATA/ca.crt" \
			-Verify 1 -verify_return_error -verify_quiet -tls1_3 -no_ticket -num_tickets 0 -no_cache -www -quiet \
			> "$DIR/log" 2>&1 < /dev/null &
		SERVERS+=("$!")
		PLACES+=("$port:$!")
		wait_for sh -c "ss -Hltn 'sport = $port' | grep -q ."
	done
}

# shake PLACE...: prints "RATE PER-CPU-SECOND"
shake()
{
	timeout 60 "$BUILD/bench/handshakes" "$MILLISECONDS" "$DATA/ca.crt" "$DATA/operator.crt" "$DATA/operator.key" "$@" ||
		die "handshakes: no figure"
}

handshakes()
{
	local ours theirs own=() i
	serve
	reference
	for ((i = 0; i < CLIENTS; i++)); do
		own+=("$PORT:$PID")
	done
	for ((i = 0; i < ROUNDS; i++)); do
		ours=$(shake "${own[@]}") && theirs=$(shake "${PLACES[@]}") || exit 1
		echo "${ours% *} ${theirs% *}" >> "$DIR/handshakes"
		echo "${ours#* } ${theirs#* }" >> "$DIR/handshakes_cpu"
	done
	servers_down
}

fleet()
{
	platform fleet create bench --levels software
	agents tokens "sqlite:$DATA/platform.db" bench "$AGENTS" "$DIR/tokens"
	serve
	agents enrol "$PORT" "$DATA/ca.crt" "$DIR/tokens" "$PID" "$DIR/agents"
	servers_down
	serve	# anew: memory that enrolments have left free would hide what a connection needs
	agents keep "$PORT" "$DATA/ca.crt" "$DIR/agents" "$PID" "$SECONDS_KEPT"
	servers_down
}

verified()
{
	local i kind
	for ((i = 0; i < ROUNDS; i++)); do
		for kind in rsa p256; do
			"$BUILD/bench/attest" $kind $((MILLISECONDS / 2)) >> "$DIR/verified_$kind" || die "$kind: no figure"
		done
	done
}

verified
handshakes
fleet
report identity_load tasks "$DIR/load"
for kind in rsa p256; do
	report identity_verified_$kind enrolments/s "$DIR/verified_$kind" 'value>=250'
done
report identity_handshakes handshakes/s "$DIR/handshakes" 'ratio>=0.85'
report identity_handshakes_cpu handshakes/s "$DIR/handshakes_cpu" 'ratio>=0.85'
report identity_enrolments enrolments/s "$DIR/enrolments"
report identity_enrolments_cpu enrolments/s "$DIR/enrolments_cpu"
report identity_agents connections "$DIR/open" "value>=$AGENTS"
report identity_agents_failed agents "$DIR/failed" 'value<=0'
report identity_agents_late requests "$DIR/late" 'value<=0'
report identity_agents_renewed agents "$DIR/renewed" "value>=$AGENTS"
report identity_agents_files descriptors "$DIR/files" "value<=$AGENTS"
report identity_idle_connection KiB "$DIR/idle_kib" 'value<=40'
report identity_agents_rss MiB "$DIR/rss_mib"
report identity_agents_cpu %cpu "$DIR/asked_cpu"
for name in healthz renew_start renew_finish; do
	report identity_${name}_p50 ms "$DIR/${name}_p50"
	report identity_${name}_p99 ms "$DIR/${name}_p99"
done
