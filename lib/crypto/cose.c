/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tensorguard/cose.h"

/* RFC 9052: tag of COSE_Sign, header parameters. */
enum { TAG_SIGN = 98, ALG = 1, CONTENT_TYPE = 3, KEY_ID = 4 };

static int refuse(const struct tg_cbor *r, const char *why)
{
	tg_error(r->e, -EBADMSG, "signature: %s", why);
	return -EBADMSG;
}

static int decode_body_header(struct tg_cbor *r, const char *content_type, struct tg_cose *cose)
{
	struct tg_cbor_map map;
	const char *text = NULL;
	struct tg_cbor h;
	size_t len = 0;
	int64_t key;
	int ret = tg_cbor_bytes(r, "protected header", &cose->protected, &cose->protected_len);

	if (ret)
		return ret;
	tg_cbor_init(&h, cose->protected, cose->protected_len, r->e);
	ret = tg_cbor_map(&h, "protected header", &map);
	if (!ret && map.left != 1)
		return refuse(r, "a body header with other than one parameter");
	if (!ret)
		ret = tg_cbor_map_next(&h, "protected header", &map, &key) < 0 ? -EBADMSG : 0;
	if (!ret && key != CONTENT_TYPE)
		return refuse(r, "a body header without a content type");
	if (!ret)
		ret = tg_cbor_text(&h, "content type", &text, &len);
	if (!ret)
		ret = tg_cbor_done(&h, "protected header");
	if (ret)
		return ret;
	if (len != strlen(content_type) || memcmp(text, content_type, len))
		return refuse(r, "another content type than expected");
	return 0;
}

static int decode_empty_map(struct tg_cbor *r)
{
	struct tg_cbor_map map;
	int ret = tg_cbor_map(r, "unprotected header", &map);

	if (ret)
		return ret;
	return map.left ? refuse(r, "an unprotected header that is not empty") : 0;
}

static int decode_signer_header(struct tg_cbor *r, struct tg_cose_signature *s)
{
	struct tg_cbor_map map;
	struct tg_cbor h;
	int64_t key = 0, alg = 0;
	int ret = tg_cbor_bytes(r, "signer's header", &s->protected, &s->protected_len);

	if (ret)
		return ret;
	tg_cbor_init(&h, s->protected, s->protected_len, r->e);
	ret = tg_cbor_map(&h, "signer's header", &map);
	if (!ret && map.left != 2)
		return refuse(r, "a signer's header with other than two parameters");
	if (ret || tg_cbor_map_next(&h, "signer's header", &map, &key) < 0)
		return -EBADMSG;
	if (key != ALG || tg_cbor_int(&h, "algorithm", &alg) || (alg != TG_KEY_ES256 && alg != TG_KEY_EDDSA))
		return refuse(r, "an algorithm other than ES256 and EdDSA");
	s->type = (enum tg_key_type)alg;
	if (tg_cbor_map_next(&h, "signer's header", &map, &key) < 0)
		return -EBADMSG;
	if (key != KEY_ID)
		return refuse(r, "a signer's header without a key id");
	ret = tg_cbor_bytes_fixed(&h, "key id", s->key_id, sizeof(s->key_id));
	return ret ? ret : tg_cbor_done(&h, "signer's header");
}

static int decode_signature(struct tg_cbor *r, struct tg_cose_signature *s)
{
	size_t elements, len;
	int ret = tg_cbor_array(r, "signature", &elements);

	if (!ret && elements != 3)
		return refuse(r, "a signature of other than three parts");
	if (!ret)
		ret = decode_signer_header(r, s);
	if (!ret)
		ret = decode_empty_map(r);
	if (!ret)
		ret = tg_cbor_bytes(r, "signature", &s->signature, &len);
	if (!ret && len != TG_SIGNATURE_LEN)
		return refuse(r, "a signature of another length than 64 bytes");
	return ret;
}

static int decode_signatures(struct tg_cbor *r, struct tg_cose *cose)
{
	int ret = tg_cbor_array(r, "signatures", &cose->count);

	if (!ret && (!cose->count || cose->count > TG_COSE_MAX_SIGNATURES))
		return refuse(r, "no signatures, or more than 16");
	for (size_t i = 0; !ret && i < cose->count; i++) {
		ret = decode_signature(r, &cose->signatures[i]);
		if (!ret && i &&
		    memcmp(cose->signatures[i - 1].key_id, cose->signatures[i].key_id, TG_KEY_ID_LEN) >= 0)
			return refuse(r, "signers out of order or twice");
	}
	return ret;
}

int tg_cose_decode(struct tg_cbor *r, const char *content_type, struct tg_cose *ret_cose)
{
	struct tg_cose cose = { 0 };
	struct tg_cbor at = *r;
	size_t elements;
	int ret = tg_cbor_tag(&at, "signed document", TAG_SIGN);

	if (!ret)
		ret = tg_cbor_array(&at, "signed document", &elements);
	if (!ret && elements != 4)
		return refuse(r, "a document of other than four parts");
	if (!ret)
		ret = decode_body_header(&at, content_type, &cose);
	if (!ret)
		ret = decode_empty_map(&at);
	if (!ret)
		ret = tg_cbor_bytes(&at, "payload", &cose.payload, &cose.payload_len);
	if (!ret)
		ret = decode_signatures(&at, &cose);
	if (ret)
		return ret;
	r->next = at.next;
	*ret_cose = cose;
	return 0;
}

/* Sig_structure of RFC 9052, section 4.4: what is signed. */
static int signed_bytes(const uint8_t *body, size_t body_len, const uint8_t *signer, size_t signer_len,
			const uint8_t *payload, size_t len, uint8_t **ret_data, size_t *ret_len)
{
	struct tg_cbor_writer w = { 0 };

	tg_cbor_put_array(&w, 5);
	tg_cbor_put_text(&w, "Signature");
	tg_cbor_put_bytes(&w, body, body_len);
	tg_cbor_put_bytes(&w, signer, signer_len);
	tg_cbor_put_bytes(&w, NULL, 0);
	tg_cbor_put_bytes(&w, payload, len);
	return tg_cbor_take(&w, ret_data, ret_len);
}

static int find_key(const struct tg_key_set *set, const uint8_t id[static TG_KEY_ID_LEN], EVP_PKEY **ret_key,
		    struct tg_error *e)
{
	*ret_key = NULL;
	for (size_t i = 0; i < set->count; i++) {
		uint8_t other[TG_KEY_ID_LEN];
		int ret = tg_public_key_hash(set->keys[i], other, e);

		if (ret)
			return ret;
		if (!memcmp(other, id, TG_KEY_ID_LEN))
			*ret_key = set->keys[i];
	}
	return 0;
}

static int verify_one(const struct tg_cose *cose, const struct tg_cose_signature *s, EVP_PKEY *key,
		      struct tg_error *e)
{
	enum tg_key_type type;
	uint8_t *data;
	size_t len;
	int ret = tg_key_type(key, &type, e);

	if (ret)
		return ret;
	if (type != s->type)
		return tg_error(e, -EBADMSG, "a signature names an algorithm that is not its key's");
	ret = signed_bytes(cose->protected, cose->protected_len, s->protected, s->protected_len,
			   cose->payload, cose->payload_len, &data, &len);
	if (ret)
		return tg_error(e, ret, "out of memory");
	ret = tg_key_verify(key, data, len, s->signature, TG_SIGNATURE_LEN, e);
	free(data);
	return ret;
}

int tg_cose_verify(const struct tg_cose *cose, const struct tg_key_set *set, unsigned threshold,
		   struct tg_error *e)
{
	unsigned good = 0;

	for (size_t i = 0; i < cose->count; i++) {
		EVP_PKEY *key;
		int ret = find_key(set, cose->signatures[i].key_id, &key, e);

		if (!ret && key)
			ret = verify_one(cose, &cose->signatures[i], key, e);
		if (ret)
			return ret;
		good += key != NULL;
	}
	if (!threshold || good < threshold)
		return tg_error(e, -EKEYREJECTED, "signed by %u of the %zu trusted keys, %u must have", good,
				set->count, threshold);
	return 0;
}

struct signer {
	uint8_t id[TG_KEY_ID_LEN];
	EVP_PKEY *key;
};

static int by_id(const void *a, const void *b)
{
	return memcmp(((const struct signer *)a)->id, ((const struct signer *)b)->id, TG_KEY_ID_LEN);
}

static int sort_signers(const struct tg_key_set *set, struct signer *signers, struct tg_error *e)
{
	if (!set->count || set->count > TG_COSE_MAX_SIGNATURES)
		return tg_error(e, -EINVAL, "%zu signers, expected 1 to %d", set->count,
				TG_COSE_MAX_SIGNATURES);
	for (size_t i = 0; i < set->count; i++) {
		int ret = tg_public_key_hash(set->keys[i], signers[i].id, e);

		if (ret)
			return ret;
		signers[i].key = set->keys[i];
	}
	qsort(signers, set->count, sizeof(*signers), by_id);
	for (size_t i = 1; i < set->count; i++)
		if (!by_id(&signers[i - 1], &signers[i]))
			return tg_error(e, -EINVAL, "a key signs twice");
	return 0;
}

static int put_signature(struct tg_cbor_writer *w, const uint8_t *body, size_t body_len,
			 const struct signer *signer, const uint8_t *payload, size_t len, struct tg_error *e)
{
	uint8_t signature[TG_SIGNATURE_LEN], *header = NULL, *data = NULL;
	struct tg_cbor_writer h = { 0 };
	size_t header_len, data_len;
	enum tg_key_type type;
	int ret = tg_key_type(signer->key, &type, e);

	if (ret)
		return ret;
	tg_cbor_put_map(&h, 2);
	tg_cbor_put_uint(&h, ALG);
	tg_cbor_put_int(&h, type);
	tg_cbor_put_uint(&h, KEY_ID);
	tg_cbor_put_bytes(&h, signer->id, TG_KEY_ID_LEN);
	ret = tg_cbor_take(&h, &header, &header_len);
	if (!ret)
		ret = signed_bytes(body, body_len, header, header_len, payload, len, &data, &data_len);
	if (ret)
		tg_error(e, ret, "out of memory");
	else
		ret = tg_key_sign(signer->key, data, data_len, signature, e);
	if (!ret) {
		tg_cbor_put_array(w, 3);
		tg_cbor_put_bytes(w, header, header_len);
		tg_cbor_put_map(w, 0);
		tg_cbor_put_bytes(w, signature, sizeof(signature));
	}
	free(header);
	free(data);
	return ret;
}

int tg_cose_sign(struct tg_cbor_writer *w, const char *content_type, const uint8_t *payload, size_t len,
		 const struct tg_key_set *signers, struct tg_error *e)
{
	struct signer sorted[TG_COSE_MAX_SIGNATURES];
	struct tg_cbor_writer h = { 0 };
	uint8_t *body;
	size_t body_len;
	int ret = sort_signers(signers, sorted, e);

	if (ret)
		return ret;
	tg_cbor_put_map(&h, 1);
	tg_cbor_put_uint(&h, CONTENT_TYPE);
	tg_cbor_put_text(&h, content_type);
	ret = tg_cbor_take(&h, &body, &body_len);
	if (ret)
		return tg_error(e, ret, "out of memory");
	tg_cbor_put_tag(w, TAG_SIGN);
	tg_cbor_put_array(w, 4);
	tg_cbor_put_bytes(w, body, body_len);
	tg_cbor_put_map(w, 0);
	tg_cbor_put_bytes(w, payload, len);
	tg_cbor_put_array(w, signers->count);
	for (size_t i = 0; !ret && i < signers->count; i++)
		ret = put_signature(w, body, body_len, &sorted[i], payload, len, e);
	free(body);
	return ret ? ret : w->err;
}
