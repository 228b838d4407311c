/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "supervise/listen.h"

enum { BACKLOG = 8, TRIES = 20, PAUSE_US = 50000 };

int listen_address(const char *run_dir, const char *name, struct sockaddr_un *ret_address, struct tg_error *e)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (strlen(run_dir) + strlen(name) + 2 > sizeof(address.sun_path))
		return tg_error(e, -ENAMETOOLONG, "--run-dir: the name is too long for a socket in it");
	stpcpy(stpcpy(stpcpy(address.sun_path, run_dir), "/"), name);
	*ret_address = address;
	return 0;
}

static bool is_served(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* EAGAIN: there is a queue before it */
	bool served = fd >= 0 &&
		      (!connect(fd, (const struct sockaddr *)address, sizeof(*address)) || errno == EAGAIN);

	if (fd >= 0)
		close(fd);
	return served;
}

int listen_check(const struct sockaddr_un *address, struct tg_error *e)
{
	for (int i = 0; i < TRIES; i++) {
		if (!is_served(address)) {
			/* what a predecessor held beside its socket goes in the same moment */
			if (i)
				usleep(PAUSE_US);
			return 0;
		}
		usleep(PAUSE_US);
	}
	return tg_error(e, -EBUSY, "another agent is running: it serves %s", address->sun_path);
}

static int bind_at(int fd, const struct sockaddr_un *address, mode_t mode)
{
	mode_t mask;
	int ret;

	if (unlink(address->sun_path) && errno != ENOENT)
		return -errno;
	/* the mode must be right from the first moment on */
	mask = umask(0777 & ~mode);
	ret = bind(fd, (const struct sockaddr *)address, sizeof(*address)) ? -errno : 0;
	umask(mask);
	return !ret && listen(fd, BACKLOG) ? -errno : ret;
}

static int make_folder(const struct sockaddr_un *address)
{
	struct sockaddr_un folder = *address;

	*strrchr(folder.sun_path, '/') = '\0';
	return mkdir(folder.sun_path, 0755) && errno != EEXIST ? -errno : 0;
}

int listen_open(const struct sockaddr_un *address, mode_t mode, int *ret_fd, struct tg_error *e)
{
	int fd, ret = make_folder(address);

	if (ret)
		return tg_error(e, ret, "cannot make the folder of %s: %s", address->sun_path,
				strerror(-ret));
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	ret = fd < 0 ? -errno : bind_at(fd, address, mode);
	if (ret) {
		if (fd >= 0)
			close(fd);
		return tg_error(e, ret, "cannot make %s: %s", address->sun_path, strerror(-ret));
	}
	*ret_fd = fd;
	return 0;
}

void listen_remove(const struct sockaddr_un *address)
{
	struct sockaddr_un folder = *address;

	unlink(address->sun_path);
	*strrchr(folder.sun_path, '/') = '\0';
	rmdir(folder.sun_path);
}
