/* SPDX-License-Identifier: BSD-3-Clause */
/* The same for the process that talks to the Platform and the TPM. */
#include <errno.h>
#include <string.h>

#include "attempt.h"
#include "harness.h"

static const char *const refused[] = {
	/* another child's job */
	"map-by-pin",
	"map-by-id",
	"map-create",
	"program-load",
	"queue",
	"socket-diag",
	"socket-packet",
	"socket-raw",
	"real-time",
	"memory-locked",
	/* what an intruder wants */
	"execve",
	"fork",
	"ptrace",
	"read-memory",
	"kill",
	"memory-writable-executable",
	"memory-made-executable",
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

static const char *const allowed[] = { "socket-inet", "socket-inet6", "socket-inet-udp", "resolve",
				       "tls",         "thread",       "write-file",      "read-file" };

/* No new code, neither from memory nor from a file that it may have written: an error, and no end. */
static const char *const denied[] = { "memory-executable", "file-executable" };

/* As a user that every machine has. */
static const struct sandbox *as_user(const char *name)
{
	static struct sandbox sandbox;

	sandbox = sandbox_trust;
	sandbox.user = name;
	return &sandbox;
}

TEST(sandbox_trust, refuses)
{
	attempt_all_refused(refused, sizeof(refused) / sizeof(refused[0]), as_user("nobody"));
}

TEST(sandbox_trust, allows_its_own_job)
{
	attempt_all_succeed(allowed, sizeof(allowed) / sizeof(allowed[0]), as_user("nobody"));
	/* there need not be a TPM */
	CU_ASSERT_TRUE(attempt_returns("open-tpm", as_user("nobody")));
}

TEST(sandbox_trust, takes_no_new_code)
{
	for (size_t i = 0; i < sizeof(denied) / sizeof(denied[0]); i++) {
		if (!attempt_succeeds(denied[i], NULL))
			attempt_fail(denied[i], "does not succeed outside of the sandbox either");
		if (!attempt_returns(denied[i], as_user("nobody")) ||
		    attempt_succeeds(denied[i], as_user("nobody")))
			attempt_fail(denied[i], "is not denied");
	}
}

TEST(sandbox_trust, has_no_rights_at_all)
{
	CU_ASSERT_TRUE(attempt_succeeds("rights-are-none", as_user("nobody")));
	CU_ASSERT_FALSE(attempt_succeeds("rights-are-none", &sandbox_guard));
	CU_ASSERT_TRUE(attempt_succeeds("descriptor-is-gone", as_user("nobody")));
}

TEST(sandbox_trust, becomes_its_user)
{
	CU_ASSERT_STRING_EQUAL(sandbox_trust.user, "tensorguard-trust");
	CU_ASSERT_TRUE(attempt_succeeds("user-is-nobody", as_user("nobody")));
	CU_ASSERT_FALSE(attempt_succeeds("user-is-nobody", NULL));
	CU_ASSERT_TRUE(attempt_is_killed("setuid", as_user("nobody")));
}

/* It would be root without rights, who may write to what root owns. */
static void check_refused(const char *name, int error, const char *part)
{
	struct tg_error e = { "" };

	CU_ASSERT_EQUAL(sandbox_check_user(as_user(name), &e), error);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.message, part));
	/* "random" is allowed in the sandbox and out of it: what it does not return from is the entering */
	CU_ASSERT_FALSE(attempt_returns("random", as_user(name)));
}

TEST(sandbox_trust, is_never_root)
{
	struct tg_error e;

	CU_ASSERT_EQUAL(sandbox_check_user(as_user("nobody"), &e), 0);
	CU_ASSERT_TRUE(attempt_returns("random", as_user("nobody")));
	check_refused("tensorguard-no-such-user", -ENOENT, "useradd --system tensorguard-no-such-user");
	check_refused("root", -EPERM, "user root is root");
	CU_ASSERT_EQUAL(sandbox_check_user(&sandbox_guard, &e), 0);
}

TEST(sandbox_supervisor, uses_no_right_but_to_end_other_users_children)
{
	CU_ASSERT_TRUE(attempt_succeeds("supervise-guard", NULL));
	CU_ASSERT_TRUE(attempt_succeeds("supervise-both", NULL));
}
