# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# shellcheck disable=SC2016,SC2034 # jq variables; constants are for the tests
# A robot and its gateway in namespaces, the Platform beside the robot, and the robot's agent with an identity. To be
# sourced from the project's folder, with the tests' environment (tests/netns/run) around it.
# shellcheck source=tests/netns/lib/wire.sh
. tests/netns/lib/wire.sh
# The second one makes a folder of its own, and would forget the beds at the end.
FIRST_WORK=$WORK
# shellcheck source=tests/e2e/identity/lib.sh
. tests/e2e/identity/lib.sh
rmdir "$FIRST_WORK"
trap cleanup EXIT

STATE=$WORK/state
PERIOD=1
TRUST=nobody

# in_robot NAME COMMAND...: in the background; $NAME is our process that waits for it, in_robot_end NAME ends it.
in_robot()
{
	# shellcheck disable=SC2016 # expanded in the node
	node_exec robot bash -c 'echo $$ > "$1"; shift; exec "$@"' bash "$WORK/$1.pid" "${@:2}" 2>> "$WORK/$1.log" &
	printf -v "$1" %s $!
	CHILDREN+=($!)
}

# By its number in the node; the status is the command's.
in_robot_end()
{
	on robot kill "$(cat "$WORK/$1.pid")"
	wait "${!1}"
}

# In the robot's network, as its agent is.
platform_serve()
{
	in_robot platform "$BIN/tensorguard-platform" serve --data "$DATA" --listen 127.0.0.1:$PORT --rate 1000 \
		--period $PERIOD "$@"
	wait_until $WAIT on robot curl -sS --cacert "$CA" $URL/healthz
}

# system_up BED-OPTION...: bed, Platform, fleet, an enrolled robot called robot-1 with the key in software
system_up()
{
	bed system "$@"
	platform init --names localhost,127.0.0.1 > "$WORK/out" || not_ok init failed
	platform fleet create lab --levels software > "$WORK/out"
	check platform-serves "$(tail -n 3 "$WORK/platform.log" 2>&1)" platform_serve
	enrol robot-1
	chmod 755 "$WORK"
	mkdir -m 700 "$WORK/credentials"
	install -m 400 "$SECRET" "$WORK/credentials/tensorguard-key"
}

# enrol ID [OPTION...]: the robot, as root does it
enrol()
{
	token "$WORK/token-$1" --name "$1"
	node_exec robot "$BIN/tgctl" enroll --platform $URL --ca "$CA" --token-file "$WORK/token-$1" --state-dir "$STATE" \
		--tpm none --key-passphrase-fd 9 "${@:2}" > "$WORK/out" 2> "$WORK/err" 9< "$SECRET"
	check "enrols-$1" "$(seen)" [ -e "$STATE/current" ]
	chown -R $TRUST "$STATE"
}

agent_start()
{
	in_robot agent env CREDENTIALS_DIRECTORY="$WORK/credentials" "$BIN/tensorguard-agent" --state-dir "$STATE" \
		--trust-user $TRUST
	wait_until 20 on robot pgrep -x tg-trust
}

# publish FILE [OPTION...]: for the fleet, unless the options say otherwise
publish()
{
	local target=(--target fleet:lab)
	case " $* " in
	*" --target "*) target=() ;;
	esac
	platform policy publish "$@" "${target[@]}" --json > "$WORK/published" 2> "$WORK/err" &&
		VERSION=$(jq .version "$WORK/published")
}

# shown FILTER: of the robot, in the Platform's eyes
shown() { platform agent show robot-1 --json | jq -r "$1"; }
shown_is() { [ "$(shown "$1")" = "$2" ]; }
# has_version N: the Platform has heard that the robot has it
has_version() { wait_until "${2:-20}" shown_is .heartbeat.policy_version "$1"; }

# in_force FILTER VALUE: of tg-load status
in_force() { [ "$(on robot "$BIN/tg-load" status --json 2> "$WORK/status.err" | jq -r "$1")" = "$2" ]; }
applied_version() { jq .version "$STATE-applied/policy.json"; }
applied_is() { [ "$(applied_version)" = "$1" ]; }
said() { grep -qF "$1" "$WORK/agent.log"; }
