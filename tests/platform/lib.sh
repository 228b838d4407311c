# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# A Platform of the test's own, on SQLite, and requests to it. To be sourced from the project's folder.
# shellcheck source=tests/lib.sh
. tests/lib.sh
PLATFORM=$BIN/tensorguard-platform
DATA=$WORK/data
SEEN=${TEST_SEEN:-$WORK/seen}
server=
trap 'end_server; rm -rf "$WORK"' EXIT

# start_server OPTION...: sets $server and $URL. The log is $WORK/log.
start_server()
{
	: > "$WORK/log"
	"$PLATFORM" serve --data "$DATA" --listen '[::]:0' "$@" 2> "$WORK/log" < /dev/null &
	server=$!
	wait_until 20 grep -q '"event":"listening"' "$WORK/log" || return 1
	URL=https://localhost:$(jq -r 'select(.event == "listening").port' "$WORK/log")
}

end_server()
{
	[ -n "$server" ] || return 0
	kill "$server" 2> /dev/null
	wait "$server"
	local status=$?
	server=
	return $status
}

# request METHOD PATH CURL-OPTION...: sets $status; the answer is $WORK/body. Notes it in $SEEN.
request()
{
	local method=$1 path=$2
	shift 2
	status=$(curl -sS --max-time 20 --cacert "$DATA/ca.crt" -o "$WORK/body" -w '%{http_code}' -X "$method" \
		"$@" "$URL$path" 2> "$WORK/curl.err") || status="curl $?: $(tr '\n' ' ' < "$WORK/curl.err")"
	echo "$method $path $status" >> "$SEEN"
}

# shellcheck disable=SC2034 # the tests use it
OPERATOR=(--cert "$DATA/operator.crt" --key "$DATA/operator.key")

# answer NAME STATUS [JQ-FILTER]: what the last request got.
answer()
{
	check "$1" "status $status, body $(head -c 300 "$WORK/body")" \
		eval "[ '$status' = '$2' ] && { [ -z '${3:-}' ] || jq -e '${3:-}' '$WORK/body'; }"
}

# Takes SQL: the store beside $DATA, unless a test has another.
make_store() { sqlite3 "$DATA/platform.db"; }

# make_tokens FILE COUNT FLEET: tokens of that store, straight into its tables: as many calls of `token create` would
# take minutes, each with its own sync.
make_tokens()
{
	local now hash secret i
	now=$(date +%s)
	: > "$1"
	{
		echo 'BEGIN;'
		for ((i = 0; i < $2; i++)); do
			secret=$(printf '%064x' $((i + 1)))
			echo "$secret" >> "$1"
			hash=$(printf %s "$secret" | sha256sum | cut -d ' ' -f 1)
			echo "INSERT INTO token (id, hash, fleet, created, expires, used, revoked, name) VALUES
				('token-$i', $(blob "$hash"), '$3', $now, $((now + 3600)), 0, 0, '');"
		done
		echo 'COMMIT;'
	} | make_store
}

# blob HEX: as this store writes it
blob() { [ "${#STORE[@]}" -eq 0 ] && echo "x'$1'" || echo "'\\x$1'"; }
STORE=()
