/* SPDX-License-Identifier: BSD-3-Clause */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "guard/cgroup.h"

enum {
	CACHE_SIZE = 1024,	/* a power of two */
	MAX_DEPTH = 32,
	MAX_DIRECTORIES = 8192,	/* looked at in one walk */
};

struct answer {
	uint64_t id;		/* 0 = empty */
	uint64_t rules;		/* bit n = rule n */
};

struct cgroups {
	const struct tg_policy *policy;
	int root;		/* directory; -1 = no cgroup2 here */
	struct answer cache[CACHE_SIZE];
};

static bool is_cgroup2(const char *path)
{
	struct statfs fs;

	return !statfs(path, &fs) && fs.f_type == CGROUP2_SUPER_MAGIC;
}

static const char *find_mount(void)
{
	static const char *const places[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" };

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		if (is_cgroup2(places[i]))
			return places[i];
	return NULL;
}

int cgroups_new(const char *mount, const struct tg_policy *policy, struct cgroups **ret_cgroups)
{
	struct cgroups *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	if (!mount)
		mount = find_mount();
	c->policy = policy;
	c->root = mount ? open(mount, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
	*ret_cgroups = c;
	return 0;
}

void cgroups_free(struct cgroups *c)
{
	if (!c)
		return;
	if (c->root >= 0)
		close(c->root);
	free(c);
}

/* Whether `id` is below the directory `fd` (which is closed). */
static bool find_below(int fd, uint64_t id, int depth, unsigned *left)
{
	DIR *dir = fdopendir(fd);
	struct dirent *entry;
	bool found = false;

	if (!dir) {
		close(fd);
		return false;
	}
	while (!found && *left && (entry = readdir(dir))) {
		int child;

		if (entry->d_type != DT_DIR || !strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		--*left;
		found = entry->d_ino == id;
		if (found || depth == MAX_DEPTH)
			continue;
		child = openat(dirfd(dir), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (child >= 0)
			found = find_below(child, id, depth + 1, left);
	}
	closedir(dir);
	return found;
}

static bool rule_covers(const struct cgroups *c, const char *path, uint64_t id)
{
	unsigned left = MAX_DIRECTORIES;
	struct stat st;
	int fd = openat(c->root, *path ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return false;
	if (!fstat(fd, &st) && st.st_ino == id) {
		close(fd);
		return true;
	}
	return find_below(fd, id, 0, &left);
}

static uint64_t rules_of(const struct cgroups *c, uint64_t id)
{
	uint64_t rules = 0;

	for (size_t i = 0; i < c->policy->rule_count && i < TG_MAX_RULES; i++) {
		const char *path = c->policy->rules[i].cgroup;

		if (path && rule_covers(c, path, id))
			rules |= 1ull << i;
	}
	return rules;
}

bool cgroups_match(struct cgroups *c, uint64_t id, size_t rule)
{
	struct answer *slot = &c->cache[(id * 0x9e3779b97f4a7c15ull) >> 54 & (CACHE_SIZE - 1)];

	if (c->root < 0 || !id)
		return false;
	if (slot->id != id)
		*slot = (struct answer){ id, rules_of(c, id) };
	return slot->rules >> rule & 1;
}
