/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tg-flood NAME: sends datagrams to that abstract address as fast as it can and for as long as it lives, as
 * any process of the machine may.
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

int main(int argc, char **argv)
{
	static const char text[] = "WATCHDOG=1";
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	socklen_t len =
		argc == 2 ? (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(argv[1])) : 0;
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || !len || len > sizeof(address)) {
		fprintf(stderr, "usage: tg-flood NAME\n");
		return 1;
	}
	memcpy(address.sun_path + 1, argv[1], strlen(argv[1]));
	while (sendto(fd, text, sizeof(text) - 1, MSG_DONTWAIT, (const struct sockaddr *)&address, len) >=
		       0 ||
	       errno == EAGAIN)
		;
	perror("tg-flood");
	return 1;
}
