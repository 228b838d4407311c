# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# A device with models, for the tests of the process vault: a Platform that enrols it, its agent, an author of
# packages. Each test runs in namespaces of its own (tests/netns/run), as root.
# shellcheck source=tests/e2e/identity/lib.sh
. tests/e2e/identity/lib.sh

TGSP=$BIN/tgsp
D=$WORK/d
MODELS=$WORK/models.conf
VAULT=$WORK/vault
LOG=$WORK/agent.log
# users that every machine has
export TRUST_USER=nobody VAULT_USER=daemon CONSUMER=games OTHER=bin
mkdir "$D"
chmod 755 "$WORK"
# where every user can execute it
install -m 755 "$BIN/tgctl" "$WORK/tgctl"

# device_enrol [tpm]: with a key in software, or in an swtpm
device_enrol()
{
	platform init --names localhost,127.0.0.1 > "$WORK/setup" 2>&1 || return
	if [ "${1:-}" = tpm ]; then
		tpm_make one 2321 good || return
		cp "$WORK"/vendor-good/*cert.pem "$DATA/ek-roots/" || return
	fi
	platform fleet create lab --levels tpm-attested,software --pcrs 0,1,7 --event-log optional > "$WORK/setup" &&
		platform_serve --lifetime 86400 && token "$WORK/token" --name robot-1 || return
	if [ "${1:-}" = tpm ]; then
		enroll "$WORK/state" "$WORK/token" --tpm "$(tcti 2321)" || return
	else
		enroll_software "$WORK/state" "$WORK/token" || return
		mkdir -m 700 "$WORK/credentials"
		install -m 400 "$SECRET" "$WORK/credentials/tensorguard-key"
		export CREDENTIALS_DIRECTORY=$WORK/credentials
	fi
	chown -R $TRUST_USER: "$WORK/state"
}

# author_make: keys of an author and of all roles of trust, and the root
author_make()
{
	local role
	for role in root targets snapshot timestamp package; do
		"$TGSP" keygen "$D/$role" > "$WORK/setup" 2>&1 || return
	done
	"$TGSP" trust root --out "$D/root.doc" --key "$D/root.key" --root-keys "1:$D/root.pub" --targets-keys "1:$D/targets.pub" \
		--snapshot-keys "1:$D/snapshot.pub" --timestamp-keys "1:$D/timestamp.pub" \
		--package-keys "1:$D/package.pub" > "$WORK/setup" 2>&1 && mkdir -p "$D/trust" && chmod 644 "$D/root.doc" &&
		chmod 755 "$D"
}

# pack NAME RELEASE SOURCE... [-- OPTION...]: $D/NAME-RELEASE.tgsp for this device
pack()
{
	local name=$1 release=$2 sources=()
	shift 2
	while [ $# -gt 0 ] && [ "$1" != -- ]; do
		sources+=("$1")
		shift
	done
	[ $# -eq 0 ] || shift
	rm -f "$D/$name-$release.tgsp"
	"$TGSP" pack "${sources[@]}" --out "$D/$name-$release.tgsp" --key "$D/package.key" --recipient "${RECIPIENTS:-$D/device.pub}" \
		--model "$name" --model-version "$release.0.0" --release "$release" "$@" > "$WORK/setup" 2>&1
}

# publish PACKAGE... [-- OPTION...]
publish()
{
	local packages=()
	while [ $# -gt 0 ] && [ "$1" != -- ]; do
		packages+=("$1")
		shift
	done
	[ $# -eq 0 ] || shift
	"$TGSP" trust publish "${packages[@]}" --root "$D/root.doc" --trust "$D/trust" \
		--key "$D/targets.key,$D/snapshot.key,$D/timestamp.key" "$@" > "$WORK/setup" 2>&1
}

write_policy()
{
	cat > "$WORK/policy.conf" <<'TEXT'
version = 1; name = "models"; policy_version = 1L; role = "edge"; profile = "lab"; fail = "open";
classifier = { undecided = "bypass"; queue = 86; queue_length = 256; };
tunnels = ( { name = "tg0"; external = "lo"; default = "rest";
	classes = ( { name = "rest"; defence = "pad"; pad = "cell"; cell = 1408; },
		{ name = "tls"; defence = "pad"; pad = "cell"; cell = 1408; } ); } );
rules = ( { tunnel = "tg0"; class = "tls"; to = ( "10.77.0.0/24" ); proto = "tcp"; sni = "*.robot.example"; } );
TEXT
}

# The rights that the unit leaves
bounding=$(sed -n 's/^CapabilityBoundingSet=//p' agent/units/tensorguard-agent.service | tr '[:upper:] ' '[:lower:]\n' |
	sed 's/^cap_/,+/' | tr -d '\n')

# agent_start: and waits until vault answers and knows the device
agent_start()
{
	install -d -m 700 -o $VAULT_USER "$VAULT"
	setpriv --bounding-set="-all$bounding" "$BIN/tensorguard-agent" --policy "$WORK/policy.conf" --run-dir "$WORK/run" \
		--state-dir "$WORK/state" --trust-user $TRUST_USER --models "$MODELS" --vault-dir "$VAULT" \
		--vault-user $VAULT_USER 2>> "$LOG" &
	agent=$!
	wait_until 20 connected
}

agent_end()
{
	kill "$agent"
	wait "$agent"
}

vault_pid() { pgrep -x tg-vault; }
connected() { model status --json | jq -e .device.connected; }
logged() { grep -c "$1" "$LOG"; }
is_logged() { [ "$(logged "$1")" -ge "${2:-1}" ]; }

# model WHAT ARGUMENT...: tgctl model, as root
model()
{
	local what=$1
	shift
	timeout 60 "$WORK/tgctl" model "$what" --run-dir "$WORK/run" "$@"
}
# model_as USER WHAT ARGUMENT...: as somebody else
model_as()
{
	local user=$1 what=$2
	shift 2
	timeout 60 setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups \
		"$WORK/tgctl" model "$what" --run-dir "$WORK/run" "$@"
}
