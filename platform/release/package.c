/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "blob/blob.h"
#include "release/package.h"

enum { SWEEP_AGE = 3600 };

/* Of paths, sizes and hashes: each path ends with its NUL, sizes are 8 bytes, the highest first. */
static int hash_content(const struct tg_tgsp_manifest *manifest, uint8_t *ret_hash, struct tg_error *e)
{
	struct tg_piece *pieces = calloc(manifest->file_count, 3 * sizeof(*pieces));
	uint8_t(*sizes)[8] = calloc(manifest->file_count, sizeof(*sizes));
	int ret = -ENOMEM;

	for (size_t i = 0; pieces && sizes && i < manifest->file_count; i++) {
		const struct tg_tgsp_file *file = &manifest->files[i];

		for (int k = 0; k < 8; k++)
			sizes[i][k] = (uint8_t)(file->size >> (56 - 8 * k));
		pieces[3 * i] = (struct tg_piece){ file->path, strlen(file->path) + 1 };
		pieces[3 * i + 1] = (struct tg_piece){ sizes[i], sizeof(sizes[i]) };
		pieces[3 * i + 2] = (struct tg_piece){ file->sha256, sizeof(file->sha256) };
	}
	if (pieces && sizes)
		ret = tg_sha256(pieces, 3 * manifest->file_count, ret_hash, e);
	else
		tg_error(e, ret, "out of memory");
	free(pieces);
	free(sizes);
	return ret;
}

static int fill_release(const struct tg_tgsp *package, struct store_release *release, struct tg_error *e)
{
	const struct tg_tgsp_manifest *manifest = tg_tgsp_manifest(package);
	const struct tg_cose *cose = tg_tgsp_signatures(package);
	uint8_t *document;
	int ret;

	if (!manifest->release || manifest->release > INT64_MAX)
		return tg_error(e, -ERANGE, "release %llu: expected 1 to 2^63 - 1",
				(unsigned long long)manifest->release);
	ret = hash_content(manifest, release->content, e);
	if (ret)
		return ret;
	document = malloc(cose->payload_len + 1);
	if (!document)
		return tg_error(e, -ENOMEM, "out of memory");
	memcpy(document, cose->payload, cose->payload_len);
	memcpy(release->model, manifest->model, sizeof(release->model));
	memcpy(release->manifest, tg_tgsp_manifest_hash(package), sizeof(release->manifest));
	release->number = (int64_t)manifest->release;
	release->document = document;
	release->document_len = cose->payload_len;
	return 0;
}

/* The copy in the blobs, as a device would judge it, but for what concerns a device alone. */
static int check_blob(struct store *store, const char *data, int64_t now, struct store_release *release,
		      struct tg_error *e)
{
	struct tg_tgsp_trust *trust = NULL;
	struct tg_tgsp *package = NULL;
	uint64_t size;
	int ret, fd = -1;

	ret = trust_load(store, data, false, now, &trust, e);
	if (!ret)
		ret = blob_open(data, release->blob, &fd, &size, e);
	if (!ret)
		ret = tg_tgsp_read(fd, &package, e);
	if (!ret)
		ret = tg_tgsp_trust_check(trust, tg_tgsp_signatures(package), tg_tgsp_manifest(package),
					  tg_tgsp_manifest_hash(package), false, (uint64_t)now, e);
	if (!ret)
		ret = tg_tgsp_verify(package, NULL, e);
	if (!ret)
		ret = fill_release(package, release, e);
	tg_tgsp_free(package);
	tg_tgsp_trust_free(trust);
	if (fd >= 0)
		close(fd);
	return ret;
}

/* Before anything is copied: how long is it, by its own word and by the file system's? */
static int check_length(int fd, const char *path, uint64_t *ret_len, struct tg_error *e)
{
	struct tg_tgsp *package = NULL;
	struct stat st;
	int ret = tg_tgsp_read(fd, &package, e);

	if (ret)
		return tg_error_prefix(e, ret, "%s", path);
	*ret_len = tg_tgsp_file_len(package);
	tg_tgsp_free(package);
	if (*ret_len > BLOB_MAX)
		return tg_error(e, -EFBIG, "%s: more than %llu bytes", path, BLOB_MAX);
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != *ret_len)
		return tg_error(e, -EBADMSG, "%s: not a file of the %llu bytes that it says", path,
				(unsigned long long)*ret_len);
	return lseek(fd, 0, SEEK_SET) ? tg_error(e, -errno, "%s: %s", path, strerror(errno)) : 0;
}

int package_add(struct store *store, const char *data, const char *path, int64_t now,
		struct store_release *ret_release, struct tg_error *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), ret;
	struct store_release release = { 0 };
	uint64_t len = 0, size = 0;
	bool used = true;

	if (fd < 0)
		return tg_error(e, -errno, "%s: %s", path, strerror(errno));
	ret = check_length(fd, path, &len, e);
	if (!ret)
		ret = blob_add(data, fd, len, release.blob, &size, e);
	close(fd);
	if (ret)
		return ret;
	release.size = (int64_t)size;
	ret = check_blob(store, data, now, &release, e);
	if (!ret)
		*ret_release = release;
	else if (!store_blob_used(store, release.blob, &used, NULL) && !used)
		blob_remove(data, release.blob, NULL);
	return ret ? tg_error_prefix(e, ret, "%s", path) : 0;
}

static bool names_fleet(const struct tg_tgsp_names *fleets, const char *fleet)
{
	for (size_t i = 0; i < fleets->count; i++)
		if (!strcmp(fleets->names[i], fleet))
			return true;
	return !fleets->count;
}

static int check_promotable(const struct tg_tgsp *package, const struct tg_tgsp_trust *trust,
			    const char *fleet, int64_t now, struct tg_error *e)
{
	const struct tg_tgsp_manifest *manifest = tg_tgsp_manifest(package);
	int ret;

	ret = tg_tgsp_trust_check(trust, tg_tgsp_signatures(package), manifest,
				  tg_tgsp_manifest_hash(package), true, (uint64_t)now, e);
	if (!ret)
		ret = tg_tgsp_manifest_valid_at(manifest, (uint64_t)now, e);
	if (!ret && !names_fleet(&manifest->policy.fleets, fleet))
		ret = tg_error(e, -EPERM, "the package is not for fleet '%s'", fleet);
	return ret;
}

int package_promotable(struct store *store, const char *data, const struct store_release *release,
		       const char *fleet, int64_t now, struct tg_error *e)
{
	struct tg_tgsp_trust *trust = NULL;
	struct tg_tgsp *package = NULL;
	uint64_t size;
	int ret, fd = -1;

	ret = trust_load(store, data, true, now, &trust, e);
	if (!ret)
		ret = blob_open(data, release->blob, &fd, &size, e);
	if (!ret)
		ret = tg_tgsp_read(fd, &package, e);
	if (!ret)
		ret = check_promotable(package, trust, fleet, now, e);
	tg_tgsp_free(package);
	tg_tgsp_trust_free(trust);
	if (fd >= 0)
		close(fd);
	return ret;
}

static int is_used(void *arg, const uint8_t hash[static BLOB_HASH_LEN], bool *ret_used, struct tg_error *e)
{
	return store_blob_used(arg, hash, ret_used, e);
}

int package_sweep(struct store *store, const char *data, unsigned *ret_count, struct tg_error *e)
{
	return blob_sweep(data, SWEEP_AGE, is_used, store, ret_count, e);
}
