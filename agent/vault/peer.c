/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tensorguard/file.h"
#include "vault/peer.h"

/* Linux 6.5; the numbers are the same everywhere but on alpha, mips, parisc and sparc. */
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

/*
 * Before Linux 6.5 by its number. Should the process have ended and its number been given to another one, it
 * is that one's cgroup that counts; the user is that of the connection in any case.
 */
static int pidfd_of(int fd, pid_t pid)
{
	int pidfd = -1;
	socklen_t len = sizeof(pidfd);

	if (!getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &len))
		return pidfd;
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	return pidfd < 0 ? -errno : pidfd;
}

int peer_of(int fd, struct peer *ret_peer, struct tg_error *e)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);
	int pidfd;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len))
		return tg_error(e, -errno, "it cannot be told who asks: %s", strerror(errno));
	pidfd = pidfd_of(fd, cred.pid);
	if (pidfd < 0)
		return tg_error(e, pidfd, "the process that asks has ended");
	*ret_peer = (struct peer){ cred.uid, cred.pid, pidfd };
	return 0;
}

void peer_close(struct peer *peer)
{
	if (peer->pidfd >= 0)
		close(peer->pidfd);
	peer->pidfd = -1;
}

static bool has_ended(const struct peer *peer)
{
	struct pollfd fd = { .fd = peer->pidfd, .events = POLLIN };

	return poll(&fd, 1, 0) != 0;
}

/* The process's folder in /proc: it is that process's and no later one's if the process still runs. */
static int open_folder(const struct peer *peer)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d", (int)peer->pid);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (has_ended(peer)) {
		close(fd);
		return -ESRCH;
	}
	return fd;
}

/* "0::/system.slice/robot.service", a line of its own. */
static int find_line(char *text, char ret_path[static PEER_CGROUP_LEN])
{
	char *line, *rest = text;

	while ((line = strsep(&rest, "\n")))
		if (!strncmp(line, "0::/", 4)) {
			snprintf(ret_path, PEER_CGROUP_LEN, "%s", line + 4);
			return 0;
		}
	return -ENOENT;
}

int peer_cgroup(const struct peer *peer, char ret_path[static PEER_CGROUP_LEN], struct tg_error *e)
{
	char text[PEER_CGROUP_LEN * 2];
	int folder = open_folder(peer),
	    fd = folder < 0 ? folder : openat(folder, "cgroup", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? (folder < 0 ? folder : -errno) : tg_read_full(fd, text, sizeof(text) - 1);
	int ret = n < 0 ? (int)n : 0;

	if (fd >= 0)
		close(fd);
	if (folder >= 0)
		close(folder);
	if (!ret) {
		text[n] = '\0';
		ret = find_line(text, ret_path);
	}
	return ret ? tg_error(e, ret, "the cgroup of process %d cannot be read: %s", (int)peer->pid,
			      strerror(-ret))
		   : 0;
}

bool peer_is_below(const char *path, const char *group)
{
	size_t len = strlen(group);

	return !strncmp(path, group, len) && (!path[len] || path[len] == '/');
}

bool peer_is_known(const struct tg_models_conf *conf, uid_t uid)
{
	for (size_t i = 0; i < conf->consumer_count; i++)
		if (conf->consumers[i].uid == uid)
			return true;
	return false;
}

static bool has_model(const struct tg_models_consumer *consumer, const char *model)
{
	for (size_t i = 0; i < consumer->model_count; i++)
		if (!strcmp(consumer->models[i], model))
			return true;
	return !consumer->models;
}

int peer_consumer(const struct tg_models_conf *conf, const struct peer *peer, const char *model,
		  const struct tg_models_consumer **ret_consumer, struct tg_error *e)
{
	char path[PEER_CGROUP_LEN] = "";
	int ret = 0;

	for (size_t i = 0; i < conf->consumer_count; i++) {
		const struct tg_models_consumer *c = &conf->consumers[i];

		if (c->uid != peer->uid || !has_model(c, model))
			continue;
		if (c->cgroup && !path[0])
			ret = peer_cgroup(peer, path, e);
		if (c->cgroup && (ret || !peer_is_below(path, c->cgroup)))
			continue;
		*ret_consumer = c;
		return 0;
	}
	if (ret)
		return ret;
	return tg_error(e, -EACCES, "models.conf lets no user %u%s%.200s have %s", (unsigned)peer->uid,
			path[0] ? " in cgroup " : "", path, model);
}
