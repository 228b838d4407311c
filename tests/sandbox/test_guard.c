/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A process in the sandbox of tensorguard-agent's guard tries what is not its job. Every attempt is made
 * twice: in a process without a sandbox, where the kernel's own answer comes back, and in one with it, which
 * must not survive.
 */
#include "attempt.h"
#include "harness.h"

static const char *const refused[] = {
	/* another child's job: the network, the TPM */
	"socket-inet",
	"socket-inet6",
	"socket-inet-udp",
	"socket-unix",
	"socket-raw",
	"open-tpm",
	/* what an intruder wants */
	"execve",
	"fork",
	"ptrace",
	"read-memory",
	"kill",
	"write-file",
	"unlink",
	"memory-executable",
	"file-executable",
	"memory-writable-executable",
	"memory-made-executable",
	"program-load",
	"map-create",
	"map-by-id",
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

static const char *const allowed[] = { "queue", "map-by-pin", "socket-diag", "read-file", "random" };

TEST(sandbox_guard, refuses)
{
	attempt_all_refused(refused, sizeof(refused) / sizeof(refused[0]), &sandbox_guard);
}

TEST(sandbox_guard, allows_its_own_job)
{
	attempt_all_succeed(allowed, sizeof(allowed) / sizeof(allowed[0]), &sandbox_guard);
}

TEST(sandbox_guard, has_no_other_rights_and_no_inherited_descriptor)
{
	CU_ASSERT_TRUE(attempt_succeeds("rights-are-guards", &sandbox_guard));
	CU_ASSERT_TRUE(attempt_succeeds("descriptor-is-gone", &sandbox_guard));
	CU_ASSERT_TRUE(attempt_returns("rights-back", &sandbox_guard));
	CU_ASSERT_FALSE(attempt_succeeds("rights-back", &sandbox_guard));
	/* and the attempts can fail */
	CU_ASSERT_FALSE(attempt_succeeds("rights-are-guards", NULL));
	CU_ASSERT_FALSE(attempt_succeeds("descriptor-is-gone", NULL));
}
