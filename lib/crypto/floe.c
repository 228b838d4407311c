/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "tensorguard/aead.h"
#include "tensorguard/crypto.h"
#include "tensorguard/floe.h"
#include "tensorguard/hkdf.h"

enum {
	PARAMS_LEN = 10,
	IV_LEN = 32,
	TAG_LEN = 32,
	MESSAGE_KEY_LEN = 48,
	LENGTH_LEN = 4,
	MAX_AAD = 1024,
	MAX_PURPOSE = 16,
	AAD_LEN = 9,		/* of a segment: position, whether it is the last */
};

#define NOT_LAST 0xffffffffu	/* in place of a segment's length */

/*
 * Segment: length 4 | IV 12 | ciphertext | tag 16
 * Header:  AEAD 0, hash 0, segment length 4, IV length 4 | IV 32 | tag 32
 */
struct tg_floe {
	struct tg_floe_params params;
	uint8_t prefix[PARAMS_LEN + IV_LEN]; /* the header without its tag: what all derivations begin with */
	uint8_t message_key[MESSAGE_KEY_LEN];
	struct tg_aead *aead;	/* under the key of the positions that begin with `aead_from` */
	uint64_t aead_from;
	size_t aad_len;
	uint8_t aad[MAX_AAD];
};

static void put_be(uint8_t *out, uint64_t value, int bytes)
{
	for (int i = bytes - 1; i >= 0; i--, value >>= 8)
		out[i] = (uint8_t)value;
}

static uint32_t get_be32(const uint8_t *in)
{
	return (uint32_t)in[0] << 24 | (uint32_t)in[1] << 16 | (uint32_t)in[2] << 8 | in[3];
}

static int derive(const struct tg_floe *floe, const uint8_t *key, size_t key_len, const void *purpose,
		  size_t purpose_len, uint8_t *out, size_t len, struct tg_error *e)
{
	uint8_t info[PARAMS_LEN + IV_LEN + MAX_PURPOSE + MAX_AAD], *p = info;

	memcpy(p, floe->prefix, sizeof(floe->prefix));
	p += sizeof(floe->prefix);
	memcpy(p, purpose, purpose_len);
	p += purpose_len;
	memcpy(p, floe->aad, floe->aad_len);
	p += floe->aad_len;
	return tg_hkdf_expand(TG_HKDF_SHA384, key, key_len, info, (size_t)(p - info), out, len, e);
}

static int derive_tag(const struct tg_floe *floe, const uint8_t *key, uint8_t ret_tag[static TAG_LEN],
		      struct tg_error *e)
{
	return derive(floe, key, TG_FLOE_KEY_LEN, "HEADER_TAG:", 11, ret_tag, TAG_LEN, e);
}

static int floe_new(const struct tg_floe_params *params, const void *aad, size_t aad_len,
		    struct tg_floe **ret_floe, struct tg_error *e)
{
	struct tg_floe *floe;

	if (params->segment < TG_FLOE_MIN_SEGMENT || params->segment > TG_FLOE_MAX_SEGMENT ||
	    params->rotation > 40)
		return tg_error(e, -EINVAL, "FLOE segments have %d to %u bytes", TG_FLOE_MIN_SEGMENT,
				TG_FLOE_MAX_SEGMENT);
	if (aad_len > MAX_AAD)
		return tg_error(e, -E2BIG, "additional data of %zu bytes, %d are allowed", aad_len, MAX_AAD);
	floe = calloc(1, sizeof(*floe));
	if (!floe)
		return tg_error(e, -ENOMEM, "out of memory");
	floe->params = *params;
	put_be(floe->prefix + 2, params->segment, 4);
	put_be(floe->prefix + 6, IV_LEN, 4);
	floe->aad_len = aad_len;
	if (aad_len)
		memcpy(floe->aad, aad, aad_len);
	*ret_floe = floe;
	return 0;
}

int tg_floe_encrypt_start(const struct tg_floe_params *params, const uint8_t key[static TG_FLOE_KEY_LEN],
			  const void *aad, size_t aad_len, uint8_t ret_header[static TG_FLOE_HEADER_LEN],
			  struct tg_floe **ret_floe, struct tg_error *e)
{
	uint8_t tag[TAG_LEN];
	struct tg_floe *floe;
	int ret = floe_new(params, aad, aad_len, &floe, e);

	if (ret)
		return ret;
	ret = tg_random(floe->prefix + PARAMS_LEN, IV_LEN, e);
	if (!ret)
		ret = derive_tag(floe, key, tag, e);
	if (!ret)
		ret = derive(floe, key, TG_FLOE_KEY_LEN, "MESSAGE_KEY:", 12, floe->message_key,
			     MESSAGE_KEY_LEN, e);
	if (ret) {
		tg_floe_free(floe);
		return ret;
	}
	memcpy(ret_header, floe->prefix, sizeof(floe->prefix));
	memcpy(ret_header + sizeof(floe->prefix), tag, TAG_LEN);
	*ret_floe = floe;
	return 0;
}

/* Whether the header is that of these parameters, and its tag that of this key. */
static int check_header(struct tg_floe *floe, const uint8_t *key, const uint8_t *header, struct tg_error *e)
{
	uint8_t tag[TAG_LEN];
	int ret;

	if (memcmp(floe->prefix, header, PARAMS_LEN))
		return tg_error(e, -EBADMSG, "a FLOE header with other parameters than expected");
	memcpy(floe->prefix + PARAMS_LEN, header + PARAMS_LEN, IV_LEN);
	ret = derive_tag(floe, key, tag, e);
	if (!ret && !tg_equal(tag, header + PARAMS_LEN + IV_LEN, TAG_LEN))
		ret = tg_error(e, -EBADMSG, "the key is not that of this FLOE header");
	return ret;
}

int tg_floe_decrypt_start(const struct tg_floe_params *params, const uint8_t key[static TG_FLOE_KEY_LEN],
			  const void *aad, size_t aad_len, const uint8_t header[static TG_FLOE_HEADER_LEN],
			  struct tg_floe **ret_floe, struct tg_error *e)
{
	struct tg_floe *floe;
	int ret = floe_new(params, aad, aad_len, &floe, e);

	if (ret)
		return ret;
	ret = check_header(floe, key, header, e);
	if (!ret)
		ret = derive(floe, key, TG_FLOE_KEY_LEN, "MESSAGE_KEY:", 12, floe->message_key,
			     MESSAGE_KEY_LEN, e);
	if (ret) {
		tg_floe_free(floe);
		return ret;
	}
	*ret_floe = floe;
	return 0;
}

void tg_floe_free(struct tg_floe *floe)
{
	if (!floe)
		return;
	tg_aead_free(floe->aead);
	OPENSSL_cleanse(floe, sizeof(*floe));
	free(floe);
}

/* The cipher under the key of this position. */
static int select_key(struct tg_floe *floe, uint64_t position, struct tg_error *e)
{
	uint64_t from = position >> floe->params.rotation << floe->params.rotation;
	uint8_t purpose[4 + 8] = "DEK:", key[TG_FLOE_KEY_LEN];
	struct tg_aead *aead;
	int ret;

	if (position >= TG_FLOE_MAX_SEGMENTS)
		return tg_error(e, -EFBIG, "a FLOE ciphertext has at most 2^40 segments");
	if (floe->aead && floe->aead_from == from)
		return 0;
	put_be(purpose + 4, from, 8);
	ret = derive(floe, floe->message_key, MESSAGE_KEY_LEN, purpose, sizeof(purpose), key, sizeof(key), e);
	if (!ret)
		ret = tg_aead_new(TG_AES_256_GCM, key, &aead, e);
	OPENSSL_cleanse(key, sizeof(key));
	if (ret)
		return ret;
	tg_aead_free(floe->aead);
	floe->aead = aead;
	floe->aead_from = from;
	return 0;
}

static void segment_aad(uint64_t position, bool last, uint8_t ret_aad[static AAD_LEN])
{
	put_be(ret_aad, position, 8);
	ret_aad[8] = last;
}

int tg_floe_encrypt(struct tg_floe *floe, uint64_t position, bool last, const uint8_t *in, size_t len,
		    uint8_t *out, struct tg_error *e)
{
	size_t full = floe->params.segment - TG_FLOE_OVERHEAD;
	uint8_t aad[AAD_LEN];
	int ret;

	if (last ? len > full : len != full)
		return tg_error(e, -EINVAL, "a segment of %zu bytes, expected %s%zu", len,
				last ? "at most " : "", full);
	ret = select_key(floe, position, e);
	if (!ret)
		ret = tg_random(out + LENGTH_LEN, TG_AEAD_NONCE_LEN, e);
	if (ret)
		return ret;
	put_be(out, last ? len + TG_FLOE_OVERHEAD : NOT_LAST, LENGTH_LEN);
	segment_aad(position, last, aad);
	return tg_aead_seal(floe->aead, out + LENGTH_LEN, aad, sizeof(aad), in, len, out + TG_FLOE_TEXT, e);
}

int tg_floe_decrypt(struct tg_floe *floe, uint64_t position, bool last, const uint8_t *in, size_t len,
		    uint8_t *out, struct tg_error *e)
{
	uint8_t aad[AAD_LEN];
	int ret;

	if (len < TG_FLOE_OVERHEAD || (last ? len > floe->params.segment : len != floe->params.segment))
		return tg_error(e, -EBADMSG, "segment %llu has a length of %zu bytes",
				(unsigned long long)position, len);
	if (get_be32(in) != (last ? len : NOT_LAST))
		return tg_error(e, -EBADMSG, "segment %llu says another length than it has, or %s the last",
				(unsigned long long)position, last ? "is not marked as" : "is marked as");
	ret = select_key(floe, position, e);
	if (ret)
		return ret;
	segment_aad(position, last, aad);
	ret = tg_aead_open(floe->aead, in + LENGTH_LEN, aad, sizeof(aad), in + TG_FLOE_TEXT,
			   len - TG_FLOE_TEXT, out, e);
	return ret ? tg_error_prefix(e, ret, "segment %llu", (unsigned long long)position) : 0;
}

uint64_t tg_floe_segments(uint32_t segment, uint64_t plain)
{
	uint64_t full = segment - TG_FLOE_OVERHEAD;

	return plain ? (plain - 1) / full + 1 : 1;
}

uint64_t tg_floe_body_len(uint32_t segment, uint64_t plain)
{
	uint64_t segments = tg_floe_segments(segment, plain), len;

	if (segments > TG_FLOE_MAX_SEGMENTS ||
	    __builtin_add_overflow(plain, segments * TG_FLOE_OVERHEAD, &len))
		return 0;
	return len;
}
