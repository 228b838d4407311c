/* SPDX-License-Identifier: BSD-3-Clause */
#include <openssl/x509.h>
#include <string.h>

#include "harness.h"
#include "tensorguard/key.h"

/* Ours for P-256 is what OpenSSL writes; points that begin with zeros have their full length too. */
TEST(spki, is_what_openssl_writes)
{
	static const enum tg_key_type types[] = { TG_KEY_ES256, TG_KEY_EDDSA };
	struct tg_error e = { "" };

	for (size_t i = 0; i < 600; i++) {
		uint8_t der[TG_SPKI_MAX_LEN], *theirs = NULL;
		EVP_PKEY *key = NULL, *again = NULL;
		size_t len = 0;
		int theirs_len;

		/* one P-256 point in 128 has a coordinate that begins with a zero */
		CU_ASSERT_EQUAL_FATAL(tg_key_generate(types[i % 16 == 15], &key, &e), 0);
		CU_ASSERT_EQUAL_FATAL(tg_key_to_spki(key, der, &len, &e), 0);
		theirs_len = i2d_PUBKEY(key, &theirs);
		CU_ASSERT_EQUAL((int)len, theirs_len);
		CU_ASSERT_EQUAL(memcmp(der, theirs, len), 0);
		CU_ASSERT_EQUAL_FATAL(tg_key_from_spki(der, len, &again, &e), 0);
		CU_ASSERT_EQUAL(EVP_PKEY_eq(key, again), 1);
		OPENSSL_free(theirs);
		EVP_PKEY_free(key);
		EVP_PKEY_free(again);
	}
}
