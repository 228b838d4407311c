# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# shellcheck disable=SC2016,SC2034 # jq's and the nodes' variables; constants are for those who source this
# The whole story on one machine: a Platform, a gateway and three robots with a TPM each, in namespaces, from enrolment
# to revocation. scripts/demo tells it, tests/e2e/system/test-story judges it, tests/faults breaks into it. Needs ROOT, BIN,
# TOOLS, scripts/lib/node.sh and scripts/lib/measure.sh.
#
# A step is a function that fails with one line in $STORY/why, and leaves what it measured in $STORY/facts (one JSON
# object a line).

ROBOTS=(robot robot2 robot3)
# all that have an identity
AGENTS=("${ROBOTS[@]}" gateway)
PLATFORM_ADDRESS=192.0.2.100
PLATFORM_URL=https://$PLATFORM_ADDRESS:8443
# what asks the Platform, and in whose name its state is kept; a user that every machine has
STORY_USER=nobody
STORY_PERIOD=${STORY_PERIOD:-1}
# seconds that certificates live: the first of each robot, so that its renewal comes soon, and those after it
STORY_FIRST_LIFETIME=${STORY_FIRST_LIFETIME:-30}
STORY_LIFETIME=${STORY_LIFETIME:-86400}
# factor by which a machine that is slow may take longer than this one
PATIENCE=${TG_PATIENCE:-1}

# story_begin FOLDER BED: everything of the story is in that folder; the testbed has that name
story_begin()
{
	STORY=$1 STORY_BED=$2
	NODE_STATE=${TG_TESTBED_DIR:-/run/tg-testbed}/$STORY_BED
	mkdir -p "$STORY/platform.d" && chmod 755 "$STORY"
	DATA=$STORY/platform.d/data
	CA=$STORY/ca.crt
	STORY_PIDS=()
	: > "$STORY/why"
	: > "$STORY/facts"
}

# story_end: all that it started; what is in the nodes ends with them
story_end()
{
	local pid status=0
	for pid in "${STORY_PIDS[@]}"; do
		kill -9 "$pid" 2> /dev/null
		wait "$pid" 2> /dev/null
	done
	STORY_PIDS=()
	"$ROOT/scripts/testbed" down --name "$STORY_BED" || status=1
	return $status
}

why()
{
	echo "$*" | tr '\n' ' ' > "$STORY/why"
	return 1
}

# fact STEP JSON
fact() { jq -cn --arg step "$1" --argjson value "$2" '{($step): $value}' >> "$STORY/facts"; }
# facts: as one object
facts() { jq -cs 'reduce .[] as $f ({}; . * $f)' "$STORY/facts"; }

now_ms() { echo $(($(date +%s%N) / 1000000)); }
till() { wait_for "$@"; }

# ---- who is there ----

# story_spawn NAME NODE COMMAND...: in the background; its number in the node is in $STORY/NAME.pid, its output in NAME.log
story_spawn()
{
	local name=$1 node=$2
	shift 2
	node_exec "$node" bash -c 'echo $$ > "$1"; shift; exec "$@"' bash "$STORY/$name.pid" "$@" \
		< /dev/null >> "$STORY/$name.log" 2>&1 &
	STORY_PIDS+=($!)
	printf -v "started_${name//-/_}" %s $!
}

# story_stop NAME NODE: it ends as told, and the status is its own
story_stop()
{
	local started=started_${1//-/_}
	node_exec "$2" kill "$(cat "$STORY/$1.pid")" && wait "${!started}"
}

# state_of ROBOT: a folder that may be on a disk of the node's own, so that only the node can look into it
state_of() { echo "$STORY/$1.d/disk/state"; }
number_of() { local n=${1#robot}; echo "${n:-1}"; }

platform() { node_exec platform "$BIN/tensorguard-platform" "$@" --data "$DATA"; }

# platform_start [LIFETIME]
platform_start()
{
	# shellcheck disable=SC2086 # options are words
	story_spawn platform platform ${STORY_PLATFORM_ENV:-env} "$BIN/tensorguard-platform" serve --data "$DATA" --listen "$PLATFORM_ADDRESS:8443" \
		--rate 1000 --period "$STORY_PERIOD" --lifetime "${1:-$STORY_LIFETIME}"
	platform_answers 20
}
platform_answers() { till "$1" node_exec platform curl -sS -m 2 --cacert "$CA" "$PLATFORM_URL/healthz"; }

# tpm_start ROBOT: with the state that it had
tpm_start()
{
	story_spawn "tpm-$1" "$1" swtpm socket --tpm2 --tpmstate "dir=$STORY/$1.d/tpm" --server type=tcp,port=2321 \
		--ctrl type=tcp,port=2322 --flags not-need-init,startup-clear
	till 10 node_exec "$1" nc -z 127.0.0.1 2322
}

# TPMs whose maker certified them, one for each agent.
make_tpms()
{
	local robot pids=() pid
	# what all share is made by the first
	for robot in "${AGENTS[@]}"; do
		mkdir -p "$STORY/$robot.d/tpm" "$STORY/$robot.d/disk" && mkdir -m 700 "$STORY/$robot.d/keys"
		if [ "$robot" = robot ]; then
			"$ROOT/scripts/lib/tpm-make" "$STORY/vendor" "$STORY/$robot.d/tpm" > "$STORY/tpm.log" 2>&1 ||
				why "no TPM: $(tail -n 1 "$STORY/tpm.log")" || return 1
			continue
		fi
		"$ROOT/scripts/lib/tpm-make" "$STORY/vendor" "$STORY/$robot.d/tpm" > "$STORY/tpm-$robot.log" 2>&1 &
		pids+=($!)
	done
	for pid in "${pids[@]}"; do
		wait "$pid" || why "no TPM: $(tail -qn 1 "$STORY"/tpm-*.log)" || return 1
	done
	for robot in "${AGENTS[@]}"; do
		tpm_start "$robot" || why "$robot: the TPM does not start" || return 1
	done
}

# delivered_policy FILE: what robots have before the Platform says anything: sizes alone are hidden. A policy that is not laid
# out like the shipped ones stays as it is, but for its name.
delivered_policy()
{
	sed -E -e 's/^name = .*/name = "as-delivered";/' -e 's/defence = "constant";/defence = "pad"; pad = "cell";/' \
		-e '/^[[:blank:]]*(period|session|idle|delay_budget|overflow) = /d' -e '/^engine = /d' "$1" > "$STORY/delivered.conf"
	"$BIN/tgctl" policy check "$STORY/delivered.conf" > /dev/null 2>&1 ||
		sed -E 's/^name = .*/name = "as-delivered";/' "$1" > "$STORY/delivered.conf"
}

# turned_policy FILE CLASS: the same classes for what goes to the robots
turned_policy()
{
	sed -E -e '/^rules =/,$d' -e 's/^role = .*/role = "gateway";/' "$1"
	echo "rules = ( { tunnel = \"tg0\"; class = \"$2\"; to = ( \"10.84.0.0/24\", \"fd54:4700::/64\" ); } );"
	sed -n '/^engine = /p' "$1"
}

# step_up POLICY: nodes, tunnels and TPMs. POLICY is what the Platform will give out; the gateway has it, turned round, and
# robots a policy that only makes sizes equal.
step_up()
{
	local began node show
	began=$(now_ms)
	STORY_POLICY=$1
	show=$("$BIN/tgctl" policy show --json "$1") || why "$(jq -r .error <<< "$show")" || return 1
	PERIOD_US=$(jq '[.tunnels[].classes[].queue | select(. != null).period_ns] | (min // 0) / 1000' <<< "$show")
	SESSION_NS=$(jq '[.tunnels[].classes[].queue | select(. != null).session_ns] | max // 0' <<< "$show")
	delivered_policy "$1"
	turned_policy "$1" "$(jq -r '.tunnels[0].default_class' <<< "$show")" > "$STORY/gateway.conf"
	"$ROOT/scripts/testbed" up --name "$STORY_BED" --robots 3 --platform --policy "$STORY/delivered.conf" \
		--gateway-policy "$STORY/gateway.conf" > "$STORY/up.log" 2>&1 ||
		why "the testbed does not come up: $(tail -n 2 "$STORY/up.log")" || return 1
	make_tpms || return 1
	for node in "${ROBOTS[@]}" gateway; do
		"${STORY_HURRY:-true}" "$node"
	done
	fact up "$(jq -n --argjson ms $(($(now_ms) - began)) '{robots: 3, ms: $ms}')"
}

# ---- the steps ----

step_platform()
{
	node_exec platform mkdir -p "$DATA" && platform init --names "$PLATFORM_ADDRESS" ${STORY_STORE:+--store "$STORY_STORE"} \
		> "$STORY/init.log" 2>&1 || why "init: $(tail -n 1 "$STORY/init.log")" || return 1
	# only the Platform's node looks into its folder, which may be on a disk of its own
	node_exec platform cp "$STORY"/vendor/*cert.pem "$DATA/ek-roots/" &&
		node_exec platform cp "$DATA/ca.crt" "$DATA/audit.vkey" "$STORY/" &&
		platform fleet create arms --levels tpm-attested --pcrs 0,1,7 --event-log optional > "$STORY/init.log" 2>&1 ||
		why "fleet: $(tail -n 1 "$STORY/init.log")" || return 1
	platform_start "$STORY_FIRST_LIFETIME" || why "the Platform does not serve: $(tail -n 1 "$STORY/platform.log")"
}

# enrol_robot ROBOT: as its root does it
enrol_robot()
{
	local robot=$1 state
	state=$(state_of "$robot")
	platform token create --fleet arms --name "$robot" --out "$STORY/$robot.token" > "$STORY/$robot.token.log" 2>&1 ||
		why "$robot: no token: $(tail -n 1 "$STORY/$robot.token.log")" || return 1
	node_exec "$robot" timeout 60 "$BIN/tgctl" enroll --platform "$PLATFORM_URL" --ca "$CA" \
		--token-file "$STORY/$robot.token" --state-dir "$state" --tpm swtpm:host=127.0.0.1,port=2321 \
		> "$STORY/$robot.enrol.log" 2>&1 ||
		why "$robot does not enrol: $(tail -n 1 "$STORY/$robot.enrol.log")" || return 1
	node_exec "$robot" cp "$state/current/tls.pem" "$STORY/$robot.d/first-key" &&
		node_exec "$robot" chown -R $STORY_USER "$state"
}

# agent_start NODE: STORY_AGENT_OPTIONS has its options, NODE in them is the node's name
agent_start()
{
	local options=${STORY_AGENT_OPTIONS:-}
	options=${options//NODE/$1}
	# shellcheck disable=SC2086 # options are words
	story_spawn "agent-$1" "$1" ${STORY_AGENT_ENV:-env} "$BIN/tensorguard-agent" --state-dir "$(state_of "$1")" \
		--trust-user $STORY_USER $options
}
agents_run()
{
	local robot
	for robot in "${AGENTS[@]}"; do
		till 20 node_exec "$robot" pgrep -x tg-trust || why "$robot: no agent: $(tail -n 1 "$STORY/agent-$robot.log")" ||
			return 1
	done
}

step_enrol()
{
	local robot began levels
	began=$(now_ms)
	for robot in "${AGENTS[@]}"; do
		enrol_robot "$robot" || return 1
		agent_start "$robot"
	done
	story_stop platform platform || why "the Platform does not end well: $(tail -n 1 "$STORY/platform.log")" || return 1
	platform_start || why "the Platform does not come back: $(tail -n 1 "$STORY/platform.log")" || return 1
	levels=$(platform agent list --json | jq -c '[.agents[] | {(.id): .assurance}] | add') || levels=null
	fact enrol "$(jq -cn --argjson levels "$levels" --argjson ms $(($(now_ms) - began)) '{levels: $levels, ms: $ms}')"
	[ "$(jq -c 'map(.) | unique' <<< "$levels")" = '["tpm-attested"]' ] || why "not attested: $levels"
}

# named_site NODE: its site with agents in the place of keys, and a key of its own making
named_site()
{
	local node edits=()
	for node in "${AGENTS[@]}"; do
		edits+=(-e "s|public_key = \"$(cat "$NODE_STATE/$node.pub")\"|agent = \"$node\"|")
	done
	sed "${edits[@]}" -e "s|key_file = .*|key_file = \"$STORY/$1.d/keys/tg0.key\";|" "$NODE_STATE/$1.site"
}

# keys_of NODE FILTER: what its process keys says of the tunnel; a packet in the tunnel would begin a session
keys_of() { node_exec "$1" cat /run/tensorguard/keys.json 2> /dev/null | jq -r ".tunnels[0] | $2"; }
knows_peers() { [ "$(keys_of "$1" '.peers | length > 0 and all(.key != null)')" = true ]; }
epoch() { keys_of "$1" .epoch; }
epoch_above() { [ "$(epoch "$1")" -gt "$2" ]; }

# From here on nobody copies a key: each device makes its own, and learns its peers' from the Platform.
step_keys()
{
	local node began
	began=$(now_ms)
	for node in "${AGENTS[@]}"; do
		named_site "$node" > "$STORY/$node.site"
		node_exec "$node" "$BIN/tg-load" reload --policy "$NODE_STATE/$node.policy" --site "$STORY/$node.site" \
			> "$STORY/$node.reload.log" 2>&1 || why "$node: $(tail -n 1 "$STORY/$node.reload.log")" || return 1
	done
	agents_run || return 1
	for node in "${AGENTS[@]}"; do
		till 60 knows_peers "$node" || why "$node does not learn its peers' keys: $(tail -n 2 "$STORY/agent-$node.log")" || return 1
	done
	fact keys "$(jq -cn --argjson ms $(($(now_ms) - began)) '{learnt: 4, ms: $ms}')"
}

# policy_of ROBOT: name of what is in force, by the data plane
policy_of() { node_exec "$1" "$BIN/tg-load" status --json 2> /dev/null | jq -r '.policy'; }
has_policy() { [ "$(policy_of "$1")" = "$2" ]; }
healthy() { node_exec "$1" "$BIN/tg-load" status > /dev/null 2>&1; }
# shown ROBOT FILTER: in the Platform's eyes
shown() { platform agent show "$1" --json | jq -r "$2"; }
# heard ROBOT SECONDS: it has said no longer ago that all is well
heard()
{
	platform agent show "$1" --json | jq -e --argjson s "$2" '.heartbeat |
		.state == "up" and .faults == [] and now - (.last_seen | fromdate) <= $s' > /dev/null
}

# publish FILE [OPTION...]: for the fleet, unless the options say otherwise; sets $VERSION
publish()
{
	local target=(--target fleet:arms)
	case " $* " in
	*" --target "*) target=() ;;
	esac
	platform policy publish "$@" "${target[@]}" --json > "$STORY/published" 2> "$STORY/publish.log" ||
		why "not published: $(cat "$STORY/published" "$STORY/publish.log")" || return 1
	VERSION=$(jq .version "$STORY/published")
}
applied_version() { node_exec "$1" jq .version "$(state_of "$1")-applied/policy.json" 2> /dev/null; }
applied_is() { [ "$(applied_version "$1")" = "$2" ]; }

step_policy()
{
	local robot began name
	name=$(sed -n 's/^name = "\(.*\)";/\1/p' "$STORY_POLICY")
	began=$(now_ms)
	publish "$STORY/gateway.conf" --target agent:gateway && publish "$STORY_POLICY" || return 1
	for robot in "${ROBOTS[@]}"; do
		till 20 has_policy "$robot" "$name" && till 20 healthy "$robot" ||
			why "$robot has not what was published: $(policy_of "$robot"); $(tail -n 2 "$STORY/agent-$robot.log")" || return 1
	done
	fact policy "$(jq -cn --argjson version "$VERSION" --arg name "$name" --argjson ms $(($(now_ms) - began)) \
		'{version: $version, name: $name, ms: $ms, robots: 3}')"
}

# watch_link ROBOT [OPTION...] and watched ROBOT: what an eavesdropper records on its link in between, in
# $STORY/ROBOT.$SCENE
watch_link()
{
	local robot=$1 n
	n=$(number_of "$robot")
	mkdir -p "$STORY/$robot.$SCENE"
	WIRE_LINK=$robot WIRE_EDGE="--a 192.0.2.$((n + 1)) --a 2001:db8:54::$((n + 1)) --control $PLATFORM_ADDRESS" \
		wire_start "$STORY_BED" "$STORY/$robot.$SCENE" "${@:2}" || why "$robot: its link cannot be recorded"
}
watched() { wire_stop "$STORY/$1.$SCENE" || why "$1: the recording is not complete"; }
wire_of() { jq -c "$2" "$STORY/$1.$SCENE/wire.json"; }

# clear_of ROBOT: packets outside the tunnel, other than what a host without a tunnel answers to its peer's
clear_of()
{
	local headers="$STORY/$1.$SCENE/headers.csv"
	if [ -e "$headers" ]; then
		awk -F, '$3 == 6 && !($4 ~ /^192\.0\.2\.[0-9]$/ && $5 ~ /^192\.0\.2\.[0-9]$/ && $17 == 1) { n++ } END { print n + 0 }' \
			"$headers"
	else
		wire_of "$1" .clear_packets
	fi
}

# one_size ROBOT: one size in each direction, and nothing beside the tunnel but TLS with the Platform
one_size()
{
	wire_of "$1" . | jq -e --argjson clear "$(clear_of "$1")" '(.up.sizes | length) <= 1 and (.down.sizes | length) <= 1 and
		$clear + .fragments + .oversize + .undirected + .malformed == 0' > /dev/null ||
		why "$1: the wire shows $(wire_of "$1" '{up: .up.sizes, down: .down.sizes, clear_packets, fragments, oversize,
			undirected, malformed}')"
}

# in_slots ROBOT: no slot was taken twice, and one was missed only where the machine itself was late
in_slots()
{
	wire_of "$1" . | jq -e '.machine.late as $late | [.up, .down | select(.packets > 0).grid] |
		all(.missed <= 2 * .breaks + 2 * $late and (.doubled == 0 or $late > 0))' > /dev/null ||
		why "$1: not in its slots: $(wire_of "$1" '{up: .up.grid, down: .down.grid, machine}')"
}

# whole_sessions ROBOT: as many packets as whole quanta have slots, in both directions
whole_sessions()
{
	wire_of "$1" . | jq -e --argjson slots "$(jq -n "$SESSION_NS / 1000 / $PERIOD_US | round")" \
		'[.up, .down | .packets] | all(. > 0 and . % $slots == 0)' > /dev/null ||
		why "$1: no whole sessions: $(wire_of "$1" '[.up.packets, .down.packets]') packets"
}

# play ROBOT TRACE SECONDS: its session with a controller in the plant; what it felt is in $STORY/ROBOT.$SCENE/app.json
play()
{
	REPLAY_FROM=$1 REPLAY_PORT=$((10000 + $(number_of "$1"))) replay "$STORY_BED" "$STORY/$1.$SCENE" "$2" \
		--seconds "$3" --timeout $((3 * $3 + 30))
}

# step_traffic TRACE SECONDS SILENCE [TRACE2]: robot plays that capture, robot2 another, robot3 says one word; each for
# itself is in the same session on the wire
step_traffic()
{
	local trace=$1 seconds=$2 silence=$3 robot pids=() pid failed=''
	SCENE=traffic
	for robot in "${ROBOTS[@]}"; do
		# shellcheck disable=SC2046 # an option and its value
		watch_link "$robot" $([ "$PERIOD_US" = 0 ] || echo --period "$PERIOD_US") || return 1
	done
	play robot "$trace" "$seconds" &
	pids+=($!)
	play robot2 "${4:-$trace}" "$seconds" &
	pids+=($!)
	node_exec robot3 ping -q -c 1 -W 5 10.90.0.10 > "$STORY/robot3.ping" 2>&1 || failed='robot3: no answer'
	for pid in "${pids[@]}"; do
		wait "$pid" || failed="a session was not played to its end: $(cat "$STORY"/robot*.$SCENE/app.err)"
	done
	for robot in "${ROBOTS[@]}"; do
		[ "$SESSION_NS" = 0 ] || link_falls_silent "$robot" "$silence" || failed="${failed:-$robot: its session does not end}"
		watched "$robot" || return 1
	done
	[ -z "$failed" ] || why "$failed" || return 1
	fact traffic "$(for robot in "${ROBOTS[@]}"; do
		wire_of "$robot" '{"'"$robot"'": {sizes: [.up.sizes, .down.sizes], packets: [.up.packets, .down.packets], session_s,
			clear_packets, control_packets}}'
	done | jq -cs add)"
	fact app "$(for robot in robot robot2; do
		jq -c '{"'"$robot"'": {ok, messages, bytes, delay_ms}}' "$STORY/$robot.$SCENE/app.json"
	done | jq -cs add)"
	[ "$SESSION_NS" != 0 ] || return 0
	for robot in "${ROBOTS[@]}"; do
		one_size "$robot" && in_slots "$robot" && whole_sessions "$robot" || return 1
	done
	facts | jq -e '.app | all(.ok)' > /dev/null || why "messages were lost: $(facts | jq -c .app)" || return 1
	facts | jq -e '[.traffic[].sizes] | unique | length == 1' > /dev/null ||
		why "the robots can be told apart by sizes: $(facts | jq -c .traffic)"
}

# link_falls_silent ROBOT SECONDS: nothing has come or gone in its tunnel for 1.5 s. (The agent goes on asking the Platform.)
link_falls_silent()
{
	local deadline=$((SECONDS + $2)) before='' now quiet=0
	while [ $quiet -lt 6 ]; do
		[ "$SECONDS" -lt "$deadline" ] || return 1
		sleep 0.25
		now=$(node_exec "$1" wg show tg0 transfer)
		[ "$now" = "$before" ] && quiet=$((quiet + 1)) || quiet=0
		before=$now
	done
}

# generation ROBOT: of its certificate
generation() { node_exec "$1" readlink "$(state_of "$1")/current" | grep -oE '[0-9]+$'; }
generation_above() { [ "$(generation "$1")" -gt "$2" ]; }

# flows_begin NAME ROBOT... and flows_end NAME ROBOT...: numbered datagrams, 100 a second, of which none may be lost
flows_begin()
{
	local name=$1 robot
	shift
	for robot in "$@"; do
		timeout 300 "$TOOLS/tg-probe" --client-netns "/proc/$(node_pid "$robot")/ns/net" \
			--server-netns "/proc/$(node_pid plant)/ns/net" --address 10.90.0.10 --port "$((7000 + $(number_of "$robot")))" \
			--count "${FLOW_COUNT:-300}" --interval 10000 --linger 4 > "$STORY/$robot.$name.json" 2> "$STORY/$robot.$name.err" &
		printf -v "flow_$robot" %s $!
	done
}
flows_end()
{
	local name=$1 robot flow
	shift
	for robot in "$@"; do
		flow=flow_$robot
		wait "${!flow}"
		jq -e '.lost + .duplicated + .corrupt + .refused == 0 and .received > 0' "$STORY/$robot.$name.json" > /dev/null 2>&1 ||
			why "$robot: datagrams were lost: $(cat "$STORY/$robot.$name.json" "$STORY/$robot.$name.err")" || return 1
	done
}

# Certificates were replaced, each for a new key in the TPM, while the robots worked. Tunnels' keys are changed under traffic
# of which nothing may be lost: the policy says every two seconds, for as long as it takes.
step_rotate()
{
	local robot
	for robot in "${ROBOTS[@]}"; do
		till $((2 * STORY_FIRST_LIFETIME)) generation_above "$robot" 1 ||
			why "$robot: not renewed: $(tail -n 2 "$STORY/agent-$robot.log")" || return 1
		! node_exec "$robot" cmp -s "$STORY/$robot.d/first-key" "$(state_of "$robot")/current/tls.pem" ||
			why "$robot has the same key" || return 1
	done
	sed -e 's/name = "tg0";/&\n\t\trotation = "2s";/' -e 's/public_key = .*/agent = "gateway";/' "$STORY_POLICY" > "$STORY/rotating.conf"
	publish "$STORY/rotating.conf" && change_keys || return 1
	publish "$STORY_POLICY" || return 1
	for robot in "${ROBOTS[@]}"; do
		till 60 applied_is "$robot" "$VERSION" || why "$robot does not go back to the policy" || return 1
	done
	fact rotation "$(jq -cn --argjson s "$STORY_FIRST_LIFETIME" --argjson epochs "$(for robot in "${ROBOTS[@]}"; do epoch "$robot"; done | jq -cs .)" \
		'{certificates: 3, after_s: ($s * 2 / 3), tunnel_keys: $epochs, datagrams_lost: 0}')"
}

# Until each robot's tunnel has had another key, by as many rounds of traffic as that takes.
change_keys()
{
	local round robot all
	declare -A before
	for robot in "${ROBOTS[@]}"; do
		before[$robot]=$(epoch "$robot")
	done
	for ((round = 0; round < 10; round++)); do
		FLOW_COUNT=400 flows_begin rotate "${ROBOTS[@]}"
		flows_end rotate "${ROBOTS[@]}" || return 1
		all=yes
		for robot in "${ROBOTS[@]}"; do
			epoch_above "$robot" "${before[$robot]}" || all=no
		done
		[ $all = no ] || return 0
	done
	why "tunnels keep their keys: $(for robot in "${ROBOTS[@]}"; do echo "$robot $(keys_of "$robot" .)"; done)"
}

# link_down NODE and link_up NODE: nothing comes through to it
link_down() { node_exec wan ip link set "$1" down; }
link_up() { node_exec wan ip link set "$1" up; }

# waiting ROBOT: audit records that the Platform does not have yet
waiting() { node_exec "$1" "$BIN/tgctl" audit tail --state-dir "$(state_of "$1")" --json 2> /dev/null | jq .waiting; }
waits() { [ "$(waiting "$1")" -gt 0 ]; }
nothing_waits() { [ "$(waiting "$1")" = 0 ]; }

# records ROBOT: [sequence, action, target] of all that the ledger has of it, the oldest first
records() { platform audit list --agent "$1" --count 100000 --json | jq -c '.records | reverse'; }
# whole ROBOT: each record once and in its order
whole()
{
	records "$1" | jq -e 'length > 0 and [.[].sequence] == [range(1; length + 1)]' > /dev/null ||
		why "$1: its records are not whole: $(records "$1" | jq -c '[.[].sequence]')"
}

# The Platform is out of reach: traffic goes on, an event is kept, and handed over afterwards.
step_offline()
{
	local robot=robot2 began restarts
	restarts=$(restarts_of $robot)
	flows_begin offline "${ROBOTS[@]}"
	link_down platform || why "no partition" || return 1
	node_exec $robot pkill -9 -x tg-guard || why "no guard to kill" || return 1
	till 20 silent_for $robot $((3 * STORY_PERIOD)) || why "the Platform still hears $robot" || return 1
	till 20 waits $robot || why "$robot keeps no record" || return 1
	flows_end offline "${ROBOTS[@]}" || return 1
	began=$(now_ms)
	link_up platform
	till 60 nothing_waits $robot || why "$robot does not hand over what it kept" || return 1
	till 20 eval '[ "$(restarts_of '$robot')" -gt '"$restarts"' ]' || why "$robot: the record did not arrive" || return 1
	whole $robot || return 1
	fact offline "$(jq -cn --argjson ms $(($(now_ms) - began)) '{datagrams_lost: 0, records_lost: 0, back_ms: $ms}')"
}
# silent_for ROBOT SECONDS: the Platform's last heartbeat of it is older
silent_for()
{
	platform agent show "$1" --json | jq -e --argjson s "$2" 'now - (.heartbeat.last_seen | fromdate) > $s' > /dev/null
}
said() { grep -qF "$2" "$STORY/agent-$1.log"; }
restarts_of() { records "$1" | jq '[.[] | select(.action == "process-restart" or .action == "process-end")] | length'; }

# Somebody deletes the filter that shapes, and kills a process.
step_heal()
{
	local robot=robot began filter_ms kill_ms old
	SCENE=heal
	watch_link $robot || return 1
	began=$(now_ms)
	node_exec $robot tc filter del dev tg0 egress || why "no filter to delete" || return 1
	! healthy $robot || why "nobody would notice that it is gone" || return 1
	till 30 healthy $robot || why "$robot: the filter does not come back" || return 1
	filter_ms=$(($(now_ms) - began))
	old=$(node_exec $robot pgrep -x tg-guard)
	began=$(now_ms)
	node_exec $robot kill -9 "$old" || why "no guard to kill" || return 1
	till 30 another $robot tg-guard "$old" || why "$robot: no new guard" || return 1
	kill_ms=$(($(now_ms) - began))
	till 10 node_exec $robot ping -q -c 1 -W 1 10.90.0.10 || why "$robot: no answer after the repair" || return 1
	watched $robot || return 1
	fact heal "$(jq -cn --argjson filter "$filter_ms" --argjson kill "$kill_ms" --argjson clear "$(wire_of $robot .clear_packets)" \
		'{filter_ms: $filter, guard_ms: $kill, clear_packets: $clear}')"
	one_size $robot
}
another() { local now; now=$(node_exec "$1" pgrep -x "$2") && [ "$now" != "$3" ]; }

# A robot is stolen: the operator revokes it, and its next request is the last: none is taken after the revocation.
step_revoke()
{
	local robot=robot3 began ms seen
	till 60 heard $robot $((STORY_PERIOD + 1)) || why "$robot is not well before" || return 1
	till 20 node_exec $robot ping -q -c 1 -W 1 10.90.0.10 || why "$robot does not work before" || return 1
	began=$(now_ms)
	platform agent revoke $robot --reason stolen > "$STORY/revoke.log" 2>&1 ||
		why "not revoked: $(tail -n 1 "$STORY/revoke.log")" || return 1
	till 60 is_locked $robot || why "$robot is not stopped: $(tail -n 2 "$STORY/agent-$robot.log")" || return 1
	ms=$(($(now_ms) - began))
	! node_exec $robot ping -q -c 1 -W 1 10.90.0.10 > /dev/null 2>&1 || why "$robot is revoked and still gets through" || return 1
	seen=$(platform agent show $robot --json | jq '(.heartbeat.last_seen | fromdate) <= (.revoked | fromdate)')
	[ "$seen" = true ] || why "the Platform took a request of $robot after its revocation" || return 1
	till 60 eval '[ "$(node_exec gateway wg show tg0 peers | wc -l)" = 2 ]' || why "the gateway still has $robot as a peer" || return 1
	node_exec robot ping -q -c 1 -W 5 10.90.0.10 > /dev/null || why "the others do not work any more" || return 1
	fact revoke "$(jq -cn --argjson ms "$ms" --argjson period "$STORY_PERIOD" '{ms: $ms, period_s: $period}')"
}
is_locked()
{
	local said
	# a status of 1 is right here
	said=$(node_exec "$1" "$BIN/tg-load" status 2>&1) || [ $? = 1 ] || return 1
	[[ $said = *'refuses this device: agent-revoked'* ]]
}

# What happened can be proved to somebody who has nothing of ours.
step_audit()
{
	local index total robot
	index=$(platform audit list --count 100000 --json | jq 'first(.records[] | select(.action == "agent-revoke")).index')
	total=$(platform audit list --count 100000 --json | jq '.records | length')
	platform audit prove "$index" --out "$STORY/proof" > "$STORY/prove.log" 2>&1 ||
		why "no proof: $(tail -n 1 "$STORY/prove.log")" || return 1
	/usr/bin/python3 "$ROOT/tests/platform/ledger/verify_ledger.py" proof "$STORY/proof" "$STORY/audit.vkey" \
		> "$STORY/proved.log" 2>&1 || why "others do not accept it: $(tail -n 1 "$STORY/proved.log")" || return 1
	for robot in robot robot2; do
		whole $robot || return 1
		node_exec $robot "$BIN/tgctl" audit verify --state-dir "$(state_of $robot)" > "$STORY/verify.log" 2>&1 ||
			why "$robot: $(tail -n 1 "$STORY/verify.log")" || return 1
	done
	fact audit "$(jq -cn --argjson index "$index" --argjson records "$total" '{records: $records, proved: $index}')"
}
