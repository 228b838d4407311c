/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tensorguard/file.h"
#include "vault/install.h"

enum { HEAD_LEN = 12, LENGTH_AT = 8 };

static uint64_t payload_at(const struct tg_tgsp *package)
{
	const struct tg_tgsp_manifest *m = tg_tgsp_manifest(package);

	return tg_tgsp_file_len(package) - tg_floe_body_len(m->payload.segment, tg_tgsp_plain_len(m));
}

/* ---- taking up again ---- */

/* The front that is on the disk, from a descriptor of its own that stands at the payload then. */
static int read_front(struct install *i, struct tg_error *e)
{
	int ret = lseek(i->fd, 0, SEEK_SET) < 0 ? -errno : tg_tgsp_read(i->fd, &i->package, e);

	if (!ret && tg_tgsp_file_len(i->package) != i->size)
		ret = tg_error(e, -EBADMSG, "%llu bytes are announced, but the package has %llu",
			       (unsigned long long)i->size, (unsigned long long)tg_tgsp_file_len(i->package));
	return ret;
}

static int hash_again(struct install *i, uint8_t *buffer, size_t size, struct tg_error *e)
{
	for (;;) {
		ssize_t n = tg_read_full(i->fd, buffer, size);
		size_t used;
		int ret =
			n < 0 ? (int)n
			      : tg_tgsp_verify_update(i->package, &i->verifier, buffer, (size_t)n, &used, e);

		if (ret)
			return ret;
		/* less than a segment, or nothing */
		if ((size_t)n < size || used < size)
			return 0;
	}
}

/* As far as whole segments are there; what cannot be gone on with begins anew. */
static int take_up(struct install *i, struct tg_error *e)
{
	int ret = read_front(i, e);
	size_t size = ret ? 0 : tg_tgsp_manifest(i->package)->payload.segment;
	uint8_t *buffer = ret ? NULL : malloc(size);

	if (!ret)
		ret = buffer ? hash_again(i, buffer, size, e) : tg_error(e, -ENOMEM, "out of memory");
	free(buffer);
	if (!ret) {
		i->offset = payload_at(i->package) + i->verifier.done;
		return 0;
	}
	tg_tgsp_free(i->package);
	i->package = NULL;
	i->verifier = (struct tg_tgsp_verifier){ .done = 0 };
	return ret == -EBADMSG ? 0 : ret;
}

int install_begin(const char *path, uint64_t size, struct install *ret_install, struct tg_error *e)
{
	struct install i = { .size = size };
	int ret = 0;

	strcpy(i.path, path);
	i.fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (i.fd < 0)
		return tg_error(e, -errno, "%s: %s", path, strerror(errno));
	if (flock(i.fd, LOCK_EX | LOCK_NB))
		ret = tg_error(e, -EBUSY, "this package is being installed already");
	if (!ret)
		ret = take_up(&i, e);
	if (!ret && (ftruncate(i.fd, (off_t)i.offset) || lseek(i.fd, (off_t)i.offset, SEEK_SET) < 0))
		ret = tg_error(e, -errno, "%s: %s", path, strerror(errno));
	if (ret)
		install_end(&i);
	else
		*ret_install = i;
	return ret;
}

void install_end(struct install *i)
{
	tg_tgsp_free(i->package);
	i->package = NULL;
	if (i->fd >= 0)
		close(i->fd);
	i->fd = -1;
}

/* ---- what comes ---- */

static int came(ssize_t n, size_t wanted, struct tg_error *e)
{
	if (n == -ECANCELED)
		return tg_error(e, -ECANCELED, "given up");
	if (n < 0)
		return tg_error(e, (int)n, "the package cannot be read: %s", strerror((int)-n));
	return (size_t)n == wanted ? 0 : tg_error(e, -EAGAIN, "it ended too early; what is there is kept");
}

static int put(const struct install *i, const uint8_t *data, size_t len, struct tg_error *e)
{
	int ret = tg_write_full(i->fd, data, len);

	return ret ? tg_error(e, ret, "%s: %s", i->path, strerror(-ret)) : 0;
}

/* Head, envelope and padding: what is in them is looked at when all of it is there. */
static int receive_front(struct install *i, int from, int stop, struct tg_error *e)
{
	uint8_t head[HEAD_LEN], *rest;
	uint32_t len = 0;
	size_t more;
	int ret = came(tg_read_until(from, stop, head, sizeof(head)), sizeof(head), e);

	if (ret)
		return ret;
	for (int at = LENGTH_AT; at < HEAD_LEN; at++)
		len = len << 8 | head[at];
	if (!len || len > TG_TGSP_MAX_ENVELOPE)
		return tg_error(e, -EBADMSG, "not a TGSP package");
	more = (HEAD_LEN + len + TG_TGSP_ALIGN - 1) / TG_TGSP_ALIGN * TG_TGSP_ALIGN - HEAD_LEN;
	rest = malloc(more);
	ret = rest ? came(tg_read_until(from, stop, rest, more), more, e)
		   : tg_error(e, -ENOMEM, "out of memory");
	if (!ret)
		ret = put(i, head, sizeof(head), e);
	if (!ret)
		ret = put(i, rest, more, e);
	free(rest);
	if (!ret)
		ret = read_front(i, e);
	if (!ret)
		i->offset = payload_at(i->package);
	return ret;
}

/* Room for all of it before the first byte of it comes, where the file system can do that. */
int install_reserve(const struct install *i, struct tg_error *e)
{
	if (!fallocate(i->fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)i->size) || errno == EOPNOTSUPP)
		return 0;
	return tg_error(e, -errno, "there is no room for %llu bytes: %s", (unsigned long long)i->size,
			strerror(errno));
}

static int receive_segment(struct install *i, int from, int stop, uint8_t *buffer, size_t size,
			   struct tg_error *e)
{
	size_t len = i->size - i->offset < size ? (size_t)(i->size - i->offset) : size, used;
	int ret = came(tg_read_until(from, stop, buffer, len), len, e);

	if (!ret)
		ret = tg_tgsp_verify_update(i->package, &i->verifier, buffer, len, &used, e);
	if (!ret && used != len)
		ret = tg_error(e, -EBADMSG, "segments of other lengths than the manifest says");
	if (!ret)
		ret = put(i, buffer, len, e);
	if (!ret)
		i->offset += len;
	if (!ret && i->progress)
		*i->progress = i->offset;
	return ret;
}

static int receive_payload(struct install *i, int from, int stop, struct tg_error *e)
{
	size_t size = tg_tgsp_manifest(i->package)->payload.segment;
	uint8_t *buffer = malloc(size), more;
	int ret = buffer ? 0 : tg_error(e, -ENOMEM, "out of memory");
	ssize_t n;

	while (!ret && i->offset < i->size)
		ret = receive_segment(i, from, stop, buffer, size, e);
	free(buffer);
	if (ret)
		return ret;
	n = tg_read_until(from, stop, &more, 1);
	if (n)
		return n < 0 ? came(n, 0, e) : tg_error(e, -EBADMSG, "the package is longer than it says");
	ret = tg_tgsp_verify_final(i->package, &i->verifier, e);
	if (!ret && fsync(i->fd))
		ret = tg_error(e, -errno, "%s: %s", i->path, strerror(errno));
	return ret;
}

/* Bytes that are wrong stay wrong; everything else may be gone on with. A write that failed may have left a
 * part of a segment. */
static void keep_whole(const struct install *i, int ret)
{
	if (ret == -EBADMSG || ret == -EKEYREVOKED || !i->verifier.done)
		unlink(i->path);
	else
		(void)!ftruncate(i->fd, (off_t)i->offset);
}

int install_run(struct install *i, int from, int stop, install_accept *accept, void *ctx, struct tg_error *e)
{
	int ret = i->package ? 0 : receive_front(i, from, stop, e);

	if (!ret)
		ret = accept(ctx, i->package, e);
	if (!ret)
		ret = install_reserve(i, e);
	if (!ret)
		ret = receive_payload(i, from, stop, e);
	if (ret)
		keep_whole(i, ret);
	return ret;
}
