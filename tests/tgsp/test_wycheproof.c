/* SPDX-License-Identifier: BSD-3-Clause */
/* Wycheproof: `valid` vectors are accepted with the right result, `invalid` ones refused. */
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/bn.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "keys.h"
#include "tensorguard/aead.h"
#include "tensorguard/hkdf.h"
#include "tensorguard/key.h"
#include "vectors.h"

struct tally {
	unsigned valid, invalid, other, outside, wrong;
};

static const char *text_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

/* Counts what came out; `acceptable` may be either. */
static void judge(struct tally *t, const char *file, const json_t *test, bool accepted)
{
	const char *result = text_of(test, "result");
	bool valid = !strcmp(result, "valid"), invalid = !strcmp(result, "invalid");

	*(valid ? &t->valid : invalid ? &t->invalid : &t->other) += 1;
	if ((valid && !accepted) || (invalid && accepted)) {
		t->wrong++;
		printf("%s: test %d is %s\n", file, (int)json_integer_value(json_object_get(test, "tcId")),
		       result);
	}
}

typedef void one_test(struct tally *t, const char *file, const json_t *group, const json_t *test);

static void run_file(const char *file, one_test *run)
{
	json_t *root = vectors_json(file), *group, *test;
	struct tally t = { 0 };
	size_t i, k;

	CU_ASSERT_PTR_NOT_NULL_FATAL(root);
	json_array_foreach(json_object_get(root, "testGroups"), i, group)
		json_array_foreach(json_object_get(group, "tests"), k, test) run(&t, file, group, test);
	CU_ASSERT_EQUAL(t.valid + t.invalid + t.other + t.outside,
			json_integer_value(json_object_get(root, "numberOfTests")));
	CU_ASSERT(t.valid > 0 && t.invalid > 0);
	CU_ASSERT_EQUAL(t.wrong, 0);
	printf("%s: %u valid, %u invalid, %u acceptable, %u outside what the library offers\n", file, t.valid,
	       t.invalid, t.other, t.outside);
	json_decref(root);
}

/* Opens the vector's text and seals it again; both must be right. */
static bool aead_right(enum tg_aead_cipher cipher, const json_t *test)
{
	struct hex key = hex_member(test, "key"), iv = hex_member(test, "iv"), aad = hex_member(test, "aad");
	struct hex msg = hex_member(test, "msg"), ct = hex_member(test, "ct"), tag = hex_member(test, "tag");
	uint8_t *text = malloc(ct.len + tag.len + 1), *back = malloc(ct.len + TG_AEAD_TAG_LEN + 1);
	struct tg_aead *aead = NULL;
	bool right;

	memcpy(text, ct.data, ct.len);
	memcpy(text + ct.len, tag.data, tag.len);
	CU_ASSERT_FATAL(!tg_aead_new(cipher, key.data, &aead, NULL));
	right = !tg_aead_open(aead, iv.data, aad.data, aad.len, text, ct.len + tag.len, back, NULL) &&
		ct.len == msg.len && !memcmp(back, msg.data, msg.len);
	if (right) {
		CU_ASSERT(!tg_aead_seal(aead, iv.data, aad.data, aad.len, msg.data, msg.len, back, NULL));
		right = !memcmp(back, text, ct.len + tag.len);
	}
	tg_aead_free(aead);
	free(text);
	free(back);
	free(key.data);
	free(iv.data);
	free(aad.data);
	free(msg.data);
	free(ct.data);
	free(tag.data);
	return right;
}

static int group_number(const json_t *group, const char *key)
{
	return (int)json_integer_value(json_object_get(group, key));
}

static void gcm_test(struct tally *t, const char *file, const json_t *group, const json_t *test)
{
	int key = group_number(group, "keySize");

	/* the library has 12-byte nonces and whole tags, and no 192-bit keys: others cannot be asked for */
	if (group_number(group, "ivSize") != 96 || group_number(group, "tagSize") != 128 || key == 192)
		t->outside++;
	else
		judge(t, file, test, aead_right(key == 128 ? TG_AES_128_GCM : TG_AES_256_GCM, test));
}

static void chacha_test(struct tally *t, const char *file, const json_t *group, const json_t *test)
{
	if (group_number(group, "ivSize") != 96 || group_number(group, "tagSize") != 128)
		t->outside++;
	else
		judge(t, file, test, aead_right(TG_CHACHA20_POLY1305, test));
}

TEST(wycheproof, aes_gcm)
{
	run_file("wycheproof/aes_gcm_test.json", gcm_test);
}

TEST(wycheproof, chacha20_poly1305)
{
	run_file("wycheproof/chacha20_poly1305_test.json", chacha_test);
}

/* ECDH of a point or of a SubjectPublicKeyInfo. */
static bool ecdh_right(const json_t *test, const uint8_t *point)
{
	struct hex number = hex_member(test, "private"), shared = hex_member(test, "shared");
	EVP_PKEY *key = p256_private(number.data, number.len);
	uint8_t x[TG_P256_X_LEN];
	bool right;

	CU_ASSERT_PTR_NOT_NULL_FATAL(key);
	right = !tg_key_ecdh(key, point, x, NULL);
	if (right)
		right = shared.len == sizeof(x) && !memcmp(x, shared.data, sizeof(x));
	EVP_PKEY_free(key);
	free(number.data);
	free(shared.data);
	return right;
}

static void point_test(struct tally *t, const char *file, const json_t *group, const json_t *test)
{
	struct hex public = hex_member(test, "public");

	(void)group;
	/* compressed points and other lengths are no argument of the library's */
	if (public.len != TG_P256_POINT_LEN)
		t->outside++;
	else
		judge(t, file, test, ecdh_right(test, public.data));
	free(public.data);
}

static void spki_test(struct tally *t, const char *file, const json_t *group, const json_t *test)
{
	struct hex public = hex_member(test, "public");
	uint8_t point[TG_P256_POINT_LEN];
	EVP_PKEY *key = NULL;
	bool right;

	(void)group;
	right = !tg_key_from_spki(public.data, public.len, &key, NULL) && !tg_p256_point(key, point, NULL) &&
		ecdh_right(test, point);
	EVP_PKEY_free(key);
	free(public.data);
	judge(t, file, test, right);
}

TEST(wycheproof, ecdh_point)
{
	run_file("wycheproof/ecdh_secp256r1_ecpoint_test.json", point_test);
}

TEST(wycheproof, ecdh_spki)
{
	run_file("wycheproof/ecdh_secp256r1_test.json", spki_test);
}

/* The vectors have DER; the library, as COSE, r and s. What has no such form is refused on the way. */
static bool raw_signature(const struct hex *der, uint8_t ret_raw[static TG_SIGNATURE_LEN])
{
	const uint8_t *in = der->data;
	ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &in, (long)der->len);
	uint8_t *again = NULL;
	int len = sig ? i2d_ECDSA_SIG(sig, &again) : 0;
	bool right = len > 0 && (size_t)len == der->len && !memcmp(again, der->data, der->len) &&
		     !BN_is_negative(ECDSA_SIG_get0_r(sig)) && !BN_is_negative(ECDSA_SIG_get0_s(sig)) &&
		     BN_bn2binpad(ECDSA_SIG_get0_r(sig), ret_raw, 32) == 32 &&
		     BN_bn2binpad(ECDSA_SIG_get0_s(sig), ret_raw + 32, 32) == 32;

	OPENSSL_free(again);
	ECDSA_SIG_free(sig);
	return right;
}

static bool verifies(const json_t *group, const json_t *test, const uint8_t *signature, size_t len)
{
	struct hex public = hex_member(group, "publicKeyDer"), msg = hex_member(test, "msg");
	EVP_PKEY *key = NULL;
	bool right = !tg_key_from_spki(public.data, public.len, &key, NULL) &&
		     !tg_key_verify(key, msg.data, msg.len, signature, len, NULL);

	EVP_PKEY_free(key);
	free(public.data);
	free(msg.data);
	return right;
}

static void ecdsa_test(struct tally *t, const char *file, const json_t *group, const json_t *test)
{
	struct hex sig = hex_member(test, "sig");
	uint8_t raw[TG_SIGNATURE_LEN];

	judge(t, file, test, raw_signature(&sig, raw) && verifies(group, test, raw, sizeof(raw)));
	free(sig.data);
}

static void eddsa_test(struct tally *t, const char *file, const json_t *group, const json_t *test)
{
	struct hex sig = hex_member(test, "sig");

	judge(t, file, test, verifies(group, test, sig.data, sig.len));
	free(sig.data);
}

TEST(wycheproof, ecdsa_p256_sha256)
{
	run_file("wycheproof/ecdsa_secp256r1_sha256_test.json", ecdsa_test);
}

TEST(wycheproof, ed25519)
{
	run_file("wycheproof/ed25519_test.json", eddsa_test);
}

static void hkdf_test(struct tally *t, const char *file, const json_t *group, const json_t *test)
{
	struct hex ikm = hex_member(test, "ikm"), salt = hex_member(test, "salt"),
		   info = hex_member(test, "info");
	struct hex okm = hex_member(test, "okm");
	size_t len = (size_t)json_integer_value(json_object_get(test, "size"));
	uint8_t prk[TG_HKDF_MAX_LEN], *out = malloc(len + 1);
	bool right = !tg_hkdf_extract(TG_HKDF_SHA256, salt.data, salt.len, ikm.data, ikm.len, prk, NULL) &&
		     !tg_hkdf_expand(TG_HKDF_SHA256, prk, 32, info.data, info.len, out, len, NULL) &&
		     len == okm.len && !memcmp(out, okm.data, len);

	(void)group;
	judge(t, file, test, right);
	free(out);
	free(ikm.data);
	free(salt.data);
	free(info.data);
	free(okm.data);
}

TEST(wycheproof, hkdf_sha256)
{
	run_file("wycheproof/hkdf_sha256_test.json", hkdf_test);
}

static void hmac_test(struct tally *t, const char *file, const json_t *group, const json_t *test)
{
	struct hex key = hex_member(test, "key"), msg = hex_member(test, "msg"),
		   tag = hex_member(test, "tag");
	uint8_t mac[TG_SHA256_LEN];
	bool right =
		!tg_hmac_sha256(key.data, key.len, &(struct tg_piece){ msg.data, msg.len }, 1, mac, NULL) &&
		tag.len <= sizeof(mac) && tg_equal(mac, tag.data, tag.len);

	(void)group;
	judge(t, file, test, right);
	free(key.data);
	free(msg.data);
	free(tag.data);
}

TEST(wycheproof, hmac_sha256)
{
	run_file("wycheproof/hmac_sha256_test.json", hmac_test);
}
