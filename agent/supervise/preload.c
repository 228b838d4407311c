/* SPDX-License-Identifier: BSD-3-Clause */
/* Libraries that others load by name when they first need them. */
#include <dlfcn.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>

#include "supervise/sandbox.h"

#define SERVICES "/etc/nsswitch.conf"	/* root's */

enum { LINE_SIZE = 512, NAME_SIZE = 64 };

/* It stays for as long as the process; one that is not there is not there later either. */
static void load(const char *prefix, const char *name, const char *suffix)
{
	char file[2 * NAME_SIZE];

	if ((size_t)snprintf(file, sizeof(file), "%s%s%s", prefix, name, suffix) < sizeof(file))
		dlopen(file, RTLD_NOW | RTLD_LOCAL);
}

/* "files mdns4_minimal [NOTFOUND=return] dns" */
static void load_services(char *text)
{
	char *at, *name;

	for (name = strtok_r(text, " \t\n", &at); name; name = strtok_r(NULL, " \t\n", &at)) {
		/* a word with a slash would be a path */
		if (name[0] != '[' && strlen(name) < NAME_SIZE && !strchr(name, '/'))
			load("libnss_", name, ".so.2");
	}
}

/* How names of machines are looked up here. */
static void load_resolver(void)
{
	FILE *file = fopen(SERVICES, "re");
	char line[LINE_SIZE];

	while (file && fgets(line, sizeof(line), file)) {
		line[strcspn(line, "#")] = '\0';
		if (!strncmp(line, "hosts:", 6))
			load_services(line + 6);
	}
	if (file)
		fclose(file);
}

void sandbox_trust_preload(void)
{
	static const char *const tctis[] = { "device", "swtpm", "mssim", "tabrmd" };

	for (size_t i = 0; i < sizeof(tctis) / sizeof(tctis[0]); i++)
		load("libtss2-tcti-", tctis[i], ".so.0");
	load_resolver();
	/* what a thread that ends early unwinds its stack with */
	load("", "libgcc_s", ".so.1");
	/* the providers that its configuration names */
	OPENSSL_init_ssl(OPENSSL_INIT_LOAD_CONFIG, NULL);
}
