/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tensorguard/secret.h"
#include "tgsp/pass.h"

int tg_tgsp_accept(const struct tg_tgsp *package, const struct tg_tgsp_rules *rules, struct tg_error *e)
{
	const struct tg_tgsp_manifest *m = package->manifest;
	int ret = tg_tgsp_trust_check(rules->trust, &package->cose, m, package->hash, rules->listed,
				      rules->now, e);

	if (!ret)
		ret = rules->device ? tg_tgsp_manifest_permits(m, rules->device, rules->now, e)
				    : tg_tgsp_manifest_valid_at(m, rules->now, e);
	if (!ret && rules->floor && m->release < tg_floor_get(rules->floor, m->model))
		ret = tg_error(e, -ESTALE,
			       "release %llu of %s is older than release %llu, which was opened before",
			       (unsigned long long)m->release, m->model,
			       (unsigned long long)tg_floor_get(rules->floor, m->model));
	return ret;
}

/* The segments that a verifier has not seen yet. */
static struct tgsp_segments resume(const struct tg_tgsp *package, const struct tg_tgsp_verifier *verifier)
{
	struct tgsp_segments s;

	tgsp_segments_init(&s, package->manifest);
	s.position = verifier->tree.count;
	s.left -= verifier->done < s.left ? verifier->done : s.left;
	return s;
}

int tg_tgsp_verify_update(const struct tg_tgsp *package, struct tg_tgsp_verifier *verifier,
			  const uint8_t *data, size_t len, size_t *ret_used, struct tg_error *e)
{
	struct tgsp_segments s = resume(package, verifier);
	size_t used = 0;

	while (s.left) {
		uint8_t leaf[TG_SHA256_LEN];
		bool last;
		size_t n = tgsp_segment_len(&s, &last);
		int ret;

		if (len - used < n)
			break;
		ret = tg_merkle_leaf(data + used, n, leaf, e);
		if (!ret)
			ret = tg_merkle_add(&verifier->tree, leaf, e);
		if (ret)
			return ret;
		verifier->done += n;
		used += n;
		tgsp_segment_done(&s, n);
	}
	if (!s.left && used < len)
		return tg_error(e, -EBADMSG, "the payload is longer than the manifest says");
	*ret_used = used;
	return 0;
}

int tgsp_check_root(const struct tg_tgsp *package, const struct tg_merkle *tree, struct tg_error *e)
{
	uint8_t root[TG_SHA256_LEN];
	int ret = tg_merkle_root(tree, root, e);

	if (!ret && memcmp(root, package->manifest->payload.root, sizeof(root)))
		ret = tg_error(e, -EBADMSG, "the payload is not the one that was signed");
	return ret;
}

int tg_tgsp_verify_final(const struct tg_tgsp *package, const struct tg_tgsp_verifier *verifier,
			 struct tg_error *e)
{
	struct tgsp_segments s = resume(package, verifier);

	if (s.left)
		return tg_error(e, -EBADMSG, "the payload is shorter than the manifest says");
	return tgsp_check_root(package, &verifier->tree, e);
}

int tg_tgsp_verify(const struct tg_tgsp *package, const struct tg_tgsp_progress *progress, struct tg_error *e)
{
	return tgsp_pass(package, NULL, NULL, progress, e);
}

/* A file while it is written. */
struct extent {
	uint64_t start;		/* in the plaintext of all files */
	uint64_t left;		/* bytes that were not written yet */
	bool begun;
};

/* What decrypting needs. */
struct decryption {
	const struct tg_tgsp_manifest *manifest;
	const struct tg_tgsp_sink *sink;
	struct tg_floe *floes[TGSP_WORKERS];
	pthread_mutex_t lock;	/* for what is left, and for beginning and ending files */
	struct extent *extents;
};

static int begin_file(struct decryption *d, size_t file, struct tg_error *e)
{
	int ret = 0;

	pthread_mutex_lock(&d->lock);
	if (!d->extents[file].begun)
		ret = d->sink->begin(d->sink->ctx, file, e);
	d->extents[file].begun = true;
	pthread_mutex_unlock(&d->lock);
	return ret;
}

/* After `len` bytes of it were written. */
static int end_file(struct decryption *d, size_t file, size_t len, struct tg_error *e)
{
	int ret = 0;

	pthread_mutex_lock(&d->lock);
	d->extents[file].left -= len;
	if (!d->extents[file].left)
		ret = d->sink->end(d->sink->ctx, file, e);
	pthread_mutex_unlock(&d->lock);
	return ret;
}

/* What lies at `at` in the plaintext of all files. */
static int write_plain(struct decryption *d, uint64_t at, const uint8_t *data, size_t len, struct tg_error *e)
{
	uint64_t end = at + len;
	int ret = 0;

	for (size_t i = 0; !ret && at < end; i++) {
		uint64_t start = d->extents[i].start, size = d->manifest->files[i].size;
		size_t n;

		if (at - start >= size)
			continue;
		n = (size_t)((start + size < end ? start + size : end) - at);
		ret = begin_file(d, i, e);
		if (!ret)
			ret = d->sink->write(d->sink->ctx, i, at - start, data, n, e);
		if (!ret)
			ret = end_file(d, i, n, e);
		data += n;
		at += n;
	}
	return ret;
}

/* Those that no segment has anything of. */
static int make_empty_files(struct decryption *d, struct tg_error *e)
{
	int ret = 0;

	for (size_t i = 0; !ret && i < d->manifest->file_count; i++) {
		if (d->manifest->files[i].size)
			continue;
		ret = begin_file(d, i, e);
		if (!ret)
			ret = end_file(d, i, 0, e);
	}
	return ret;
}

static int decrypt_segment(void *ctx, unsigned worker, const struct tgsp_read_segment *s, struct tg_error *e)
{
	struct decryption *d = ctx;
	uint8_t *plain = s->text + TG_FLOE_TEXT;
	uint64_t at = s->position * (d->manifest->payload.segment - TG_FLOE_OVERHEAD);
	int ret = tg_floe_decrypt(d->floes[worker], s->position, s->last, s->text, s->len, plain, e);

	return ret ? ret : write_plain(d, at, plain, s->len - TG_FLOE_OVERHEAD, e);
}

/* From the recipient's key to a running FLOE for each worker; the data key is gone afterwards. */
static int start_floes(struct decryption *d, const struct tg_tgsp *package, const struct tg_hpke_private *key,
		       struct tg_error *e)
{
	const struct tg_tgsp_manifest *m = d->manifest;
	const struct tg_floe_params params = { m->payload.segment, TG_FLOE_ROTATION };
	uint8_t *data_key = tg_secret_new(TGSP_KEY_LEN), aad[TG_SHA256_LEN];
	int ret;

	if (!data_key)
		return tg_error(e, -ENOMEM, "out of memory");
	ret = tg_tgsp_data_key(package, key, data_key, e);
	if (!ret)
		ret = tg_tgsp_manifest_payload_aad(m, aad, e);
	for (int i = 0; !ret && i < TGSP_WORKERS; i++)
		ret = tg_floe_decrypt_start(&params, data_key, aad, sizeof(aad), m->payload.header,
					    &d->floes[i], e);
	tg_secret_free(data_key, TGSP_KEY_LEN);
	return ret;
}

static int lay_out(struct decryption *d, struct tg_error *e)
{
	const struct tg_tgsp_manifest *m = d->manifest;
	uint64_t start = 0;

	d->extents = calloc(m->file_count, sizeof(*d->extents));
	if (!d->extents)
		return tg_error(e, -ENOMEM, "out of memory");
	for (size_t i = 0; i < m->file_count; i++) {
		d->extents[i] = (struct extent){ start, m->files[i].size, false };
		start += m->files[i].size;
	}
	return 0;
}

int tg_tgsp_decrypt(const struct tg_tgsp *package, const struct tg_tgsp_rules *rules,
		    const struct tg_hpke_private *key, const struct tg_tgsp_sink *sink,
		    const struct tg_tgsp_progress *progress, struct tg_error *e)
{
	const struct tg_tgsp_manifest *m = package->manifest;
	struct decryption d = { .manifest = m, .sink = sink };
	int ret = tg_tgsp_accept(package, rules, e);

	if (ret)
		return ret;
	pthread_mutex_init(&d.lock, NULL);
	ret = lay_out(&d, e);
	if (!ret)
		ret = start_floes(&d, package, key, e);
	if (!ret)
		ret = tgsp_pass(package, decrypt_segment, &d, progress, e);
	if (!ret)
		ret = make_empty_files(&d, e);
	for (int i = 0; i < TGSP_WORKERS; i++)
		tg_floe_free(d.floes[i]);
	free(d.extents);
	pthread_mutex_destroy(&d.lock);
	if (!ret && rules->floor)
		ret = tg_floor_raise(rules->floor, &(struct tg_floor_entry){ m->model, m->release }, 1, e);
	return ret;
}

/* A sink of memfds. */
struct memory {
	const struct tg_tgsp_manifest *manifest;
	struct tg_tgsp_files *files;
};

static int memory_begin(void *ctx, size_t file, struct tg_error *e)
{
	const struct memory *memory = ctx;
	const struct tg_tgsp_file *f = &memory->manifest->files[file];
	int fd = memfd_create("tgsp", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return tg_error(e, -errno, "no memory file for '%s': %s", f->path, strerror(errno));
	memory->files->fds[file] = fd;
	return 0;
}

static int memory_write(void *ctx, size_t file, uint64_t offset, const uint8_t *data, size_t len,
			struct tg_error *e)
{
	const struct memory *memory = ctx;
	int ret = tg_pwrite_full(memory->files->fds[file], data, len, (off_t)offset);

	return ret ? tg_error(e, ret, "a memory file cannot be written: %s", strerror(-ret)) : 0;
}

static int memory_end(void *ctx, size_t file, struct tg_error *e)
{
	const struct memory *memory = ctx;
	int fd = memory->files->fds[file];

	if (fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL))
		return tg_error(e, -errno, "a memory file cannot be sealed: %s", strerror(errno));
	return 0;
}

int tg_tgsp_open(const struct tg_tgsp *package, const struct tg_tgsp_rules *rules,
		 const struct tg_hpke_private *key, const struct tg_tgsp_progress *progress,
		 struct tg_tgsp_files *ret_files, struct tg_error *e)
{
	struct tg_tgsp_files files = { 0 };
	struct memory memory = { package->manifest, &files };
	const struct tg_tgsp_sink sink = { memory_begin, memory_write, memory_end, &memory };
	int ret;

	files.fds = calloc(package->manifest->file_count, sizeof(*files.fds));
	if (!files.fds)
		return tg_error(e, -ENOMEM, "out of memory");
	for (; files.count < package->manifest->file_count; files.count++)
		files.fds[files.count] = -1;
	ret = tg_tgsp_decrypt(package, rules, key, &sink, progress, e);
	if (ret)
		tg_tgsp_files_close(&files);
	else
		*ret_files = files;
	return ret;
}

void tg_tgsp_files_close(struct tg_tgsp_files *files)
{
	for (size_t i = 0; i < files->count; i++)
		if (files->fds[i] >= 0)
			close(files->fds[i]);
	free(files->fds);
	*files = (struct tg_tgsp_files){ 0 };
}
