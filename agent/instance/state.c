/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "instance/health.h"
#include "instance/instance.h"
#include "tensorguard/file.h"

enum { MAX_FILE = 4 << 20 };

static int path_in(const char *run_dir, const char *name, char **ret_path, struct tg_error *e)
{
	if (asprintf(ret_path, "%s/%s", run_dir, name) < 0)
		return tg_error(e, -ENOMEM, "out of memory");
	return 0;
}

static int open_lock(const char *run_dir, int *ret_fd, struct tg_error *e)
{
	char *path;
	int fd, ret;

	if (mkdir(run_dir, 0755) && errno != EEXIST)
		return tg_error(e, -errno, "%s: %s", run_dir, strerror(errno));
	ret = path_in(run_dir, "lock", &path, e);
	if (ret)
		return ret;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	/* the last one out has just taken the folder away */
	if (fd < 0)
		ret = tg_error(e, errno == ENOENT ? -EAGAIN : -errno, "%s: %s", path, strerror(errno));
	else
		*ret_fd = fd;
	free(path);
	return ret;
}

/* A lock on a file that its last owner has unlinked excludes nobody. */
static bool still_linked(int fd)
{
	struct stat st;

	return !fstat(fd, &st) && st.st_nlink > 0;
}

int state_lock(const char *run_dir, int *ret_fd, struct tg_error *e)
{
	enum { TRIES = 3000, PAUSE_NS = 10000000 };
	const struct timespec pause = { .tv_nsec = PAUSE_NS };

	for (int i = 0; i < TRIES; i++) {
		int fd = -1, ret = open_lock(run_dir, &fd, e);

		if (ret && ret != -EAGAIN)
			return ret;
		if (!ret && !flock(fd, LOCK_EX | LOCK_NB) && still_linked(fd)) {
			*ret_fd = fd;
			return 0;
		}
		if (!ret)
			close(fd);
		nanosleep(&pause, NULL);
	}
	return tg_error(e, -EBUSY, "another tg-load has held %s/lock for thirty seconds", run_dir);
}

void state_unlock(const char *run_dir, int fd, bool remove)
{
	char *path;

	if (remove && !path_in(run_dir, "lock", &path, NULL)) {
		unlink(path);
		rmdir(run_dir);	/* stays when the agent keeps its socket there */
		free(path);
	}
	close(fd);
}

static int read_file(const char *path, char **ret_text, size_t *ret_size, struct tg_error *e)
{
	FILE *f = fopen(path, "re");
	char *text = NULL;
	size_t size = 0;
	int ret = 0;

	if (!f)
		return tg_error(e, -errno, "%s: %s", path, strerror(errno));
	text = malloc(MAX_FILE + 1);
	if (!text)
		ret = tg_error(e, -ENOMEM, "out of memory");
	else
		size = fread(text, 1, MAX_FILE + 1, f);
	if (!ret && ferror(f))
		ret = tg_error(e, -EIO, "%s: cannot read", path);
	if (!ret && size > MAX_FILE)
		ret = tg_error(e, -EFBIG, "%s: larger than %d bytes", path, MAX_FILE);
	fclose(f);
	if (ret) {
		free(text);
		return ret;
	}
	*ret_text = text;
	*ret_size = size;
	return 0;
}

static int write_file(const char *path, const char *text, size_t size, struct tg_error *e)
{
	int fd, ret;

	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	ret = fd < 0 ? -errno : tg_write_full(fd, text, size);
	if (fd >= 0 && close(fd) && !ret)
		ret = -errno;
	return ret ? tg_error(e, ret, "%s: %s", path, strerror(-ret)) : 0;
}

/* Copies `source` to NAME.new. "up" without files repairs with the copies themselves: nothing to do then. */
static int copy_beside(const char *run_dir, const char *name, const char *source, struct tg_error *e)
{
	char *path = NULL, *beside = NULL, *text = NULL;
	size_t size;
	int ret;

	ret = path_in(run_dir, name, &path, e);
	if (!ret && strcmp(path, source)) {
		if (asprintf(&beside, "%s.new", path) < 0) {
			beside = NULL;
			ret = tg_error(e, -ENOMEM, "out of memory");
		}
		if (!ret)
			ret = read_file(source, &text, &size, e);
		if (!ret)
			ret = write_file(beside, text, size, e);
	}
	free(text);
	free(beside);
	free(path);
	return ret;
}

/* NAME.new takes the place of NAME, if there is one. */
static int move_into(const char *run_dir, const char *name, struct tg_error *e)
{
	char *path = NULL, *beside = NULL;
	int ret = path_in(run_dir, name, &path, e);

	if (!ret && asprintf(&beside, "%s.new", path) < 0) {
		beside = NULL;
		ret = tg_error(e, -ENOMEM, "out of memory");
	}
	if (!ret && rename(beside, path) && errno != ENOENT)
		ret = tg_error(e, -errno, "%s: %s", path, strerror(errno));
	free(beside);
	free(path);
	return ret;
}

static int remove_from(const char *run_dir, const char *name, struct tg_error *e)
{
	char *path;
	int ret = path_in(run_dir, name, &path, e);

	if (ret)
		return ret;
	if (unlink(path) && errno != ENOENT)
		ret = tg_error(e, -errno, "%s: %s", path, strerror(errno));
	free(path);
	return ret;
}

/* What an earlier run left half written goes first; a full disk is noticed before the first file is replaced.
 */
int state_save(const char *run_dir, const char *policy, const char *site, struct tg_error *e)
{
	int ret = remove_from(run_dir, "site.conf.new", e);

	if (!ret)
		ret = remove_from(run_dir, "policy.conf.new", e);
	if (!ret && site)
		ret = copy_beside(run_dir, "site.conf", site, e);
	if (!ret)
		ret = copy_beside(run_dir, "policy.conf", policy, e);
	if (!ret)
		ret = site ? move_into(run_dir, "site.conf", e) : remove_from(run_dir, "site.conf", e);
	if (!ret)
		ret = move_into(run_dir, "policy.conf", e);
	if (ret) {
		remove_from(run_dir, "site.conf.new", NULL);
		remove_from(run_dir, "policy.conf.new", NULL);
	}
	return ret;
}

int state_remove(const char *run_dir, struct tg_error *e)
{
	static const char *const names[] = { "policy.conf",  "policy.conf.new", "site.conf", "site.conf.new",
					     STATE_LOCKDOWN, HEALTH_FILE,       STATE_TEXT };
	int ret = 0;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && !ret; i++)
		ret = remove_from(run_dir, names[i], e);
	return ret;
}

int state_paths(const char *run_dir, char **ret_policy, char **ret_site, struct tg_error *e)
{
	char *policy = NULL, *site = NULL;
	int ret = path_in(run_dir, "policy.conf", &policy, e);

	if (!ret)
		ret = path_in(run_dir, "site.conf", &site, e);
	if (ret) {
		free(policy);
		return ret;
	}
	if (access(site, F_OK)) {
		free(site);
		site = NULL;
	}
	*ret_policy = policy;
	*ret_site = site;
	return 0;
}

static int check_up(const char *policy, struct tg_error *e)
{
	if (!access(policy, F_OK))
		return 0;
	if (errno != ENOENT)
		return tg_error(e, -errno, "cannot see whether TensorGuard is up: %s: %s", policy,
				strerror(errno));
	return tg_error(e, -ENOENT,
			"TensorGuard is not up here (no %s); start it with tg-load up --policy FILE", policy);
}

int state_check_up(const char *run_dir, struct tg_error *e)
{
	char *policy;
	int ret = path_in(run_dir, "policy.conf", &policy, e);

	if (ret)
		return ret;
	ret = check_up(policy, e);
	free(policy);
	return ret;
}

int state_load(const char *run_dir, struct tg_policy **ret_policy, struct tg_error *e)
{
	char *policy, *site;
	int ret = state_paths(run_dir, &policy, &site, e);

	if (ret)
		return ret;
	ret = check_up(policy, e);
	if (!ret)
		ret = tg_policy_load(policy, site, ret_policy, e);
	free(policy);
	free(site);
	return ret;
}

/* NULL and NULL are the same; a file and no file are not. */
static int same_text(const char *a, const char *b, bool *ret_same, struct tg_error *e)
{
	char *text_a = NULL, *text_b = NULL;
	size_t size_a, size_b;
	int ret;

	if (!a || !b) {
		*ret_same = a == b;
		return 0;
	}
	ret = read_file(a, &text_a, &size_a, e);
	if (!ret)
		ret = read_file(b, &text_b, &size_b, e);
	if (!ret)
		*ret_same = size_a == size_b && !memcmp(text_a, text_b, size_a);
	free(text_a);
	free(text_b);
	return ret;
}

int state_same(const char *run_dir, const char *policy, const char *site, bool *ret_same, struct tg_error *e)
{
	char *running_policy, *running_site;
	bool same_policy = false, same_site = false;
	int ret = state_paths(run_dir, &running_policy, &running_site, e);

	if (ret)
		return ret;
	ret = same_text(policy, running_policy, &same_policy, e);
	if (!ret)
		ret = same_text(site, running_site, &same_site, e);
	if (!ret)
		*ret_same = same_policy && same_site;
	free(running_policy);
	free(running_site);
	return ret;
}
