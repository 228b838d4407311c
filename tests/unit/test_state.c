/* SPDX-License-Identifier: BSD-3-Clause */
/* The run folder: the lock, and the copies of the policy that is up. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "instance/instance.h"

struct folder {
	char top[32], run[64], policy[64], site[64];
};

static void write_text(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	CU_ASSERT_TRUE(fputs(text, f) >= 0);
	CU_ASSERT_EQUAL(fclose(f), 0);
}

static void folder_open(struct folder *f)
{
	snprintf(f->top, sizeof(f->top), "/tmp/tg-state-XXXXXX");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(f->top));
	snprintf(f->run, sizeof(f->run), "%s/run", f->top);
	snprintf(f->policy, sizeof(f->policy), "%s/a", f->top);
	snprintf(f->site, sizeof(f->site), "%s/b", f->top);
	write_text(f->policy, "policy");
	write_text(f->site, "site");
}

static bool in_run(const struct folder *f, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", f->run, name);
	return !access(path, F_OK);
}

/* Nothing but what the test itself has made may be left. */
static void folder_close(struct folder *f)
{
	CU_ASSERT_EQUAL(unlink(f->policy), 0);
	CU_ASSERT_EQUAL(unlink(f->site), 0);
	CU_ASSERT_EQUAL(rmdir(f->top), 0);
}

TEST(state, lock_excludes_and_goes)
{
	struct folder f;
	struct tg_error e;
	int fd, status;
	pid_t pid;

	folder_open(&f);
	CU_ASSERT_EQUAL_FATAL(state_lock(f.run, &fd, &e), 0);
	pid = fork();
	if (!pid) {
		/* waits, since the parent has it, and gets it with a file of its own once that one is gone */
		int mine;

		alarm(20);
		if (state_lock(f.run, &mine, NULL) || !in_run(&f, "lock"))
			_exit(1);
		state_unlock(f.run, mine, true);
		_exit(0);
	}
	usleep(50000);
	CU_ASSERT_EQUAL(waitpid(pid, &status, WNOHANG), 0);
	state_unlock(f.run, fd, true);
	CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
	CU_ASSERT_TRUE(WIFEXITED(status) && !WEXITSTATUS(status));
	CU_ASSERT_FALSE(in_run(&f, "lock"));
	folder_close(&f);
}

TEST(state, save_and_compare)
{
	struct folder f;
	struct tg_error e;
	bool same = false;
	int fd;

	folder_open(&f);
	CU_ASSERT_EQUAL_FATAL(state_lock(f.run, &fd, &e), 0);
	CU_ASSERT_EQUAL(state_save(f.run, f.policy, f.site, &e), 0);
	CU_ASSERT_EQUAL(state_same(f.run, f.policy, f.site, &same, &e), 0);
	CU_ASSERT_TRUE(same);
	CU_ASSERT_EQUAL(state_same(f.run, f.policy, NULL, &same, &e), 0);
	CU_ASSERT_FALSE(same);
	write_text(f.policy, "policY");
	CU_ASSERT_EQUAL(state_same(f.run, f.policy, f.site, &same, &e), 0);
	CU_ASSERT_FALSE(same);
	/* without a site file the old copy goes */
	CU_ASSERT_EQUAL(state_save(f.run, f.policy, NULL, &e), 0);
	CU_ASSERT_FALSE(in_run(&f, "site.conf"));
	CU_ASSERT_EQUAL(state_same(f.run, f.policy, NULL, &same, &e), 0);
	CU_ASSERT_TRUE(same);
	CU_ASSERT_FALSE(in_run(&f, "policy.conf.new"));
	CU_ASSERT_EQUAL(state_remove(f.run, &e), 0);
	CU_ASSERT_EQUAL(state_remove(f.run, &e), 0);
	state_unlock(f.run, fd, true);
	folder_close(&f);
}

/* The copies themselves are what `up` without files saves: they must survive that. */
TEST(state, save_the_copies)
{
	char *policy = NULL, *site = NULL;
	struct folder f;
	struct tg_error e;
	bool same = false;
	int fd;

	folder_open(&f);
	CU_ASSERT_EQUAL_FATAL(state_lock(f.run, &fd, &e), 0);
	CU_ASSERT_EQUAL(state_save(f.run, f.policy, f.site, &e), 0);
	CU_ASSERT_EQUAL_FATAL(state_paths(f.run, &policy, &site, &e), 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(site);
	CU_ASSERT_EQUAL(state_save(f.run, policy, site, &e), 0);
	CU_ASSERT_EQUAL(state_same(f.run, f.policy, f.site, &same, &e), 0);
	CU_ASSERT_TRUE(same);
	free(policy);
	free(site);
	CU_ASSERT_EQUAL(state_remove(f.run, &e), 0);
	state_unlock(f.run, fd, true);
	folder_close(&f);
}

/* A source that cannot be read leaves the pair of copies as it was, and nothing half written. */
TEST(state, failed_save_changes_nothing)
{
	struct folder f;
	struct tg_error e;
	bool same = false;
	int fd;

	folder_open(&f);
	CU_ASSERT_EQUAL_FATAL(state_lock(f.run, &fd, &e), 0);
	CU_ASSERT_EQUAL(state_save(f.run, f.policy, f.site, &e), 0);
	CU_ASSERT_EQUAL(state_save(f.run, "/nowhere/policy", f.policy, &e), -ENOENT);
	CU_ASSERT_STRING_EQUAL(e.message, "/nowhere/policy: No such file or directory");
	CU_ASSERT_EQUAL(state_same(f.run, f.policy, f.site, &same, &e), 0);
	CU_ASSERT_TRUE(same);
	CU_ASSERT_FALSE(in_run(&f, "site.conf.new"));
	CU_ASSERT_FALSE(in_run(&f, "policy.conf.new"));
	CU_ASSERT_EQUAL(state_remove(f.run, &e), 0);
	state_unlock(f.run, fd, true);
	folder_close(&f);
}

/* What a run that was killed had half written must not become part of a later policy. */
TEST(state, leftovers_are_not_used)
{
	char path[128];
	struct folder f;
	struct tg_error e;
	int fd;

	folder_open(&f);
	CU_ASSERT_EQUAL_FATAL(state_lock(f.run, &fd, &e), 0);
	snprintf(path, sizeof(path), "%s/site.conf.new", f.run);
	write_text(path, "half a si");
	CU_ASSERT_EQUAL(state_save(f.run, f.policy, NULL, &e), 0);
	CU_ASSERT_FALSE(in_run(&f, "site.conf"));
	CU_ASSERT_FALSE(in_run(&f, "site.conf.new"));
	CU_ASSERT_EQUAL(state_remove(f.run, &e), 0);
	state_unlock(f.run, fd, true);
	folder_close(&f);
}

TEST(state, nothing_is_up)
{
	struct tg_policy *policy = NULL;
	struct folder f;
	struct tg_error e;

	folder_open(&f);
	CU_ASSERT_EQUAL(state_load(f.run, &policy, &e), -ENOENT);
	CU_ASSERT_PTR_NULL(policy);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.message, "not up here"));
	folder_close(&f);
}
