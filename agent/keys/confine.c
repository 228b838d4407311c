/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "keys/confine.h"

#define WRITING                                                                                           \
	(LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE | \
	 LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |       \
	 LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |    \
	 LANDLOCK_ACCESS_FS_MAKE_SYM | LANDLOCK_ACCESS_FS_EXECUTE)

static int allow(int ruleset, const char *folder, struct tg_error *e)
{
	struct landlock_path_beneath_attr rule = {
		.allowed_access = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_FILE |
				  LANDLOCK_ACCESS_FS_MAKE_REG,
		.parent_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC),
	};
	int ret = 0;

	if (rule.parent_fd < 0)
		return errno == ENOENT ? 0 : tg_error(e, -errno, "%s: %s", folder, strerror(errno));
	if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0))
		ret = tg_error(e, -errno, "%s: no rule: %s", folder, strerror(errno));
	close(rule.parent_fd);
	return ret;
}

int confine_to(const char *const *folders, size_t count, struct tg_error *e)
{
	const struct landlock_ruleset_attr writing = { .handled_access_fs = WRITING };
	int ruleset, ret = 0;

	ruleset = (int)syscall(SYS_landlock_create_ruleset, &writing, sizeof(writing), 0);
	if (ruleset < 0)
		return errno == ENOSYS || errno == EOPNOTSUPP
			       ? 0
			       : tg_error(e, -errno, "Landlock: %s", strerror(errno));
	for (size_t i = 0; i < count && !ret; i++)
		ret = allow(ruleset, folders[i], e);
	if (!ret && syscall(SYS_landlock_restrict_self, ruleset, 0))
		ret = tg_error(e, -errno, "Landlock: %s", strerror(errno));
	close(ruleset);
	return ret;
}
