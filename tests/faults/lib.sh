# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# shellcheck disable=SC2016,SC2034 # jq variables; constants are for the tests
# The story's machines (scripts/lib/story.sh) with sessions that always run, and what must hold after every fault. To be
# sourced from the project's folder, with the tests' environment (tests/netns/run) around it.
# shellcheck source=tests/lib.sh
. tests/lib.sh
export ROOT=$PWD TOOLS=$PWD/$BUILD/tools
# shellcheck source=scripts/lib/node.sh
. scripts/lib/node.sh
# shellcheck source=scripts/lib/measure.sh
. scripts/lib/measure.sh
STORY_FIRST_LIFETIME=86400
# shellcheck source=scripts/lib/story.sh
. scripts/lib/story.sh
GATEWAY_AGENT=$STORY_USER
# how long a fault may last after it was mended: who repairs waits up to 30 s after failures
MEND=150
# a syncing agent that has failed for long waits up to 300 s and a quarter of that
HEARD=400
VAULT_USER=daemon

# shellcheck disable=SC2317 # by the trap
faults_end()
{
	story_end
	rm -rf "$WORK"
}
trap faults_end EXIT
trap 'exit 1' INT TERM HUP

# disk NODE FOLDER MEGABYTES: a file system of its own there, in the node alone
disk() { node_exec "$1" mount -t tmpfs -o "size=$3m,mode=755" tmpfs "$2"; }

# As hurry of the tests of tunnels: wireguard-go of Debian 12 has a small receive buffer.
hurry_node()
{
	node_exec "$1" bash -c 'for pid in $(pgrep -x wireguard-go); do renice -n -15 -p $(ls /proc/$pid/task); done' \
		> /dev/null 2>&1
}
STORY_HURRY=hurry_node

# A vault on each robot: it has nothing to open, but it is a process to lose.
make_vaults()
{
	local key=$STORY/models-key
	"$BIN/tgsp" keygen "$key" > "$STORY/models.log" 2>&1 &&
		"$BIN/tgsp" trust root --out "$STORY/models-root" --key "$key.key" --root-keys "1:$key.pub" \
			--targets-keys "1:$key.pub" --snapshot-keys "1:$key.pub" --timestamp-keys "1:$key.pub" \
			--package-keys "1:$key.pub" > "$STORY/models.log" 2>&1 ||
		why "no models: $(tail -n 1 "$STORY/models.log")" || return 1
	chmod 644 "$STORY/models-root"
	echo "version = 1; root = \"$STORY/models-root\";
		consumers = ( { name = \"arm\"; user = \"games\"; models = ( \"arm\" ); } );" > "$STORY/models.conf"
	for robot in "${AGENTS[@]}"; do
		install -d -m 700 -o $VAULT_USER "$STORY/$robot.d/models"
	done
}

# faults_up NAME: everything runs, and the links are recorded
faults_up()
{
	local robot
	story_begin "$WORK/story" "faults-$1-$$"
	chmod 755 "$WORK"
	mkdir -p "$STORY/gateway.d"
	sed -E -e 's/session = "65s";/session = "always";/' -e '/^[[:blank:]]*idle = /d' policies/warehouse.conf > "$STORY/policy.conf"
	must up step_up "$STORY/policy.conf"
	for robot in "${ROBOTS[@]}"; do
		disk "$robot" "$STORY/$robot.d/disk" 24
	done
	mkdir -p "$STORY/platform.d"
	disk platform "$STORY/platform.d" 200
	must platform step_platform
	must vaults make_vaults
	STORY_AGENT_OPTIONS="--models $STORY/models.conf --vault-dir $STORY/NODE.d/models --vault-user $VAULT_USER"
	must enrol step_enrol
	must keys step_keys
	must publish publish "$STORY/gateway.conf" --target agent:gateway
	must publish publish "$STORY/policy.conf"
	for robot in "${ROBOTS[@]}"; do
		must "$robot-begins" till 60 applied_is "$robot" "$VERSION"
		must "$robot-well" till 60 well "$robot"
		# what an attacker would keep: a good policy, and soon an old one
		node_exec "$robot" cp "$(state_of "$robot")/policy/policy.json" "$STORY/$robot.old"
	done
	remember
	SCENE=all
	for robot in "${ROBOTS[@]}"; do
		must "$robot-link" watch_link "$robot" --dump-headers "$STORY/$robot.headers"
	done
}

# must NAME COMMAND...: else there is no test
must()
{
	local name=$1
	shift
	"$@" && return
	not_ok "$name" "$(cat "$STORY/why")"
	tail -n 6 "$STORY"/agent-*.log "$STORY"/platform.log 2> /dev/null | cut -c 1-200 | sed 's/^/# /'
	finish
}

# expect NAME COMMAND...: as check; the command says why not
expect()
{
	local name=$1
	shift
	if "$@"; then ok "$name"; else not_ok "$name" "$(cat "$STORY/why")"; fi
}

# ---- what must hold ----

# works ROBOT: its tunnel is whole and carries
works()
{
	healthy "$1" && node_exec "$1" ping -q -c 1 -W 1 10.90.0.10 > /dev/null 2>&1
}

# well ROBOT: and the Platform has heard so
well() { works "$1" && heard "$1" $((STORY_PERIOD + 1)); }
runs() { node_exec "$1" pgrep -x "$2" > /dev/null; }

# Between a kill and the repair of a tunnel its sizes are looked at too; slots when it is back. slots ROBOT: half a second
slots()
{
	local scene=$SCENE status=0
	SCENE=now
	mkdir -p "$STORY/$1.now" && watch_link "$1" --period "$PERIOD_US" --duration 0.4 --dump-headers "$STORY/$1.now/headers.csv" && wait "$(cat "$STORY/$1.now/wire.pid")" &&
		one_size "$1" && in_slots "$1" &&
		{ wire_of "$1" '.up.packets > 0 and .down.packets > 0' | grep -qx true || why "$1: nothing on its link"; } || status=1
	SCENE=$scene
	return $status
}

# The ledger as it is, a file for each robot: what is in it stays, byte for byte.
ledger_of() { platform audit export --agent "$1"; }
remember()
{
	local robot
	for robot in "${ROBOTS[@]}"; do
		ledger_of "$robot" > "$STORY/$robot.ledger" || return 1
	done
}

# nothing_lost ROBOT: what was in the ledger is where it was, and each record of a chain follows the one before
nothing_lost()
{
	local old=$STORY/$1.ledger
	ledger_of "$1" > "$old.new" || why "$1: no ledger" || return 1
	cmp -s -n "$(stat -c %s "$old")" "$old" "$old.new" || why "$1: the ledger is not what it was" || return 1
	jq -es 'reduce .[] as $r ({last: 0, good: true};
		if $r.sequence == .last + 1 or ($r.sequence == 1 and $r.action == "audit-chain") then .last = $r.sequence
		else .good = false end) | .good and .last > 0' "$old.new" > /dev/null ||
		why "$1: records are missing or out of order: $(jq -cs '[.[].sequence]' "$old.new" | tail -c 200)" || return 1
	mv "$old.new" "$old"
}

# remembered ROBOT FILTER: how many of its records the ledger had when it was last looked at; told: has now
remembered() { jq -s "[.[] | select($2)] | length" "$STORY/$1.ledger"; }
told() { ledger_of "$1" | jq -s "[.[] | select($2)] | length"; }
told_more() { [ "$(told "$1" "$2")" -gt "$3" ]; }

# no_older ROBOT: it has the last version; $VERSION only grows
no_older() { applied_is "$1" "$VERSION" || why "$1 has version $(applied_version "$1"), $VERSION was in force"; }

# refuses_old ROBOT: in place of what trust stored, as who took trust over could, also after the fault. Trust may put the
# right one back before it is looked at: then it is tried again.
refuses_old()
{
	local state try status=0
	state=$(state_of "$1")
	node_exec "$1" cp "$state/policy/policy.json" "$STORY/$1.good" || why "$1 has no policy" || return 1
	for ((try = 0; try < 10; try++)); do
		node_exec "$1" bash -c 'install -o "$1" -m 600 "$2" "$3.put" && mv "$3.put" "$3" && exec "$4" apply --state-dir "$5"' \
			bash $STORY_USER "$STORY/$1.old" "$state/policy/policy.json" "$BIN/tg-load" "$state" > "$STORY/apply.log" 2>&1
		status=$?
		no_older "$1" || return 1
		! grep -q 'is not newer than' "$STORY/apply.log" || break
	done
	node_exec "$1" install -o $STORY_USER -m 600 "$STORY/$1.good" "$state/policy/policy.json"
	[ "$status" = 1 ] || try=10
	[ $try -lt 10 ] ||
		why "$1 does not refuse an old policy: status $status, $(tail -n 1 "$STORY/apply.log")"
}

# holds_after NAME ROBOT...: all of it; prints how long it took since $BEGAN. BACK: a command that succeeds when what was
# taken away is there again.
BEGAN=0 BACK=true
holds_after()
{
	local name=$1 robot bad=''
	shift
	# shellcheck disable=SC2086 # words
	till $MEND $BACK || bad="it does not come back ($BACK);"
	for robot in "$@"; do
		till $MEND works "$robot" || bad="$bad $robot does not work: $(node_exec "$robot" "$BIN/tg-load" status 2>&1 | tail -n 1);"
	done
	WORKS_MS=$(($(now_ms) - BEGAN))
	for robot in "$@"; do
		till 15 well "$robot" || echo "# slow: $robot: $(shown "$robot" .heartbeat | jq -c .)"
		till $HEARD well "$robot" || bad="$bad the Platform does not hear that $robot is well: $(shown "$robot" .heartbeat);"
	done
	WELL_MS=$(($(now_ms) - BEGAN))
	for robot in "$@"; do
		hurry_node "$robot"
		no_older "$robot" || bad="$bad $(cat "$STORY/why");"
		nothing_lost "$robot" || bad="$bad $(cat "$STORY/why");"
		slots "$robot" || bad="$bad $(cat "$STORY/why");"
	done
	hurry_node gateway
	if [ -z "$bad" ]; then
		ok "$name"
	else
		not_ok "$name" "$bad"
		tail -n 4 "$STORY"/agent-*.log "$STORY"/platform.log | cut -c 1-200 | sed 's/^/# /'
	fi
	[ $WELL_MS -lt 20000 ] || tail -n 12 "$STORY/agent-$1.log" | cut -c 1-200 | sed 's/^/# slow: /'
	echo "# recovery: $name $WORKS_MS $WELL_MS"
}

# faults_over: what the links showed in all that time
faults_over()
{
	local robot
	SCENE=all
	for robot in "${ROBOTS[@]}"; do
		if watched "$robot" && mv "$STORY/$robot.headers" "$STORY/$robot.all/headers.csv" && one_size "$robot"; then
			ok "$robot-wire"
		else
			not_ok "$robot-wire" "$(cat "$STORY/why")"
		fi
		echo "# $robot: $(wire_of "$robot" '[.up.packets, .down.packets]') packets of $(wire_of "$robot" '[.up.sizes, .down.sizes]') bytes"
	done
}
