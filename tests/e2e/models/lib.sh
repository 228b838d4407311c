# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# shellcheck disable=SC2016,SC2034 # jq variables; names are for the tests
# Devices in network namespaces of their own, a Platform that gives them models, and who makes these. To be sourced
# from the project's folder, in the tests' environment (tests/netns/run).
# shellcheck source=tests/tgsp/vault-lib.sh
. tests/tgsp/vault-lib.sh
trap 'devices_end; rm -rf "$WORK"' EXIT

HUB=10.86.0.1
PERIOD=2
declare -A AGENT SERVER
touch "$WORK/setup" "$WORK/out" "$WORK/err" "$WORK/agent1.log" "$WORK/agent2.log"

# hub_up: where the Platform is, and the links to all devices end
hub_up()
{
	ip link add hub type bridge && ip addr add $HUB/24 dev hub && ip link set hub up
}

# hub_serve [OPTION...]: the Platform; waits until it answers
hub_serve()
{
	"$BIN/tensorguard-platform" serve --data "$DATA" --listen $HUB:$PORT --rate 1000 --period $PERIOD "$@" 2>> "$WORK/platform.log" &
	SERVER[pid]=$!
	wait_until $WAIT curl -sS --cacert "$CA" "https://$HUB:$PORT/healthz"
}

hub_end() { kill "${1:--TERM}" "${SERVER[pid]}" && wait "${SERVER[pid]}"; }

# models_setup: keys and root of the author, a Platform that has published them
models_setup()
{
	author_make && platform init --names $HUB > "$WORK/setup" 2>&1 && platform fleet create lab --levels software > "$WORK/setup" &&
		publish && platform trust publish "$D/trust" --root "$D/root.doc" > "$WORK/setup"
}

# device_up N [FLEET]: its namespace, link and identity; robot-N
device_up()
{
	local n=$1
	ip netns add "r$n" && ip link add "v$n" type veth peer name eth0 netns "r$n" && ip link set "v$n" master hub up &&
		ip -n "r$n" link set lo up && ip -n "r$n" addr add "10.86.0.1$n/24" dev eth0 && ip -n "r$n" link set eth0 up || return
	mkdir -p "$WORK/credentials" "$WORK/vault$n" && chmod 700 "$WORK/credentials" "$WORK/vault$n" && chown $VAULT_USER "$WORK/vault$n"
	install -m 400 "$SECRET" "$WORK/credentials/tensorguard-key"
	token "$WORK/token$n" --name "robot-$n" --fleet "${2:-lab}" || return
	inside "$n" timeout 60 "$BIN/tgctl" enroll --platform "https://$HUB:$PORT" --ca "$CA" --token-file "$WORK/token$n" \
		--state-dir "$WORK/state$n" --tpm none --key-passphrase-fd 9 > "$WORK/out" 2> "$WORK/err" 9< "$SECRET" || return
	chown -R $TRUST_USER: "$WORK/state$n"
	write_policy
	printf 'version = 1;%s\nconsumers = ( { name = "grasp"; user = "%s"; } );\n' "${MODELS_MORE:-}" $CONSUMER > "$WORK/models$n.conf"
}

# inside N COMMAND...: in the device's network, with the mounts that are here
inside() { nsenter --net="/run/netns/r$1" "${@:2}"; }

# agent_up N: and waits until vault knows the device
agent_up()
{
	local n=$1
	nsenter --net="/run/netns/r$n" env CREDENTIALS_DIRECTORY="$WORK/credentials" setpriv --bounding-set="-all$bounding" \
		"$BIN/tensorguard-agent" --policy "$WORK/policy.conf" --run-dir "$WORK/run$n" --state-dir "$WORK/state$n" \
		--trust-user $TRUST_USER --models "$WORK/models$n.conf" --vault-dir "$WORK/vault$n" --vault-user $VAULT_USER \
		2>> "$WORK/agent$n.log" &
	AGENT[$n]=$!
	wait_until 20 on_device "$n" '.device.connected == true'
}

agent_down() { kill "${2:--TERM}" "${AGENT[$1]}" && wait "${AGENT[$1]}"; }
# child N NAME: the process number of a child of its agent
child() { pgrep -P "${AGENT[$1]}" -x "tg-$2"; }

devices_end()
{
	local n
	for n in "${!AGENT[@]}"; do
		kill -9 "${AGENT[$n]}" 2> /dev/null
	done
	[ -z "${SERVER[pid]:-}" ] || kill -9 "${SERVER[pid]}" 2> /dev/null
}

# tgctl_model N WHAT ARGUMENT...; consumer N WHAT ARGUMENT...: the same as a program that may have models
tgctl_model()
{
	local n=$1 what=$2
	shift 2
	timeout 60 "$WORK/tgctl" model "$what" --run-dir "$WORK/run$n" "$@"
}
consumer()
{
	local n=$1 what=$2
	shift 2
	timeout 60 setpriv --reuid $CONSUMER --regid "$(id -g $CONSUMER)" --clear-groups "$WORK/tgctl" model "$what" --run-dir "$WORK/run$n" "$@"
}
status_of() { tgctl_model "$1" status --json 2> "$WORK/err$1"; }
on_device() { status_of "$1" | jq -e "$2"; }
# has N MODEL RELEASE: and nothing else of that model
has() { on_device "$1" "[.models[] | select(.model == \"$2\").release] == [$3]"; }
# meant N MODEL FILTER: of what the Platform means it to have
meant() { on_device "$1" ".platform.assigned[] | select(.model == \"$2\") | $3"; }

# recipients N...: the devices' keys, for pack
recipients()
{
	local n keys=()
	for n in "$@"; do
		status_of "$n" | jq -r .device.public_key > "$D/device$n.pub"
		keys+=("$D/device$n.pub")
	done
	RECIPIENTS=$(IFS=,; echo "${keys[*]}")
}

# give PACKAGE... [-- OPTION...]: documents that name these, to the Platform
give()
{
	publish "$@" && platform trust publish "$D/trust" > "$WORK/setup"
}
# roll_out MODEL RELEASE [OPTION...]: to all of the fleet. A stage in which nobody was told ends after --soak, which must be
# longer than it takes the devices to ask.
roll_out()
{
	local model=$1 release=$2
	shift 2
	platform release add "$D/$model-$release.tgsp" > "$WORK/setup" 2>&1
	platform release promote "$model" "$release" --fleet lab --stages 100 --soak $((2 * PERIOD)) "$@" > "$WORK/setup" 2>&1
}
rollout() { platform release list --json | jq -r ".rollouts[] | select(.model == \"$1\") | $2"; }
rollout_is() { [ "$(rollout "$1" "$2")" = "$3" ]; }
# reported N FILTER: what the Platform knows of the device's models
reported()
{
	curl -sS --cacert "$CA" --cert "$DATA/operator.crt" --key "$DATA/operator.key" "https://$HUB:$PORT/v1/fleet/models" |
		jq -e ".models[] | select(.agent == \"robot-$1\") | $2"
}
