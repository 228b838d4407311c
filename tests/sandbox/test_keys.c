/* SPDX-License-Identifier: BSD-3-Clause */
/* The same for the process that holds the private keys of tunnels. */
#include "attempt.h"
#include "harness.h"

static const char *const refused[] = {
	/* another child's job: connections, other protocols, the data plane, new code, threads */
	"socket-inet",
	"socket-inet6",
	"socket-inet-udp",
	"socket-raw",
	"socket-packet",
	"queue",
	"socket-diag",
	"map-by-pin",
	"map-by-id",
	"map-create",
	"program-load",
	"memory-executable",
	"memory-writable-executable",
	"memory-made-executable",
	"memory-locked",
	"thread",
	/* what an intruder wants */
	"execve",
	"fork",
	"ptrace",
	"read-memory",
	"kill",
	"netlink-audit",
	"setuid",
	"core-limit",
	"dumpable",
	"unshare",
	"mount",
	"module",
	"io-uring",
	"perf",
	"userfaultfd",
	"keyctl",
	"terminal-input",
	"seccomp",
};

static const char *const allowed[] = { "socket-udp", "socket-unix", "write-file", "read-file", "random" };

TEST(sandbox_keys, refuses)
{
	attempt_all_refused(refused, sizeof(refused) / sizeof(refused[0]), &sandbox_keys);
}

TEST(sandbox_keys, allows_its_own_job)
{
	attempt_all_succeed(allowed, sizeof(allowed) / sizeof(allowed[0]), &sandbox_keys);
}

TEST(sandbox_keys, has_no_right_to_take_back_and_no_inherited_descriptor)
{
	CU_ASSERT_TRUE(attempt_succeeds("descriptor-is-gone", &sandbox_keys));
	CU_ASSERT_TRUE(attempt_returns("rights-back", &sandbox_keys));
	CU_ASSERT_FALSE(attempt_succeeds("rights-back", &sandbox_keys));
}
