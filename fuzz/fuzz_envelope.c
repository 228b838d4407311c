/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A whole package from a descriptor: head, envelope, payload; the data key of a recipient; opening under the
 * key of an author. The keys are those of tests/vectors/tgsp, whose packages are among the seeds.
 */
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tensorguard/tgsp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char device_pem[] = "-----BEGIN PRIVATE KEY-----\n"
				 "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQghcvyigrN9uSeTwex\n"
				 "rXXnvlaMqoXzfFOj1Sn5kyA4Y7GhRANCAARx8POUP51GluCQ9akl1nchHNLah3xC\n"
				 "nyjmEjGAg5Jo5qplqx9UBB6RhQaW/tDKUOPxSIDMSnFhGXVQrf84DrKs\n"
				 "-----END PRIVATE KEY-----\n";
static const char author_pem[] = "-----BEGIN PUBLIC KEY-----\n"
				 "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEB80J/fcqqQI+j+pVDp1uDL0LftJR\n"
				 "u9/k4uBlQFEKMIWxqRzWbQO3XpEBTe7FByvIfT22MPLPCmZ/85F08CoTxA==\n"
				 "-----END PUBLIC KEY-----\n";

static struct tg_tgsp_trust *trust;
static struct tg_hpke_private device;

static void set_up(void)
{
	EVP_PKEY *author, *key;

	if (tg_key_read_private(device_pem, strlen(device_pem), NULL, &key, NULL) ||
	    tg_hpke_private_from_key(key, &device, NULL) ||
	    tg_key_read_public(author_pem, strlen(author_pem), &author, NULL) ||
	    tg_tgsp_trust_keys(&(struct tg_key_set){ &author, 1 }, 1, &trust, NULL))
		abort();
	EVP_PKEY_free(author);
}

/* Whatever was signed may be opened at some time: the manifest's own is as good as any. */
static void open_it(const struct tg_tgsp *package, size_t size)
{
	struct tg_tgsp_rules rules = { .trust = trust, .now = tg_tgsp_manifest(package)->not_before };
	uint8_t data_key[TG_FLOE_KEY_LEN];
	struct tg_tgsp_files files;
	struct tg_error e;

	(void)tg_tgsp_data_key(package, &device, data_key, &e);
	if (tg_tgsp_open(package, &rules, &device, NULL, &files, &e))
		return;
	if (tg_tgsp_file_len(package) != size)
		abort();
	tg_tgsp_files_close(&files);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	struct tg_tgsp *package;
	struct tg_error e;

	if (!trust)
		set_up();
	if (fd < 0 || write(fd, data, size) != (ssize_t)size || lseek(fd, 0, SEEK_SET))
		abort();
	if (!tg_tgsp_read(fd, &package, &e)) {
		off_t payload = lseek(fd, 0, SEEK_CUR);

		for (size_t i = 0; i < tg_tgsp_recipient_count(package); i++)
			(void)tg_tgsp_recipient_id(package, i)[0];
		/* what is smaller than its input cannot ask for more memory than that */
		if (tg_tgsp_file_len(package) <= size) {
			(void)tg_tgsp_verify(package, NULL, &e);
			if (lseek(fd, payload, SEEK_SET) != payload)
				abort();
			open_it(package, size);
		}
		tg_tgsp_free(package);
	}
	close(fd);
	return 0;
}
