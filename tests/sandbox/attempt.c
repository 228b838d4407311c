/* SPDX-License-Identifier: BSD-3-Clause */
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/netlink.h>
#include <netdb.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attempt.h"
#include "harness.h"

enum { SPARE_FD = 77, FIRST_FD = 3, NOT_ENTERED = 99 };

static const char pin[] = "/sys/fs/bpf/sandbox-test";
static int map_id;

/* Each returns 0 or -errno, or does not return. */
static int result(long ret)
{
	return ret < 0 ? -errno : 0;
}

static int try_inet(void)
{
	return result(socket(AF_INET, SOCK_STREAM, 0));
}
static int try_inet6(void)
{
	return result(socket(AF_INET6, SOCK_STREAM, 0));
}
static int try_udp(void)
{
	return result(socket(AF_INET, SOCK_DGRAM, IPPROTO_UDP));
}
static int try_inet_udp(void)
{
	return result(socket(AF_INET, SOCK_DGRAM, 0));
}
static int try_unix(void)
{
	return result(socket(AF_UNIX, SOCK_STREAM, 0));
}
static int try_raw(void)
{
	return result(socket(AF_PACKET, SOCK_RAW, 0x300));
}
static int try_tpm(void)
{
	return result(open("/dev/tpmrm0", O_RDWR | O_CLOEXEC));
}
static int try_execve(void)
{
	return result(execl("/bin/true", "true", NULL));
}
static int try_ptrace(void)
{
	return result(ptrace(PTRACE_SEIZE, getppid(), 0, 0));
}
static int try_packet(void)
{
	return result(socket(AF_PACKET, SOCK_DGRAM, 0));
}
static int try_locked(void)
{
	return result(mlockall(MCL_CURRENT));
}
static int try_kill(void)
{
	return result(kill(getppid(), 0));
}
static int try_write(void)
{
	return result(open("/dev/null", O_WRONLY));
}
static int try_unlink(void)
{
	return result(unlink("/nonexistent/file"));
}
static int try_map_by_id(void)
{
	return result(bpf_map_get_fd_by_id((__u32)map_id));
}
static int try_audit(void)
{
	return result(socket(AF_NETLINK, SOCK_RAW, NETLINK_AUDIT));
}
static int try_setuid(void)
{
	return result(setuid(getuid()));
}
static int try_dumpable(void)
{
	return result(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
}
static int try_unshare(void)
{
	return result(unshare(CLONE_FS));
}
static int try_mount(void)
{
	return result(mount("none", "/nonexistent", "tmpfs", 0, NULL));
}
static int try_module(void)
{
	return result(syscall(SYS_init_module, NULL, 0, ""));
}
static int try_io_uring(void)
{
	return result(syscall(SYS_io_uring_setup, 0, NULL));
}
static int try_perf(void)
{
	return result(syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0));
}
static int try_userfaultfd(void)
{
	return result(syscall(SYS_userfaultfd, 0));
}
static int try_keyctl(void)
{
	return result(syscall(SYS_keyctl, 0, 0, 0, 0, 0));
}
static int try_terminal(void)
{
	return result(ioctl(0, TIOCSTI, "x"));
}
static int try_seccomp(void)
{
	return result(syscall(SYS_seccomp, 2, 0, NULL));
}
static int try_pin(void)
{
	return result(bpf_obj_get(pin));
}
static int try_queue(void)
{
	return result(socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER));
}
static int try_diag(void)
{
	return result(socket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG));
}
static int try_read(void)
{
	return result(open("/etc/passwd", O_RDONLY | O_CLOEXEC));
}
static int try_descriptor(void)
{
	return fcntl(SPARE_FD, F_GETFD) < 0 && errno == EBADF ? 0 : -EEXIST;
}

static int try_fork(void)
{
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	return result(pid);
}

static int try_read_memory(void)
{
	char byte;
	struct iovec to = { &byte, 1 }, from = { (void *)(uintptr_t)pin, 1 };

	return result(process_vm_readv(getppid(), &to, 1, &from, 1, 0));
}

static int try_real_time(void)
{
	const struct sched_param param = { 0 };

	return result(sched_setscheduler(0, SCHED_OTHER, &param));
}

static int try_writable_executable(void)
{
	void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return at == MAP_FAILED ? -errno : 0;
}

static int try_executable(void)
{
	void *at = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return at == MAP_FAILED ? -errno : 0;
}

/* Code that the process brings along in a file. */
static int try_file_executable(void)
{
	char path[] = "/tmp/tg-sandbox-XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);
	void *at = MAP_FAILED;
	int ret = -EBADF;

	if (fd >= 0 && write(fd, "\xc3", 1) == 1)
		at = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
	if (fd >= 0) {
		ret = at == MAP_FAILED ? -errno : 0;
		unlink(path);
		close(fd);
	}
	return ret;
}

static int try_made_executable(void)
{
	void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return at == MAP_FAILED ? -errno : result(mprotect(at, 4096, PROT_READ | PROT_EXEC));
}

static int try_program(void)
{
	union bpf_attr attr = { .prog_type = BPF_PROG_TYPE_SOCKET_FILTER };

	return result(syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr)));
}

static int try_map_create(void)
{
	union bpf_attr attr = {
		.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1
	};

	return result(syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr)));
}

/* After it gave up the rights of its start, one of them and one that it never had. */
static int try_rights_back(void)
{
	uint64_t wanted = SANDBOX_RIGHT(CAP_NET_ADMIN) | SANDBOX_RIGHT(CAP_NET_RAW);
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { { .effective = (uint32_t)wanted,
						    .permitted = (uint32_t)wanted } };
	struct tg_error e;

	if (sandbox_settle(&sandbox_guard, &e))
		return -EPERM;
	if (!syscall(SYS_capset, &header, data))
		return 0;
	data[0].effective = data[0].permitted = 1u << CAP_SYS_ADMIN;
	return result(syscall(SYS_capset, &header, data));
}

static int try_core(void)
{
	const struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };

	return result(setrlimit(RLIMIT_CORE, &all));
}

static int try_random(void)
{
	uint64_t number;

	return result(getrandom(&number, sizeof(number), 0));
}

/* The value of a line of /proc/self/status, as a number in hex. */
static uint64_t status_of(const char *name)
{
	char text[4096], *line;
	int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	close(fd);
	text[n < 0 ? 0 : n] = '\0';
	line = strstr(text, name);
	return line ? strtoull(line + strlen(name), NULL, 16) : ~0ull;
}

static int try_rights(void)
{
	uint64_t rights = SANDBOX_RIGHT(CAP_NET_ADMIN) | SANDBOX_RIGHT(CAP_BPF) | SANDBOX_RIGHT(CAP_IPC_LOCK);
	struct tg_error e;

	if (sandbox_settle(&sandbox_guard, &e))
		return -EPERM;
	return status_of("CapEff:") == rights && status_of("CapPrm:") == rights && !status_of("CapBnd:") &&
			       !status_of("CapInh:") && !status_of("CapAmb:") &&
			       status_of("NoNewPrivs:") == 1 && status_of("Seccomp:") == 2
		       ? 0
		       : -EPERM;
}

static int try_no_rights(void)
{
	return !status_of("CapEff:") && !status_of("CapPrm:") && !status_of("CapBnd:") &&
			       !status_of("CapInh:") && !status_of("CapAmb:") &&
			       status_of("NoNewPrivs:") == 1 && status_of("Seccomp:") == 2
		       ? 0
		       : -EPERM;
}

static int try_nobody(void)
{
	enum { NOBODY = 65534 };

	return getuid() == NOBODY && geteuid() == NOBODY && getgid() == NOBODY && getegid() == NOBODY &&
			       (status_of("Uid:") == 0x65534)
		       ? 0
		       : -EPERM;
}

static int try_resolve(void)
{
	struct addrinfo *list, hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	int ret = getaddrinfo("localhost", "443", &hints, &list);

	if (!ret)
		freeaddrinfo(list);
	return ret;
}

/* All of OpenSSL that is loaded late: configuration, providers, random numbers, a context with the system's
 * CAs. */
static int try_tls(void)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	int ret = context && SSL_CTX_set_default_verify_paths(context) == 1 &&
				  SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) == 1
			  ? 0
			  : -EIO;
	SSL *ssl = ret ? NULL : SSL_new(context);

	SSL_free(ssl);
	SSL_CTX_free(context);
	return ssl ? ret : -EIO;
}

static void *no_work(void *arg)
{
	return arg;
}

static int try_thread(void)
{
	pthread_t thread;
	int ret = pthread_create(&thread, NULL, no_work, NULL);

	return ret ? -ret : -pthread_join(thread, NULL);
}

enum {
	FOR_GUARD = 1 << CAP_SETPCAP | 1 << CAP_NET_ADMIN | 1 << CAP_NET_RAW | 1 << CAP_IPC_LOCK |
		    1 << CAP_SYS_NICE,
	FOR_TRUST = 1 << CAP_SETUID | 1 << CAP_SETGID | 1 << CAP_KILL
};

static int supervise(size_t count, uint64_t permitted, uint64_t effective)
{
	const struct sandbox *both[] = { &sandbox_guard, &sandbox_trust };
	struct tg_error e;

	permitted |= SANDBOX_RIGHT(CAP_BPF);
	if (sandbox_supervise(both, count, &e))
		return -EPERM;
	return status_of("CapEff:") == effective && status_of("CapPrm:") == permitted &&
			       status_of("CapBnd:") == permitted && status_of("NoNewPrivs:") == 1
		       ? 0
		       : -EPERM;
}

static int try_supervise_guard(void)
{
	return supervise(1, FOR_GUARD, 0);
}
static int try_supervise_both(void)
{
	return supervise(2, FOR_GUARD | FOR_TRUST, 1 << CAP_KILL);
}

static const struct attempt {
	const char *name;
	int (*run)(void);
} attempts[] = {
	{ "socket-inet", try_inet },
	{ "socket-inet6", try_inet6 },
	{ "socket-inet-udp", try_inet_udp },
	{ "socket-udp", try_udp },
	{ "socket-unix", try_unix },
	{ "socket-raw", try_raw },
	{ "open-tpm", try_tpm },
	{ "execve", try_execve },
	{ "fork", try_fork },
	{ "ptrace", try_ptrace },
	{ "read-memory", try_read_memory },
	{ "kill", try_kill },
	{ "write-file", try_write },
	{ "unlink", try_unlink },
	{ "memory-executable", try_executable },
	{ "file-executable", try_file_executable },
	{ "memory-made-executable", try_made_executable },
	{ "program-load", try_program },
	{ "map-create", try_map_create },
	{ "map-by-id", try_map_by_id },
	{ "map-by-pin", try_pin },
	{ "netlink-audit", try_audit },
	{ "setuid", try_setuid },
	{ "rights-back", try_rights_back },
	{ "core-limit", try_core },
	{ "dumpable", try_dumpable },
	{ "unshare", try_unshare },
	{ "mount", try_mount },
	{ "module", try_module },
	{ "io-uring", try_io_uring },
	{ "perf", try_perf },
	{ "userfaultfd", try_userfaultfd },
	{ "keyctl", try_keyctl },
	{ "terminal-input", try_terminal },
	{ "seccomp", try_seccomp },
	{ "queue", try_queue },
	{ "socket-diag", try_diag },
	{ "read-file", try_read },
	{ "random", try_random },
	{ "rights-are-guards", try_rights },
	{ "rights-are-none", try_no_rights },
	{ "user-is-nobody", try_nobody },
	{ "socket-packet", try_packet },
	{ "memory-locked", try_locked },
	{ "real-time", try_real_time },
	{ "memory-writable-executable", try_writable_executable },
	{ "resolve", try_resolve },
	{ "supervise-guard", try_supervise_guard },
	{ "supervise-both", try_supervise_both },
	{ "tls", try_tls },
	{ "thread", try_thread },
	{ "descriptor-is-gone", try_descriptor },
};

/* A map that is pinned, for those who may open it and those who may not. */
static bool make_map(void)
{
	struct bpf_map_info info = { 0 };
	__u32 len = sizeof(info);
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "sandbox", 4, 4, 1, NULL);
	bool made;

	unlink(pin);
	made = fd >= 0 && !bpf_obj_pin(fd, pin) && !bpf_obj_get_info_by_fd(fd, &info, &len);
	map_id = (int)info.id;
	close(fd);
	return made;
}

_Noreturn static void run_attempt(const struct attempt *a, const struct sandbox *sandbox)
{
	struct tg_error e = { "" };

	if (dup2(0, SPARE_FD) < 0)
		_exit(NOT_ENTERED);
	/* as that process does */
	if (sandbox && sandbox->denied)
		sandbox_trust_preload();
	if (sandbox && sandbox_enter(sandbox, FIRST_FD, &e)) {
		fprintf(stderr, "%s\n", e.message);
		_exit(NOT_ENTERED);
	}
	_exit(a->run() ? 1 : 0);
}

/* The wait status; of no attempt of that name, and of no map, NOT_ENTERED as an exit status. */
static int status_after(const char *name, const struct sandbox *sandbox)
{
	int status = NOT_ENTERED << 8;
	pid_t pid;

	for (size_t i = 0; i < sizeof(attempts) / sizeof(attempts[0]); i++) {
		if (strcmp(attempts[i].name, name))
			continue;
		if (!map_id && !make_map())
			return status;
		fflush(NULL);
		pid = fork();
		if (!pid)
			run_attempt(&attempts[i], sandbox);
		if (pid < 0 || waitpid(pid, &status, 0) != pid)
			return NOT_ENTERED << 8;
	}
	return status;
}

bool attempt_succeeds(const char *name, const struct sandbox *sandbox)
{
	int status = status_after(name, sandbox);

	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool attempt_returns(const char *name, const struct sandbox *sandbox)
{
	int status = status_after(name, sandbox);

	return WIFEXITED(status) && WEXITSTATUS(status) != NOT_ENTERED;
}

bool attempt_is_killed(const char *name, const struct sandbox *sandbox)
{
	int status = status_after(name, sandbox);

	return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
}

void attempt_fail(const char *name, const char *what)
{
	printf("# %s: %s\n", name, what);
	CU_FAIL("see the line above");
}

void attempt_all_refused(const char *const *names, size_t count, const struct sandbox *sandbox)
{
	for (size_t i = 0; i < count; i++) {
		if (!attempt_returns(names[i], NULL))
			attempt_fail(names[i], "does not return outside of the sandbox either");
		if (!attempt_is_killed(names[i], sandbox))
			attempt_fail(names[i], "is not refused");
	}
}

void attempt_all_succeed(const char *const *names, size_t count, const struct sandbox *sandbox)
{
	for (size_t i = 0; i < count; i++)
		if (!attempt_succeeds(names[i], sandbox))
			attempt_fail(names[i], "does not succeed");
}
