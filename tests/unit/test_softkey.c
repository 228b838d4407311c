/* SPDX-License-Identifier: BSD-3-Clause */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"
#include "tensorguard/crypto.h"
#include "tensorguard/softkey.h"

static struct tg_error e;
static char folder[64], path[80];

static const struct tg_bytes secret = { (uint8_t *)"open \0 sesame", 13 };
static const struct tg_bytes other = { (uint8_t *)"open \0 Sesame", 13 };

static void begin(void)
{
	strcpy(folder, "/tmp/tensorguard-softkey.XXXXXX");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/key.pem", folder);
}

/* Removes the folder; returns how many files were in it. */
static int end(void)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;
	int count = 0;

	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.') {
			CU_ASSERT_EQUAL(unlinkat(dirfd(dir), entry->d_name, 0), 0);
			count++;
		}
	closedir(dir);
	CU_ASSERT_EQUAL(rmdir(folder), 0);
	return count;
}

/* No file may grow beyond so many bytes, as if the disk were full; 0 for any size. */
static void limit_files(rlim_t bytes)
{
	struct rlimit limit;

	signal(SIGXFSZ, bytes ? SIG_IGN : SIG_DFL);
	CU_ASSERT_EQUAL(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = bytes ? bytes : limit.rlim_max;
	CU_ASSERT_EQUAL(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static size_t slurp(char *text, size_t room)
{
	FILE *f = fopen(path, "r");
	size_t len = f ? fread(text, 1, room, f) : 0;

	if (f)
		fclose(f);
	return len;
}

static void spill(const char *text, size_t len)
{
	FILE *f = fopen(path, "w");

	CU_ASSERT_EQUAL(fwrite(text, 1, len, f), len);
	fclose(f);
}

TEST(softkey, opens_with_its_secret_alone)
{
	EVP_PKEY *made = NULL, *loaded = NULL;
	struct stat status;
	char text[4096];
	size_t len;

	begin();
	CU_ASSERT_EQUAL_FATAL(tg_softkey_create(path, &secret, &made, &e), 0);
	CU_ASSERT_EQUAL(stat(path, &status), 0);
	CU_ASSERT_EQUAL(status.st_mode & 07777, 0600);
	CU_ASSERT_EQUAL_FATAL(tg_softkey_load(path, &secret, &loaded, &e), 0);
	CU_ASSERT_EQUAL(EVP_PKEY_eq(made, loaded), 1);
	EVP_PKEY_free(loaded);
	loaded = NULL;
	CU_ASSERT_EQUAL(tg_softkey_load(path, &other, &loaded, &e), -EACCES);
	CU_ASSERT_PTR_NULL(loaded);
	CU_ASSERT_PTR_NULL(strstr(e.message, "esame"));
	len = slurp(text, sizeof(text));
	CU_ASSERT(len > 100 && !strncmp(text, "-----BEGIN ENCRYPTED PRIVATE KEY-----\n", 38));
	EVP_PKEY_free(made);
	CU_ASSERT_EQUAL(end(), 1);
}

TEST(softkey, openssl_reads_it)
{
	struct tg_bytes words = { (uint8_t *)"three plain words", 17 };
	EVP_PKEY *made = NULL;
	char command[256];

	begin();
	CU_ASSERT_EQUAL_FATAL(tg_softkey_create(path, &words, &made, &e), 0);
	snprintf(command, sizeof(command),
		 "openssl pkey -in %s -passin 'pass:three plain words' -noout -check > /dev/null 2>&1", path);
	CU_ASSERT_EQUAL(system(command), 0);
	snprintf(command, sizeof(command),
		 "openssl pkey -in %s -passin 'pass:three plain word' -noout > /dev/null 2>&1", path);
	CU_ASSERT_NOT_EQUAL(system(command), 0);
	EVP_PKEY_free(made);
	end();
}

/* The parameters that protect the key are in the file, for all to see. */
TEST(softkey, is_sealed_by_scrypt_and_aes_256)
{
	EVP_PKEY *made = NULL;
	const ASN1_OBJECT *oid;
	const X509_ALGOR *algorithm;
	PBE2PARAM *pbe2;
	const void *value;
	X509_SIG *sealed;
	char name[64];
	int type;
	FILE *f;

	begin();
	CU_ASSERT_EQUAL_FATAL(tg_softkey_create(path, &secret, &made, &e), 0);
	f = fopen(path, "r");
	sealed = PEM_read_PKCS8(f, NULL, NULL, NULL);
	fclose(f);
	CU_ASSERT_PTR_NOT_NULL_FATAL(sealed);
	X509_SIG_get0(sealed, &algorithm, NULL);
	X509_ALGOR_get0(&oid, &type, &value, algorithm);
	CU_ASSERT_EQUAL(OBJ_obj2nid(oid), NID_pbes2);
	pbe2 = ASN1_item_unpack(value, ASN1_ITEM_rptr(PBE2PARAM));
	CU_ASSERT_PTR_NOT_NULL_FATAL(pbe2);
	CU_ASSERT_EQUAL(OBJ_obj2nid(pbe2->keyfunc->algorithm), NID_id_scrypt);
	OBJ_obj2txt(name, sizeof(name), pbe2->encryption->algorithm, 0);
	CU_ASSERT_STRING_EQUAL(name, "aes-256-cbc");
	PBE2PARAM_free(pbe2);
	X509_SIG_free(sealed);
	EVP_PKEY_free(made);
	end();
}

/* No byte of the file may be another, and no key in clear is taken for one of ours. */
TEST(softkey, altered_files_are_refused)
{
	EVP_PKEY *made = NULL, *loaded = NULL;
	char text[4096], altered[4100];
	size_t len;
	FILE *f;

	begin();
	CU_ASSERT_EQUAL_FATAL(tg_softkey_create(path, &secret, &made, &e), 0);
	len = slurp(text, sizeof(text));
	for (size_t at = 0; at < len; at += 29) {
		memcpy(altered, text, len);
		altered[at] = altered[at] == 'A' ? 'B' : 'A';
		spill(altered, len);
		CU_ASSERT(tg_softkey_load(path, &secret, &loaded, &e) < 0);
		spill(text, at);
		CU_ASSERT_EQUAL(tg_softkey_load(path, &secret, &loaded, &e), -EBADMSG);
	}
	snprintf(altered, sizeof(altered), "%.*s\nx", (int)len, text);
	spill(altered, len + 2);
	CU_ASSERT_EQUAL(tg_softkey_load(path, &secret, &loaded, &e), -EBADMSG);
	f = fopen(path, "w");
	PEM_write_PKCS8PrivateKey(f, made, NULL, NULL, 0, NULL, NULL);
	fclose(f);
	CU_ASSERT_EQUAL(tg_softkey_load(path, &secret, &loaded, &e), -EBADMSG);
	CU_ASSERT_PTR_NULL(loaded);
	EVP_PKEY_free(made);
	CU_ASSERT_EQUAL(end(), 1);
}

TEST(softkey, other_keys_and_secrets_are_refused)
{
	EVP_PKEY *made = NULL, *p384 = EVP_EC_gen("P-384");
	struct tg_bytes nothing = { 0 };

	begin();
	CU_ASSERT_EQUAL(tg_softkey_save(p384, path, &secret, &e), -EINVAL);
	CU_ASSERT_EQUAL(tg_softkey_create(path, &nothing, &made, &e), -EINVAL);
	CU_ASSERT_EQUAL(tg_softkey_load(path, &secret, &made, &e), -ENOENT);
	CU_ASSERT_EQUAL(tg_softkey_create("/nonexistent/key.pem", &secret, &made, &e), -ENOENT);
	CU_ASSERT_PTR_NULL(made);
	EVP_PKEY_free(p384);
	CU_ASSERT_EQUAL(end(), 0);
}

/* A disk that is full leaves the old key as it was, and nothing beside it. */
TEST(softkey, full_disk_keeps_the_old_key)
{
	EVP_PKEY *made = NULL, *more = NULL, *loaded = NULL;
	struct tg_bytes wide = { (uint8_t *)"x", 1 };

	begin();
	CU_ASSERT_EQUAL_FATAL(tg_softkey_create(path, &secret, &made, &e), 0);
	limit_files(64);
	CU_ASSERT_EQUAL(tg_softkey_create(path, &wide, &more, &e), -EFBIG);
	limit_files(0);
	CU_ASSERT_PTR_NULL(more);
	CU_ASSERT_EQUAL(tg_softkey_load(path, &secret, &loaded, &e), 0);
	CU_ASSERT_EQUAL(EVP_PKEY_eq(made, loaded), 1);
	EVP_PKEY_free(made);
	EVP_PKEY_free(loaded);
	CU_ASSERT_EQUAL(end(), 1);
}

static int from_pipe(const char *text, size_t len, struct tg_bytes *ret_secret)
{
	int fds[2], r;

	CU_ASSERT_EQUAL_FATAL(pipe(fds), 0);
	CU_ASSERT_EQUAL(write(fds[1], text, len), (ssize_t)len);
	close(fds[1]);
	r = tg_softkey_secret_from_fd(fds[0], ret_secret, &e);
	CU_ASSERT_EQUAL(close(fds[0]), 0);
	return r;
}

TEST(softkey, secret_from_a_descriptor)
{
	struct tg_bytes got = { 0 };
	char large[TG_SOFTKEY_SECRET_MAX + 1];

	CU_ASSERT_EQUAL(from_pipe("word\n", 5, &got), 0);
	CU_ASSERT_EQUAL(got.len, 4);
	CU_ASSERT_EQUAL(memcmp(got.data, "word", 4), 0);
	tg_bytes_free(&got);
	CU_ASSERT_EQUAL(from_pipe("wo\nrd\n\n", 7, &got), 0);
	CU_ASSERT_EQUAL(got.len, 6);
	tg_bytes_free(&got);
	CU_ASSERT_EQUAL(from_pipe("\n", 1, &got), -EINVAL);
	CU_ASSERT_EQUAL(from_pipe("", 0, &got), -EINVAL);
	memset(large, 'x', sizeof(large));
	CU_ASSERT_EQUAL(from_pipe(large, sizeof(large), &got), -EFBIG);
	CU_ASSERT_EQUAL(tg_softkey_secret_from_fd(-1, &got, &e), -EBADF);
	CU_ASSERT_PTR_NULL(got.data);
}

TEST(softkey, secret_from_a_credential)
{
	struct tg_bytes got = { 0 };

	begin();
	unsetenv("CREDENTIALS_DIRECTORY");
	CU_ASSERT_EQUAL(tg_softkey_secret_from_credential("key.pem", &got, &e), -ENOENT);
	setenv("CREDENTIALS_DIRECTORY", folder, 1);
	CU_ASSERT_EQUAL(tg_softkey_secret_from_credential("key.pem", &got, &e), -ENOENT);
	spill("sec\0ret\n", 8);
	CU_ASSERT_EQUAL(tg_softkey_secret_from_credential("key.pem", &got, &e), 0);
	CU_ASSERT_EQUAL(got.len, 8);
	tg_bytes_free(&got);
	CU_ASSERT_EQUAL(tg_softkey_secret_from_credential("../key.pem", &got, &e), -EINVAL);
	CU_ASSERT_EQUAL(tg_softkey_secret_from_credential("", &got, &e), -EINVAL);
	unsetenv("CREDENTIALS_DIRECTORY");
	end();
}
