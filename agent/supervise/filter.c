/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/netlink.h>
#include <linux/prctl.h>
#include <netinet/in.h>
#include <sched.h>
#include <seccomp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "supervise/filter.h"

/*
 * Names that an architecture does not have are left out: x86 has `open`, arm64 only `openat`, and 32-bit
 * machines have the `_time64` calls.
 */
static const char *const common_calls[] = {
	/* memory */
	"brk",
	"madvise",
	"mremap",
	"munmap",
	/* descriptors */
	"close",
	"dup",
	"dup3",
	"fcntl",
	"fcntl64",
	"fstat",
	"fstat64",
	"_llseek",
	"lseek",
	"pread64",
	"read",
	"readv",
	"write",
	"writev",
	/* looking at files */
	"access",
	"faccessat",
	"faccessat2",
	"fstatat64",
	"fstatfs",
	"fstatfs64",
	"getdents",
	"getdents64",
	"lstat",
	"lstat64",
	"newfstatat",
	"readlink",
	"readlinkat",
	"stat",
	"stat64",
	"statfs",
	"statfs64",
	"statx",
	/* waiting */
	"clock_nanosleep",
	"clock_nanosleep_time64",
	"epoll_create",
	"epoll_create1",
	"epoll_ctl",
	"epoll_pwait",
	"epoll_pwait2",
	"epoll_wait",
	"eventfd2",
	"nanosleep",
	"pipe",
	"pipe2",
	"poll",
	"ppoll",
	"ppoll_time64",
	"restart_syscall",
	/* sockets that exist */
	"accept",
	"accept4",
	"getpeername",
	"getsockname",
	"getsockopt",
	"recv",
	"recvfrom",
	"recvmmsg",
	"recvmmsg_time64",
	"recvmsg",
	"send",
	"sendmmsg",
	"sendmsg",
	"sendto",
	"setsockopt",
	"shutdown",
	/* signals, time, the process itself, its end */
	"clock_getres",
	"clock_getres_time64",
	"clock_gettime",
	"clock_gettime64",
	"exit",
	"exit_group",
	"futex",
	"futex_time64",
	"getegid",
	"getegid32",
	"geteuid",
	"geteuid32",
	"getgid",
	"getgid32",
	"getpid",
	"getppid",
	"getrandom",
	"gettid",
	"gettimeofday",
	"getuid",
	"getuid32",
	"membarrier",
	"rseq",
	"rt_sigaction",
	"rt_sigprocmask",
	"rt_sigreturn",
	"sched_getaffinity",
	"sched_yield",
	"set_robust_list",
	"set_tid_address",
	"sigaltstack",
	"sigreturn",
	"sysinfo",
	"time",
	"uname",
	NULL,
};

static const struct sandbox_rule common_rules[] = {
	/* no new code */
	{ "mmap", 2, PROT_EXEC, 0 },
	{ "mmap2", 2, PROT_EXEC, 0 },
	{ "mprotect", 2, PROT_EXEC, 0 },
	/* whether a descriptor is a terminal */
	{ "ioctl", 1, ~0ull, TCGETS },
	{ "prctl", 0, ~0ull, PR_CAPBSET_READ },
	{ "prctl", 0, ~0ull, PR_SET_NAME },
	{ "prctl", 0, ~0ull, PR_SET_PDEATHSIG },
	/* limits are read, not set */
	{ "prlimit64", 2, ~0ull, 0 },
	{ NULL, 0, 0, 0 },
};

/* ---- guard ---- */

static const char *const guard_calls[] = {
	"bind",
	/* whether tg-load is at work */
	"flock",
	/* its pacing thread: priority, memory that stays, the time of the next slot */
	"capset",
	"mlockall",
	"sched_setscheduler",
	"timerfd_create",
	"timerfd_settime",
	"timerfd_settime64",
	NULL,
};

static const struct sandbox_rule guard_rules[] = {
	{ "open", 1, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY },
	{ "openat", 2, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY },
	{ "bpf", 0, ~0ull, BPF_OBJ_GET },
	{ "bpf", 0, ~0ull, BPF_OBJ_GET_INFO_BY_FD },
	{ "bpf", 0, ~0ull, BPF_MAP_LOOKUP_ELEM },
	{ "bpf", 0, ~0ull, BPF_MAP_UPDATE_ELEM },
	/* threads, not processes */
	{ "clone", 0, CLONE_THREAD, CLONE_THREAD },
	{ NULL, 0, 0, 0 },
};

static const struct sandbox_socket guard_sockets[] = {
	{ AF_NETLINK, NETLINK_NETFILTER },
	{ AF_NETLINK, NETLINK_ROUTE },
	{ AF_NETLINK, NETLINK_SOCK_DIAG },
	/* of no protocol: it sends, and receives nothing */
	{ AF_PACKET, 0 },
	{ 0, 0 },
};

const struct sandbox sandbox_guard = {
	.rights = SANDBOX_RIGHT(CAP_NET_ADMIN) | SANDBOX_RIGHT(CAP_BPF) | SANDBOX_RIGHT(CAP_IPC_LOCK),
	.start_rights = SANDBOX_RIGHT(CAP_NET_RAW) | SANDBOX_RIGHT(CAP_SYS_NICE),
	.calls = guard_calls,
	.rules = guard_rules,
	.sockets = guard_sockets,
};

/* ---- trust ---- */

static const char *const trust_calls[] = {
	/* its state on the disk, and the TPM's device */
	"chmod",
	"fallocate",
	"fchmod",
	"fchmodat",
	"fdatasync",
	"flock",
	"fsync",
	"ftruncate",
	"ftruncate64",
	"link",
	"linkat",
	"mkdir",
	"mkdirat",
	"open",
	"openat",
	"pwrite64",
	"rename",
	"renameat",
	"renameat2",
	"rmdir",
	"symlink",
	"symlinkat",
	"umask",
	"unlink",
	"unlinkat",
	"utimensat",
	/* the Platform, by name and address */
	"bind",
	"connect",
	"getrusage",
	"mlock",
	"socketpair",
	"sendfile",
	NULL,
};

static const struct sandbox_rule trust_rules[] = {
	{ "ioctl", 1, ~0ull, FIONBIO },
	{ "ioctl", 1, ~0ull, FIONREAD },
	/* threads, not processes */
	{ "clone", 0, CLONE_THREAD, CLONE_THREAD },
	{ NULL, 0, 0, 0 },
};

/*
 * A library that the TPM, OpenSSL or the resolver wants and that sandbox_trust_preload() did not foresee: it
 * is missing then. Files that may be mapped as code could be files that this process has written.
 */
static const struct sandbox_rule trust_denied[] = {
	{ "mmap", 2, PROT_WRITE | PROT_EXEC, PROT_EXEC },
	{ "mmap2", 2, PROT_WRITE | PROT_EXEC, PROT_EXEC },
	{ NULL, 0, 0, 0 },
};

static const struct sandbox_socket trust_sockets[] = {
	{ AF_INET, 0 },
	{ AF_INET, IPPROTO_TCP },
	{ AF_INET, IPPROTO_UDP },
	{ AF_INET6, 0 },
	{ AF_INET6, IPPROTO_TCP },
	{ AF_INET6, IPPROTO_UDP },
	/* the resolver: which addresses there are, its caches */
	{ AF_NETLINK, NETLINK_ROUTE },
	{ AF_UNIX, 0 },
	{ 0, 0 },
};

const struct sandbox sandbox_trust = {
	.user = SANDBOX_TRUST_USER,
	.calls = trust_calls,
	.rules = trust_rules,
	.denied = trust_denied,
	.sockets = trust_sockets,
};

/* ---- tg-load ---- */

/*
 * SYS_ADMIN is BPF and PERFMON as well, and the one right to tell whose a program is that sits on a device.
 * NET_RAW: clock cells are put into their queues. SYS_RESOURCE: memory for maps, before 5.11. SYS_NICE:
 * wireguard-go keeps time. DAC_READ_SEARCH: what the user of trust has put down.
 */
const struct sandbox sandbox_load = {
	.start_rights = SANDBOX_RIGHT(CAP_NET_ADMIN) | SANDBOX_RIGHT(CAP_NET_RAW) |
			SANDBOX_RIGHT(CAP_SYS_ADMIN) | SANDBOX_RIGHT(CAP_SYS_RESOURCE) |
			SANDBOX_RIGHT(CAP_SYS_NICE) | SANDBOX_RIGHT(CAP_DAC_READ_SEARCH),
};

/* ---- vault ---- */

static const char *const vault_calls[] = {
	/* its folder */
	"fallocate",
	"fchmod",
	"fdatasync",
	"flock",
	"fsync",
	"ftruncate",
	"ftruncate64",
	"link",
	"linkat",
	"open",
	"openat",
	"rename",
	"renameat",
	"renameat2",
	"unlink",
	"unlinkat",
	/* plaintext and keys, in memory alone */
	"memfd_create",
	"memfd_secret",
	"mlock",
	"pwrite64",
	/* who asks */
	"pidfd_open",
	NULL,
};

static const struct sandbox_rule vault_rules[] = {
	/* threads, not processes */
	{ "clone", 0, CLONE_THREAD, CLONE_THREAD },
	{ NULL, 0, 0, 0 },
};

/* Those that it has been given: it makes none. */
static const struct sandbox_socket vault_sockets[] = {
	{ 0, 0 },
};

const struct sandbox sandbox_vault = {
	.user = SANDBOX_VAULT_USER,
	.calls = vault_calls,
	.rules = vault_rules,
	.sockets = vault_sockets,
};

/* ---- keys ---- */

static const char *const keys_calls[] = {
	/* key files and what it says of them */
	"fchmod",
	"fdatasync",
	"flock",
	"fsync",
	"ftruncate",
	"ftruncate64",
	"mkdir",
	"mkdirat",
	"open",
	"openat",
	"pwrite64",
	"rename",
	"renameat",
	"renameat2",
	"unlink",
	"unlinkat",
	/* giving up more: which folders it writes to */
	"landlock_add_rule",
	"landlock_create_ruleset",
	"landlock_restrict_self",
	/* how soon it gets the processor */
	"capset",
	"sched_setscheduler",
	/* netlink, wireguard-go's socket, its own in tunnels */
	"bind",
	"connect",
	NULL,
};

static const struct sandbox_rule keys_rules[] = {
	{ NULL, 0, 0, 0 },
};

static const struct sandbox_socket keys_sockets[] = {
	{ AF_NETLINK, NETLINK_ROUTE },
	{ AF_NETLINK, NETLINK_GENERIC },
	{ AF_UNIX, 0 },
	/* its datagrams: no stream, and no other protocol */
	{ AF_INET, IPPROTO_UDP },
	{ AF_INET6, IPPROTO_UDP },
	{ 0, 0 },
};

/* It stays root's user, who owns the key files and wireguard-go's socket. DAC_READ_SEARCH: what the user of
 * trust has put down. */
const struct sandbox sandbox_keys = {
	.rights = SANDBOX_RIGHT(CAP_NET_ADMIN) | SANDBOX_RIGHT(CAP_DAC_READ_SEARCH),
	.start_rights = SANDBOX_RIGHT(CAP_SYS_NICE),
	.calls = keys_calls,
	.rules = keys_rules,
	.sockets = keys_sockets,
};

/* ---- the filter ---- */

/* The architecture's number, or false when it has no such call. */
static bool number_of(const char *call, int *ret_number)
{
	*ret_number = seccomp_syscall_resolve_name(call);
	return *ret_number >= 0;
}

static int allow_calls(scmp_filter_ctx filter, const char *const *calls)
{
	int number, ret = 0;

	for (; !ret && *calls; calls++)
		if (number_of(*calls, &number))
			ret = seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 0);
	return ret;
}

/* NULL is fine. */
static int add_rules(scmp_filter_ctx filter, uint32_t action, const struct sandbox_rule *rules)
{
	int number, ret = 0;

	for (; !ret && rules && rules->call; rules++)
		if (number_of(rules->call, &number))
			ret = seccomp_rule_add(
				filter, action, number, 1,
				SCMP_CMP64(rules->argument, SCMP_CMP_MASKED_EQ, rules->mask, rules->value));
	return ret;
}

static int allow_sockets(scmp_filter_ctx filter, const struct sandbox_socket *sockets)
{
	int ret = 0;

	for (; !ret && sockets->family; sockets++)
		ret = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2,
				       SCMP_A0_64(SCMP_CMP_EQ, (uint64_t)sockets->family, 0),
				       SCMP_A2_64(SCMP_CMP_EQ, (uint64_t)sockets->protocol, 0));
	return ret;
}

/* Its flags are in memory, which a filter cannot see: the C library then takes clone(), whose it can. */
static int refuse_clone3(scmp_filter_ctx filter)
{
	int number;

	return number_of("clone3", &number) ? seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), number, 0) : 0;
}

/* abort() sends a signal to the process itself. */
static int allow_abort(scmp_filter_ctx filter)
{
	return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
				SCMP_A0_64(SCMP_CMP_EQ, (uint64_t)getpid(), 0));
}

static int fill(scmp_filter_ctx filter, const struct sandbox *sandbox)
{
	int ret = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);

	/* both are wishes: an old kernel or library goes without */
	seccomp_attr_set(filter, SCMP_FLTATR_CTL_LOG, 1);
	seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (!ret)
		ret = allow_calls(filter, common_calls);
	if (!ret)
		ret = add_rules(filter, SCMP_ACT_ALLOW, common_rules);
	if (!ret)
		ret = allow_calls(filter, sandbox->calls);
	if (!ret)
		ret = add_rules(filter, SCMP_ACT_ALLOW, sandbox->rules);
	if (!ret)
		ret = add_rules(filter, SCMP_ACT_ERRNO(EPERM), sandbox->denied);
	if (!ret)
		ret = allow_sockets(filter, sandbox->sockets);
	if (!ret)
		ret = refuse_clone3(filter);
	return ret ? ret : allow_abort(filter);
}

int filter_load(const struct sandbox *sandbox, struct tg_error *e)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int ret;

	if (!filter)
		return tg_error(e, -ENOMEM, "out of memory");
	ret = fill(filter, sandbox);
	if (!ret)
		ret = seccomp_load(filter);
	seccomp_release(filter);
	return ret ? tg_error(e, ret, "cannot restrict system calls (CONFIG_SECCOMP_FILTER): %s",
			      strerror(-ret))
		   : 0;
}
