/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>

#include "admin/admin.h"
#include "data/data.h"
#include "data/key.h"
#include "tensorguard/certificate.h"
#include "tensorguard/crypto.h"
#include "tensorguard/hex.h"

int admin_server_options(const struct tg_cli *cli, struct tg_error *e)
{
	const struct platform_options *options = admin_options(cli);

	if (!options->server_cert != !options->server_key)
		return tg_error(e, TG_CLI_USAGE, "--server-cert and --server-key belong together");
	if (options->server_cert && options->names)
		return tg_error(e, TG_CLI_USAGE, "--names is for a certificate of the Platform's own CA");
	return 0;
}

static json_t *ca_json(X509 *cert, const char *pem)
{
	char serial[TG_SERIAL_TEXT_LEN], text[2 * TG_SHA256_LEN + 1];
	uint8_t hash[TG_SHA256_LEN];
	unsigned int len = sizeof(hash);
	int64_t end;

	if (tg_certificate_serial(cert, serial, NULL) || tg_certificate_end(cert, &end, NULL) ||
	    !X509_digest(cert, EVP_sha256(), hash, &len))
		return NULL;
	tg_hex(hash, sizeof(hash), text);
	return json_pack("{s:s, s:s, s:o, s:s}", "serial", serial, "sha256", text, "not_after",
			 admin_time(end), "certificate", pem);
}

int cmd_ca_show(struct tg_cli *cli, struct tg_error *e)
{
	char path[FILE_PATH_SIZE];
	struct tg_bytes pem;
	X509 *cert = NULL;
	int ret;

	ret = admin_no_arguments(cli, e);
	if (!ret)
		ret = file_path(admin_options(cli)->data, "ca.crt", path, e);
	if (!ret)
		ret = cert_load(path, &cert, NULL, e);
	if (!ret)
		ret = tg_certificate_pem(cert, &pem, e);
	if (ret) {
		X509_free(cert);
		return ret;
	}
	if (cli->json)
		ret = tg_cli_print_json(ca_json(cert, (const char *)pem.data), e);
	else
		ret = printf("%s", pem.data) < 0 ? -EIO : admin_flush(e);
	tg_bytes_free(&pem);
	X509_free(cert);
	return ret;
}

struct renewal {
	struct data_renewal data;
	bool *done;
};

static int run_renewal(struct store *store, const void *arg, struct tg_error *e)
{
	const struct renewal *renewal = arg;
	int ret = data_server_renew(&renewal->data, e);

	(void)store;
	*renewal->done = !ret;
	return ret;
}

/* The files cannot be taken back when the record is not taken: the caller is told. */
static int apply_renewal(const struct tg_cli *cli, struct renewal *renewal, struct tg_error *e)
{
	struct admin_change change = { .action = "ca-renew-server",
				       .target = "server",
				       .detail =
					       renewal->data.server_cert ? "a certificate of another CA" : "",
				       .run = run_renewal,
				       .arg = renewal };
	struct store *store;
	bool done = false;
	int ret = admin_store(cli, &store, e);

	if (ret)
		return ret;
	renewal->done = &done;
	ret = admin_apply(store, &change, e);
	store_close(store);
	return ret && done ? tg_error_prefix(e, ret, "the certificate was renewed, but not recorded") : ret;
}

/* What is there now. */
static int print_server(const struct tg_cli *cli, struct tg_error *e)
{
	char path[FILE_PATH_SIZE], serial[TG_SERIAL_TEXT_LEN];
	X509 *cert = NULL;
	int64_t end;
	int ret;

	ret = file_path(admin_options(cli)->data, "server.crt", path, e);
	if (!ret)
		ret = cert_load(path, &cert, NULL, e);
	if (!ret)
		ret = tg_certificate_serial(cert, serial, e);
	if (!ret)
		ret = tg_certificate_end(cert, &end, e);
	X509_free(cert);
	if (ret)
		return ret;
	if (cli->json)
		return tg_cli_print_json(
			json_pack("{s:s, s:o}", "serial", serial, "not_after", admin_time(end)), e);
	printf("The server has a new certificate, %s. Send SIGHUP to 'serve' to put it in force.\n", serial);
	return admin_flush(e);
}

int cmd_ca_renew_server(struct tg_cli *cli, struct tg_error *e)
{
	const struct platform_options *options = admin_options(cli);
	struct renewal renewal = { .data = { .directory = options->data,
					     .names = options->names,
					     .server_cert = options->server_cert,
					     .server_key = options->server_key } };
	char passphrase[ADMIN_PASSPHRASE_SIZE];
	bool given;
	int ret;

	ret = admin_server_options(cli, e);
	if (!ret)
		ret = admin_no_arguments(cli, e);
	if (!ret)
		ret = admin_passphrase(cli, passphrase, &given, e);
	if (ret)
		return ret;
	renewal.data.passphrase = given ? passphrase : NULL;
	ret = apply_renewal(cli, &renewal, e);
	OPENSSL_cleanse(passphrase, sizeof(passphrase));
	return ret ? ret : print_server(cli, e);
}
