# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# Kernels for the virtual machines: which ones (tests/vm/kernels.lock), where
# they come from, and that they are what the lock says.
#
# A line of the lock is "SERIES PACKAGE VERSION SHA256 PATH", PATH below the
# mirror's root; a series has as many lines as its kernel has packages, and
# series stand in ascending order. `fetch` needs nothing but the lock and the
# mirror's pool; only `pin` reads the mirror's indexes.

LOCK_FILE=tests/vm/kernels.lock
VM_CACHE=${TENSORGUARD_VM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tensorguard-vm}
PIN_SUITES="bullseye bookworm bookworm-backports trixie trixie-backports sid"
# Beside these, the newest kernel of any series.
PIN_SERIES="5.10 6.1 6.12 6.18"
PIN_KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
APT_HELPER=/usr/lib/apt/apt-helper

lock_lines()
{
	grep -v '^#' "$LOCK_FILE"
}

lock_series()
{
	lock_lines | cut -d ' ' -f 1 | uniq
}

# lock_resolve NAME: the series that NAME stands for.
lock_resolve()
{
	local name=$1

	[ "$name" != newest ] || name=$(lock_series | tail -n 1)
	if ! lock_series | grep -qxF -- "$name"; then
		echo "vm: no kernel '$1' in $LOCK_FILE; it has $(lock_series | tr '\n' ' ')and newest" >&2
		return 1
	fi
	echo "$name"
}

# The mirror that this machine's own packages come from.
mirror_url()
{
	local url=${TENSORGUARD_VM_MIRROR:-}

	# shellcheck disable=SC2016 # apt's variables
	[ -n "$url" ] || url=$(apt-get indextargets --format '$(COMPONENT) $(RELEASE) $(REPO_URI)' \
		'Created-By: Packages' |
		grep -E '^main (bullseye|bookworm|trixie|forky|sid|oldstable|stable|testing|unstable) ' |
		head -n 1 | cut -d ' ' -f 3)
	if [ -z "$url" ]; then
		echo "vm: this machine's apt sources name no Debian mirror; set TENSORGUARD_VM_MIRROR=URL" >&2
		return 1
	fi
	echo "${url%/}"
}

file_sha256()
{
	local sum

	sum=$(sha256sum < "$1") && echo "${sum%% *}"
}

# deb_download URL FILE: apt's own transports, so that its proxies and its certificates apply.
deb_download()
{
	local log

	if log=$("$APT_HELPER" download-file "$1" "$2" 2>&1); then
		return 0
	fi
	rm -f "$2"
	if grep -q '404 ' <<< "$log"; then
		echo "vm: the mirror no longer has ${1##*/}, which $LOCK_FILE pins;" \
			"\`scripts/vm pin\` moves the lock to what it has now" >&2
	else
		log=$(sed -n 's/^E: Failed to fetch [^ ]*  *//p' <<< "$log" | head -n 1)
		echo "vm: cannot download $1: $log" >&2
	fi
	return 1
}

# deb_fetch VERSION SHA256 PATH: into the cache, unless it is there; 3 if it cannot be downloaded. The name that
# counts is the hash.
deb_fetch()
{
	local version=$1 sha256=$2 path=$3 file=$VM_CACHE/debs/$2.deb mirror got

	[ ! -e "$file" ] || return 0
	mirror=$(mirror_url) || return 1
	echo "vm: downloading ${path##*/}" >&2
	deb_download "$mirror/$path" "$file.part" || return 3
	got=$(file_sha256 "$file.part") || return 1
	if [ "$got" != "$sha256" ]; then
		rm -f "$file.part"
		echo "vm: ${path##*/} (version $version) has changed: its SHA-256 is $got," \
			"$LOCK_FILE pins $sha256" >&2
		return 1
	fi
	mv "$file.part" "$file"
}

# The unpacked kernel of a series; the name follows the pinned hashes.
kernel_dir()
{
	local key

	key=$(lock_lines | grep "^$1 " | sha256sum) && echo "$VM_CACHE/kernels/$1-${key:0:16}"
}

# kernel_release DIR: the version string that the kernel itself uses.
kernel_release()
{
	ls "$1/lib/modules"
}

# kernel_settle DIR: vmlinuz and lib/modules/RELEASE, wherever this kernel's packages have them.
kernel_settle()
{
	local dir=$1 release

	[ -d "$dir/lib/modules" ] || mv "$dir/usr/lib" "$dir/lib" || return 1
	release=$(kernel_release "$dir")
	mv "$dir/boot/vmlinuz-$release" "$dir/vmlinuz" 2> /dev/null ||
		mv "$dir/lib/modules/$release/vmlinuz" "$dir/vmlinuz" 2> /dev/null || return 1
	rm -rf "${dir:?}/usr"
	# The packages leave the module index to their installation scripts.
	depmod -b "$dir" "$release"
}

# kernel_unpack SERIES DIR: all or nothing.
kernel_unpack()
{
	local series=$1 dir=$2 tmp package version sha256

	mkdir -p "$VM_CACHE/kernels" && tmp=$(mktemp -d "$VM_CACHE/kernels/.unpack.XXXXXX") || return 1
	while read -r _ package version sha256 _; do
		if ! dpkg-deb -x "$VM_CACHE/debs/$sha256.deb" "$tmp"; then
			rm -rf "$tmp"
			echo "vm: cannot unpack $package $version" >&2
			return 1
		fi
	done < <(lock_lines | grep "^$series ")
	if ! kernel_settle "$tmp"; then
		rm -rf "$tmp"
		echo "vm: the packages of kernel $series hold no kernel with modules" >&2
		return 1
	fi
	chmod 755 "$tmp" && mv -T "$tmp" "$dir"
}

# kernel_fetch SERIES: downloads, checks and unpacks what is missing; 3 if it cannot be downloaded.
kernel_fetch()
{
	local series=$1 dir version sha256 path

	dir=$(kernel_dir "$series") || return 1
	[ ! -d "$dir" ] || return 0
	mkdir -p "$VM_CACHE/debs" && exec 9> "$VM_CACHE/lock" && flock 9 || return 1
	# Somebody else may have been at it while we waited.
	if [ ! -d "$dir" ]; then
		while read -r _ _ version sha256 path; do
			deb_fetch "$version" "$sha256" "$path" || return
		done < <(lock_lines | grep "^$series ")
		kernel_unpack "$series" "$dir" || return 1
		lock_lines | grep "^$series " | while read -r _ _ _ sha256 _; do
			rm -f "$VM_CACHE/debs/$sha256.deb"
		done
	fi
	exec 9>&-
}

# ---- pin: an apt of its own, which knows nothing of what is installed here ----

pin_apt()
{
	local program=$1 apt=$VM_CACHE/apt

	shift
	"$program" -q -o Dir::Etc::SourceList="$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \
		-o Dir::Etc::PreferencesParts=/dev/null -o Dir::State="$apt/state" \
		-o Dir::State::status=/dev/null \
		-o Dir::Cache="$apt/cache" -o Dir::Cache::pkgcache=pkgcache.bin \
		-o Dir::Cache::srcpkgcache= -o APT::Architecture=amd64 -o APT::Architectures=amd64 \
		-o APT::Sandbox::User= -o Acquire::Languages=none "$@"
}

pin_update()
{
	local mirror suite apt=$VM_CACHE/apt

	mirror=$(mirror_url) || return 1
	if [ ! -e "$PIN_KEYRING" ]; then
		echo "vm: $PIN_KEYRING is missing; install debian-archive-keyring" >&2
		return 1
	fi
	mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial" || return 1
	for suite in $PIN_SUITES; do
		echo "deb [signed-by=$PIN_KEYRING] $mirror $suite main"
	done > "$apt/sources.list"
	pin_apt apt-get update >&2 || echo "vm: some suites could not be read; going on with the others" >&2
}

# Every kernel on offer: "VERSION PACKAGE", ascending.
pin_candidates()
{
	local names

	mapfile -t names < <(pin_apt apt-cache search --names-only '^linux-image-[0-9][^ ]*-cloud-amd64$' |
		cut -d ' ' -f 1)
	[ ${#names[@]} -gt 0 ] || return 1
	pin_apt apt-cache show "${names[@]}" |
		awk '$1 == "Package:" { package = $2 } $1 == "Version:" { print $2, package }' | sort -uV
}

# pin_package SERIES PACKAGE VERSION: one line of the lock.
pin_package()
{
	pin_apt apt-cache show "$2=$3" 2> /dev/null | awk -v series="$1" '
		$1 == "Package:" { package = $2 } $1 == "Version:" { version = $2 }
		$1 == "SHA256:" { sha256 = $2 } $1 == "Filename:" { path = $2 }
		END { if (sha256 == "" || path == "") exit 1; print series, package, version, sha256, path }'
}

# pin_kernel SERIES VERSION PACKAGE: its lines; the newer kernels are split over several packages.
pin_kernel()
{
	local series=$1 version=$2 package=$3 part

	pin_package "$series" "$package" "$version" || return 1
	pin_apt apt-cache show "$package=$version" | sed -n 's/^Depends: //p' |
		grep -oE 'linux-(base|binary|modules)-[0-9][^ ]*' | sort -u |
		while read -r part; do
			# linux-base-* has the lists of built-in modules; not every suite offers it.
			if ! pin_package "$series" "$part" "$version" && [[ $part != linux-base-* ]]; then
				echo "vm: the mirror's indexes lack $part $version, a part of $package" >&2
				exit 1
			fi
		done
}

# pin_series SERIES CANDIDATES: the lines of its newest kernel; what is gone from the mirror stays as it was.
pin_series()
{
	local version package

	read -r version package < <(awk -v prefix="$1." 'index($1, prefix) == 1' <<< "$2" | tail -n 1)
	if [ -n "$version" ]; then
		pin_kernel "$1" "$version" "$package"
	elif lock_lines | grep -q "^$1 "; then
		echo "vm: the mirror has no kernel $1 any more; its old pin stays" >&2
		lock_lines | grep "^$1 "
	else
		echo "vm: the mirror has no kernel $1" >&2
		return 1
	fi
}

kernel_pin()
{
	local candidates newest series lines=''

	pin_update || return 1
	if ! candidates=$(pin_candidates) || [ -z "$candidates" ]; then
		echo "vm: the mirror offers no cloud kernel" >&2
		return 1
	fi
	newest=$(tail -n 1 <<< "$candidates" | grep -oE '^[0-9]+\.[0-9]+')
	# shellcheck disable=SC2086 # series are words
	for series in $(printf '%s\n' $PIN_SERIES "$newest" | sort -uV); do
		lines+=$(pin_series "$series" "$candidates")$'\n' || return 1
	done
	{
		echo "# Kernels of the VM tests, by scripts/vm pin: series, package, version, SHA-256, path"
		printf '%s' "$lines"
	} > "$LOCK_FILE.new" && mv "$LOCK_FILE.new" "$LOCK_FILE" && lock_lines | cut -d ' ' -f 1-3
	rm -rf "$VM_CACHE/apt"
}
