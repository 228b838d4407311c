/* SPDX-License-Identifier: BSD-3-Clause */
#include <cap-ng.h>
#include <errno.h>
#include <pwd.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "supervise/filter.h"
#include "supervise/sandbox.h"

/* The set that this kernel has for it. */
static uint64_t known_rights(uint64_t rights)
{
	if ((rights & SANDBOX_RIGHT(CAP_BPF)) && prctl(PR_CAPBSET_READ, CAP_BPF, 0, 0, 0) < 0)
		return (rights & ~SANDBOX_RIGHT(CAP_BPF)) | SANDBOX_RIGHT(CAP_SYS_ADMIN);
	return rights;
}

static int add_rights(uint64_t rights, capng_type_t type)
{
	for (unsigned capability = 0; capability <= CAP_LAST_CAP; capability++)
		if ((rights & SANDBOX_RIGHT(capability)) && capng_update(CAPNG_ADD, type, capability))
			return -1;
	return 0;
}

/* Those that are to be had here. */
static uint64_t available_rights(uint64_t rights)
{
	uint64_t available = 0;

	capng_get_caps_process();
	for (unsigned capability = 0; capability <= CAP_LAST_CAP; capability++)
		if (capng_have_capability(CAPNG_PERMITTED, capability))
			available |= rights & SANDBOX_RIGHT(capability);
	return available;
}

/* These and no others; `bounding` is what a program that it executes can have. */
static int set_rights(uint64_t permitted, uint64_t effective, uint64_t bounding, struct tg_error *e)
{
	capng_clear(CAPNG_SELECT_BOTH);
	if (add_rights(known_rights(permitted), CAPNG_PERMITTED) ||
	    add_rights(known_rights(effective), CAPNG_EFFECTIVE) ||
	    add_rights(known_rights(bounding), CAPNG_BOUNDING_SET) || capng_apply(CAPNG_SELECT_BOTH))
		return tg_error(e, -EPERM, "cannot give up root's rights (root is needed to start)");
	return 0;
}

/* The same as another user, with an empty bounding set: the user's groups give access to the TPM's device. */
static int set_user(const struct passwd *user, uint64_t rights, struct tg_error *e)
{
	capng_clear(CAPNG_SELECT_BOTH);
	if (add_rights(known_rights(rights), CAPNG_EFFECTIVE | CAPNG_PERMITTED) ||
	    capng_change_id((int)user->pw_uid, (int)user->pw_gid, CAPNG_INIT_SUPP_GRP | CAPNG_CLEAR_BOUNDING))
		return tg_error(e, -EPERM, "cannot become user %s (root is needed to start)", user->pw_name);
	return 0;
}

/* Nothing of our memory gets out, and nothing that we execute gets more rights than we have. */
static int seal(struct tg_error *e)
{
	const struct rlimit none = { 0, 0 };

	if (setrlimit(RLIMIT_CORE, &none) || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return tg_error(e, -errno, "cannot seal the process: %s", strerror(errno));
	return 0;
}

/* Never root: what root owns it may write to, without any right. */
static int find_user(const char *name, const struct passwd **ret_user, struct tg_error *e)
{
	const struct passwd *user;

	errno = 0;
	user = getpwnam(name);
	if (!user && errno && errno != ENOENT)
		return tg_error(e, -errno, "cannot look up user %s: %s", name, strerror(errno));
	if (!user)
		return tg_error(e, -ENOENT,
				"there is no user %s: make it (systemd-sysusers, or useradd --system %s)",
				name, name);
	if (user->pw_uid == 0)
		return tg_error(e, -EPERM, "user %s is root: it must be one without root's power", name);
	*ret_user = user;
	return 0;
}

int sandbox_check_user(const struct sandbox *sandbox, struct tg_error *e)
{
	const struct passwd *user;

	return sandbox->user ? find_user(sandbox->user, &user, e) : 0;
}

int sandbox_enter(const struct sandbox *sandbox, unsigned first_fd, struct tg_error *e)
{
	const struct passwd *user = NULL;
	uint64_t rights = sandbox->rights | available_rights(sandbox->start_rights);
	int ret = sandbox->user ? find_user(sandbox->user, &user, e) : 0;

	if (ret)
		return ret;
	if (close_range(first_fd, ~0u, 0))
		return tg_error(e, -errno, "cannot close descriptors: %s", strerror(errno));
	ret = user ? set_user(user, rights, e) : set_rights(rights, rights, 0, e);
	if (!ret)
		ret = seal(e);
	return ret ? ret : filter_load(sandbox, e);
}

/* By the system call: libcap-ng looks at more than the sandbox lets it see. */
int sandbox_settle(const struct sandbox *sandbox, struct tg_error *e)
{
	uint64_t rights = known_rights(sandbox->rights);
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {
		{ .effective = (uint32_t)rights, .permitted = (uint32_t)rights },
		{ .effective = (uint32_t)(rights >> 32), .permitted = (uint32_t)(rights >> 32) },
	};

	return syscall(SYS_capset, &header, data)
		       ? tg_error(e, -errno, "cannot give up the rights of the start")
		       : 0;
}

/* Emptying a bounding set takes a right that the supervisor holds without using it. */
int sandbox_give(const struct sandbox *sandbox, struct tg_error *e)
{
	uint64_t rights = sandbox->rights | available_rights(sandbox->start_rights);

	if (capng_update(CAPNG_ADD, CAPNG_EFFECTIVE, CAP_SETPCAP) || capng_apply(CAPNG_SELECT_CAPS))
		return tg_error(e, -EPERM, "cannot use the right to give up rights");
	return set_rights(rights, rights, rights, e);
}

int sandbox_supervise(const struct sandbox *const *children, size_t count, struct tg_error *e)
{
	/* a child empties its bounding set, which takes a right as well */
	uint64_t to_give = SANDBOX_RIGHT(CAP_SETPCAP), to_start = 0, to_use = 0;
	int ret;

	for (size_t i = 0; i < count; i++) {
		to_give |= children[i]->rights;
		to_start |= children[i]->start_rights;
		if (!children[i]->user)
			continue;
		to_give |= SANDBOX_RIGHT(CAP_SETUID) | SANDBOX_RIGHT(CAP_SETGID);
		to_use |= SANDBOX_RIGHT(CAP_KILL);
	}
	to_give |= available_rights(to_start) | to_use;
	ret = set_rights(to_give, to_use, to_give, e);
	return ret ? ret : seal(e);
}
