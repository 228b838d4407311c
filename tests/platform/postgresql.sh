# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# A PostgreSQL of our own: files and socket below a folder, no network, run by an unprivileged user.

# The user that runs it: PostgreSQL refuses root.
pg_run()
{
	if [ "$(id -u)" -eq 0 ]; then
		setpriv --reuid=nobody --regid=nogroup --clear-groups -- "$@"
	else
		"$@"
	fi
}

# pg_start FOLDER: sets PG_URL; fails with a reason in FOLDER/initdb.log or FOLDER/log.
pg_start()
{
	local bin
	PG_DATA=$1/data PG_LOG=$1/log
	bin=$(find /usr/lib/postgresql -name initdb -type f 2> /dev/null | sort -V | tail -n 1)
	[ -n "$bin" ] || return 1
	PG_BIN=${bin%/*}
	mkdir -p "$1" && chmod 755 "$1" || return 1
	[ "$(id -u)" -ne 0 ] || chown nobody "$1"
	pg_run "$PG_BIN/initdb" -D "$PG_DATA" -U test -A trust -E UTF8 --no-locale > "$1/initdb.log" 2>&1 || return 1
	PG_SOCKETS=$1
	pg_again || return 1
	# shellcheck disable=SC2034 # tests/platform/run uses it
	PG_URL="postgresql:///postgres?host=$1&user=test"
}

# pg_again: after pg_stop
pg_again()
{
	pg_run "$PG_BIN/pg_ctl" -D "$PG_DATA" -l "$PG_LOG" -w -t 60 \
		-o "-c listen_addresses='' -c unix_socket_directories='$PG_SOCKETS'" start > /dev/null
}

# Like a crash.
pg_stop()
{
	pg_run "$PG_BIN/pg_ctl" -D "$PG_DATA" -m immediate -w -t 30 stop > /dev/null
}
