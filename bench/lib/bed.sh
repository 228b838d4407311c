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

beds_down()
{
	local name
	for name in "${BEDS[@]}"; do
		scripts/testbed down --name "$name"
	done
}
