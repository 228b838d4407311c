/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/file.h"
#include "data/key.h"
#include "ledger/key.h"
#include "tensorguard/file.h"
#include "tensorguard/hex.h"

enum { HOST_SIZE = 64, RANDOM_LEN = 4 };

/* A host's name alone is not one's own for ever: two Platforms of one machine are two logs. */
static int make_name(char ret_origin[static TG_TLOG_ORIGIN_SIZE], struct tg_error *e)
{
	char host[HOST_SIZE] = "", number[2 * RANDOM_LEN + 1];
	uint8_t random[RANDOM_LEN];
	int ret = tg_random(random, sizeof(random), e);

	if (ret)
		return ret;
	if (gethostname(host, sizeof(host) - 1) || !tg_tlog_origin_valid(host))
		snprintf(host, sizeof(host), "tensorguard-platform");
	tg_hex(random, sizeof(random), number);
	snprintf(ret_origin, TG_TLOG_ORIGIN_SIZE, "%s/audit/%s", host, number);
	return 0;
}

static int save_public(const char *directory, const EVP_PKEY *key, struct tg_error *e)
{
	char origin[TG_TLOG_ORIGIN_SIZE], text[TG_TLOG_KEY_SIZE + 1], path[FILE_PATH_SIZE];
	struct tg_tlog_key public;
	int ret = make_name(origin, e);

	if (!ret)
		ret = tg_tlog_key_of(origin, key, &public, e);
	if (!ret)
		ret = tg_tlog_key_format(&public, text, e);
	if (!ret)
		ret = file_path(directory, "audit.vkey", path, e);
	if (ret)
		return ret;
	strcat(text, "\n");
	return tg_file_create(path, text, strlen(text), 0600, e);
}

int ledger_key_make(const char *directory, const char *passphrase, struct tg_error *e)
{
	char path[FILE_PATH_SIZE];
	EVP_PKEY *key = NULL;
	int ret = file_path(directory, "audit.key", path, e);

	if (!ret)
		ret = key_generate("ED25519", &key, e);
	if (!ret)
		ret = key_save(path, key, passphrase, e);
	if (!ret) {
		ret = save_public(directory, key, e);
		if (ret)
			unlink(path);
	}
	EVP_PKEY_free(key);
	return ret;
}

int ledger_key_public(const char *directory, struct ledger_key *ret_key, struct tg_error *e)
{
	struct ledger_key key = { .key = NULL };
	char path[FILE_PATH_SIZE], *text;
	size_t len;
	int ret = file_path(directory, "audit.vkey", path, e);

	if (!ret)
		ret = file_read(path, &text, &len, e);
	if (ret)
		return ret;
	text[strcspn(text, "\n")] = '\0';
	ret = tg_tlog_key_parse(text, &key.public, e);
	if (!ret)
		ret = tg_tlog_key_format(&key.public, key.text, e);
	free(text);
	if (ret)
		return tg_error_prefix(e, ret, "%s", path);
	*ret_key = key;
	return 0;
}

static int load_private(const char *directory, const char *passphrase, struct ledger_key *key,
			struct tg_error *e)
{
	char path[FILE_PATH_SIZE];
	struct tg_tlog_key public;
	int ret = file_path(directory, "audit.key", path, e);

	if (!ret)
		ret = key_load(path, passphrase, &key->key, e);
	if (!ret)
		ret = tg_tlog_key_of(key->public.origin, key->key, &public, e);
	if (!ret && memcmp(&public, &key->public, sizeof(public)))
		ret = tg_error(e, -EBADMSG, "%s is not the key of audit.vkey", path);
	return ret;
}

int ledger_key_load(const char *directory, const char *passphrase, struct ledger_key *ret_key,
		    struct tg_error *e)
{
	struct ledger_key key = { .key = NULL };
	char path[FILE_PATH_SIZE];
	struct stat st;
	int ret = ledger_key_public(directory, &key, e);

	if (ret == -ENOENT && !file_path(directory, "audit.key", path, e) && !lstat(path, &st))
		return tg_error(e, -EBADMSG, "%s: audit.key is there and audit.vkey is missing", directory);
	if (!ret)
		ret = load_private(directory, passphrase, &key, e);
	if (ret) {
		ledger_key_clear(&key);
		return ret == -ENOENT && key.text[0] ? -EBADMSG : ret;
	}
	*ret_key = key;
	return 0;
}

void ledger_key_clear(struct ledger_key *key)
{
	EVP_PKEY_free(key->key);
	key->key = NULL;
}
