/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "admin/admin.h"
#include "data/data.h"

enum { HOST_SIZE = 256, NAMES_SIZE = HOST_SIZE + 64 };

/* This machine as it calls itself, and what a test on it uses. */
static void default_names(char ret_names[static NAMES_SIZE])
{
	char host[HOST_SIZE] = "";

	if (gethostname(host, sizeof(host) - 1))
		host[0] = '\0';
	snprintf(ret_names, NAMES_SIZE, "%s%slocalhost,127.0.0.1,::1", host, host[0] ? "," : "");
}

static int print_init(const struct tg_cli *cli, struct tg_error *e)
{
	const char *directory = admin_options(cli)->data;

	if (cli->json)
		return tg_cli_print_json(json_pack("{s:s}", "data", directory), e);
	printf("The Platform's keys, certificates and store are in %s.\n"
	       "Agents need ca.crt, operators operator.crt and operator.key besides.\n",
	       directory);
	return admin_flush(e);
}

int cmd_init(struct tg_cli *cli, struct tg_error *e)
{
	const struct platform_options *options = admin_options(cli);
	char names[NAMES_SIZE], passphrase[ADMIN_PASSPHRASE_SIZE];
	struct data_init init = { .directory = options->data,
				  .store = options->store,
				  .names = options->names ? options->names : names,
				  .server_cert = options->server_cert,
				  .server_key = options->server_key };
	bool given;
	int ret;

	ret = admin_server_options(cli, e);
	default_names(names);
	if (!ret)
		ret = admin_no_arguments(cli, e);
	if (!ret)
		ret = admin_passphrase(cli, passphrase, &given, e);
	if (ret)
		return ret;
	init.passphrase = given ? passphrase : NULL;
	ret = data_init(&init, e);
	OPENSSL_cleanse(passphrase, sizeof(passphrase));
	return ret ? ret : print_init(cli, e);
}
