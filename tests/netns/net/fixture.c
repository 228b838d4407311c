/* SPDX-License-Identifier: BSD-3-Clause */
#include <arpa/inet.h>
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "fixture.h"

/*
 * Before main() and before any test registers: from here on the program cannot
 * reach the host's devices, its wireguard-go sockets or its iptables lock.
 */
__attribute__((constructor(101))) static void isolate(void)
{
	if (unshare(CLONE_NEWNET | CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmpfs", "/run", "tmpfs", 0, "mode=0755") || mount("sysfs", "/sys", "sysfs", 0, NULL)) {
		fprintf(stderr, "net-tests: cannot make namespaces of its own (root?): %s\n",
			strerror(errno));
		exit(EXIT_FAILURE);
	}
	if (system("ip link set lo up")) {
		fprintf(stderr, "net-tests: cannot run ip\n");
		exit(EXIT_FAILURE);
	}
}

struct net *fixture_net(void)
{
	static struct net *net;
	struct tg_error e;

	if (!net && net_open(&net, &e)) {
		fprintf(stderr, "net-tests: %s\n", e.message);
		abort();
	}
	return net;
}

__attribute__((destructor)) static void close_net(void)
{
	net_close(fixture_net());
}

int fixture_run(const char *format, ...)
{
	char command[1024];
	va_list args;
	int status;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	status = system(command);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

const char *fixture_output(const char *format, ...)
{
	static char output[65536];
	char command[1024], quiet[1100];
	va_list args;
	size_t used;
	FILE *pipe;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	snprintf(quiet, sizeof(quiet), "( %s ) 2>/dev/null", command);
	pipe = popen(quiet, "r");
	if (!pipe)
		return "";
	used = fread(output, 1, sizeof(output) - 1, pipe);
	pclose(pipe);
	while (used && output[used - 1] == '\n')
		used--;
	output[used] = '\0';
	return output;
}

struct tg_cidr fixture_cidr(const char *text)
{
	struct tg_cidr cidr = { .family = strchr(text, ':') ? AF_INET6 : AF_INET };
	char copy[64], *slash;

	snprintf(copy, sizeof(copy), "%s", text);
	slash = strchr(copy, '/');
	if (!slash)
		abort();
	*slash = '\0';
	cidr.length = (uint8_t)atoi(slash + 1);
	if (inet_pton(cidr.family, copy, cidr.addr) != 1)
		abort();
	return cidr;
}
