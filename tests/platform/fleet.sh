# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# Agents with certificates, and a release that is rolled out, for tests of a Platform. To be sourced after lib.sh.
D=$WORK/d
TGSP=$BIN/tgsp

make_agent_key()
{
	openssl ecparam -name prime256v1 -genkey -noout -out "$WORK/key" 2> /dev/null &&
		openssl req -new -key "$WORK/key" -subj /CN=x -out "$WORK/csr" 2> /dev/null
}

# agent NAME FLEET [SECONDS]: its certificate is $WORK/NAME.crt, its key $WORK/key. SECONDS: what is left of it in the
# store.
agent()
{
	[ -e "$WORK/csr" ] || make_agent_key || return 1
	printf 'subjectAltName=URI:tg:agent:%s:%s\nextendedKeyUsage=clientAuth\n' "$2" "$1" > "$WORK/ext"
	openssl x509 -req -in "$WORK/csr" -CA "$DATA/ca.crt" -CAkey "$DATA/ca.key" -days 1 -out "$WORK/$1.crt" \
		-extfile "$WORK/ext" 2> /dev/null
	sqlite3 "$DATA/platform.db" "INSERT INTO agent (id, identity, fleet, level, ak_public, hpke_point, enrolled, renewed,
		not_after, revoked, reason) VALUES ('$1', x'$(printf %s "$1" | sha256sum | cut -d ' ' -f 1)', '$2', 1, x'', x'',
		1, 1, $(($(date +%s) + ${3:-86400})), 0, '')"
}

# as_agent NAME: the options for curl
as_agent()
{
	echo --cert "$WORK/$1.crt" --key "$WORK/key"
}

# sync NAME FAULTS MODELS: FAULTS and MODELS are JSON
sync()
{
	jq -nc --argjson faults "$2" --argjson models "$3" '{format: 1, heartbeat: ({version: "0.1.0", kernel: "6.1.0-test",
		engine: "kernel", state: "up", uptime: 60, real: 1000, pad: 3000, dummy: 6000, violations: 1, restarts: 2} +
		if $faults == [] then {} else {faults: $faults} end), models: $models}' > "$WORK/sync"
	# shellcheck disable=SC2046 # options are words
	request POST /v1/sync $(as_agent "$1") --data-binary "@$WORK/sync"
}

# A model, releases 7 and 8 of it, a root and documents that name them; all is in $D.
make_releases()
{
	mkdir -p "$D/trust"
	for key in author device role; do
		"$TGSP" keygen "$D/$key" > /dev/null
	done
	"$TGSP" trust root --out "$D/root" --key "$D/role.key" --root-keys "1:$D/role.pub" --targets-keys "$D/role.pub" \
		--snapshot-keys "$D/role.pub" --timestamp-keys "$D/role.pub" --package-keys "$D/author.pub" > /dev/null
	head -c 50000 /dev/urandom > "$D/model.onnx"
	pack 7.tgsp 7 "$D/model.onnx" --training-run run-41
	pack 8.tgsp 8 "$D/model.onnx" --training-run run-42 --parent "$("$TGSP" inspect "$D/7.tgsp" --json | jq -r .manifest)" \
		--data-hash "$(printf data | sha256sum | cut -d ' ' -f 1)"
	"$TGSP" trust publish "$D/7.tgsp" "$D/8.tgsp" --root "$D/root" --trust "$D/trust" --key "$D/role.key" > /dev/null
}

# pack OUT NUMBER FILE [OPTION...]
pack()
{
	"$TGSP" pack "$3" --out "$D/$1" --key "$D/author.key" --recipient "$D/device.pub" --model grasp --model-version "1.$2.0" \
		--release "$2" --segment 4096 "${@:4}" > /dev/null
}

take_releases()
{
	"$PLATFORM" trust publish "$D/trust" --root "$D/root" --data "$DATA" &&
		"$PLATFORM" release add "$D/7.tgsp" --data "$DATA" && "$PLATFORM" release add "$D/8.tgsp" --data "$DATA"
}
