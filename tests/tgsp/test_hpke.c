/* SPDX-License-Identifier: BSD-3-Clause */
/* RFC 9180, appendix A: the base mode set-ups with P-256, both directions. */
#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "keys.h"
#include "tensorguard/hpke.h"
#include "vectors.h"

static unsigned number(const json_t *object, const char *key)
{
	return (unsigned)atoi(json_string_value(json_object_get(object, key)));
}

struct sides {
	struct tg_hpke *sender, *receiver;
};

static void set_up(const json_t *setup, struct sides *ret)
{
	const struct tg_hpke_suite suite = { number(setup, "kdf_id"), number(setup, "aead_id") };
	struct hex info = hex_member(setup, "info"), enc = hex_member(setup, "enc");
	struct hex sender = hex_member(setup, "skEm"), receiver = hex_member(setup, "skRm");
	struct hex point = hex_member(setup, "pkRm");
	EVP_PKEY *ephemeral = p256_private(sender.data, sender.len);
	EVP_PKEY *own = p256_private(receiver.data, receiver.len);
	struct tg_hpke_private from, to;
	uint8_t got[TG_HPKE_ENC_LEN];

	CU_ASSERT_FATAL(!tg_hpke_private_from_key(ephemeral, &from, NULL));
	CU_ASSERT_FATAL(!tg_hpke_private_from_key(own, &to, NULL));
	CU_ASSERT_FATAL(enc.len == sizeof(got) && point.len == sizeof(to.point));
	CU_ASSERT(!memcmp(to.point, point.data, point.len));
	CU_ASSERT_FATAL(
		!tg_hpke_sender(&suite, point.data, info.data, info.len, &from, got, &ret->sender, NULL));
	CU_ASSERT(!memcmp(got, enc.data, sizeof(got)));
	CU_ASSERT_FATAL(!tg_hpke_receiver(&suite, &to, enc.data, info.data, info.len, &ret->receiver, NULL));
	EVP_PKEY_free(ephemeral);
	EVP_PKEY_free(own);
	free(info.data);
	free(enc.data);
	free(sender.data);
	free(receiver.data);
	free(point.data);
}

/* The published sequence numbers have gaps: what lies between is sealed and opened too, and must not matter.
 */
static void advance(struct sides *s, unsigned long *at, unsigned long to)
{
	uint8_t text[1 + TG_AEAD_TAG_LEN], back[1];

	for (; *at < to; ++*at) {
		CU_ASSERT(!tg_hpke_seal(s->sender, NULL, 0, (const uint8_t *)"x", 1, text, NULL));
		CU_ASSERT(!tg_hpke_open(s->receiver, NULL, 0, text, sizeof(text), back, NULL) &&
			  *back == 'x');
	}
}

static void encryption(const json_t *v, struct sides *s, unsigned long *at)
{
	struct hex pt = hex_member(v, "pt"), aad = hex_member(v, "aad"), ct = hex_member(v, "ct");
	uint8_t *out = malloc(ct.len + 1);

	advance(s, at, number(v, "sequence number"));
	CU_ASSERT_FATAL(ct.len == pt.len + TG_AEAD_TAG_LEN);
	CU_ASSERT(!tg_hpke_seal(s->sender, aad.data, aad.len, pt.data, pt.len, out, NULL));
	CU_ASSERT(!memcmp(out, ct.data, ct.len));
	ct.data[0] ^= 1;	/* refused, and the sequence number stays */
	CU_ASSERT_EQUAL(tg_hpke_open(s->receiver, aad.data, aad.len, ct.data, ct.len, out, NULL), -EBADMSG);
	ct.data[0] ^= 1;
	CU_ASSERT(!tg_hpke_open(s->receiver, aad.data, aad.len, ct.data, ct.len, out, NULL));
	CU_ASSERT(!memcmp(out, pt.data, pt.len));
	++*at;
	free(out);
	free(pt.data);
	free(aad.data);
	free(ct.data);
}

static void exported(const json_t *v, const struct sides *s)
{
	struct hex context = hex_member(v, "exporter_context"), value = hex_member(v, "exported_value");
	uint8_t *out = malloc(value.len);

	CU_ASSERT_EQUAL(value.len, number(v, "L"));
	CU_ASSERT(!tg_hpke_export(s->sender, context.data, context.len, out, value.len, NULL));
	CU_ASSERT(!memcmp(out, value.data, value.len));
	CU_ASSERT(!tg_hpke_export(s->receiver, context.data, context.len, out, value.len, NULL));
	CU_ASSERT(!memcmp(out, value.data, value.len));
	free(out);
	free(context.data);
	free(value.data);
}

TEST(hpke, rfc9180_p256_base)
{
	json_t *vectors = vectors_json("hpke_rfc9180_p256.json"), *v, *one;
	unsigned set_ups = 0, texts = 0, exports = 0;
	size_t i, k;

	CU_ASSERT_PTR_NOT_NULL_FATAL(vectors);
	json_array_foreach(vectors, i, v)
	{
		struct sides s = { NULL, NULL };
		unsigned long at = 0;

		if (strcmp(json_string_value(json_object_get(v, "mode_name")), "Base"))
			continue;
		set_up(json_object_get(v, "setup"), &s);
		json_array_foreach(json_object_get(v, "encryptions"), k, one)
		{
			encryption(one, &s, &at);
			texts++;
		}
		json_array_foreach(json_object_get(v, "exports"), k, one)
		{
			exported(one, &s);
			exports++;
		}
		tg_hpke_free(s.sender);
		tg_hpke_free(s.receiver);
		set_ups++;
	}
	json_decref(vectors);
	CU_ASSERT(set_ups > 0 && texts > 0 && exports > 0);
}

TEST(hpke, round_trip)
{
	const struct tg_hpke_suite suite = { TG_HPKE_HKDF_SHA256, TG_CHACHA20_POLY1305 };
	struct tg_hpke_private private;
	uint8_t enc[TG_HPKE_ENC_LEN], text[4 + TG_AEAD_TAG_LEN], back[4];
	struct tg_hpke *sender, *receiver;
	EVP_PKEY *key = NULL, *other = NULL;

	CU_ASSERT_FATAL(!tg_p256_generate(&key, NULL) && !tg_p256_generate(&other, NULL));
	CU_ASSERT_FATAL(!tg_hpke_private_from_key(key, &private, NULL));
	CU_ASSERT_FATAL(!tg_hpke_sender(&suite, private.point, "info", 4, NULL, enc, &sender, NULL));
	CU_ASSERT(!tg_hpke_seal(sender, "a", 1, (const uint8_t *)"text", 4, text, NULL));
	CU_ASSERT_FATAL(!tg_hpke_receiver(&suite, &private, enc, "info", 4, &receiver, NULL));
	CU_ASSERT(!tg_hpke_open(receiver, "a", 1, text, sizeof(text), back, NULL) &&
		  !memcmp(back, "text", 4));
	tg_hpke_free(receiver);
	/* another info, another key, a point that is none */
	CU_ASSERT_FATAL(!tg_hpke_receiver(&suite, &private, enc, "inf0", 4, &receiver, NULL));
	CU_ASSERT_EQUAL(tg_hpke_open(receiver, "a", 1, text, sizeof(text), back, NULL), -EBADMSG);
	tg_hpke_free(receiver);
	CU_ASSERT_FATAL(!tg_hpke_private_from_key(other, &private, NULL));
	CU_ASSERT_FATAL(!tg_hpke_receiver(&suite, &private, enc, "info", 4, &receiver, NULL));
	CU_ASSERT_EQUAL(tg_hpke_open(receiver, "a", 1, text, sizeof(text), back, NULL), -EBADMSG);
	tg_hpke_free(receiver);
	enc[40] ^= 1;
	CU_ASSERT_EQUAL(tg_hpke_receiver(&suite, &private, enc, "info", 4, &receiver, NULL), -EINVAL);
	tg_hpke_free(sender);
	EVP_PKEY_free(key);
	EVP_PKEY_free(other);
}
