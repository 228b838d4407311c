# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# Platforms, TPMs and devices for the tests of identity. Each test runs in network, mount and process namespaces of
# its own (tests/netns/run), so that ports are free and nothing outlives it.
# shellcheck source=tests/lib.sh
. tests/lib.sh

PORT=8443
URL=https://127.0.0.1:$PORT
DATA=$WORK/platform
CA=$DATA/ca.crt
export ATTACK=$PWD/$BUILD/tests/identity-attack
WAIT=60
unset HTTPS_PROXY https_proxy ALL_PROXY all_proxy

# ---- TPMs ----

declare -A tcti_of

# tpm_make NAME PORT [VENDOR]: a TPM whose EK that vendor certifies, or nobody; it serves at PORT. The TPM `one` is
# that of TG_TEST_TCTI, if set, with its vendor's certificates in TG_TEST_EK_ROOTS.
tpm_make()
{
	local state=$WORK/tpm-$1
	if [ "$1" = one ] && [ -n "${TG_TEST_TCTI:-}" ]; then
		tcti_of[$2]=$TG_TEST_TCTI
		mkdir -p "$WORK/vendor-$3" && cp "$TG_TEST_EK_ROOTS"/*cert.pem "$WORK/vendor-$3" 2> "$WORK/setup.log"
		return
	fi
	mkdir -p "$state"
	if [ -n "${3:-}" ]; then
		scripts/lib/tpm-make "$WORK/vendor-$3" "$state" > "$WORK/setup.log" 2>&1 || return
	else
		swtpm_setup --tpm2 --tpmstate "$state" --pcr-banks sha256 > "$WORK/setup.log" 2>&1 || return
	fi
	tcti_of[$2]=swtpm:host=127.0.0.1,port=$2
	swtpm socket --tpm2 --tpmstate "dir=$state" --server "type=tcp,port=$2" --ctrl "type=tcp,port=$(($2 + 1))" \
		--flags not-need-init,startup-clear --daemon > "$WORK/swtpm.log" 2>&1 &&
		wait_until $WAIT nc -z 127.0.0.1 $(($2 + 1))
}

tcti() { echo "${tcti_of[$1]}"; }

# ---- the Platform ----

platform() { "$BIN/tensorguard-platform" "$@" --data "$DATA"; }

# platform_serve [OPTION...]: starts it and waits until it answers; $platform_pid.
platform_serve()
{
	"$BIN/tensorguard-platform" serve --data "$DATA" --listen 127.0.0.1:$PORT --rate 1000 "$@" \
		2>> "$WORK/platform.log" &
	platform_pid=$!
	wait_until $WAIT curl -sS --cacert "$CA" $URL/healthz
}

platform_end()
{
	kill "$platform_pid"
	wait "$platform_pid"
}

# token FILE [OPTION...]: a token for the fleet lab, unless the options name another.
token()
{
	local file=$1 fleet=(--fleet lab)
	shift
	case " $* " in
	*" --fleet "*) fleet=() ;;
	esac
	platform token create "${fleet[@]}" --out "$file" --json "$@" > "$WORK/token.json"
}

token_id() { jq -r .id "$WORK/token.json"; }

# token_state ID: unused, used, ...
token_state() { platform token list --json | jq -r --arg id "$1" '.tokens[] | select(.id == $id) | .state'; }

# audited ACTION OUTCOME [MINIMUM]: there are that many such records (1), soon.
audited()
{
	wait_until 20 audited_now "$@"
}

audited_now()
{
	[ "$(platform audit list --count 1000 --json |
		jq --arg a "$1" --arg o "$2" '[.records[] | select(.action == $a and .outcome == $o)] | length')" -ge "${3:-1}" ]
}

# ---- devices ----

# enroll STATE TOKEN OPTION...: tgctl enroll; its output in $WORK/out and $WORK/err.
enroll()
{
	local state=$1 token=$2
	shift 2
	timeout 120 "$BIN/tgctl" enroll --platform "${PLATFORM:-$URL}" --ca "${CAFILE:-$CA}" --token-file "$token" \
		--state-dir "$state" "$@" > "$WORK/out" 2> "$WORK/err" < /dev/null
}

# enroll_software STATE TOKEN OPTION...: with a key in software.
enroll_software()
{
	enroll "$@" --tpm none --key-passphrase-fd 9 9< "$SECRET"
}
SECRET=$WORK/secret
printf 'correct horse battery staple' > "$SECRET"

seen() { echo "out: $(tr '\n' ' ' < "$WORK/out") err: $(tr '\n' ' ' < "$WORK/err")"; }

# identity STATE FILTER: a value of `tgctl identity --json`.
identity() { "$BIN/tgctl" identity --state-dir "$1" --json 2> "$WORK/err" | jq -r "$2"; }

# refused NAME STATE TOKEN REASON OPTION...: the enrolment is refused with this reason, which is in the answer and
# in a new audit record, and leaves no identity.
refused()
{
	local name=$1 state=$2 token=$3 reason=$4 before
	shift 4
	before=$(platform audit list --count 1000 --json | jq --arg o "$reason" '[.records[] | select(.outcome == $o)] | length')
	enroll "$state" "$token" "$@"
	check "$name" "status $?, $(seen)" grep -qF ", $reason): " "$WORK/err"
	check "$name-audited" "$(platform audit list --count 5 | tr '\n' ';')" audited enrol "$reason" $((before + 1))
	check "$name-no-identity" "there is one" [ ! -e "$state/current" ]
}
