/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tensorguard/hex.h"
#include "tensorguard/secret.h"
#include "tgsp/package.h"

static bool has_id(const uint8_t (*ids)[TG_KEY_ID_LEN], size_t count, const uint8_t *id)
{
	for (size_t i = 0; i < count; i++)
		if (!memcmp(ids[i], id, TG_KEY_ID_LEN))
			return true;
	return false;
}

static bool is_recipient(const struct tg_tgsp *package, const uint8_t *id)
{
	for (size_t i = 0; i < package->recipient_count; i++)
		if (!memcmp(package->recipients[i].id, id, TG_KEY_ID_LEN))
			return true;
	return false;
}

/* Those that stay, and the new ones; `ret` has room for all. */
static int new_list(const struct tg_tgsp *package, const struct tg_tgsp_recipients *add,
		    const uint8_t (*remove)[TG_KEY_ID_LEN], size_t remove_count, const uint8_t *data_key,
		    struct tgsp_recipient *ret_list, size_t *ret_count, struct tg_error *e)
{
	char id[2 * TG_KEY_ID_LEN + 1];
	size_t n = 0;
	int ret = 0;

	for (size_t i = 0; i < remove_count; i++)
		if (!is_recipient(package, remove[i])) {
			tg_hex(remove[i], TG_KEY_ID_LEN, id);
			return tg_error(e, -ENOENT, "%s is no recipient", id);
		}
	for (size_t i = 0; i < package->recipient_count; i++)
		if (!has_id(remove, remove_count, package->recipients[i].id))
			ret_list[n++] = package->recipients[i];
	for (size_t i = 0; !ret && i < add->count; i++)
		ret = tgsp_wrap(data_key, package->hash, add->points[i], &ret_list[n++], e);
	*ret_count = n;
	return ret;
}

static int copy_payload(const struct tg_tgsp *package, int fd, const struct tg_tgsp_progress *progress,
			struct tg_error *e)
{
	struct tg_tgsp_verifier verifier = { .done = 0 };
	struct tgsp_segments s;
	uint64_t total;
	uint8_t *text = malloc(package->manifest->payload.segment);
	int ret = text ? 0 : tg_error(e, -ENOMEM, "out of memory");

	tgsp_segments_init(&s, package->manifest);
	for (total = s.left; !ret && s.left;) {
		bool last;
		size_t len = tgsp_segment_len(&s, &last), used;
		ssize_t n = tg_read_full(package->fd, text, len);

		if (n < 0 || (size_t)n < len)
			ret = tg_error(e, n < 0 ? (int)n : -EBADMSG, "the package %s",
				       n < 0 ? "cannot be read" : "ends too early");
		if (!ret)
			ret = tg_tgsp_verify_update(package, &verifier, text, len, &used, e);
		if (!ret) {
			ret = tg_write_full(fd, text, len);
			if (ret)
				tg_error(e, ret, "the package cannot be written: %s", strerror(-ret));
		}
		tgsp_segment_done(&s, len);
		tgsp_report(progress, total - s.left, total);
	}
	if (!ret && tg_read_full(package->fd, text, 1) != 0)
		ret = tg_error(e, -EBADMSG, "the payload is longer than the manifest says");
	free(text);
	return ret ? ret : tg_tgsp_verify_final(package, &verifier, e);
}

static int new_envelope(const struct tg_tgsp *package, const struct tg_hpke_private *key,
			const struct tg_tgsp_recipients *add, const uint8_t (*remove)[TG_KEY_ID_LEN],
			size_t remove_count, uint8_t **ret_envelope, size_t *ret_len, struct tg_error *e)
{
	struct tgsp_recipient *list = calloc(package->recipient_count + add->count, sizeof(*list));
	uint8_t *data_key = tg_secret_new(TGSP_KEY_LEN);
	size_t count = 0;
	int ret = list && data_key ? 0 : tg_error(e, -ENOMEM, "out of memory");

	if (!ret)
		ret = tg_tgsp_data_key(package, key, data_key, e);
	if (!ret)
		ret = new_list(package, add, remove, remove_count, data_key, list, &count, e);
	if (!ret)
		ret = tgsp_envelope(package->signed_part, package->signed_len, list, count, data_key,
				    package->hash, ret_envelope, ret_len, e);
	tg_secret_free(data_key, TGSP_KEY_LEN);
	free(list);
	return ret;
}

int tg_tgsp_rewrap(const struct tg_tgsp *package, const struct tg_hpke_private *key,
		   const struct tg_tgsp_recipients *add, const uint8_t (*remove)[TG_KEY_ID_LEN],
		   size_t remove_count, int fd, const struct tg_tgsp_progress *progress, struct tg_error *e)
{
	uint8_t *envelope;
	size_t len;
	int ret = new_envelope(package, key, add, remove, remove_count, &envelope, &len, e);

	if (ret)
		return ret;
	ret = tgsp_write_front(fd, envelope, len, e);
	if (!ret)
		ret = copy_payload(package, fd, progress, e);
	free(envelope);
	return ret;
}
