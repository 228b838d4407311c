# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# Checks of one command's exit status, output and errors.
# shellcheck source=tests/lib.sh
. tests/lib.sh
status=0

# run COMMAND...: leaves $status, $WORK/out and $WORK/err.
run()
{
	timeout 120 "$@" > "$WORK/out" 2> "$WORK/err" < /dev/null
	status=$?
}

# What the last command did, for messages.
seen()
{
	echo "status $status, stdout '$(head -c 200 "$WORK/out")', stderr '$(head -c 200 "$WORK/err")'"
}

lines()
{
	wc -l < "$1"
}

# is_error STATUS: that exit status, nothing on stdout, exactly one line on stderr.
is_error()
{
	[ $status -eq "$1" ] && [ ! -s "$WORK/out" ] && [ "$(lines "$WORK/err")" -eq 1 ]
}

# is_json_error STATUS: that exit status, one JSON object with a text "error" on stdout, nothing on stderr.
is_json_error()
{
	[ $status -eq "$1" ] && [ ! -s "$WORK/err" ] &&
		jq -es 'length == 1 and (.[0].error | type == "string" and length > 0)' "$WORK/out" > /dev/null
}

# json FILTER: whether the last command printed one JSON value for which that holds.
json()
{
	jq -es "length == 1 and (.[0] | ($1))" "$WORK/out" > /dev/null
}
