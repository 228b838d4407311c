/* SPDX-License-Identifier: BSD-3-Clause */
#include <openssl/evp.h>
#include <openssl/ec.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "swtpm.h"
#include "tensorguard/crypto.h"

static struct tg_error e;

static EVP_PKEY *public_key(const struct tg_tpm_key *key)
{
	uint8_t point[TG_TPM_POINT_BYTES];
	EVP_PKEY *pkey = NULL;

	OK(tg_tpm_key_point(key, point, &e));
	OK(tg_p256_from_point(point, &pkey, &e));
	return pkey;
}

static bool verifies(const struct tg_tpm_key *key, const uint8_t *digest, const struct tg_bytes *signature)
{
	EVP_PKEY *pkey = public_key(key);
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(pkey, NULL);
	bool ok = EVP_PKEY_verify_init(ctx) == 1 &&
		  EVP_PKEY_verify(ctx, signature->data, signature->len, digest, TG_TPM_DIGEST_BYTES) == 1;

	EVP_PKEY_CTX_free(ctx);
	EVP_PKEY_free(pkey);
	return ok;
}

TEST(tpm_keys, sign_under_either_hierarchy)
{
	struct tg_tpm *tpm = swtpm_open();
	uint8_t digest[TG_TPM_DIGEST_BYTES] = "thirty-two bytes of a digest ..";

	for (int h = TG_TPM_OWNER; h <= TG_TPM_ENDORSEMENT; h++) {
		struct tg_tpm_key key = { 0 };
		struct tg_bytes signature = { 0 };

		OK(tg_tpm_key_create(tpm, TG_TPM_TLS, (enum tg_tpm_hierarchy)h, &key, &e));
		if (OK(tg_tpm_sign(tpm, &key, digest, &signature, &e))) {
			CU_ASSERT(verifies(&key, digest, &signature));
			digest[5] ^= 1;
			CU_ASSERT(!verifies(&key, digest, &signature));
		}
		tg_bytes_free(&signature);
		tg_tpm_key_free(&key);
	}
	tg_tpm_close(tpm);
	CU_ASSERT_EQUAL(swtpm_loaded(), 0);
}

/* A restricted key signs nothing that the TPM did not make, an ECDH key signs nothing, and no signer agrees.
 */
TEST(tpm_keys, each_key_for_its_use_alone)
{
	struct tg_tpm *tpm = swtpm_open();
	uint8_t digest[TG_TPM_DIGEST_BYTES] = { 0xff }, point[TG_TPM_POINT_BYTES], x[32];
	struct tg_tpm_key ak = { 0 }, tls = { 0 }, hpke = { 0 };
	struct tg_bytes signature = { 0 };

	OK(tg_tpm_key_create(tpm, TG_TPM_AK, TG_TPM_OWNER, &ak, &e));
	OK(tg_tpm_key_create(tpm, TG_TPM_TLS, TG_TPM_OWNER, &tls, &e));
	OK(tg_tpm_key_create(tpm, TG_TPM_HPKE, TG_TPM_OWNER, &hpke, &e));
	OK(tg_tpm_key_point(&tls, point, &e));
	CU_ASSERT_NOT_EQUAL(tg_tpm_sign(tpm, &ak, digest, &signature, &e), 0);
	CU_ASSERT_NOT_EQUAL(tg_tpm_sign(tpm, &hpke, digest, &signature, &e), 0);
	CU_ASSERT_NOT_EQUAL(tg_tpm_ecdh(tpm, &ak, point, x, &e), 0);
	CU_ASSERT_NOT_EQUAL(tg_tpm_ecdh(tpm, &tls, point, x, &e), 0);
	CU_ASSERT_PTR_NULL(signature.data);
	OK(tg_tpm_ecdh(tpm, &hpke, point, x, &e));
	point[64] ^= 1;
	CU_ASSERT_NOT_EQUAL(tg_tpm_ecdh(tpm, &hpke, point, x, &e), 0);
	tg_tpm_key_free(&ak);
	tg_tpm_key_free(&tls);
	tg_tpm_key_free(&hpke);
	tg_tpm_close(tpm);
	CU_ASSERT_EQUAL(swtpm_loaded(), 0);
}

/* OpenSSL's own ECDH gives the same X coordinate. */
TEST(tpm_keys, ecdh_agrees_with_openssl)
{
	struct tg_tpm *tpm = swtpm_open();
	struct tg_tpm_key key = { 0 };
	EVP_PKEY *ours = EVP_EC_gen("P-256"), *theirs;
	EVP_PKEY_CTX *ctx;
	uint8_t point[TG_TPM_POINT_BYTES], x[32], expected[32];
	size_t len = 0;

	OK(tg_tpm_key_create(tpm, TG_TPM_HPKE, TG_TPM_OWNER, &key, &e));
	CU_ASSERT_EQUAL(EVP_PKEY_get_octet_string_param(ours, "pub", point, sizeof(point), &len), 1);
	CU_ASSERT_EQUAL(len, sizeof(point));
	theirs = public_key(&key);
	ctx = EVP_PKEY_CTX_new(ours, NULL);
	len = sizeof(expected);
	CU_ASSERT_EQUAL(EVP_PKEY_derive_init(ctx), 1);
	CU_ASSERT_EQUAL(EVP_PKEY_derive_set_peer(ctx, theirs), 1);
	CU_ASSERT_EQUAL(EVP_PKEY_derive(ctx, expected, &len), 1);
	if (OK(tg_tpm_ecdh(tpm, &key, point, x, &e)))
		CU_ASSERT_EQUAL(memcmp(x, expected, sizeof(x)), 0);
	EVP_PKEY_CTX_free(ctx);
	EVP_PKEY_free(ours);
	EVP_PKEY_free(theirs);
	tg_tpm_key_free(&key);
	tg_tpm_close(tpm);
}

/* What a key was wrapped by, or another TPM's blob, or a blob with a bit turned, does not load. */
TEST(tpm_keys, altered_keys_are_refused)
{
	struct tg_tpm *tpm = swtpm_open();
	uint8_t digest[TG_TPM_DIGEST_BYTES] = { 0 };
	struct tg_tpm_key key = { 0 };
	struct tg_bytes signature = { 0 };

	OK(tg_tpm_key_create(tpm, TG_TPM_TLS, TG_TPM_OWNER, &key, &e));
	for (int which = 0; which < 2; which++) {
		struct tg_bytes *part = which ? &key.public_part : &key.private_part;

		for (size_t at = 0; at < part->len; at += 7) {
			part->data[at] ^= 4;
			CU_ASSERT_NOT_EQUAL(tg_tpm_sign(tpm, &key, digest, &signature, &e), 0);
			part->data[at] ^= 4;
		}
		part->len--;
		CU_ASSERT_EQUAL(tg_tpm_sign(tpm, &key, digest, &signature, &e), -EBADMSG);
		part->len++;
	}
	key.parent = 0x40000007;
	CU_ASSERT_EQUAL(tg_tpm_sign(tpm, &key, digest, &signature, &e), -EINVAL);
	key.parent = 0x81000005;
	CU_ASSERT_EQUAL(tg_tpm_sign(tpm, &key, digest, &signature, &e), -ENOENT);
	key.parent = 0x40000001;
	OK(tg_tpm_sign(tpm, &key, digest, &signature, &e));
	tg_bytes_free(&signature);
	tg_tpm_key_free(&key);
	tg_tpm_close(tpm);
	CU_ASSERT_EQUAL(swtpm_loaded(), 0);
}

/* A TPM that went away is an error, and one that came back is used again, with the keys of before. */
TEST(tpm_keys, a_lost_connection_is_made_anew)
{
	uint8_t digest[TG_TPM_DIGEST_BYTES] = { 3 };
	struct tg_tpm_key key = { 0 };
	struct tg_bytes signature = { 0 };
	struct tg_tpm *tpm;

	if (swtpm_skips("the TPM is not ours to restart"))
		return;
	tpm = swtpm_open();
	OK(tg_tpm_key_create(tpm, TG_TPM_TLS, TG_TPM_OWNER, &key, &e));
	CU_ASSERT(swtpm_restart(false));	/* not noticed: this TCTI connects anew for each command */
	OK(tg_tpm_sign(tpm, &key, digest, &signature, &e));
	tg_bytes_free(&signature);
	CU_ASSERT(swtpm_restart(true));
	CU_ASSERT_EQUAL(tg_tpm_sign(tpm, &key, digest, &signature, &e), -EIO);
	CU_ASSERT_EQUAL(tg_tpm_sign(tpm, &key, digest, &signature, &e), -ENODEV);
	CU_ASSERT(swtpm_restart(false));
	OK(tg_tpm_sign(tpm, &key, digest, &signature, &e));
	CU_ASSERT(verifies(&key, digest, &signature));
	tg_bytes_free(&signature);
	tg_tpm_key_free(&key);
	CU_ASSERT(swtpm_restart(true));
	tg_tpm_close(tpm);
	CU_ASSERT(swtpm_restart(false));
	CU_ASSERT_EQUAL(swtpm_loaded(), 0);
}

TEST(tpm_keys, no_tpm_is_an_error)
{
	struct tg_tpm *tpm = NULL;

	CU_ASSERT_EQUAL(tg_tpm_open("device:/nonexistent/tpm", &tpm, &e), -ENODEV);
	CU_ASSERT_PTR_NULL(tpm);
	CU_ASSERT_EQUAL(tg_tpm_open("nonsense:x", &tpm, &e), -ENODEV);
}
