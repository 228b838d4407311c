# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# One virtual machine: starts it, hands it a command, brings the result back.
#
# The guest sees this machine's root file system twice removed: a recursive bind
# mount made read-only in a mount namespace of the file system daemon's own, and
# above that, in the guest, an overlay on a tmpfs. A second share, writable,
# carries the command in and its output and status out.

# shellcheck disable=SC2034 # for scripts/vm
VM_TIMEOUT=480
VM_MEMORY=2048
VM_CPUS=2
# QEMU 7.2 spoils the flags behind CMPXCHG16B: kernel 6.12 died of it. Kernels have another way without it.
VM_CPU=max,la57=off,cx16=off
VM_COMMAND_LINE="console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable random.trust_cpu=on"
VM_INIT_MODULES="virtio_pci fuse virtiofs overlay"
# What a kernel prints when it has caught itself at fault.
VM_FAULTS='-+\[ cut here \]-+|Oops: |BUG: (unable|kernel|KASAN|sleeping|scheduling)'
VM_FAULTS+='|general protection fault|Kernel panic'

vm_fs_daemon()
{
	local file

	for file in /usr/libexec/virtiofsd /usr/lib/qemu/virtiofsd; do
		if [ -x "$file" ]; then
			echo "$file"
			return 0
		fi
	done
	return 1
}

vm_check_programs()
{
	local program

	if [ "$(id -u)" -ne 0 ]; then
		echo "vm: must be root, to share the root file system" >&2
		return 1
	fi
	for program in qemu-system-x86_64 busybox swtpm swtpm_setup cpio depmod xz zstd unshare; do
		if ! command -v "$program" > /dev/null; then
			echo "vm: $program is missing; run scripts/vm deps" >&2
			return 1
		fi
	done
	if ! vm_fs_daemon > /dev/null; then
		echo "vm: virtiofsd is missing; run scripts/vm deps" >&2
		return 1
	fi
}

# module_files MODULES NAME...: files of the modules and of what they need, in loading order.
module_files()
{
	local dir=$1 name line file

	shift
	for name in "$@"; do
		if line=$(grep -E "(^|/)$name\.ko(\.xz|\.zst)?:" "$dir/modules.dep"); then
			# The index names what a module needs from the outside in.
			for file in $(tr ' ' '\n' <<< "${line#*:}" | tac) "${line%%:*}"; do
				echo "$file"
			done
		elif ! grep -qE "/$name\.ko$" "$dir/modules.builtin"; then
			echo "vm: this kernel has no module $name" >&2
			return 1
		fi
	done | awk '!seen[$0]++'
	return "${PIPESTATUS[0]}"
}

module_unpack()
{
	case $1 in
	*.xz) xz -dc "$1" ;;
	*.zst) zstd -qdc "$1" ;;
	*) cat "$1" ;;
	esac
}

# initramfs_make KERNEL-DIR WORK-DIR: busybox, the few modules that the root file system needs, and init.
initramfs_make()
{
	local kernel=$1 work=$2 tree=$2/initramfs modules file files number=10

	modules=$kernel/lib/modules/$(kernel_release "$kernel")
	# shellcheck disable=SC2086 # module names are words
	files=$(module_files "$modules" $VM_INIT_MODULES) || return 1
	mkdir -p "$tree"/{bin,modules,lower,rw,root} || return 1
	cp "$(command -v busybox)" "$tree/bin/busybox" && cp scripts/lib/vm/init "$tree/init" || return 1
	for file in $files; do
		module_unpack "$modules/$file" > "$tree/modules/$number.ko" || return 1
		number=$((number + 1))
	done
	printf 'MODULES=%q\nGUEST=%q\n' "$kernel/lib/modules" "$PWD/scripts/lib/vm/guest" > "$tree/settings"
	chmod 755 "$tree/init" "$tree/bin/busybox"
	(cd "$tree" && find . | cpio --quiet -o -H newc) > "$work/initrd"
}

# share_root SOCKET MOUNT-POINT: replaces the shell, which must be in a mount namespace of its own.
share_root()
{
	local target

	mount --make-rprivate / && mount --rbind / "$2" || exit 1
	while read -r target; do
		# Kernel file systems may refuse; the guest mounts its own over those.
		mount -o remount,bind,ro "$target" 2> /dev/null || [ "$target" != "$2" ] || exit 1
	done < <(findmnt -rno TARGET -R "$2")
	share_dir "$1" "$2" always
}

# share_dir SOCKET DIR CACHE: replaces the shell.
share_dir()
{
	local daemon

	daemon=$(vm_fs_daemon) || exit 1
	case $daemon in
	*/libexec/*)
		exec "$daemon" --socket-path="$1" --shared-dir="$2" --sandbox=chroot --cache="${3/none/never}"
		;;
	*) exec "$daemon" --socket-path="$1" -o "source=$2,sandbox=chroot,no_posix_lock,xattr,cache=$3" ;;
	esac
}

# wait_for_file FILE PID: until the process has made it; fails when it ends or five seconds have passed.
wait_for_file()
{
	local tries=0

	while [ ! -e "$1" ]; do
		kill -0 "$2" 2> /dev/null && [ $tries -lt 100 ] || return 1
		sleep 0.05
		tries=$((tries + 1))
	done
}

# start_helper NAME FILE COMMAND...: in the background, until FILE is there; vm_cleanup ends it.
start_helper()
{
	local name=$1 file=$2

	shift 2
	"$@" > "$VM_WORK/$name.log" 2>&1 < /dev/null &
	VM_PIDS="$VM_PIDS $!"
	wait_for_file "$file" $! && return 0
	echo "vm: $name did not start: $(tail -n 1 "$VM_WORK/$name.log")" >&2
	return 1
}

vm_cleanup()
{
	local pid

	for pid in $VM_PIDS; do
		kill "$pid" 2> /dev/null && wait "$pid" 2> /dev/null
	done
	[ -z "$VM_WORK" ] || rm -rf "$VM_WORK"
	VM_PIDS='' VM_WORK=''
}

start_shares()
{
	export -f share_root share_dir vm_fs_daemon
	mkdir "$VM_WORK/host" || return 1
	start_helper virtiofsd "$VM_WORK/host.sock" \
		unshare -m bash -c 'share_root "$@"' - "$VM_WORK/host.sock" "$VM_WORK/host" || return 1
	start_helper virtiofsd-results "$VM_WORK/results.sock" \
		bash -c 'share_dir "$@"' - "$VM_WORK/results.sock" "$VM_WORK/results" none
}

# Its vendor's certificates, and nothing else of the vendor's, are on the share of the results.
make_tpm()
{
	local vendor=$VM_WORK/tpm-vendor

	mkdir "$VM_WORK/tpm" "$VM_WORK/results/ek-roots" || return 1
	if ! scripts/lib/tpm-make "$vendor" "$VM_WORK/tpm" > "$VM_WORK/tpm-make.log" 2>&1 < /dev/null; then
		echo "vm: the TPM cannot be made: $(tail -n 1 "$VM_WORK/tpm-make.log")" >&2
		return 1
	fi
	cp "$vendor/"*cert.pem "$VM_WORK/results/ek-roots"
}

start_tpm()
{
	make_tpm || return 1
	start_helper swtpm "$VM_WORK/tpm.sock" swtpm socket --tpm2 --tpmstate "dir=$VM_WORK/tpm" \
		--ctrl "type=unixio,path=$VM_WORK/tpm.sock" --flags startup-clear
}

# start_machine KERNEL-DIR TPM
start_machine()
{
	local devices=()

	[ "$2" = no ] || devices=(-chardev "socket,id=tpm,path=$VM_WORK/tpm.sock"
		-tpmdev "emulator,id=tpm0,chardev=tpm" -device "tpm-tis,tpmdev=tpm0")
	qemu-system-x86_64 -M q35 -accel tcg,thread=multi -cpu $VM_CPU -smp $VM_CPUS -m $VM_MEMORY \
		-object "memory-backend-memfd,id=mem,size=${VM_MEMORY}M,share=on" -numa node,memdev=mem \
		-nodefaults -no-user-config -display none -no-reboot -serial "file:$VM_WORK/console" \
		-kernel "$1/vmlinuz" -initrd "$VM_WORK/initrd" -append "$VM_COMMAND_LINE" \
		-chardev "socket,id=host,path=$VM_WORK/host.sock" \
		-device vhost-user-fs-pci,chardev=host,tag=host \
		-chardev "socket,id=results,path=$VM_WORK/results.sock" \
		-device vhost-user-fs-pci,chardev=results,tag=results "${devices[@]}" \
		> "$VM_WORK/qemu.log" 2>&1 < /dev/null &
	VM_QEMU=$!
	VM_PIDS="$VM_QEMU $VM_PIDS"
}

# follow FILE FD: what the guest appends, as it comes, until the machine is gone.
follow()
{
	tail -q -n +1 -s 0.2 -f --pid="$VM_QEMU" "$1" >&"$2" &
	VM_TAILS="$VM_TAILS $!"
}

# wait_machine SECONDS: 124 if it had to be stopped.
wait_machine()
{
	local deadline=$((SECONDS + $1)) status=0

	while kill -0 "$VM_QEMU" 2> /dev/null; do
		if [ $SECONDS -ge $deadline ]; then
			kill "$VM_QEMU"
			status=124
			break
		fi
		sleep 0.1
	done
	wait "$VM_QEMU" 2> /dev/null
	# shellcheck disable=SC2086 # process ids are words
	wait $VM_TAILS
	return $status
}

# vm_verdict WAIT-STATUS SECONDS: says what went wrong, if anything did; returns the status of the whole.
vm_verdict()
{
	local results=$VM_WORK/results faults

	faults=$(cat "$results/dmesg" "$VM_WORK/console" 2> /dev/null |
		grep -aE -A 12 -e "$VM_FAULTS" | head -n 60)
	if [ -n "$faults" ]; then
		printf 'vm: the kernel reported a fault:\n%s\n' "$faults" >&2
		return 125
	fi
	if [ "$1" -eq 124 ]; then
		echo "vm: stopped after $2 s; the console ended with:" >&2
		tail -n 5 "$VM_WORK/console" >&2
		return 124
	fi
	if [ ! -s "$results/status" ]; then
		echo "vm: the machine ended without a result; the console ended with:" >&2
		tail -n 20 "$VM_WORK/console" "$VM_WORK/qemu.log" >&2
		return 125
	fi
	return "$(cat "$results/status")"
}

# vm_run SERIES SECONDS TPM RESULTS-DIR COMMAND...
vm_run()
{
	local kernel series=$1 timeout=$2 tpm=$3 keep=$4 status

	shift 4
	vm_check_programs || return 125
	kernel=$(kernel_dir "$series") || return 125
	VM_PIDS='' VM_TAILS='' VM_WORK=$(mktemp -d -t tensorguard-vm.XXXXXX) || return 125
	trap vm_cleanup EXIT
	trap 'exit 130' INT TERM HUP
	mkdir "$VM_WORK/results" "$VM_WORK/results/keep" &&
		touch "$VM_WORK/results/"{out,err} "$VM_WORK/console" &&
		printf '%s\0' "$PWD" "$tpm" "$@" > "$VM_WORK/results/command" &&
		initramfs_make "$kernel" "$VM_WORK" && start_shares || return 125
	[ "$tpm" = no ] || start_tpm || return 125
	start_machine "$kernel" "$tpm"
	follow "$VM_WORK/results/out" 1
	follow "$VM_WORK/results/err" 2
	wait_machine "$timeout"
	vm_verdict $? "$timeout"
	status=$?
	if [ -n "$keep" ]; then
		mkdir -p "$keep" && cp -r "$VM_WORK/results/keep/." "$keep" &&
			cp "$VM_WORK/console" "$keep/console.log"
		[ ! -e "$VM_WORK/results/dmesg" ] || cp "$VM_WORK/results/dmesg" "$keep/dmesg.log"
	fi
	return $status
}
