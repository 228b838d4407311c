# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# Nodes of a testbed: each is a process (scripts/lib/node-init) that holds
# network, mount and process namespaces. NODE_STATE is the testbed's folder.

# wait_for SECONDS COMMAND...: until the command succeeds; fails when it did not in that time, which
# TG_PATIENCE=FACTOR stretches on slow machines.
wait_for()
{
	local limit=$1 deadline
	shift
	deadline=$(($(date +%s%N) + limit * ${TG_PATIENCE:-1} * 1000000000))
	until "$@" > /dev/null 2>&1; do
		[ "$(date +%s%N)" -lt "$deadline" ] || return 1
		sleep 0.05
	done
}

# node_is_ours PID: whether that process is one of a node of this testbed, and no later namesake.
node_is_ours()
{
	local line

	{ line=$(tr '\0' ' ' < "/proc/$1/cmdline"); } 2> /dev/null
	[[ $line = *"node-init $NODE_STATE "* ]]
}

node_find_init()
{
	local init

	init=$(pgrep -P "$1") && [ -e "$NODE_STATE/$2.ready" ] && echo "$init" > "$NODE_STATE/$2.pid"
}

# node_start NODE
node_start()
{
	local node=$1 holder

	# 3 to 9 may be a caller's locks and pipes, which would stay open as long as the node lives
	setsid unshare --net --mount --pid --fork --kill-child --mount-proc \
		"$ROOT/scripts/lib/node-init" "$NODE_STATE" "$node" \
		< /dev/null > "$NODE_STATE/$node.log" 2>&1 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- &
	holder=$!
	echo "$holder" > "$NODE_STATE/$node.holder"
	wait_for 10 node_find_init "$holder" "$node" && return 0
	tail -n 3 "$NODE_STATE/$node.log" >&2
	return 1
}

# node_pid NODE: its first process; fails if the node is not alive.
node_pid()
{
	local pid

	pid=$(cat "$NODE_STATE/$1.pid" 2> /dev/null) && node_is_ours "$pid" && echo "$pid"
}

# node_exec NODE COMMAND...: in the node, in the same folder as here.
node_exec()
{
	local node=$1 pid

	shift
	pid=$(node_pid "$node") || {
		echo "testbed: node '$node' is not up" >&2
		return 1
	}
	nsenter --target "$pid" --net --mount --pid -- env --chdir="$PWD" "$@"
}

node_is_gone()
{
	! node_is_ours "$1"
}

# node_stop NODE: ends its processes; waits until the last is gone.
node_stop()
{
	local node=$1 holder init

	holder=$(cat "$NODE_STATE/$node.holder" 2> /dev/null) || return 0
	node_is_ours "$holder" || return 0
	# Its first process takes all others along; the holder is there to reap it, and then ends by itself.
	if init=$(pgrep -P "$holder"); then
		kill -KILL "$init" 2> /dev/null || true
		# the 0 matters: in a trap a bare `return` gives the status from before the trap
		wait_for 10 node_is_gone "$holder" && return 0
	fi
	kill -KILL "$holder" 2> /dev/null || true
	wait_for 10 node_is_gone "$holder"
}
