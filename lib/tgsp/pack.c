/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tensorguard/secret.h"
#include "tgsp/package.h"

enum { HASH_CHUNK = 1 << 18 };

/* Files one behind the other, each hashed as it is read. */
struct source {
	const struct tg_tgsp_manifest *manifest;
	const char *const *paths;
	size_t file;
	int fd;
	uint64_t left;		/* of this file */
	EVP_MD_CTX *hash;
};

static int source_error(const struct source *s, struct tg_error *e, int err)
{
	return tg_error(e, err, "%s: %s", s->paths[s->file], strerror(-err));
}

static int open_regular(const char *path, uint64_t *ret_size)
{
	/* O_NONBLOCK: a FIFO must not hang */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		close(fd);
		return -EINVAL;
	}
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	*ret_size = (uint64_t)st.st_size;
	return fd;
}

static int source_begin(struct source *s, struct tg_error *e)
{
	uint64_t size;

	s->fd = open_regular(s->paths[s->file], &size);
	if (s->fd < 0)
		return source_error(s, e, s->fd);
	s->left = s->manifest->files[s->file].size;
	if (EVP_DigestInit_ex(s->hash, EVP_sha256(), NULL) != 1)
		return tg_error(e, -ENOMEM, "out of memory");
	return 0;
}

/* What was read must be what was hashed first. */
static int source_end(struct source *s, struct tg_error *e)
{
	uint8_t hash[TG_SHA256_LEN], more;
	ssize_t n = tg_read_full(s->fd, &more, 1);

	close(s->fd);
	s->fd = -1;
	if (n < 0)
		return source_error(s, e, (int)n);
	if (EVP_DigestFinal_ex(s->hash, hash, NULL) != 1)
		return tg_error(e, -EIO, "OpenSSL cannot hash");
	if (n || memcmp(hash, s->manifest->files[s->file].sha256, sizeof(hash)))
		return tg_error(e, -ESTALE, "%s: changed while it was packed", s->paths[s->file]);
	s->file++;
	return 0;
}

/* The next `len` bytes of all files. */
static int source_read(struct source *s, uint8_t *data, size_t len, struct tg_error *e)
{
	int ret = 0;

	while (!ret && s->file < s->manifest->file_count) {
		size_t want;
		ssize_t n;

		if (s->fd < 0)
			ret = source_begin(s, e);
		if (ret)
			break;
		want = len < s->left ? len : (size_t)s->left;
		n = want ? tg_read_full(s->fd, data, want) : 0;
		if (n < 0)
			return source_error(s, e, (int)n);
		if ((size_t)n < want)
			return tg_error(e, -ESTALE, "%s: changed while it was packed", s->paths[s->file]);
		if (want && EVP_DigestUpdate(s->hash, data, want) != 1)
			return tg_error(e, -EIO, "OpenSSL cannot hash");
		data += want;
		len -= want;
		s->left -= want;
		if (s->left)
			break;
		ret = source_end(s, e);
	}
	return ret;
}

/* Packing reads all files twice, first for their hashes. */
struct hashing {
	EVP_MD_CTX *hash;
	uint8_t *buffer;
	const struct tg_tgsp_progress *progress;
	uint64_t done, total;	/* total: of both readings */
};

static int hash_file(struct hashing *h, const char *path, struct tg_tgsp_file *file)
{
	int fd = open_regular(path, &file->size), ret = 0;
	ssize_t n;

	if (fd < 0)
		return fd;
	if (EVP_DigestInit_ex(h->hash, EVP_sha256(), NULL) != 1)
		ret = -ENOMEM;
	file->size = 0;
	while (!ret && (n = tg_read_full(fd, h->buffer, HASH_CHUNK)) > 0) {
		file->size += (uint64_t)n;
		if (EVP_DigestUpdate(h->hash, h->buffer, (size_t)n) != 1)
			ret = -EIO;
		h->done += (uint64_t)n;
		if (h->done < h->total / 2)
			tgsp_report(h->progress, h->done, h->total);
	}
	if (!ret && n < 0)
		ret = (int)n;
	if (!ret && EVP_DigestFinal_ex(h->hash, file->sha256, NULL) != 1)
		ret = -EIO;
	close(fd);
	return ret;
}

/* As far as it can be told: only for the progress. */
static uint64_t total_size(const char *const *sources, size_t count)
{
	uint64_t total = 0;
	struct stat st;

	for (size_t i = 0; i < count; i++)
		if (!stat(sources[i], &st))
			total += (uint64_t)st.st_size;
	return total;
}

static int hash_files(struct tg_tgsp_manifest *m, const char *const *sources,
		      const struct tg_tgsp_progress *progress, struct tg_error *e)
{
	struct hashing h = { .hash = EVP_MD_CTX_new(),
			     .buffer = malloc(HASH_CHUNK),
			     .progress = progress,
			     .total = 2 * total_size(sources, m->file_count) };
	int ret = h.hash && h.buffer ? 0 : tg_error(e, -ENOMEM, "out of memory");

	for (size_t i = 0; !ret && i < m->file_count; i++) {
		ret = hash_file(&h, sources[i], &m->files[i]);
		if (ret)
			tg_error(e, ret, "%s: %s", sources[i],
				 ret == -EINVAL ? "not a regular file" : strerror(-ret));
	}
	EVP_MD_CTX_free(h.hash);
	if (h.buffer)
		OPENSSL_cleanse(h.buffer, HASH_CHUNK);
	free(h.buffer);
	return ret;
}

struct packing {
	struct tg_tgsp_manifest *manifest;
	struct source source;
	struct tg_floe *floe;
	struct tg_merkle tree;
	uint8_t *plain, *text;
	int fd;
};

static int pack_segment(struct packing *p, uint64_t position, size_t len, bool last, struct tg_error *e)
{
	size_t plain = len - TG_FLOE_OVERHEAD;
	uint8_t leaf[TG_SHA256_LEN];
	int ret = source_read(&p->source, p->plain, plain, e);

	if (!ret)
		ret = tg_floe_encrypt(p->floe, position, last, p->plain, plain, p->text, e);
	if (!ret)
		ret = tg_merkle_leaf(p->text, len, leaf, e);
	if (!ret)
		ret = tg_merkle_add(&p->tree, leaf, e);
	if (ret)
		return ret;
	ret = tg_write_full(p->fd, p->text, len);
	return ret ? tg_error(e, ret, "the package cannot be written: %s", strerror(-ret)) : 0;
}

static int pack_segments(struct packing *p, const struct tg_tgsp_progress *progress, struct tg_error *e)
{
	struct tgsp_segments s;
	uint64_t total;
	int ret = 0;

	tgsp_segments_init(&s, p->manifest);
	for (total = s.left; !ret && s.position < s.count;) {
		bool last;
		size_t len = tgsp_segment_len(&s, &last);

		ret = pack_segment(p, s.position, len, last, e);
		tgsp_segment_done(&s, len);
		tgsp_report(progress, total + total - s.left, 2 * total);
	}
	return ret ? ret : tg_merkle_root(&p->tree, p->manifest->payload.root, e);
}

/* Encrypts all files to `fd` and fills in the manifest's payload. */
static int pack_payload(struct tg_tgsp_manifest *m, const char *const *sources, const uint8_t *data_key,
			int fd, const struct tg_tgsp_progress *progress, struct tg_error *e)
{
	const struct tg_floe_params params = { m->payload.segment, TG_FLOE_ROTATION };
	struct packing p = { .manifest = m,
			     .source = { .manifest = m, .paths = sources, .fd = -1 },
			     .fd = fd };
	uint8_t aad[TG_SHA256_LEN];
	int ret = tg_tgsp_manifest_payload_aad(m, aad, e);

	if (ret)
		return ret;
	p.source.hash = EVP_MD_CTX_new();
	p.plain = tg_secret_new(m->payload.segment);
	p.text = malloc(m->payload.segment);
	if (!p.source.hash || !p.plain || !p.text)
		ret = tg_error(e, -ENOMEM, "out of memory");
	else
		ret = tg_floe_encrypt_start(&params, data_key, aad, sizeof(aad), m->payload.header, &p.floe,
					    e);
	if (!ret)
		ret = pack_segments(&p, progress, e);
	if (p.source.fd >= 0)
		close(p.source.fd);
	EVP_MD_CTX_free(p.source.hash);
	tg_floe_free(p.floe);
	tg_secret_free(p.plain, m->payload.segment);
	free(p.text);
	return ret;
}

static int wrap_all(const struct tg_tgsp_recipients *to, const uint8_t *data_key, const uint8_t *hash,
		    struct tgsp_recipient *ret_recipients, struct tg_error *e)
{
	int ret = 0;

	for (size_t i = 0; !ret && i < to->count; i++)
		ret = tgsp_wrap(data_key, hash, to->points[i], &ret_recipients[i], e);
	return ret;
}

/* The envelope around the manifest as it is now. */
static int make_envelope(const struct tg_tgsp_manifest *m, const struct tg_key_set *signers,
			 const struct tg_tgsp_recipients *to, const uint8_t *data_key, uint8_t **ret_envelope,
			 size_t *ret_len, struct tg_error *e)
{
	struct tgsp_recipient *recipients = calloc(to->count + 1, sizeof(*recipients));
	uint8_t hash[TG_SHA256_LEN], *manifest = NULL;
	struct tg_cbor_writer w = { 0 };
	size_t len;
	int ret = recipients ? 0 : tg_error(e, -ENOMEM, "out of memory");

	if (!ret)
		ret = tg_tgsp_manifest_encode(m, &manifest, &len, e);
	if (!ret)
		ret = tg_sha256(&(struct tg_piece){ manifest, len }, 1, hash, e);
	if (!ret)
		ret = tg_cose_sign(&w, TGSP_CONTENT_TYPE, manifest, len, signers, e);
	if (!ret)
		ret = wrap_all(to, data_key, hash, recipients, e);
	if (!ret)
		ret = tgsp_envelope(w.data, w.len, recipients, to->count, data_key, hash, ret_envelope,
				    ret_len, e);
	tg_cbor_writer_clear(&w);
	free(manifest);
	free(recipients);
	return ret;
}

int tgsp_write_front(int fd, const uint8_t *envelope, size_t len, struct tg_error *e)
{
	static const uint8_t zeros[TG_TGSP_ALIGN];
	uint8_t head[TGSP_HEAD_LEN] = TGSP_MAGIC;
	size_t pad = (size_t)tgsp_payload_offset(len) - TGSP_HEAD_LEN - len;
	int ret;

	for (int i = 0; i < 4; i++)
		head[TGSP_MAGIC_LEN + i] = (uint8_t)(len >> (24 - 8 * i));
	ret = tg_write_full(fd, head, sizeof(head));
	if (!ret)
		ret = tg_write_full(fd, envelope, len);
	if (!ret)
		ret = tg_write_full(fd, zeros, pad);
	return ret ? tg_error(e, ret, "the package cannot be written: %s", strerror(-ret)) : 0;
}

static int seek(int fd, uint64_t offset, struct tg_error *e)
{
	return lseek(fd, (off_t)offset, SEEK_SET) < 0
		       ? tg_error(e, -errno, "the package cannot be written: %s", strerror(errno))
		       : 0;
}

/*
 * The envelope comes first and is known last. Its length is known before: nothing in it has a length that
 * depends on the payload's bytes.
 */
static int pack_to(struct tg_tgsp_manifest *m, const char *const *sources, const struct tg_key_set *signers,
		   const struct tg_tgsp_recipients *to, const uint8_t *data_key, int fd,
		   const struct tg_tgsp_progress *progress, struct tg_error *e)
{
	uint8_t *envelope;
	size_t expected, len;
	int ret = make_envelope(m, signers, to, data_key, &envelope, &expected, e);

	if (ret)
		return ret;
	free(envelope);
	ret = seek(fd, tgsp_payload_offset(expected), e);
	if (!ret)
		ret = pack_payload(m, sources, data_key, fd, progress, e);
	if (!ret)
		ret = seek(fd, 0, e);
	if (!ret)
		ret = make_envelope(m, signers, to, data_key, &envelope, &len, e);
	if (ret)
		return ret;
	ret = len == expected ? tgsp_write_front(fd, envelope, len, e)
			      : tg_error(e, -EIO, "the envelope changed its length");
	free(envelope);
	return ret;
}

int tg_tgsp_pack(struct tg_tgsp_manifest *manifest, const char *const *sources,
		 const struct tg_key_set *signers, const struct tg_tgsp_recipients *recipients, int fd,
		 const struct tg_tgsp_progress *progress, struct tg_error *e)
{
	uint8_t *data_key;
	int ret;

	if (!signers->count)
		return tg_error(e, -EINVAL, "nobody signs the package");
	if (!manifest->payload.segment)
		manifest->payload.segment = TG_TGSP_SEGMENT;
	ret = tg_public_key_hash(signers->keys[0], manifest->author, e);
	if (!ret)
		ret = tg_random(manifest->package_id, TG_TGSP_ID_LEN, e);
	if (!ret)
		ret = tg_tgsp_manifest_check(manifest, e);
	if (!ret)
		ret = hash_files(manifest, sources, progress, e);
	if (ret)
		return ret;
	data_key = tg_secret_new(TGSP_KEY_LEN);
	if (!data_key)
		return tg_error(e, -ENOMEM, "out of memory");
	ret = tg_random(data_key, TGSP_KEY_LEN, e);
	if (!ret)
		ret = pack_to(manifest, sources, signers, recipients, data_key, fd, progress, e);
	tg_secret_free(data_key, TGSP_KEY_LEN);
	return ret;
}
