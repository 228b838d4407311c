/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tensorguard/file.h"
#include "tensorguard/hex.h"
#include "tgsp.h"

enum { MAX_FILE = 64 << 10 };

/* The file's first line, without its end; NULL when no file is given. */
static int read_passphrase(const char *path, struct tg_bytes *ret, struct tg_error *e)
{
	struct tg_bytes text;
	uint8_t *more, *end;
	int r;

	*ret = (struct tg_bytes){ 0 };
	if (!path)
		return 0;
	r = tg_file_read(path, MAX_FILE, &text, e);
	if (r)
		return r;
	end = memchr(text.data, '\n', text.len);
	text.len = end ? (size_t)(end - text.data) : text.len;
	more = !text.len || memchr(text.data, 0, text.len) ? NULL : calloc(1, text.len + 1);
	if (more) {
		memcpy(more, text.data, text.len);
		*ret = (struct tg_bytes){ more, text.len + 1 };
	}
	tg_bytes_free(&text);
	return more ? 0 : tg_error(e, -EINVAL, "%s: no passphrase in its first line", path);
}

void keys_free(struct keys *keys)
{
	for (size_t i = 0; i < keys->count; i++)
		EVP_PKEY_free(keys->keys[i]);
	keys->count = 0;
}

static int read_key(const char *path, bool private, const char *passphrase, EVP_PKEY **ret_key,
		    struct tg_error *e)
{
	struct tg_bytes pem;
	int ret = tg_file_read(path, MAX_FILE, &pem, e);

	if (ret)
		return ret;
	if (private)
		ret = tg_key_read_private((const char *)pem.data, pem.len, passphrase, ret_key, e);
	else
		ret = tg_key_read_public((const char *)pem.data, pem.len, ret_key, e);
	tg_bytes_free(&pem);
	return ret ? tg_error_prefix(e, ret, "%s", path) : 0;
}

static int read_keys(const char *files, const char *what, bool private, const char *passphrase,
		     struct keys *ret_keys, struct tg_error *e)
{
	struct keys keys = { .count = 0 };
	struct list list;
	int ret = files ? list_split(files, what, &list, e)
			: tg_error(e, TG_CLI_USAGE, "%s is needed; see --help", what);

	if (ret)
		return ret;
	if (list.count > TG_COSE_MAX_SIGNATURES)
		ret = tg_error(e, TG_CLI_USAGE, "%s: more than %d keys", what, TG_COSE_MAX_SIGNATURES);
	for (size_t i = 0; !ret && i < list.count; i++) {
		ret = read_key(list.words[i], private, passphrase, &keys.keys[i], e);
		keys.count += !ret;
	}
	list_free(&list);
	if (ret)
		keys_free(&keys);
	else
		*ret_keys = keys;
	return ret;
}

int keys_private(const struct options *o, struct keys *ret_keys, struct tg_error *e)
{
	struct tg_bytes passphrase;
	int ret = read_passphrase(o->passphrase_file, &passphrase, e);

	if (ret)
		return ret;
	ret = read_keys(o->key, "--key", true, (const char *)passphrase.data, ret_keys, e);
	tg_bytes_free(&passphrase);
	return ret;
}

int keys_public(const char *files, const char *what, struct keys *ret_keys, struct tg_error *e)
{
	return read_keys(files, what, false, NULL, ret_keys, e);
}

int key_for_opening(const struct options *o, struct keys *ret_keys, struct tg_hpke_private *ret_private,
		    struct tg_error *e)
{
	int ret = keys_private(o, ret_keys, e);

	if (!ret && ret_keys->count != 1)
		ret = tg_error(e, TG_CLI_USAGE, "--key: one key opens a package");
	if (!ret)
		ret = tg_hpke_private_from_key(ret_keys->keys[0], ret_private, e);
	return ret;
}

void points_free(struct points *points)
{
	free(points->points);
	free(points->ids);
	*points = (struct points){ 0 };
}

static int read_point(const char *file, uint8_t *ret_point, uint8_t *ret_id, struct tg_error *e)
{
	EVP_PKEY *key = NULL;
	int ret = read_key(file, false, NULL, &key, e);

	if (!ret)
		ret = tg_p256_point(key, ret_point, e);
	if (!ret)
		ret = tg_public_key_hash(key, ret_id, e);
	EVP_PKEY_free(key);
	return ret;
}

static int read_points(const char *words, bool ids, struct points *ret_points, struct tg_error *e)
{
	struct points points = { 0 };
	struct list list = { 0 };
	int ret = words ? list_split(words, "--recipient", &list, e)
			: tg_error(e, TG_CLI_USAGE, "--recipient is needed; see --help");

	if (ret)
		return ret;
	points.points = calloc(list.count, sizeof(*points.points));
	points.ids = calloc(list.count, sizeof(*points.ids));
	if (!points.points || !points.ids)
		ret = tg_error(e, -ENOMEM, "out of memory");
	for (size_t i = 0; !ret && i < list.count; i++) {
		if (!ids || tg_unhex(list.words[i], points.ids[i], TG_KEY_ID_LEN))
			ret = read_point(list.words[i], points.points[i], points.ids[i], e);
		points.count++;
	}
	list_free(&list);
	if (ret)
		points_free(&points);
	else
		*ret_points = points;
	return ret;
}

int points_read(const char *files, struct points *ret_points, struct tg_error *e)
{
	return read_points(files, false, ret_points, e);
}

int ids_read(const char *words, struct points *ret_points, struct tg_error *e)
{
	return read_points(words, true, ret_points, e);
}

static int write_new(const char *name, const char *suffix, const char *pem, size_t len, mode_t mode,
		     struct tg_error *e)
{
	struct output out;
	char *path;
	int ret;

	if (asprintf(&path, "%s%s", name, suffix) < 0)
		return tg_error(e, -ENOMEM, "out of memory");
	ret = output_begin(path, mode, &out, e);
	if (!ret) {
		if (write(out.fd, pem, len) != (ssize_t)len)
			ret = tg_error(e, errno ? -errno : -EIO, "%s: cannot be written", path);
		else
			ret = output_commit(&out, false, e);
		output_abort(&out);
	}
	free(path);
	return ret;
}

static int write_pair(const char *name, EVP_PKEY *key, const char *passphrase, struct tg_error *e)
{
	size_t private_len, public_len;
	char *private = NULL, *public = NULL;
	int ret = tg_key_write_private(key, passphrase, &private, &private_len, e);

	if (!ret)
		ret = tg_key_write_public(key, &public, &public_len, e);
	if (!ret)
		ret = write_new(name, ".key", private, private_len, 0600, e);
	if (!ret)
		ret = write_new(name, ".pub", public, public_len, 0644, e);
	if (private)
		OPENSSL_cleanse(private, private_len);
	free(private);
	free(public);
	return ret;
}

static int report_key(const struct tg_cli *cli, const EVP_PKEY *key, struct tg_error *e)
{
	uint8_t id[TG_KEY_ID_LEN];
	char text[HASH_TEXT];
	int ret = tg_public_key_hash(key, id, e);

	if (ret)
		return ret;
	hex(id, sizeof(id), text);
	if (cli->json)
		return tg_cli_print_json(json_pack("{s:s, s:s+, s:s+}", "id", text, "private", cli->args[0],
						   ".key", "public", cli->args[0], ".pub"),
					 e);
	printf("%s.key %s.pub\nid %s\n", cli->args[0], cli->args[0], text);
	return flush_output(e);
}

int cmd_keygen(struct tg_cli *cli, struct tg_error *e)
{
	const struct options *o = options_of(cli);
	const char *type = o->type ? o->type : "p256";
	bool edwards = !strcmp(type, "ed25519");
	struct tg_bytes passphrase;
	EVP_PKEY *key = NULL;
	int ret = one_argument(cli, "one NAME", e);

	if (!ret && !edwards && strcmp(type, "p256"))
		ret = tg_error(e, TG_CLI_USAGE, "--type: '%.40s', expected p256 or ed25519", type);
	if (!ret)
		ret = read_passphrase(o->passphrase_file, &passphrase, e);
	if (ret)
		return ret;
	ret = tg_key_generate(edwards ? TG_KEY_EDDSA : TG_KEY_ES256, &key, e);
	if (!ret)
		ret = write_pair(cli->args[0], key, (const char *)passphrase.data, e);
	if (!ret)
		ret = report_key(cli, key, e);
	EVP_PKEY_free(key);
	tg_bytes_free(&passphrase);
	return ret;
}
