/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "net/internal.h"
#include "net/process.h"
#include "net/userspace.h"

enum { POLL_MS = 10, ANSWER_TIMEOUT_S = 5, LAUNCH_TIMEOUT_MS = 10000 };

/* wireguard-go's fixed place; the file follows the mount namespace, not the network namespace. */
static int socket_address(const char *name, struct sockaddr_un *ret_address)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	size_t size = sizeof(address.sun_path);

	if ((size_t)snprintf(address.sun_path, size, "/var/run/wireguard/%s.sock", name) >= size)
		return -ENAMETOOLONG;
	*ret_address = address;
	return 0;
}

int wg_userspace_connect(const char *name, struct tg_error *e)
{
	struct timeval timeout = { .tv_sec = ANSWER_TIMEOUT_S };
	struct sockaddr_un address;
	int fd, err;

	err = socket_address(name, &address);
	if (err)
		return tg_error(e, err, "\"%s\" is no device name", name);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return tg_error(e, -errno, "cannot open a socket: %s", strerror(errno));
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) ||
	    connect(fd, (struct sockaddr *)&address, sizeof(address))) {
		err = tg_error(e, -errno, "%s: %s", address.sun_path, strerror(errno));
		close(fd);
		return err;
	}
	return fd;
}

static void pause_ms(int ms)
{
	struct timespec time = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };

	while (nanosleep(&time, &time) && errno == EINTR)
		;
}

static int64_t now_ms(void)
{
	return (int64_t)(monotonic_ns() / 1000000);
}

int wg_userspace_gone(const char *name, int wait_ms, struct tg_error *e)
{
	int64_t end = now_ms() + wait_ms;
	struct sockaddr_un address;
	int fd = socket_address(name, &address);

	if (fd)
		return tg_error(e, fd, "\"%s\" is no device name", name);
	for (;;) {
		fd = wg_userspace_connect(name, e);
		if (fd == -ECONNREFUSED) {
			/*
			 * left by a process that was killed; a live one's file must never go, it ends with
			 * it
			 */
			if (unlink(address.sun_path) && errno != ENOENT)
				return tg_error(e, -errno, "%s: cannot remove it: %s", address.sun_path,
						strerror(errno));
			return 0;
		}
		/* no file, or no way to it: nobody can be talked to there */
		if (fd < 0 && fd != -EAGAIN)
			return 0;
		if (fd >= 0)
			close(fd);
		if (!wait_ms)
			return 0;
		if (now_ms() >= end)
			return tg_error(e, -ETIMEDOUT,
					"%s: wireguard-go still answers %d ms after its device went",
					address.sun_path, wait_ms);
		pause_ms(POLL_MS);
	}
}

int wg_userspace_await(const char *name, int wait_ms, struct tg_error *e)
{
	int64_t end = now_ms() + wait_ms;
	int fd;

	while ((fd = wg_userspace_connect(name, e)) < 0) {
		if (now_ms() >= end)
			return fd;
		pause_ms(POLL_MS);
	}
	close(fd);
	return 0;
}

int wg_userspace_open(const char *name, int *ret_fd, struct tg_error *e)
{
	struct ifreq request = { .ifr_flags = IFF_TUN | IFF_NO_PI };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC), err;

	if (fd < 0 && (errno == ENOENT || errno == ENODEV))
		return tg_error(e, -ENODEV, "/dev/net/tun is missing: no TUN devices (modprobe tun?)");
	if (fd < 0)
		return tg_error(e, -errno, "/dev/net/tun: %s", strerror(errno));
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (ioctl(fd, TUNSETIFF, &request)) {
		err = tg_error(e, -errno, "cannot make a TUN device: %s", strerror(errno));
		close(fd);
		return err;
	}
	*ret_fd = fd;
	return 0;
}

int wg_userspace_keep(int fd, struct tg_error *e)
{
	if (ioctl(fd, TUNSETPERSIST, 1))
		return tg_error(e, -errno, "cannot make the TUN device persistent: %s", strerror(errno));
	return 0;
}

int wg_userspace_start(const char *name, struct tg_error *e)
{
	const char *program = getenv("TG_WIREGUARD_GO");
	const char *const argv[] = { program && *program ? program : "wireguard-go", name, NULL };
	const char *const environment[] = { "LOG_LEVEL=error", NULL };
	struct process process = {
		.argv = argv,
		.environment = environment,
		.daemon = true,
		.nice = WG_USERSPACE_NICE,
		.timeout_ms = LAUNCH_TIMEOUT_MS,
	};
	struct process_result result;
	int err;

	err = process_run(&process, &result, e);
	if (err)
		return err;
	if (result.status)
		return tg_error(e, -EIO,
				"%s %s failed (exit status %d); see what `LOG_LEVEL=debug %s -f %s` says",
				argv[0], name, result.status, argv[0], name);
	/* it has put itself into the background: the socket answers in a moment */
	err = wg_userspace_await(name, WG_START_WAIT_MS, e);
	return err ? tg_error_prefix(e, err, "%s %s does not answer", argv[0], name) : 0;
}
