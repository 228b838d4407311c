/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "tensorguard/crypto.h"
#include "tensorguard/hex.h"
#include "tgsp/package.h"

static const struct tg_hpke_suite suite = { TG_HPKE_HKDF_SHA256, TG_CHACHA20_POLY1305 };

enum { LABEL_LEN = 7, INFO_LEN = LABEL_LEN + TG_SHA256_LEN + TG_KEY_ID_LEN };

static void wrap_info(const uint8_t *hash, const uint8_t *id, uint8_t ret_info[static INFO_LEN])
{
	memcpy(ret_info, "tgsp/v1", LABEL_LEN);
	memcpy(ret_info + LABEL_LEN, hash, TG_SHA256_LEN);
	memcpy(ret_info + LABEL_LEN + TG_SHA256_LEN, id, TG_KEY_ID_LEN);
}

static int id_of(const uint8_t *point, uint8_t ret_id[static TG_KEY_ID_LEN], struct tg_error *e)
{
	EVP_PKEY *key;
	int ret = tg_p256_from_point(point, &key, e);

	if (ret)
		return ret;
	ret = tg_public_key_hash(key, ret_id, e);
	EVP_PKEY_free(key);
	return ret;
}

int tgsp_wrap(const uint8_t data_key[static TGSP_KEY_LEN], const uint8_t hash[static TG_SHA256_LEN],
	      const uint8_t point[static TG_P256_POINT_LEN], struct tgsp_recipient *ret_recipient,
	      struct tg_error *e)
{
	struct tgsp_recipient r = { 0 };
	struct tg_hpke *hpke = NULL;
	uint8_t info[INFO_LEN];
	int ret = id_of(point, r.id, e);

	if (ret)
		return ret;
	wrap_info(hash, r.id, info);
	ret = tg_hpke_sender(&suite, point, info, sizeof(info), NULL, r.enc, &hpke, e);
	if (!ret)
		ret = tg_hpke_seal(hpke, NULL, 0, data_key, TGSP_KEY_LEN, r.wrapped, e);
	tg_hpke_free(hpke);
	if (!ret)
		*ret_recipient = r;
	return ret;
}

/* The list is bound to the data key: nobody outside can add to it, take from it or change it unnoticed. */
static int list_mac(const uint8_t *data_key, const uint8_t *hash, const uint8_t *list, size_t len,
		    uint8_t ret_mac[static TG_SHA256_LEN], struct tg_error *e)
{
	static const char label[] = "tgsp/v1 recipients";
	uint8_t info[sizeof(label) - 1 + TG_SHA256_LEN], key[TG_SHA256_LEN];
	int ret;

	memcpy(info, label, sizeof(label) - 1);
	memcpy(info + sizeof(label) - 1, hash, TG_SHA256_LEN);
	ret = tg_hkdf_expand(TG_HKDF_SHA256, data_key, TGSP_KEY_LEN, info, sizeof(info), key, sizeof(key), e);
	if (!ret)
		ret = tg_hmac_sha256(key, sizeof(key), &(struct tg_piece){ list, len }, 1, ret_mac, e);
	OPENSSL_cleanse(key, sizeof(key));
	return ret;
}

static const struct tgsp_recipient *find(const struct tg_tgsp *package, const uint8_t *id)
{
	for (size_t i = 0; i < package->recipient_count; i++)
		if (!memcmp(package->recipients[i].id, id, TG_KEY_ID_LEN))
			return &package->recipients[i];
	return NULL;
}

static int open_wrapped(const struct tg_tgsp *package, const struct tgsp_recipient *r,
			const struct tg_hpke_private *key, uint8_t *data_key, struct tg_error *e)
{
	struct tg_hpke *hpke = NULL;
	uint8_t info[INFO_LEN];
	int ret;

	wrap_info(package->hash, r->id, info);
	ret = tg_hpke_receiver(&suite, key, r->enc, info, sizeof(info), &hpke, e);
	if (!ret)
		ret = tg_hpke_open(hpke, NULL, 0, r->wrapped, sizeof(r->wrapped), data_key, e);
	tg_hpke_free(hpke);
	return ret ? tg_error_prefix(e, ret, "data key") : 0;
}

int tg_tgsp_data_key(const struct tg_tgsp *package, const struct tg_hpke_private *key,
		     uint8_t ret_data_key[static TG_FLOE_KEY_LEN], struct tg_error *e)
{
	uint8_t id[TG_KEY_ID_LEN], mac[TG_SHA256_LEN];
	const struct tgsp_recipient *r;
	int ret = id_of(key->point, id, e);

	if (ret)
		return ret;
	r = find(package, id);
	if (!r)
		return tg_error(e, -ENOKEY, "the package is not for this key");
	ret = open_wrapped(package, r, key, ret_data_key, e);
	if (!ret)
		ret = list_mac(ret_data_key, package->hash, package->recipient_list,
			       package->recipient_list_len, mac, e);
	if (!ret && !tg_equal(mac, package->mac, sizeof(mac)))
		ret = tg_error(e, -EBADMSG, "the list of recipients was changed");
	if (ret)
		OPENSSL_cleanse(ret_data_key, TGSP_KEY_LEN);
	return ret;
}

static int by_id(const void *a, const void *b)
{
	return memcmp(((const struct tgsp_recipient *)a)->id, ((const struct tgsp_recipient *)b)->id,
		      TG_KEY_ID_LEN);
}

static int encode_list(struct tgsp_recipient *recipients, size_t count, uint8_t **ret_list, size_t *ret_len,
		       struct tg_error *e)
{
	char id[2 * TG_KEY_ID_LEN + 1];
	struct tg_cbor_writer w = { 0 };
	int ret;

	if (!count)
		return tg_error(e, -EINVAL, "a package needs at least one recipient");
	qsort(recipients, count, sizeof(*recipients), by_id);
	for (size_t i = 1; i < count; i++)
		if (!by_id(&recipients[i - 1], &recipients[i])) {
			tg_hex(recipients[i].id, TG_KEY_ID_LEN, id);
			return tg_error(e, -EEXIST, "recipient %s is there twice", id);
		}
	tg_cbor_put_array(&w, count);
	for (size_t i = 0; i < count; i++) {
		tg_cbor_put_array(&w, 4);
		tg_cbor_put_bytes(&w, recipients[i].id, TG_KEY_ID_LEN);
		tg_cbor_put_uint(&w, TGSP_SUITE_HPKE_P256_CHACHA);
		tg_cbor_put_bytes(&w, recipients[i].enc, TG_HPKE_ENC_LEN);
		tg_cbor_put_bytes(&w, recipients[i].wrapped, TGSP_WRAPPED_LEN);
	}
	ret = tg_cbor_take(&w, ret_list, ret_len);
	return ret ? tg_error(e, ret, "out of memory") : 0;
}

int tgsp_envelope(const uint8_t *signed_part, size_t signed_len, struct tgsp_recipient *recipients,
		  size_t count, const uint8_t data_key[static TGSP_KEY_LEN],
		  const uint8_t hash[static TG_SHA256_LEN], uint8_t **ret_envelope, size_t *ret_len,
		  struct tg_error *e)
{
	struct tg_cbor_writer w = { 0 };
	uint8_t mac[TG_SHA256_LEN], *list;
	size_t len;
	int ret = encode_list(recipients, count, &list, &len, e);

	if (ret)
		return ret;
	ret = list_mac(data_key, hash, list, len, mac, e);
	if (!ret) {
		tg_cbor_put_array(&w, 3);
		tg_cbor_put_raw(&w, signed_part, signed_len);
		tg_cbor_put_raw(&w, list, len);
		tg_cbor_put_bytes(&w, mac, sizeof(mac));
		ret = tg_cbor_take(&w, ret_envelope, ret_len);
		if (ret)
			tg_error(e, ret, "out of memory");
		else if (*ret_len > TG_TGSP_MAX_ENVELOPE)
			ret = tg_error(e, -E2BIG, "an envelope of %zu bytes, %u are allowed", *ret_len,
				       TG_TGSP_MAX_ENVELOPE);
		if (ret == -E2BIG)
			free(*ret_envelope);
	}
	free(list);
	return ret;
}
