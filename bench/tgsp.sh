#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Model packages: opening one of BYTES (1 GB) against AES-256-GCM and SHA-256 of `openssl speed` one after the other,
# and against age and rauc on the same file in the same round; packing; memory, with PEAK_BYTES (4 GB); what a
# package adds. Everything is in memory (/dev/shm), so that no disk is measured.
set -u
cd "$(dirname "$0")/.." || exit 1
# shellcheck source=bench/lib/report.sh
. bench/lib/report.sh
bench_begin tgsp
BYTES=${BYTES:-1000000000}
PEAK_BYTES=${PEAK_BYTES:-4000000000}
ROUNDS=${ROUNDS:-5}
TGSP=$PWD/$BIN/tgsp
SHM=$(mktemp -d -p /dev/shm) || die "no memory file system"
CLEANUPS+=(shm_remove)

shm_remove()
{
	rm -rf "$SHM"
}

# seconds COMMAND...: wall time; cpu: that and the CPU time of the last call
seconds()
{
	local TIMEFORMAT='%R %U %S'
	{ time "$@" > "$DIR/out" 2>&1; } 2> "$DIR/time" || die "$1 $2: $(tail -n 1 "$DIR/out")"
	read -r wall user system < "$DIR/time"
	echo "$wall"
}

# speed ALGORITHM: bytes per second of `openssl speed` in blocks of a segment's size, by the clock and by CPU time
speed()
{
	local TIMEFORMAT='%R %U' bytes wall user
	bytes=$({ time openssl speed -elapsed -seconds 1 -bytes 1048576 -mr -evp "$1" 2> /dev/null; } 2> "$DIR/time" |
		awk -F: '$1 == "+F" { print $4 + 0 }')
	read -r wall user < "$DIR/time"
	awk -v b="$bytes" -v w="$wall" -v u="$user" 'BEGIN { print b, b * w / u }'
}

# peak COMMAND...: the largest KiB of the process in memory
peak()
{
	/usr/bin/python3 -c 'import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)' "$@"
}

for key in author device; do
	"$TGSP" keygen "$SHM/$key" > /dev/null || die "keygen"
done
# As much memory as will be used, once: what it costs the host of a virtual machine to find some is not our work.
head -c $((6 * BYTES)) /dev/zero > "$SHM/warm" || die "no room for $((6 * BYTES)) bytes"
rm "$SHM/warm"
head -c "$BYTES" /dev/urandom > "$SHM/model" || die "no room for $BYTES bytes"
OPEN=("$TGSP" open "$SHM/package" --key "$SHM/device.key" --signer "$SHM/author.pub" -- true)
PACK=("$TGSP" pack "$SHM/model" --out "$SHM/package" --key "$SHM/author.key" --recipient "$SHM/device.pub"
	--model bench --model-version 1.0.0 --release 1)
have_age='' have_rauc=''
if command -v age age-keygen > /dev/null; then
	age-keygen -o "$SHM/age.key" 2> /dev/null || die "age-keygen"
	age -R <(age-keygen -y "$SHM/age.key") -o "$SHM/model.age" "$SHM/model" || die "age cannot encrypt"
	have_age=yes
else
	echo "$BENCH: not compared with age(1), which is not installed" >&2
fi
# A rauc bundle is signed and not encrypted here; verifying it (plain format) is its work on the same bytes.
if command -v rauc > /dev/null && command -v mksquashfs > /dev/null; then
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$SHM/rauc.key" -out "$SHM/rauc.pem" \
		-subj /CN=bench -days 2 > /dev/null 2>&1
	mkdir "$SHM/bundle" && ln "$SHM/model" "$SHM/bundle/model.img"
	printf '[update]\ncompatible=bench\nversion=1\n[bundle]\nformat=plain\n[image.rootfs]\nfilename=model.img\n' \
		> "$SHM/bundle/manifest.raucm"
	rauc --cert "$SHM/rauc.pem" --key "$SHM/rauc.key" bundle --mksquashfs-args='-noI -noD -noF -noX -quiet' \
		"$SHM/bundle" "$SHM/bundle.raucb" > "$DIR/out" 2>&1 || die "rauc: $(tail -n 1 "$DIR/out")"
	have_rauc=yes
else
	echo "$BENCH: not compared with rauc(1), which is not installed, or mksquashfs(1) is not" >&2
fi

for _ in $(seq "$ROUNDS"); do
	rm -f "$SHM/package"
	seconds "${PACK[@]}" >> "$DIR/pack"
	read -r gcm gcm_cpu < <(speed aes-256-gcm)
	read -r sha sha_cpu < <(speed sha256)
	opened=$(seconds "${OPEN[@]}")
	read -r wall user system < "$DIR/time"
	awk -v b="$BYTES" -v t="$opened" -v g="$gcm" -v s="$sha" 'BEGIN { print b / t / 1e9, 1 / (1 / g + 1 / s) / 1e9 }' \
		>> "$DIR/open"
	awk -v b="$BYTES" -v u="$user" -v y="$system" -v g="$gcm_cpu" -v s="$sha_cpu" \
		'BEGIN { print b / (u + y) / 1e9, 1 / (1 / g + 1 / s) / 1e9 }' >> "$DIR/core"
	verified=$(seconds "$TGSP" verify "$SHM/package" --signer "$SHM/author.pub")
	awk -v b="$BYTES" -v t="$verified" -v s="$sha" 'BEGIN { print b / t / 1e9, s / 1e9 }' >> "$DIR/verify"
	[ -z "$have_age" ] || echo "$opened $(seconds age -d -i "$SHM/age.key" -o "$SHM/plain" "$SHM/model.age")" >> "$DIR/age"
	rm -f "$SHM/plain"
	[ -z "$have_rauc" ] ||
		echo "$verified $(seconds rauc --keyring "$SHM/rauc.pem" info "$SHM/bundle.raucb")" >> "$DIR/rauc"
done
awk -v p="$(stat -c %s "$SHM/package")" -v b="$BYTES" 'BEGIN { print 100 * (p - b) / b }' > "$DIR/overhead"
# A larger one, of zeros that take no memory: only what packing and opening make of them does.
rm -f "$SHM/package" "$SHM"/model* "$SHM"/bundle*/model*
truncate -s "$PEAK_BYTES" "$SHM/model"
peak "${PACK[@]}" > "$DIR/peak-pack"
peak "${OPEN[@]}" > "$DIR/peak-open"

report pack s "$DIR/pack" 'value<=10'
report open GB/s "$DIR/open" 'ratio>=0.85'
report open_per_core GB/s "$DIR/core" 'value>=1'
report verify GB/s "$DIR/verify"
[ -z "$have_age" ] || report open_against_age s "$DIR/age"
[ -z "$have_rauc" ] || report verify_against_rauc s "$DIR/rauc"
report overhead percent "$DIR/overhead" 'value<=0.1'
report peak_open MiB "$DIR/peak-open" 'value<=16'
report peak_pack MiB "$DIR/peak-pack" 'value<=16'
