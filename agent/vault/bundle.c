/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "tensorguard/cbor.h"
#include "tensorguard/file.h"
#include "vault/bundle.h"

enum { PARTS = 4, FIRST_SUCCESSOR = 2 };

void bundle_clear(struct bundle *b)
{
	for (size_t i = 0; i < b->root_count; i++)
		tg_bytes_free(&b->roots[i]);
	tg_bytes_free(&b->timestamp);
	tg_bytes_free(&b->snapshot);
	tg_bytes_free(&b->targets);
	*b = (struct bundle){ .root_count = 0 };
}

static void put(struct tg_cbor_writer *w, const struct tg_bytes *bytes)
{
	tg_cbor_put_bytes(w, bytes->data, bytes->len);
}

int bundle_encode(const struct bundle *b, struct tg_bytes *ret_bytes, struct tg_error *e)
{
	struct tg_cbor_writer w = { .data = NULL };
	int ret;

	tg_cbor_put_array(&w, PARTS);
	tg_cbor_put_array(&w, b->root_count);
	for (size_t i = 0; i < b->root_count; i++)
		put(&w, &b->roots[i]);
	put(&w, &b->timestamp);
	put(&w, &b->snapshot);
	put(&w, &b->targets);
	ret = tg_cbor_take(&w, &ret_bytes->data, &ret_bytes->len);
	return ret ? tg_error(e, ret, "out of memory") : 0;
}

static int take(struct tg_cbor *r, const char *what, struct tg_bytes *ret)
{
	const uint8_t *data;
	size_t len;
	int err = tg_cbor_bytes(r, what, &data, &len);

	if (!err && len > TG_TGSP_MAX_TRUST)
		err = tg_error(r->e, -EBADMSG, "%s: too long for a trust document", what);
	if (!err && tg_bytes_copy(data, len, ret))
		err = tg_error(r->e, -ENOMEM, "out of memory");
	return err;
}

static int decode_roots(struct tg_cbor *r, struct bundle *b)
{
	size_t count;
	int ret = tg_cbor_array(r, "roots", &count);

	if (!ret && count > BUNDLE_ROOTS)
		ret = tg_error(r->e, -EBADMSG, "%zu roots, at most %d are taken", count, BUNDLE_ROOTS);
	while (!ret && b->root_count < count) {
		ret = take(r, "root", &b->roots[b->root_count]);
		b->root_count += !ret;
	}
	return ret;
}

int bundle_decode(const struct tg_bytes *bytes, struct bundle *ret_bundle, struct tg_error *e)
{
	struct bundle b = { .root_count = 0 };
	struct tg_cbor r;
	size_t parts;
	int ret;

	tg_cbor_init(&r, bytes->data, bytes->len, e);
	ret = tg_cbor_array(&r, "documents", &parts);
	if (!ret && parts != PARTS)
		ret = tg_error(e, -EBADMSG, "documents of %zu parts, expected %d", parts, PARTS);
	if (!ret)
		ret = decode_roots(&r, &b);
	if (!ret)
		ret = take(&r, "timestamp", &b.timestamp);
	if (!ret)
		ret = take(&r, "snapshot", &b.snapshot);
	if (!ret)
		ret = take(&r, "targets", &b.targets);
	if (!ret)
		ret = tg_cbor_done(&r, "documents");
	if (ret)
		bundle_clear(&b);
	else
		*ret_bundle = b;
	return ret;
}

int bundle_add_root(struct bundle *b, const struct tg_bytes *root, struct tg_error *e)
{
	if (b->root_count == BUNDLE_ROOTS)
		return tg_error(e, -E2BIG, "more than %d roots: install a newer first one", BUNDLE_ROOTS);
	if (tg_bytes_copy(root->data, root->len, &b->roots[b->root_count]))
		return tg_error(e, -ENOMEM, "out of memory");
	b->root_count++;
	return 0;
}

static int read_part(const char *folder, const char *name, struct tg_bytes *ret, struct tg_error *e)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/%s", folder, name) >= (int)sizeof(path))
		return tg_error(e, -ENAMETOOLONG, "%.100s...: the path is too long", folder);
	return tg_file_read(path, TG_TGSP_MAX_TRUST, ret, e);
}

static int read_roots(const char *folder, struct bundle *b, struct tg_error *e)
{
	int ret = 0;

	while (!ret && b->root_count < BUNDLE_ROOTS) {
		char name[32];

		snprintf(name, sizeof(name), "%zu.root", b->root_count + FIRST_SUCCESSOR);
		ret = read_part(folder, name, &b->roots[b->root_count], e);
		b->root_count += !ret;
	}
	return ret == -ENOENT ? 0 : ret;
}

int bundle_read_folder(const char *folder, struct bundle *ret_bundle, struct tg_error *e)
{
	struct bundle b = { .root_count = 0 };
	int ret = read_roots(folder, &b, e);

	if (!ret)
		ret = read_part(folder, "timestamp", &b.timestamp, e);
	if (!ret)
		ret = read_part(folder, "snapshot", &b.snapshot, e);
	if (!ret)
		ret = read_part(folder, "targets", &b.targets, e);
	if (ret)
		bundle_clear(&b);
	else
		*ret_bundle = b;
	return ret;
}
