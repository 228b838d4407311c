# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# Testbeds of a benchmark (scripts/testbed), taken down when it ends. Needs bench/lib/report.sh.

BEDS=()
CLEANUPS+=(beds_down)

# bed_up SHORT-NAME OPTIONS...
bed_up()
{
	local name=bench-$$-$1
	shift
	BEDS+=("$name")
	BUILD=$BUILD scripts/testbed up --name "$name" "$@" || die "a testbed does not come up: $*"
}

# bed SHORT-NAME NODE COMMAND...
bed()
{
	scripts/testbed exec "$2" --name "bench-$$-$1" -- "${@:3}"
}

# priority SHORT-NAME NICE: that of the tunnel's process at both ends and of its scheduling group (sched(7), autogroup)
priority()
{
	local end
	for end in robot gateway; do
		# shellcheck disable=SC2016 # expanded in the node
		bed "$1" "$end" bash -c 'for pid in $(pgrep -x wireguard-go); do
			renice -n "$0" -p "$pid" > /dev/null
			[ ! -e "/proc/$pid/autogroup" ] || echo "$0" > "/proc/$pid/autogroup"
		done' "$2" || die "cannot set priorities"
	done
}

beds_down()
{
	local name
	for name in "${BEDS[@]}"; do
		scripts/testbed down --name "$name"
	done
}
