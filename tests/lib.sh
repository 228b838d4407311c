# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# What the tests in bash have in common: verdicts, their count, a folder for
# files. To be sourced from the project's folder.
set -u
export BUILD=${BUILD:-build}
export BIN=$PWD/$BUILD/bin
WORK=$(mktemp -d) || exit 1
trap 'rm -rf "$WORK"' EXIT
passed=0 failed=0 skipped=0

ok()
{
	echo "ok $1"
	passed=$((passed + 1))
}

not_ok()
{
	echo "not ok $1: $2"
	failed=$((failed + 1))
}

skip()
{
	echo "skip $1: $2"
	skipped=$((skipped + 1))
}

# check NAME WHY COMMAND...: the test NAME passes when the command succeeds; else what it says
# goes into the message.
check()
{
	local name=$1 why=$2
	shift 2
	if "$@" > "$WORK/check.log" 2>&1; then
		ok "$name"
		return 0
	fi
	not_ok "$name" "$why $(tail -c 600 "$WORK/check.log" | tr '\n' ' ')"
	return 1
}

# wait_until SECONDS COMMAND...
wait_until()
{
	local end=$((SECONDS + $1))
	shift
	until "$@" > /dev/null 2>&1; do
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.05
	done
}

# flip_byte FILE OFFSET: makes that byte another one, whatever it was
flip_byte()
{
	local byte

	byte=$(od -An -tu1 -j "$2" -N 1 "$1") || return
	# shellcheck disable=SC2059 # the format is the byte
	printf "\\x$(printf %x $((byte ^ 0xff)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# finish: the count, and the exit status that belongs to it.
finish()
{
	echo "$passed passed, $failed failed, $skipped skipped"
	[ $failed -eq 0 ]
	exit
}
