/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tensorguard/file.h"
#include "tensorguard/hex.h"
#include "vault/hashes.h"

enum { LINE = 2 * TG_SHA256_LEN + 1 };

static size_t find(const struct hashes *h, const uint8_t *hash)
{
	size_t i = 0;

	while (i < h->count && memcmp(h->list[i], hash, TG_SHA256_LEN))
		i++;
	return i;
}

bool hashes_have(const struct hashes *h, const uint8_t hash[static TG_SHA256_LEN])
{
	return find(h, hash) < h->count;
}

static int save(const struct hashes *h, struct tg_error *e)
{
	char *text = malloc(h->count * LINE + 1);
	int ret;

	if (!text)
		return tg_error(e, -ENOMEM, "out of memory");
	for (size_t i = 0; i < h->count; i++) {
		tg_hex(h->list[i], TG_SHA256_LEN, text + i * LINE);
		text[i * LINE + LINE - 1] = '\n';
	}
	ret = tg_file_replace(h->path, text, h->count * LINE, 0600, e);
	free(text);
	return ret;
}

int hashes_add(struct hashes *h, const uint8_t hash[static TG_SHA256_LEN], struct tg_error *e)
{
	int ret;

	if (hashes_have(h, hash))
		return 0;
	if (h->count == h->max)
		return tg_error(e, -ENOSPC, "%s: there are %zu packages in it already", h->path, h->max);
	memcpy(h->list[h->count++], hash, TG_SHA256_LEN);
	ret = save(h, e);
	if (ret)
		h->count--;
	return ret;
}

int hashes_remove(struct hashes *h, const uint8_t hash[static TG_SHA256_LEN], struct tg_error *e)
{
	size_t i = find(h, hash);
	int ret;

	if (i == h->count)
		return 0;
	h->count--;
	memcpy(h->list[i], h->list[h->count], TG_SHA256_LEN);
	ret = save(h, e);
	if (ret) {
		/* behind the end the last one still stands */
		memcpy(h->list[i], hash, TG_SHA256_LEN);
		h->count++;
	}
	return ret;
}

static int take_lines(struct hashes *h, char *text, struct tg_error *e)
{
	const char *line;

	for (char *at = text; (line = strsep(&at, "\n")) && *line;) {
		if (h->count == h->max || tg_unhex(line, h->list[h->count], TG_SHA256_LEN))
			return tg_error(e, -EBADMSG, "%s: damaged", h->path);
		h->count++;
	}
	return 0;
}

int hashes_load(const char *path, size_t max, struct hashes *ret_hashes, struct tg_error *e)
{
	struct hashes h = { .list = calloc(max, sizeof(*h.list)), .max = max };
	struct tg_bytes bytes = { 0 };
	char *text = NULL;
	int ret = h.list ? tg_file_read(path, max * LINE, &bytes, e) : tg_error(e, -ENOMEM, "out of memory");

	strncpy(h.path, path, sizeof(h.path) - 1);
	if (!ret) {
		text = strndup((const char *)bytes.data, bytes.len);
		ret = text ? take_lines(&h, text, e) : tg_error(e, -ENOMEM, "out of memory");
	} else if (ret == -ENOENT) {
		ret = 0;
	}
	free(text);
	tg_bytes_free(&bytes);
	if (ret)
		hashes_free(&h);
	else
		*ret_hashes = h;
	return ret;
}

void hashes_free(struct hashes *h)
{
	free(h->list);
	h->list = NULL;
	h->count = 0;
}
