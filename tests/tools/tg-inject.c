/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tg-inject PID FD HEX: sends a datagram over a descriptor of another process, as somebody would who has
 * taken that process over. Root.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MAX_BYTES = 256 };

static long borrow(pid_t pid, int fd)
{
	long process = syscall(SYS_pidfd_open, pid, 0);

	return process < 0 ? -1 : syscall(SYS_pidfd_getfd, process, fd, 0);
}

/* The number of bytes, or -1. */
static int read_hex(const char *text, unsigned char *bytes)
{
	size_t len = strlen(text);

	if (len % 2 || len > 2 * MAX_BYTES)
		return -1;
	for (size_t i = 0; i < len; i += 2)
		if (sscanf(text + i, "%2hhx", &bytes[i / 2]) != 1)
			return -1;
	return (int)(len / 2);
}

int main(int argc, char **argv)
{
	unsigned char bytes[MAX_BYTES];
	int size = argc == 4 ? read_hex(argv[3], bytes) : -1;
	long fd;

	if (size < 0) {
		fprintf(stderr, "Usage: tg-inject PID FD HEX\n");
		return 2;
	}
	fd = borrow((pid_t)atoi(argv[1]), atoi(argv[2]));
	if (fd < 0 || send((int)fd, bytes, (size_t)size, MSG_NOSIGNAL) != size) {
		fprintf(stderr, "tg-inject: %s\n", strerror(errno));
		return 1;
	}
	return 0;
}
