/* SPDX-License-Identifier: BSD-3-Clause */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "blob/blob.h"
#include "data/file.h"
#include "tensorguard/crypto.h"
#include "tensorguard/file.h"
#include "tensorguard/hex.h"

enum { PIECE = 256 * 1024 };

#define FOLDER "blobs/sha256"

/* Where bytes come from. */
struct source {
	int fd;		/* -1: from memory */
	const uint8_t *bytes;
	size_t len;
};

static int fail(struct tg_error *e, const char *path)
{
	int err = -errno;

	return tg_error(e, err, "%s: %s", path, strerror(-err));
}

static int make_folder(const char *data, const char *name, char ret_path[static FILE_PATH_SIZE],
		       struct tg_error *e)
{
	int ret = file_path(data, name, ret_path, e);

	if (!ret && mkdir(ret_path, 0700) && errno != EEXIST)
		ret = fail(e, ret_path);
	return ret;
}

/* The folder of a blob, "ab", and its path in it. */
static int blob_path(const char *data, const uint8_t *hash, char ret_folder[static FILE_PATH_SIZE],
		     char ret_path[static FILE_PATH_SIZE], struct tg_error *e)
{
	char name[sizeof(FOLDER) + 4 + BLOB_HEX_SIZE], hex[BLOB_HEX_SIZE];
	int ret;

	tg_hex(hash, BLOB_HASH_LEN, hex);
	snprintf(name, sizeof(name), FOLDER "/%.2s", hex);
	ret = file_path(data, name, ret_folder, e);
	snprintf(name, sizeof(name), FOLDER "/%.2s/%s", hex, hex);
	return ret ? ret : file_path(data, name, ret_path, e);
}

static ssize_t next_piece(struct source *source, uint8_t *buffer, const uint8_t **ret_piece)
{
	size_t len = source->len < PIECE ? source->len : PIECE;

	*ret_piece = source->fd >= 0 ? buffer : source->bytes;
	if (source->fd >= 0)
		return tg_read_full(source->fd, buffer, PIECE);
	source->bytes += len;
	source->len -= len;
	return (ssize_t)len;
}

static int copy(struct source *source, int to, uint64_t max, EVP_MD_CTX *digest, uint8_t *buffer,
		uint64_t *ret_size, struct tg_error *e)
{
	uint64_t size = 0;
	const uint8_t *piece;
	ssize_t n;
	int ret;

	while ((n = next_piece(source, buffer, &piece)) > 0) {
		size += (uint64_t)n;
		if (size > max)
			return tg_error(e, -EFBIG, "more than %llu bytes", (unsigned long long)max);
		ret = tg_write_full(to, piece, (size_t)n);
		if (ret)
			return tg_error(e, ret, "blob: %s", strerror(-ret));
		if (EVP_DigestUpdate(digest, piece, (size_t)n) != 1)
			return tg_openssl_error(e, -EIO, "SHA-256");
	}
	if (n < 0)
		return tg_error(e, (int)n, "cannot read: %s", strerror((int)-n));
	*ret_size = size;
	return 0;
}

static int copy_hashed(struct source *source, int to, uint64_t max, uint8_t *ret_hash, uint64_t *ret_size,
		       struct tg_error *e)
{
	EVP_MD_CTX *digest = EVP_MD_CTX_new();
	uint8_t *buffer = malloc(PIECE);
	int ret = 0;

	if (!digest || !buffer || EVP_DigestInit_ex(digest, EVP_sha256(), NULL) != 1)
		ret = tg_error(e, -ENOMEM, "out of memory");
	if (!ret)
		ret = copy(source, to, max, digest, buffer, ret_size, e);
	if (!ret && EVP_DigestFinal_ex(digest, ret_hash, NULL) != 1)
		ret = tg_openssl_error(e, -EIO, "SHA-256");
	if (!ret && fsync(to))
		ret = fail(e, "blob");
	EVP_MD_CTX_free(digest);
	free(buffer);
	return ret;
}

/* Under its name: not before all of it is on disk. */
static int settle(const char *data, const char *temporary, const uint8_t *hash, struct tg_error *e)
{
	char folder[FILE_PATH_SIZE], path[FILE_PATH_SIZE], above[FILE_PATH_SIZE];
	int ret = blob_path(data, hash, folder, path, e);

	if (!ret)
		ret = file_path(data, FOLDER, above, e);
	if (ret)
		return ret;
	if (mkdir(folder, 0700) && errno != EEXIST)
		return fail(e, folder);
	if (rename(temporary, path))
		return fail(e, path);
	ret = tg_folder_sync(folder, e);
	return ret ? ret : tg_folder_sync(above, e);
}

static int add(const char *data, struct source *source, uint64_t max, uint8_t *ret_hash, uint64_t *ret_size,
	       struct tg_error *e)
{
	char path[FILE_PATH_SIZE];
	int ret = make_folder(data, "blobs", path, e), fd;

	if (!ret)
		ret = make_folder(data, FOLDER, path, e);
	if (!ret)
		ret = file_path(data, FOLDER "/.new-XXXXXX", path, e);
	if (ret)
		return ret;
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		return fail(e, path);
	ret = copy_hashed(source, fd, max, ret_hash, ret_size, e);
	if (!ret)
		ret = settle(data, path, ret_hash, e);
	if (ret)
		unlink(path);
	close(fd);
	return ret;
}

int blob_add(const char *data, int fd, uint64_t max, uint8_t ret_hash[static BLOB_HASH_LEN],
	     uint64_t *ret_size, struct tg_error *e)
{
	return add(data, &(struct source){ .fd = fd }, max, ret_hash, ret_size, e);
}

int blob_add_bytes(const char *data, const void *bytes, size_t len, uint8_t ret_hash[static BLOB_HASH_LEN],
		   struct tg_error *e)
{
	uint64_t size;

	return add(data, &(struct source){ .fd = -1, .bytes = bytes, .len = len }, len, ret_hash, &size, e);
}

int blob_open(const char *data, const uint8_t hash[static BLOB_HASH_LEN], int *ret_fd, uint64_t *ret_size,
	      struct tg_error *e)
{
	char folder[FILE_PATH_SIZE], path[FILE_PATH_SIZE];
	int ret = blob_path(data, hash, folder, path, e), fd;
	struct stat st;

	if (ret)
		return ret;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return fail(e, path);
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		close(fd);
		return tg_error(e, -EIO, "%s: not a plain file", path);
	}
	*ret_fd = fd;
	*ret_size = (uint64_t)st.st_size;
	return 0;
}

int blob_remove(const char *data, const uint8_t hash[static BLOB_HASH_LEN], struct tg_error *e)
{
	char folder[FILE_PATH_SIZE], path[FILE_PATH_SIZE];
	int ret = blob_path(data, hash, folder, path, e);

	if (ret)
		return ret;
	if (unlink(path) && errno != ENOENT)
		return fail(e, path);
	return 0;
}

struct sweep {
	int64_t before;		/* files changed since then stay */
	int (*used)(void *arg, const uint8_t *hash, bool *ret_used, struct tg_error *e);
	void *arg;
	unsigned count;
};

/* In the folder `at`. */
static int sweep_file(struct sweep *sweep, int at, const char *name, struct tg_error *e)
{
	uint8_t hash[BLOB_HASH_LEN];
	bool used = false;
	struct stat st;
	int ret = 0;

	if (fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode) ||
	    st.st_mtime > sweep->before)
		return 0;
	if (name[0] != '.' && !tg_unhex(name, hash, sizeof(hash)))
		ret = sweep->used(sweep->arg, hash, &used, e);
	else if (strncmp(name, ".new-", 5))
		return 0;
	if (!ret && !used && !unlinkat(at, name, 0))
		sweep->count++;
	return ret;
}

static int sweep_folder(struct sweep *sweep, const char *path, bool deep, struct tg_error *e);

static int sweep_entry(struct sweep *sweep, int at, const char *path, const char *name, bool deep,
		       struct tg_error *e)
{
	char inner[FILE_PATH_SIZE];
	int ret;

	if (!deep || strlen(name) != 2 || name[0] == '.')
		return sweep_file(sweep, at, name, e);
	ret = file_path(path, name, inner, e);
	return ret ? ret : sweep_folder(sweep, inner, false, e);
}

/* `deep`: with the folders of two digits in it. */
static int sweep_folder(struct sweep *sweep, const char *path, bool deep, struct tg_error *e)
{
	DIR *folder = opendir(path);
	struct dirent *entry;
	int ret = 0;

	if (!folder)
		return errno == ENOENT ? 0 : fail(e, path);
	while (!ret && (entry = readdir(folder)))
		ret = sweep_entry(sweep, dirfd(folder), path, entry->d_name, deep, e);
	closedir(folder);
	return ret;
}

int blob_sweep(const char *data, int64_t age,
	       int (*used)(void *arg, const uint8_t hash[static BLOB_HASH_LEN], bool *ret_used,
			   struct tg_error *e),
	       void *arg, unsigned *ret_count, struct tg_error *e)
{
	struct sweep sweep = { .before = time(NULL) - age, .used = used, .arg = arg };
	char path[FILE_PATH_SIZE];
	int ret = file_path(data, FOLDER, path, e);

	if (!ret)
		ret = sweep_folder(&sweep, path, true, e);
	if (!ret)
		*ret_count = sweep.count;
	return ret;
}
