/* SPDX-License-Identifier: BSD-3-Clause */
/* The same for the process that opens models. */
#include "attempt.h"
#include "harness.h"

static const char *const refused[] = {
	/* another child's job: any network at all, the data plane, new code */
	"socket-inet",
	"socket-inet6",
	"socket-inet-udp",
	"socket-unix",
	"socket-raw",
	"socket-packet",
	"queue",
	"socket-diag",
	"resolve",
	"map-by-pin",
	"map-by-id",
	"map-create",
	"program-load",
	"memory-executable",
	"memory-writable-executable",
	"memory-made-executable",
	"real-time",
	"memory-locked",
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

static const char *const allowed[] = { "write-file", "read-file", "thread", "random" };

static const struct sandbox *as_nobody(void)
{
	static struct sandbox sandbox;

	sandbox = sandbox_vault;
	sandbox.user = "nobody";
	return &sandbox;
}

TEST(sandbox_vault, refuses)
{
	attempt_all_refused(refused, sizeof(refused) / sizeof(refused[0]), as_nobody());
}

TEST(sandbox_vault, allows_its_own_job)
{
	attempt_all_succeed(allowed, sizeof(allowed) / sizeof(allowed[0]), as_nobody());
	/* it may open files, but this one is not its */
	CU_ASSERT_FALSE(attempt_succeeds("open-tpm", as_nobody()));
}

TEST(sandbox_vault, is_a_user_of_its_own_with_no_right_and_no_descriptor)
{
	CU_ASSERT_STRING_EQUAL(sandbox_vault.user, "tensorguard-vault");
	CU_ASSERT_TRUE(attempt_succeeds("user-is-nobody", as_nobody()));
	CU_ASSERT_TRUE(attempt_succeeds("rights-are-none", as_nobody()));
	CU_ASSERT_TRUE(attempt_succeeds("descriptor-is-gone", as_nobody()));
}
