/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "supervise/spawn.h"

enum { MAX_ARGUMENTS = 64, EXIT_NO_EXEC = 127, NAME_ROOM = 320 };

/* argv with --child=NAME[:USER] behind the program's name. */
static int child_arguments(const struct child_kind *kind, char **argv, char name[NAME_ROOM],
			   char *to[MAX_ARGUMENTS])
{
	const char *user = kind->sandbox->user;
	int count = 0;

	if (snprintf(name, NAME_ROOM, "--child=%s%s%s", kind->name, user ? ":" : "", user ? user : "") >=
	    NAME_ROOM)
		return -E2BIG;
	to[count++] = argv[0];
	to[count++] = name;
	for (argv++; *argv; argv++) {
		if (count == MAX_ARGUMENTS - 1)
			return -E2BIG;
		to[count++] = *argv;
	}
	to[count] = NULL;
	return 0;
}

/* To the numbers that the child knows; from beyond these numbers, so that none is overwritten. */
static int place_descriptors(int channel, int socket_fd)
{
	int from_channel = fcntl(channel, F_DUPFD_CLOEXEC, CHILD_SOCKET_FD + 1);
	int from_socket = socket_fd < 0 ? -1 : fcntl(socket_fd, F_DUPFD_CLOEXEC, CHILD_SOCKET_FD + 1);

	if (from_channel < 0 || dup2(from_channel, CHILD_CHANNEL_FD) < 0)
		return -errno;
	if (socket_fd >= 0 && (from_socket < 0 || dup2(from_socket, CHILD_SOCKET_FD) < 0))
		return -errno;
	return 0;
}

void spawn_clean_environment(void)
{
	static const char *const names[] = { "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS",
					     "LISTEN_PID" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unsetenv(names[i]);
}

_Noreturn static void become_child(char **arguments, int channel, int socket_fd)
{
	/* from here on already, so that none is left over */
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	spawn_clean_environment();
	if (!place_descriptors(channel, socket_fd))
		execv("/proc/self/exe", arguments);
	fprintf(stderr, "tensorguard-agent: cannot start %s: %s\n", arguments[1] + strlen("--child="),
		strerror(errno));
	_exit(EXIT_NO_EXEC);
}

int spawn_child(const struct child_kind *kind, char **argv, int socket_fd, pid_t *ret_pid,
		int *ret_channel_fd, struct tg_error *e)
{
	char name[NAME_ROOM], *arguments[MAX_ARGUMENTS];
	int ends[2], ret = child_arguments(kind, argv, name, arguments);
	pid_t pid;

	if (ret)
		return tg_error(e, ret, "too many or too long arguments");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
		return tg_error(e, -errno, "cannot make a socket pair: %s", strerror(errno));
	pid = fork();
	if (!pid)
		become_child(arguments, ends[1], socket_fd);
	ret = pid < 0 ? -errno : 0;
	close(ends[1]);
	if (ret) {
		close(ends[0]);
		return tg_error(e, ret, "cannot make a process: %s", strerror(-ret));
	}
	*ret_pid = pid;
	*ret_channel_fd = ends[0];
	return 0;
}
